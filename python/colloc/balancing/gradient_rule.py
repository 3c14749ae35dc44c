"""What the rules that need gradients or rows share: they run beside the compiled step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail
from colloc._graph import leaves_of
from colloc.balancing.base import LARGEST_WEIGHT, Balancer, averaged, check_names, check_step
from colloc.balancing.gradients import (
    Gradients,
    check_parameters,
    gradients_of,
    shared,
    total_with,
)
from colloc.balancing.loss_rule import all_finite


def capturing(values: Tensor) -> bool:
    """Whether a CUDA graph is captured."""
    return values.is_cuda and torch.cuda.is_current_stream_capturing()


class CountedRule(Balancer):
    """Base of the rules whose updates run in Python: when one is due, is decided here.

    In ``torch.compile`` and while a CUDA graph is captured a call is the weighted sum alone, and
    the user calls ``update(losses, step)`` outside, or the weights stay as they are::

        for step in range(steps):
            if step % 100 == 0:
                balancer.update({t.name: t.loss() for t in terms}, step, terms=terms)
            compiled_step()
    """

    calls: Tensor
    updates: Tensor
    last_step: Tensor
    #: Whether calls leave the weights to :meth:`update`, as in a compiled or captured step.
    outside: bool = False

    def __init__(self, names: Iterable[str], update_every: int, process_group: Any = None) -> None:
        names = check_names(names)
        super().__init__(names, [1.0] * len(names))
        self.update_every = check_int("update_every", update_every, minimum=1)
        self.process_group = process_group
        # The numbers are Python's, for a GPU is not waited for; their copies are what is saved.
        for name, value in (("calls", 0), ("updates", 0), ("last_step", -1)):
            self.register_buffer(name, torch.tensor(value))
        self._counted: tuple[int, int, int] | None = (0, 0, -1)
        self._again = False  # whether a call is for the same step as the last update

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self._counted = None

    def forward(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> Tensor:
        """The weighted sum of ``losses``, shape (), in their dtype; updates the weights if due.

        Args:
            losses: 0-dimensional floating tensors by name, exactly those of ``names``.
            step: an integer >= 0 or an integer tensor of shape (); None: the balancer counts
                its calls, as it does for a tensor on a GPU, which it would have to wait for.
                Weights are updated where ``step % update_every == 0``, at the first call, and
                never twice for a step. Inside ``torch.compile``, while a CUDA graph is
                captured, under ``eval()`` and without gradients they are not.
            terms: of NTK alone: a list of the terms, or a dict of them by name.

        Raises:
            TypeError, ValueError: losses have other names or are no such tensors; step is
                negative or no integer; no loss depends on the rule's parameters.
        """
        values, dtype = self.stacked(losses)
        self._again = False
        moves = self._moves(values) and not self.outside
        used = self._step(losses, values, step, terms, dtype) if moves else None
        weights, total = (self._present(step), None) if used is None else used
        return torch.dot(values, weights).to(dtype) if total is None else total

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Move the weights as a call does, without the total; for use outside of a compiled or
        captured step, with losses that have their graph."""
        values, _ = self.stacked(losses)
        if self._moves(values):
            self._step(losses, values, step, terms, None)

    def _counts(self, values: Tensor) -> bool:
        """Whether an update was one: not with a loss that is not finite, so that the first is
        tried again at the next call. A GPU is not waited for to know."""
        if values.is_cuda:
            return True
        return bool(all_finite(averaged(values.detach(), self.process_group)))

    def _present(self, step: int | Tensor | None) -> Tensor:
        """The weights of a step without an update in its call, a tensor of its own."""
        return self.weight.clone()

    def _moves(self, values: Tensor) -> bool:
        """Whether updates are made here at all."""
        if torch.compiler.is_compiling() or not self.training or not torch.is_grad_enabled():
            return False
        return not capturing(values)

    def _step(
        self,
        losses: Mapping[str, Tensor],
        values: Tensor,
        step: int | Tensor | None,
        terms: Any,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor | None] | None:
        """What `_move` returns if an update is due, else None; counts the call."""
        if self._counted is None:
            self._counted = (int(self.calls), int(self.updates), int(self.last_step))
        calls, updates, last = self._counted
        step = check_step(step)
        if isinstance(step, Tensor):
            step = int(step) if step.device.type == "cpu" else None
        at = calls if step is None else step
        self._again = step is not None and at == last
        due = (at % self.update_every == 0 or updates == 0) and not self._again
        used = None
        if due:  # one that fails is not counted
            used = self._move([losses[name] for name in self.names], values, terms, dtype)
            due = self._counts(values)
        last = at if due and step is not None else last
        self._counted = (calls + (step is None), updates + due, last)
        for buffer, count in zip(
            (self.calls, self.updates, self.last_step), self._counted, strict=True
        ):
            buffer.fill_(count)
        return used

    def _move(
        self, losses: Sequence[Tensor], values: Tensor, terms: Any, dtype: torch.dtype | None
    ) -> tuple[Tensor, Tensor | None]:
        """Update the weights; those of this step (n,), and the total where it is at hand.

        Args:
            losses: in the order of ``names``.
            values: the same, (n,) in float64, with graph.
            terms: as given.
            dtype: of the total; None where none is wanted.
        """
        raise NotImplementedError

    def _accept(self, values: Tensor, new: Tensor) -> Tensor:
        """The new weights, within their bounds; those before where a loss is not finite."""
        finite = all_finite(averaged(values.detach(), self.process_group))
        new = torch.where(finite & torch.isfinite(new), new, self.weight)
        return new.clamp(0.0, LARGEST_WEIGHT)


class GradientRule(CountedRule):
    """Base of the rules that look at the gradients of each loss.

    The gradients are taken loss by loss. Where ``parameters`` are most of what the losses depend
    on (half of the numbers, or more), they are taken by all of it, and the total is made of
    them: the user's backward then repeats nothing. Elsewhere (the last layer) they are taken by
    ``parameters`` alone, and the total is the ordinary weighted sum.

    A rule defines ``_weigh(gradients, values) -> weights of this step (n,)``, which also
    updates its buffers.

    In float16 set ``gradient_scale`` before a call or an update to the factor of the total, a
    tensor () (``scaler.scale(torch.ones(()))``): gradients are taken of losses times it, so that
    they do not underflow, and divided by it again. Losses and total are without it.
    """

    gradient_scale: Tensor | None = None

    def __init__(
        self,
        names: Iterable[str],
        parameters: Any,
        update_every: int,
        process_group: Any,
    ) -> None:
        super().__init__(names, update_every, process_group)
        # In a tuple, for they are not the balancer's own.
        self._parameters_of = (check_parameters(parameters),)
        self._entries: list[int] = []  # of the parameters that each loss depends on, here

    @property
    def _chosen(self) -> list[Tensor]:
        return self._parameters_of[0]

    def _move(
        self, losses: Sequence[Tensor], values: Tensor, terms: Any, dtype: torch.dtype | None
    ) -> tuple[Tensor, Tensor | None]:
        chosen = self._chosen
        reached = leaves_of(losses)
        numbers = {id(leaf): leaf.numel() for leaf in reached}
        share = sum(numbers.get(id(p), 0) for p in chosen)
        if not any(id(p) in numbers for p in chosen):
            fail(
                "parameters",
                "tensors that the losses depend on",
                f"{len(chosen)} of which no loss depends on any, the first {describe(chosen[0])}",
                "Pass the parameters of the network that the losses were computed with, or "
                "requires_grad_(True) for them.",
            )
        whole = dtype is not None and 2 * share >= sum(numbers.values())
        # Hooks of a parameter would see these gradients, and those of the total once more.
        whole = whole and not any(leaf._backward_hooks for leaf in reached)
        targets = reached if whole else [p for p in chosen if id(p) in numbers]
        found = self._gradients(losses, targets)
        place = {id(target): k for k, target in enumerate(targets)}
        with torch.no_grad():
            of_chosen: list[Gradients] = [
                [row[place[id(p)]] if id(p) in place else None for p in chosen] for row in found
            ]
            self._entries = [sum(g.numel() for g in row if g is not None) for row in of_chosen]
            weights = self._weigh(shared(of_chosen, chosen, self.process_group), values.detach())
        if not whole or dtype is None:
            return weights, None
        value = torch.dot(values.detach(), weights).to(dtype)
        return weights, total_with(value, weights, found, reached)

    def _gradients(self, losses: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Gradients]:
        """The gradient of every loss by every target, computed at the size that is asked for."""
        factor = self.gradient_scale
        if factor is None:
            return gradients_of(losses, targets)
        found = gradients_of([loss * factor for loss in losses], targets)
        return [[None if g is None else g / factor for g in row] for row in found]

    def _weigh(self, gradients: Sequence[Gradients], values: Tensor) -> Tensor:
        raise NotImplementedError
