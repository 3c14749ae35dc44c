"""Learning rate annealing: weights by the ratio of gradients to those of a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float, describe, fail
from colloc.balancing.gradient_rule import GradientRule
from colloc.balancing.gradients import Gradients, norms


class LRAnnealingState(NamedTuple):
    """What the rule remembers."""

    weight: Tensor
    """(n,)."""


class GradientStatistics(NamedTuple):
    """Of the absolute entries of each loss's gradient."""

    reference: Tensor
    """The reference's largest, or their mean, ()."""
    mean: Tensor
    """(n,)."""


def lr_annealing(
    values: GradientStatistics,
    state: LRAnnealingState,
    *,
    index: int,
    alpha: float = 0.1,
    eps: float = 0.0,
    peer: bool = False,
) -> tuple[Tensor, LRAnnealingState]:
    """One update: the weights (n,) and the new state.

    Args:
        values: statistics of the gradients of the unweighted losses.
        state: the weights before.
        index: of the reference, whose weight stays (not with ``peer``).
        alpha: weight of the new value.
        eps: added to the means.
        peer: whether the reference's weight moves like the others.
    """
    before = state.weight
    fresh = values.reference / (values.mean + eps)
    weights = (1.0 - alpha) * before + alpha * fresh
    accept = torch.isfinite(weights)
    if not peer:
        accept = accept & (values.reference > 0)
        accept.select(0, index).fill_(False)  # an assignment would wait for a GPU
    weights = torch.where(accept, weights, before)
    return weights, LRAnnealingState(weights)


class LRAnnealing(GradientRule):
    """Weights that bring each loss's gradient to the size of a reference's::

        w_j <- (1 - alpha) w_j + alpha max|grad L_ref| / mean|grad L_j|

    over all entries of all ``parameters`` together, with the gradients of the unweighted
    losses. Weights are 1 at first, and that of the reference stays 1. Wang, Teng and
    Perdikaris, SIAM J. Sci. Comput. 43, 2021 (max over mean); ``statistic="mean"``: mean over
    mean (Jin, Cai, Li and Karniadakis, J. Comput. Phys. 426, 2021).

    An update takes one backward a loss. Where ``parameters`` are at least half of what the
    losses depend on, it takes the place of the backward of the step: the total carries its
    gradients, so that ``total.backward()`` costs nothing (and cannot be differentiated again;
    what intermediate tensors retain or their hooks see is not filled in). In ``torch.compile``
    and in a captured CUDA graph call ``update(losses)`` outside. With float16 give the balancer
    the scaled losses, ``{name: scaler.scale(loss)}``: the ratios are the same, and nothing
    underflows.

    ==================================  ================================================
    a loss that is, or has              does
    ==================================  ================================================
    a gradient of 0, or none            its weight stays
    a gradient that is not finite       its weight stays; the reference's: all stay
    a reference gradient of 0           all weights stay
    0 or negative                       nothing special: only gradients count
    inf or NaN                          all weights stay; the total shows it
    rounding errors (holds exactly)     a weight that makes these count: leave it out
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        reference: the name of the reference, usually the PDE residual.
        parameters: leaf tensors (an iterable, used once) or a module, whose parameters are
            meant. Entries that a loss does not depend on count as 0.
        alpha: weight of the new value, in (0, 1].
        statistic: of the reference: "max" or "mean".
        update_every: how many steps the weights are used for.
        peer: PhysicsNeMo-Sym's arithmetic, to repeat old runs (with ``statistic="mean"`` and
            its ``alpha=0.01``): the means are over the entries that a loss depends on, 1e-8 is
            added to them, and the reference's weight moves too.
        process_group: whose processes share the weights, of the mean of their gradients; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; a parameter that
            is no leaf; in a call: no loss depends on any of ``parameters``.
    """

    def __init__(
        self,
        names: Iterable[str],
        reference: str,
        parameters: Any,
        alpha: float = 0.1,
        statistic: str = "max",
        *,
        update_every: int = 1,
        peer: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, parameters, update_every, process_group)
        self.reference = check_choice("reference", reference, self.names)
        self.alpha = check_rate(alpha)
        self.statistic = check_choice("statistic", statistic, ("max", "mean"))
        self.peer = bool(peer)

    def _weigh(self, gradients: Sequence[Gradients], values: Tensor) -> Tensor:
        index = self.names.index(self.reference)
        count = torch.full_like(values, sum(p.numel() for p in self._chosen))
        if self.peer:
            count = values.new_tensor(self._entries)
        mean = norms(gradients, 1, values) / count
        if self.statistic == "max":
            top = norms(gradients[index : index + 1], torch.inf, values)[0]
        else:
            top = mean[index]
        new, _ = lr_annealing(
            GradientStatistics(top, mean),
            LRAnnealingState(self.weight),
            index=index,
            alpha=self.alpha,
            eps=1e-8 if self.peer else 0.0,
            peer=self.peer,
        )
        weights = self._accept(values, new)
        self.weight.copy_(weights)
        return weights


def check_rate(alpha: Any) -> float:
    """``alpha``, the weight of the new value in a moving average, in (0, 1]."""
    number = check_float("alpha", alpha)
    if not 0.0 < number <= 1.0:
        fail("alpha", "a number above 0 and at most 1", describe(number))
    return number
