"""The losses of a step and their gradients: eager, compiled, or as a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import fail
from colloc.balancing.gradient_rule import CountedRule, GradientRule
from colloc.pde import Term
from colloc.training.precision import Precision

Found = tuple[dict[str, Tensor], Tensor]


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
        self.terms, self.balancer, self.precision = list(terms), balancer, precision
        self.rules = dict(rules)
        self.by_gradients = isinstance(balancer, GradientRule)
        self._moves_outside = isinstance(balancer, CountedRule)
        self.compiled = compiled
        self._call: Callable[[Any], Found] = self.plainly
        if compiled:
            self._call = torch.compile(self.plainly, fullgraph=True, dynamic=False)

    def plainly(self, step: Any) -> Found:
        """Without torch.compile."""
        with self.precision.context():
            losses = self._of_terms()
        # A rule that looks at gradients must see them as they are scaled for float16.
        scaler = self.precision.scaler
        if scaler is not None and self.by_gradients:
            scaled = {name: scaler.scale(loss) for name, loss in losses.items()}
            return losses, self.balancer(scaled, step, terms=self.terms)
        total = self.balancer(losses, step, terms=self.terms)
        return losses, total if scaler is None else scaler.scale(total)

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
        before = self.balancer.training
        self.balancer.training = before and not self._moves_outside
        try:
            yield
        finally:
            self.balancer.training = before

    def __call__(self, step: Any) -> Found:
        try:
            found: Found = self._call(step)
        except Exception as error:
            if type(error).__name__ != "FailOnRecompileLimitHit":
                raise
            fail("compile", "as many points of a term at every step", "other numbers again and "
                 "again", f"Each is compiled anew, and torch gives up ({error}).")  # fmt: skip
        return found

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
        scaler = self.precision.scaler
        if scaler is not None and self.by_gradients:
            losses = {name: scaler.scale(loss) for name, loss in losses.items()}
        self.balancer.update(losses, step, terms=self.terms)  # type: ignore[operator]


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
