"""The losses of a step and their gradients: eager, compiled, or as a CUDA graph."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from colloc._checks import fail
from colloc.balancing.gradient_rule import CountedRule, GradientRule
from colloc.pde import Term
from colloc.training.precision import Precision

Found = tuple[dict[str, Tensor], Tensor]
#: Calls within which torch.compile must not reach its limit (8 times).
_CALLS = 128


class Losses:
    """``losses(step)``: the terms' losses by name, and the balancer's total.

    Args:
        terms: the problem.
        balancer: turns named losses into one.
        precision: in which the terms are computed.
        compiled: whether by torch.compile(fullgraph=True), with points at fixed addresses.
        rules: by names of terms what is called in place of ``term.loss()``.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        balancer: nn.Module,
        precision: Precision,
        compiled: bool,
        rules: Mapping[str, nn.Module],
    ) -> None:
        self.terms, self.precision = list(terms), precision
        self.balancer: Any = balancer
        self.rules = dict(rules)
        self.by_gradients = isinstance(balancer, GradientRule)
        self._moves_outside = isinstance(balancer, CountedRule)
        self.compiled = compiled
        self._call: Callable[[Any], Found] = self.plainly
        self._calls, self._sizes = 0, self._numbers()
        if compiled:
            self._compile()

    def _compile(self) -> None:
        own = types.MethodType(_of_its_own(Losses.plainly), self)
        self._call = torch.compile(own, fullgraph=True, dynamic=False)
        self._calls, self._sizes = 0, self._numbers()

    def _numbers(self) -> list[int]:
        return [term.x.shape[0] for term in self.terms]

    def plainly(self, step: Any) -> Found:
        """Without torch.compile, and without the factor of float16."""
        with self.precision.context():
            losses = self._of_terms()
        return losses, self.balancer(losses, step, terms=self.terms)

    def _of_terms(self) -> dict[str, Tensor]:
        rules = self.rules
        return {
            term.name: rules[term.name](term) if term.name in rules else term.loss()
            for term in self.terms
        }

    def train(self, moving: bool) -> None:
        """Whether weights of losses and of points move with the steps."""
        for module in (self.balancer, *self.rules.values()):
            module.train(moving)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Weights that :meth:`update` moves do not move by a call."""
        if not self._moves_outside:
            yield
            return
        self.balancer.outside = True
        try:
            yield
        finally:
            self.balancer.outside = False

    def __call__(self, step: Any) -> Found:
        """Losses, and the total times the factor of float16."""
        scaler = self.precision.scaler
        with self._scaled_gradients():
            losses, total = self._called(step) if self.compiled else self._call(step)
        return losses, total if scaler is None else scaler.scale(total)

    def _called(self, step: Any) -> Found:
        """By torch.compile, which is begun again where it has compiled too often: a set of points
        that grows now and then (RARD) leaves its old numbers behind."""
        self._calls += 1
        try:
            return self._call(step)
        except Exception as error:
            if type(error).__name__ != "FailOnRecompileLimitHit":
                self._say_it_plainly(error)
                raise
            if self._calls < _CALLS:
                self._too_often(error)
        self._compile()
        return self._call(step)

    def _too_often(self, error: Exception) -> NoReturn:
        times = f"Each is compiled anew, and torch gives up ({error})."
        if self._numbers() != self._sizes:
            fail("compile", "as many points of a term at every step, or at most of them",
                 "other numbers again and again", f"{times} Keep the number, or use "
                 "compile=False.")  # fmt: skip
        fail("compile", "losses that read the same numbers of Python at every step",
             "others again and again", f"{times} Put what changes into tensors "
             "(TORCH_LOGS=recompiles names it), or use compile=False.")  # fmt: skip

    @contextlib.contextmanager
    def _scaled_gradients(self) -> Iterator[None]:
        """A rule that looks at gradients has them taken at the size of the total's, or those of
        float16 underflow; losses it sees as they are."""
        scaler = self.precision.scaler
        if scaler is None or not self.by_gradients:
            yield
            return
        ones = torch.ones((), device=self.precision.device)
        self.balancer.gradient_scale = scaler.scale(ones)
        try:
            yield
        finally:
            self.balancer.gradient_scale = None

    def _say_it_plainly(self, error: Exception) -> None:
        """Raise what is wrong without torch.compile, too: there the message is ours."""
        if not type(error).__module__.startswith("torch._dynamo"):
            return
        with torch.no_grad(), self.precision.context():
            try:
                self._of_terms()
            except (TypeError, ValueError) as plain:
                raise plain from error

    def finite(self) -> bool:
        """Whether the losses are finite on the points that are there; no weight moves. One that
        cannot be had counts as if it were."""
        with torch.no_grad(), self.precision.context(), contextlib.suppress(Exception):
            return all(bool(torch.isfinite(loss)) for loss in self._of_terms().values())
        return True

    def update(self, step: int) -> None:
        """Move the weights of a rule that looks at gradients or rows, outside of a compiled or
        captured step: there they stay as they are."""
        if not self._moves_outside or not self.balancer.training:
            return
        every = int(getattr(self.balancer, "update_every", 1))
        if step % every and int(getattr(self.balancer, "updates", 1)):
            return
        moving = [rule for rule in self.rules.values() if rule.training]
        for rule in moving:  # with the step that follows
            rule.eval()
        with self.precision.context():
            losses = self._of_terms()
        for rule in moving:
            rule.train()
        with self._scaled_gradients():
            self.balancer.update(losses, step, terms=self.terms)


def _of_its_own(function: Any) -> Any:
    """The same function with a code object of its own: torch.compile counts what it compiles
    for each of these, and what it has made is freed with it."""
    own = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__,
        function.__defaults__, function.__closure__,
    )  # fmt: skip
    return functools.update_wrapper(own, function)


class Captured:
    """A step as the replay of a CUDA graph: losses, backward, clipping and the optimiser.

    The first steps run as they are, on a stream of their own; then one is captured. Points,
    weights, the step's number and the learning rate lie in memory that the graph reads.

    Args:
        body: the step; it gets the step's number as a tensor and returns losses and total.
        device: of the graph.
        warm_ups: steps that run as they are.
    """

    def __init__(
        self, body: Callable[[Tensor], Found], device: torch.device, warm_ups: int = 3
    ) -> None:
        self.body, self.left = body, warm_ups
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.found: Found | None = None

    def __call__(self, step: int) -> Found:
        self.number.fill_(step)
        if self.left > 0:
            self.left -= 1
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                found = self.body(self.number)
            torch.cuda.current_stream().wait_stream(self.stream)
            return found
        if self.graph is None:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.found = self.body(self.number)
            self.graph = graph
        self.graph.replay()
        assert self.found is not None
        return self.found


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """A captured step needs an optimiser that keeps its count and its rate on the GPU.

    Raises:
        ValueError: it cannot be captured.
    """
    for group in optimizer.param_groups:
        if "capturable" not in group:
            name = type(optimizer).__name__
            fail("graph", "an optimiser with capturable=True (Adam, AdamW, ...)", name)
        group["capturable"] = True


def fit_rates(optimizer: torch.optim.Optimizer, graph: bool) -> None:
    """Learning rates as tensors where a graph reads them, and as numbers elsewhere."""
    for group in optimizer.param_groups:
        rate = group["lr"]
        if graph:
            group["lr"] = torch.as_tensor(rate, dtype=torch.float32).to(group["params"][0].device)
        elif isinstance(rate, Tensor):
            group["lr"] = rate.item()
