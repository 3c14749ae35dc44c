"""Causal weights: a stretch of time counts once those before it are solved."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import check_float, check_int, concrete, fail
from colloc.balancing.base import averaged, keep_float64, pinned
from colloc.balancing.loss_rule import all_finite
from colloc.balancing.rows import rows_of


class CausalState(NamedTuple):
    """What the rule remembers."""

    weight: Tensor
    """Of each slice, (slices,)."""


def causal(
    values: Tensor, state: CausalState, *, epsilon: float | Tensor = 1.0
) -> tuple[Tensor, CausalState]:
    """The weights (slices,) and the new state; ``values`` (slices,) are the slices' losses.

    ``w_k = exp(-epsilon sum_{l<k} L_l)``. Where a loss is NaN the weights stay.
    """
    sums = torch.cumsum(values, 0)
    before = torch.cat([torch.zeros_like(sums[:1]), sums[:-1]])
    weights = torch.exp(-epsilon * before)
    weights = torch.where(all_finite(weights), weights, state.weight)
    return weights, CausalState(weights)


class Causal(nn.Module):
    """A term's loss with causal weights, called in place of ``term.loss()``::

        causal = cc.balancing.Causal(axis=1, start=0.0, stop=1.0)
        loss = causal(inside) + initial.loss()

    Time is cut into slices of equal length, and with L_k the mean of the term's loss over the
    points of slice k (by their measure, with the term's weight)::

        loss = mean_k w_k L_k,   w_k = exp(-epsilon sum_{l<k} L_l)

    with the weights constant: a slice counts once those before it are solved. Wang, Sankaran
    and Perdikaris, Respecting causality is all you need for training physics-informed neural
    networks, CMAME 421, 116813, 2024 (arXiv 2203.07404). They train with one epsilon after the
    other (0.01 to 100), until all weights are near 1: ``finished()``, then ``causal.epsilon``
    is assigned the next. The L_k should hold the initial condition, or it be exact, since
    w_1 is 1.

    ==================================  ================================================
    a slice whose loss is               does
    ==================================  ================================================
    without points                      no part of the mean; later weights as if it were 0
    inf                                 later weights are 0; the total shows it
    NaN                                 weights stay; the total shows it
    ==================================  ================================================

    Attributes:
        weights: of the slices at the last call, (slices,) in float64, a buffer. Before
            the first call 1 for the first slice and 0 for the others.
        epsilon: how much the slices before must be solved; may be assigned.

    Args:
        axis: the input that is time, 0 to d - 1.
        start, stop: the first and the last time.
        slices: how many, >= 1.
        epsilon: >= 0.
        process_group: whose processes share the weights, of the slices' losses on the points
            of all; None is the default group of torch.distributed, where that has been
            initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a call: the term
            has integral rows (``reduce``), too few inputs or no points; on a CPU, points before
            start or after stop (on a GPU they count to the first and the last slice).
    """

    weights: Tensor
    _epsilon: Tensor

    def __init__(
        self,
        axis: int,
        start: float,
        stop: float,
        slices: int = 32,
        epsilon: float = 1.0,
        *,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.axis = check_int("axis", axis, minimum=0)
        self.start, self.stop = check_float("start", start), check_float("stop", stop)
        if not self.start < self.stop:
            fail("stop", f"a number above start, {self.start:g}", f"{self.stop:g}")
        self.slices = check_int("slices", slices, minimum=1)
        # A tensor, so that compiled and captured steps see what is assigned.
        first = torch.zeros((), dtype=torch.float64)
        self.register_buffer("_epsilon", first, persistent=False)
        self.epsilon = epsilon
        self.process_group = process_group
        weights = torch.zeros(self.slices, dtype=torch.float64)
        weights[0] = 1.0
        self.register_buffer("weights", weights)

    def get_extra_state(self) -> dict[str, float]:
        """epsilon, for ``state_dict()``: it may have been assigned."""
        return {"epsilon": self.epsilon}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """epsilon as it was saved."""
        self.epsilon = state["epsilon"]

    @property
    def epsilon(self) -> float:
        """How much the slices before must be solved, >= 0; assignable."""
        return self._number

    @epsilon.setter
    def epsilon(self, epsilon: float) -> None:
        self._number = check_float("epsilon", epsilon, nonnegative=True)
        self._epsilon.fill_(self._number)

    def forward(self, term: Any) -> Tensor:
        """``mean_k w_k L_k`` of a :class:`colloc.Term`, shape (); under ``eval()`` and
        ``torch.no_grad()`` with the weights of the last call."""
        rows, index = rows_of(term), self._slice_of(term)
        parts = rows.shares * rows.squares
        moves = self.training and torch.is_grad_enabled()  # not in an evaluation
        with torch.no_grad():
            both = torch.cat([parts, _masses(term, parts)], 1).to(torch.float64)
            sums = both.new_zeros((self.slices, 2)).index_add_(0, index, both)
            losses, masses = averaged(sums, self.process_group).unbind(1)
            filled = masses > 0
            if moves:
                values = torch.where(filled, losses / masses, 0.0)
                weights, _ = causal(values, CausalState(self.weights), epsilon=self._epsilon)
                self.weights.copy_(weights)
            weights, masses = pinned(self.weights, masses)
            factors = torch.where(filled, weights / masses, 0.0) / filled.sum()
            factors = factors[index].unsqueeze(1).to(parts.dtype)
        return (factors * parts).sum()

    def finished(self, threshold: float = 0.99) -> bool:
        """Whether all weights are above ``threshold``: every slice counts fully. Waits for a
        GPU that holds them."""
        return bool((self.weights > check_float("threshold", threshold)).all())

    def _slice_of(self, term: Any) -> Tensor:
        """The slice of each point, (N,) int64."""
        if term.reduce is not None:
            fail("term", "rows that are points", f"integral rows in term {term.name!r}")
        if term.x.shape[1] <= self.axis:
            fail("axis", f"an input of term {term.name!r}, below {term.x.shape[1]}", self.axis)
        time = term.x[:, self.axis].detach()
        length = self.stop - self.start
        if concrete(time):
            low, high = float(time.min()), float(time.max())
            if not (self.start - 1e-6 * length <= low and high <= self.stop + 1e-6 * length):
                fail(
                    "term",
                    f"points with times from {self.start:g} to {self.stop:g} in column {self.axis}",
                    f"from {low:g} to {high:g} in term {term.name!r}",
                    "Set start and stop to the times of the domain.",
                )
        place = (time.to(torch.float64) - self.start) * (self.slices / length)
        return place.floor().clamp(0, self.slices - 1).to(torch.int64)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        return keep_float64(self, lambda: super(Causal, self)._apply(fn, recurse))

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return (
            f"axis={self.axis}, start={self.start:g}, stop={self.stop:g}, "
            f"slices={self.slices}, epsilon={self.epsilon:g}"
        )


def _masses(term: Any, like: Tensor) -> Tensor:
    """Each point's share of the measure without the term's weight, (N, 1)."""
    points = term.points
    if isinstance(points, Tensor):
        return torch.full_like(like, 1.0 / like.shape[0])
    measure = points.measure.to(like.dtype)
    whole = getattr(points, "whole", None)
    return measure / (measure.sum() if whole is None else whole)
