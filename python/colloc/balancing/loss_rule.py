"""What the rules that look at the losses' values alone share.

Everything stays in tensors: no value is read back from a GPU and no branch of Python depends on
one, so that a step with such a rule compiles and can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from colloc._checks import check_int
from colloc.balancing.base import Balancer, averaged, check_names, check_step, pinned


def accepted(values: Tensor, weights: Tensor, due: Tensor | None) -> Tensor:
    """Whether an update counts, a bool tensor (): it is due, and all numbers are finite."""
    finite = all_finite(values + weights)
    return finite if due is None else finite & due


def all_finite(values: Tensor) -> Tensor:
    """Whether all numbers are finite, a bool tensor (); isfinite(values).all() in fewer calls."""
    return torch.linalg.vector_norm(values, torch.inf) < torch.inf


class LossRule(Balancer):
    """Base of the rules that update their weights from the losses' values.

    A rule defines ``_core(values, state, due) -> (weights, state)``, with ``values`` (n,) in
    float64, and its state's type, whose fields are the names of its buffers.

    Args:
        names: the losses' names.
        weight: the first weight of every loss.
        update_every: how many steps the weights are used for.
        process_group: whose processes share the weights; None is the default group of
            torch.distributed, where that has been initialised.
    """

    _state: ClassVar[Any]
    #: Whether a step uses the weights of its own update, or those before.
    _uses_updated: ClassVar[bool] = True

    updates: Tensor
    calls: Tensor
    last_step: Tensor

    def __init__(
        self,
        names: Iterable[str],
        weight: float | None,
        update_every: int,
        process_group: Any,
    ) -> None:
        names = check_names(names)
        super().__init__(names, None if weight is None else [weight] * len(names))
        self.update_every = check_int("update_every", update_every, minimum=1)
        self.process_group = process_group
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last_step", torch.full((), -1, dtype=torch.int64))
        if not self._uses_updated and weight is not None:
            # What the last step's total has: a step may be evaluated again.
            self.register_buffer("used", torch.full_like(self.weight, weight))

    def forward(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> Tensor:
        """The weighted sum of ``losses``, shape (), in their dtype; updates the weights if due.

        Args:
            losses: 0-dimensional floating tensors by name, exactly those of ``names``.
            step: an integer >= 0 or an integer tensor of shape (); None: the balancer counts
                its calls. Weights are updated where ``step % update_every == 0``, at the first
                call, and never twice for a step (so that all evaluations of an L-BFGS step have
                the same weights). An int is a constant of a captured CUDA graph: give that
                a tensor, or None. Under ``eval()`` and ``torch.no_grad()`` they stay.
            terms: not used by this rule.

        Raises:
            TypeError, ValueError: losses have other names or are no such tensors, or step is
                negative or no integer.
        """
        values, dtype = self.stacked(losses)
        moves = self.training and torch.is_grad_enabled()  # not in an evaluation
        weights = self._move(values.detach(), step) if moves else self.weight.clone()
        return torch.dot(values, weights).to(dtype)

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Move the weights as a call does, without the total."""
        values, _ = self.stacked(losses)
        if self.training:
            self._move(values.detach(), step)
            if not self._uses_updated:
                cast("dict[str, Tensor]", self._buffers)["used"].copy_(self.weight)

    def _core(self, values: Tensor, state: Any, due: Tensor | None) -> tuple[Tensor, Any]:
        raise NotImplementedError

    @torch.no_grad()
    def _move(self, values: Tensor, step: int | Tensor | None) -> Tensor:
        """Update the buffers where that is due; the weights of this step, a tensor of its own."""
        values = averaged(values, self.process_group)
        due, at = self._due(step)
        # Looking an attribute of a module up costs as much as an op.
        held = cast("dict[str, Tensor]", self._buffers)
        old = self._state._make([held[name] for name in self._state._fields])
        weights, new = self._core(values, old, due)
        if self._uses_updated:
            used, _ = pinned(weights, held["weight"])
        else:
            used = held["weight"]
            if at is not None:
                used = torch.where(at == held["last_step"], held["used"], used)
            used, _ = pinned(used, weights)
            held["used"].copy_(used)
        if at is not None:
            last = held["last_step"]
            last.copy_(torch.where(new.updates > old.updates, at, last))
        for buffer, tensor in zip(old, new, strict=True):
            buffer.copy_(tensor)
        if "weight" not in self._state._fields:
            held["weight"].copy_(weights)
        return used

    def _due(self, step: int | Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Whether to update, a bool tensor () or None for yes; and the step as a tensor."""
        step = check_step(step)
        if step is None:
            due = None if self.update_every == 1 else self._in_turn(self.calls)
            self.calls.add_(1)
            return due, None
        device = self.updates.device
        if isinstance(step, Tensor):
            at = step.to(device, torch.int64)
        else:
            at = torch.full((), step, dtype=torch.int64, device=device)
        due = at != self.last_step
        return due if self.update_every == 1 else due & self._in_turn(at), at

    def _in_turn(self, at: Tensor) -> Tensor:
        return (at % self.update_every == 0) | (self.updates == 0)
