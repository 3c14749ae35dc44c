"""Homoscedastic uncertainty: weights as trained variances."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc.balancing.base import averaged, given_gradient, pinned
from colloc.balancing.loss_rule import LossRule, accepted

#: Log variances stay within this: weights from 1e-9 to 2.4e8.
BOUND = 20.0


class HomoscedasticState(NamedTuple):
    """What the rule trains."""

    log_variance: Tensor
    """s = log sigma^2, (n,)."""


def homoscedastic(
    values: Tensor, state: HomoscedasticState
) -> tuple[Tensor, HomoscedasticState, Tensor]:
    """The weights exp(-s)/2 (n,), the state within its bounds, and the gradient by s (n,).

    The gradient of ``sum_j exp(-s_j) L_j / 2 + s_j / 2``, with what would push s out of its
    bounds and what is not finite set to 0; all of it where a loss is not finite.
    """
    s = state.log_variance.clamp(-BOUND, BOUND)
    weights = torch.exp(-math.log(2.0) - s)
    slope = 0.5 - weights * values
    inward = torch.sub(s, slope.sign(), alpha=1e-12).abs() <= BOUND
    keep = accepted(values, slope, inward)
    return weights, HomoscedasticState(s), torch.where(keep, slope, 0.0)


class HomoscedasticUncertainty(LossRule):
    """Weights as trained variances: ``total = sum_j L_j / (2 sigma_j^2) + log sigma_j``.

    The parameter ``log_variance`` (n,), s = log sigma^2, is 0 at first (weights 1/2) and is
    trained by the user's optimiser::

        torch.optim.Adam([*net.parameters(), *balancer.parameters()])

    For L-BFGS leave ``balancer.parameters()`` out: a line search over weights and network
    together finds the total's minimum at large variances, where nothing is learnt.

    It is bounded to [-20, 20]: put back at a call, and at a bound only gradients that lead
    inward pass; without that the total of a loss that reaches 0 has no minimum. Kendall, Gal
    and Cipolla, CVPR 2018; the minimum over sigma_j is at ``sigma_j^2 = L_j``. The total can be
    negative. The values are those of PhysicsNeMo-Sym, which has no bounds.

    ==================================  ================================================
    a loss that is                      does
    ==================================  ================================================
    0 or negative                       s falls to -20, where it stays
    inf or NaN                          no gradient by s at all; the total shows it
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        update_every: between the steps that it divides the gradient by s is 0.
        process_group: whose processes share the weights: the gradient by s is that of the mean
            of their losses. None is the default group of torch.distributed, where that has
            been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    def __init__(
        self, names: Iterable[str], *, update_every: int = 1, process_group: Any = None
    ) -> None:
        super().__init__(names, None, update_every, process_group)
        self.log_variance = nn.Parameter(torch.zeros(len(self.names), dtype=torch.float64))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights exp(-s)/2, (n,)."""
        return torch.exp(-self.log_variance.detach().clamp(-BOUND, BOUND)) / 2

    @property
    def _device(self) -> torch.device:
        return self.log_variance.device

    def forward(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> Tensor:
        """The total, shape (), in the losses' dtype, with a gradient by ``log_variance``.

        Arguments and errors as of every rule, see :meth:`SoftAdapt.forward`; all calls for the
        same step have the same gradient.
        """
        values, dtype = self.stacked(losses)
        moves = self.training and torch.is_grad_enabled()  # not in an evaluation
        weights, regular, slope = self._slope(values.detach(), step, moves)
        if moves:
            regular = given_gradient(self.log_variance, regular, slope)
        return (torch.dot(values, weights) + regular).to(dtype)

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Nothing: the weights move in the optimiser, by the gradient of the total."""

    @torch.no_grad()
    def _slope(
        self, values: Tensor, step: int | Tensor | None, moves: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weights, sum_j s_j / 2 and the gradient by s, 0 where no update is due."""
        values = averaged(values, self.process_group)
        weights, state, slope = homoscedastic(values, HomoscedasticState(self.log_variance))
        if moves:
            self.log_variance.copy_(state.log_variance)
            due, at = self._due(step)
            if due is not None:
                slope = torch.where(due, slope, 0.0)
                self.updates.add_(due)
                if at is not None:
                    self.last_step.copy_(torch.where(due, at, self.last_step))
            else:
                self.updates.add_(1)
        weights, slope = pinned(weights, slope)
        return weights, state.log_variance.sum() / 2, slope

    def _in_turn(self, at: Tensor) -> Tensor:
        return super()._in_turn(at) | (at == self.last_step)

    def _due(self, step: int | Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        due, at = super()._due(step)
        # Not "never twice": an optimiser that evaluates a step again needs the same gradient.
        return (due if at is None else self._in_turn(at)), at
