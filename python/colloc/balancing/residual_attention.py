"""Residual-based attention: weights of points that follow the size of their residuals."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from colloc._checks import check_float, fail
from colloc.balancing.base import pinned, process_count
from colloc.balancing.rows import PointRule


class ResidualAttentionState(NamedTuple):
    """What the rule remembers."""

    weight: Tensor
    """(n, 1)."""


def residual_attention(
    values: Tensor,
    state: ResidualAttentionState,
    *,
    largest: Tensor | None = None,
    gamma: float = 0.999,
    eta: float = 0.01,
) -> tuple[Tensor, ResidualAttentionState]:
    """One update: the weights (n, 1) and the new state; ``values`` (n, 1) are the |r_i|.

    ``largest`` is the maximum of them, (), where it is known. Where that is not finite, weights
    and state are as they were; where it is 0, the weights decay.
    """
    most = values.max() if largest is None else largest
    ratios = torch.where(most > 0, values / most, 0.0)
    weights = gamma * state.weight + eta * ratios
    weights = torch.where(torch.isfinite(most), weights, state.weight)
    return weights, ResidualAttentionState(weights)


class ResidualBasedAttention(PointRule):
    """A term's loss with weights that follow the points' residuals, in place of ``term.loss()``::

        lambda_i <- gamma lambda_i + eta |r_i| / max_k |r_k|
        loss = sum_i share_i w_i (lambda_i r_i)^2

    with the term's own shares and weight; ``|r_i|`` is the root mean square of a row of several
    columns. Weights are updated in each call, before they are used, and stay below
    eta / (1 - gamma). Anagnostopoulos, Toscano, Stergiopulos and Karniadakis, Residual-based
    attention in physics-informed neural networks, CMAME 421, 116805, 2024. The points must stay:
    each has its weight.

    ==================================  ================================================
    residuals that are                  do
    ==================================  ================================================
    all 0                               weights decay by gamma
    inf or NaN, one of them             weights stay; the total shows it
    ==================================  ================================================

    Attributes:
        weights: the lambda_i, (n, 1) in float64, a buffer.

    Args:
        n: the number of rows, >= 1.
        gamma: how much of the weights remains, in [0, 1).
        eta: how fast they follow, > 0.
        initial: the first weight, >= 0.
        process_group: the largest residual is that of all its processes; None is the default
            group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a call: another
            number of rows, or (on a CPU) other points than before.
    """

    weights: Tensor

    def __init__(
        self,
        n: int,
        gamma: float = 0.999,
        eta: float = 0.01,
        *,
        initial: float = 0.0,
        process_group: Any = None,
    ) -> None:
        super().__init__(n)
        self.gamma = check_float("gamma", gamma, nonnegative=True)
        if self.gamma >= 1.0:
            fail("gamma", "a number >= 0 and below 1", f"{self.gamma:g}")
        self.eta = check_float("eta", eta, positive=True)
        self.process_group = process_group
        first = check_float("initial", initial, nonnegative=True)
        self.register_buffer("weights", torch.full((self.n, 1), first, dtype=torch.float64))

    def forward(self, term: Any) -> Tensor:
        """The weighted loss of a :class:`colloc.Term`, shape (); under ``eval()`` and
        ``torch.no_grad()`` with the weights as they are."""
        rows = self._rows(term)
        moves = self.training and torch.is_grad_enabled()  # not in an evaluation
        with torch.no_grad():
            weights = self.weights
            if moves:
                residuals = rows.squares.to(torch.float64).sqrt()
                most = residuals.max()
                if process_count(self.process_group) > 1:
                    # As a maximum a NaN may get lost among the processes; as infinity it does not.
                    most = torch.where(torch.isnan(most), torch.inf, most)
                    distributed.all_reduce(
                        most, op=distributed.ReduceOp.MAX, group=self.process_group
                    )
                weights, _ = residual_attention(
                    residuals,
                    ResidualAttentionState(self.weights),
                    largest=most,
                    gamma=self.gamma,
                    eta=self.eta,
                )
                weights, _ = pinned(weights, residuals)
                self.weights.copy_(weights)
            factors = weights.square().to(rows.squares.dtype)
        return (factors * rows.shares * rows.squares).sum()

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"{self.n}, gamma={self.gamma:g}, eta={self.eta:g}"
