"""Self-adaptive weights of points, trained to make the loss large."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import check_choice, check_float
from colloc.balancing.base import given_gradient, pinned
from colloc.balancing.rows import PointRule

MASKS = ("square", "identity", "sigmoid")
#: What lambda stays within: the weights are finite, and no gradient of the sigmoid vanishes.
_BOUNDS = {"square": (-1e15, 1e15), "identity": (0.0, 1e30), "sigmoid": (-30.0, 30.0)}


class SelfAdaptiveState(NamedTuple):
    """What the rule trains."""

    lambdas: Tensor
    """(n, 1)."""


def self_adaptive(
    values: Tensor, state: SelfAdaptiveState, *, mask: str = "square"
) -> tuple[Tensor, SelfAdaptiveState, Tensor]:
    """The weights m(lambda) (n, 1), the state within its bounds, and a gradient (n, 1).

    ``values`` (n, 1) are the rows' parts of the unweighted loss; the gradient is that of minus
    the loss, ``-m'(lambda) values``, 0 where it is not finite.
    """
    lambdas = state.lambdas.clamp(*_BOUNDS[mask])
    if mask == "square":
        weights, slope = lambdas.square(), 2.0 * lambdas
    elif mask == "identity":
        weights, slope = lambdas, torch.ones_like(lambdas)
    else:
        weights = torch.sigmoid(lambdas)
        slope = weights * (1.0 - weights)
    gradient = -slope * values
    gradient = torch.where(torch.isfinite(gradient), gradient, 0.0)
    return weights, SelfAdaptiveState(lambdas), gradient


class SelfAdaptive(PointRule):
    """A term's loss with a trained weight for every point, called in place of ``term.loss()``::

        loss = sum_i share_i m(lambda_i) w_i r_i^2

    with the term's own shares and weight. The parameter ``lambdas`` (n, 1) climbs where the
    network descends: its gradient is reversed, so that an optimiser which minimises makes the
    loss large by it, and one optimiser serves both::

        adaptive = cc.balancing.SelfAdaptive(4000)
        opt = torch.optim.Adam([{"params": net.parameters()},
                                {"params": adaptive.parameters(), "lr": 5e-3}])

    McClenny and Braga-Neto, Self-adaptive physics-informed neural networks, J. Comput. Phys.
    474, 111722, 2023. The points must stay: each has its weight. In several processes each has
    the weights of its own points; leave them out of DistributedDataParallel.

    ==================================  ================================================
    a row that is                       does
    ==================================  ================================================
    0                                   its weight stays
    inf or NaN                          its weight stays; the total shows it
    ==================================  ================================================

    Args:
        n: the number of rows, >= 1.
        mask: m, "square" (lambda^2), "identity" or "sigmoid".
        initial: the first lambda; None is 1, or 0 for "sigmoid" (a weight of 1/2).

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a call: another
            number of rows, or (on a CPU) other points than before.
    """

    def __init__(self, n: int, mask: str = "square", *, initial: float | None = None) -> None:
        super().__init__(n)
        self.mask = check_choice("mask", mask, MASKS)
        if initial is None:
            initial = 0.0 if mask == "sigmoid" else 1.0
        first = check_float("initial", initial)
        self.lambdas = nn.Parameter(torch.full((self.n, 1), first, dtype=torch.float64))

    @property
    def weights(self) -> Tensor:
        """The weight of each row, (n, 1) in float64."""
        lambdas = self.lambdas.detach()
        return self_adaptive(lambdas, SelfAdaptiveState(lambdas), mask=self.mask)[0]

    def forward(self, term: Any) -> Tensor:
        """The weighted loss of a :class:`colloc.Term`, shape (), with a reversed gradient by
        ``lambdas``; under ``eval()`` with none."""
        rows = self._rows(term)
        parts = rows.shares * rows.squares
        with torch.no_grad():
            weights, state, gradient = self_adaptive(
                parts.to(torch.float64), SelfAdaptiveState(self.lambdas), mask=self.mask
            )
            if self.training:
                self.lambdas.copy_(state.lambdas)
            weights, gradient = pinned(weights, gradient)
        total = (weights.to(parts.dtype) * parts).sum()
        if self.training:
            total = total + given_gradient(self.lambdas, torch.zeros_like(total), gradient)
        return total

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"{self.n}, mask={self.mask!r}"
