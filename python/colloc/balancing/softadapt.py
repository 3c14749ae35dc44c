"""SoftAdapt: weights by how fast each loss falls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc._checks import check_float
from colloc.balancing.loss_rule import LossRule, accepted


class SoftAdaptState(NamedTuple):
    """What SoftAdapt remembers."""

    weight: Tensor
    """(n,)."""
    previous: Tensor
    """The losses of the last update, (n,); infinite before the first, so that all ratios are 0."""
    updates: Tensor
    """How many there were, (), int64."""


def softadapt(
    values: Tensor,
    state: SoftAdaptState,
    *,
    eps: float = 1e-8,
    peer: bool = False,
    due: Tensor | None = None,
) -> tuple[Tensor, SoftAdaptState]:
    """One update: the weights (n,) and the new state; ``values`` (n,) are the losses.

    Where ``due`` (a bool tensor of shape (), None for yes) is false, or a number is not finite,
    both are as they were.
    """
    losses = values.clamp_min(0.0)
    scale = values.shape[0] if peer else 1
    # softmax subtracts the largest exponent itself.
    weights = torch.softmax(losses / (state.previous + eps), 0) * scale
    accept = accepted(values, weights, due)
    weights = torch.where(accept, weights, state.weight)
    previous = torch.where(accept, losses, state.previous)
    return weights, SoftAdaptState(weights, previous, state.updates + accept)


class SoftAdapt(LossRule):
    """Weights by how fast each loss falls: ``w = softmax(L_j / (L_j_prev + eps))``.

    The slower a loss falls, the larger its weight; the weights sum to 1 and are 1/n at first.
    ``L_prev`` are the losses of the update before. Heydari, Thompson and Mehmood, SoftAdapt,
    arXiv 1912.12355, 2019 (the variant of ratios).

    ==================================  ================================================
    a loss that is                      does
    ==================================  ================================================
    0                                   ratio 0: its weight is the smallest; after it
                                        ``L / eps``, so that it takes nearly all weight
    much below eps                      ratio near 0, whether it falls or rises
    negative                            counts as 0
    inf or NaN                          weights and state stay; the total shows it
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        eps: added to ``L_prev``, > 0.
        update_every: how many steps the weights are used for.
        peer: PhysicsNeMo-Sym's arithmetic, to repeat old runs: the weights sum to n, and are 1
            at first.
        process_group: whose processes share the weights, of the mean of their losses; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    _state = SoftAdaptState
    previous: Tensor

    def __init__(
        self,
        names: Iterable[str],
        eps: float = 1e-8,
        *,
        update_every: int = 1,
        peer: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, 1.0, update_every, process_group)
        self.eps = check_float("eps", eps, positive=True)
        self.peer = bool(peer)
        self.weight.fill_(1.0 if self.peer else 1.0 / len(self.names))
        self.register_buffer("previous", torch.full_like(self.weight, torch.inf))

    def _core(
        self, values: Tensor, state: SoftAdaptState, due: Tensor | None
    ) -> tuple[Tensor, SoftAdaptState]:
        return softadapt(values, state, eps=self.eps, peer=self.peer, due=due)
