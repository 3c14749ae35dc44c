"""Gradient-norm balance: weights that make the norms of all weighted gradients equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc.balancing.gradient_rule import GradientRule
from colloc.balancing.gradients import Gradients, norms
from colloc.balancing.lr_annealing import check_rate


class GradientNormBalanceState(NamedTuple):
    """What the rule remembers."""

    weight: Tensor
    """(n,)."""


def gradient_norm_balance(
    values: Tensor, state: GradientNormBalanceState, *, alpha: float = 0.1
) -> tuple[Tensor, GradientNormBalanceState]:
    """One update: the weights (n,) and the new state; ``values`` (n,) are the gradients' norms.

    A norm that is 0 or not finite does not count in the sum, and its weight stays.
    """
    good = torch.isfinite(values) & (values > 0)
    fresh = torch.where(good, values, 0.0).sum() / values
    weights = (1.0 - alpha) * state.weight + alpha * fresh
    weights = torch.where(good & torch.isfinite(weights), weights, state.weight)
    return weights, GradientNormBalanceState(weights)


class GradientNormBalance(GradientRule):
    """Weights that make the norms of all weighted gradients equal::

        w_j <- (1 - alpha) w_j + alpha sum_k |grad L_k| / |grad L_j|

    with 2-norms over all ``parameters``, of the unweighted losses. Weights are 1 at first. Wang,
    Sankaran, Wang and Perdikaris, An expert's guide to training physics-informed neural networks,
    arXiv 2308.08468, 2023 (algorithm 1, "grad norm" of jaxpi, whose code takes the mean in
    place of the sum: 1/n of these weights).

    Of the cost, and of compiled steps, what :class:`LRAnnealing` says holds here too.

    ==================================  ================================================
    a loss that is, or has              does
    ==================================  ================================================
    a gradient of 0, or none            its weight stays, and it is not in the sum
    a gradient that is not finite       its weight stays, and it is not in the sum
    0 or negative                       nothing special: only gradients count
    inf or NaN                          all weights stay; the total shows it
    rounding errors (holds exactly)     a weight that makes these count: leave it out
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        parameters: leaf tensors (an iterable, used once) or a module, whose parameters are
            meant.
        alpha: weight of the new value, in (0, 1].
        update_every: how many steps the weights are used for (1000 in the source).
        process_group: whose processes share the weights, of the mean of their gradients; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; a parameter that
            is no leaf; in a call: no loss depends on any of ``parameters``.
    """

    def __init__(
        self,
        names: Iterable[str],
        parameters: Any,
        alpha: float = 0.1,
        *,
        update_every: int = 1,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, parameters, update_every, process_group)
        self.alpha = check_rate(alpha)

    def _weigh(self, gradients: Sequence[Gradients], values: Tensor) -> Tensor:
        state = GradientNormBalanceState(self.weight)
        new, _ = gradient_norm_balance(norms(gradients, 2, values), state, alpha=self.alpha)
        weights = self._accept(values, new)
        self.weight.copy_(weights)
        return weights
