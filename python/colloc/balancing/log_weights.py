"""Weights as exponentials, w = exp z with sum n: the arithmetic of GradNorm and ResNorm."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

#: Weights are at least e to the minus this, about 1e-13: one that fell to 0 would never return.
_LOWEST = 30.0


def relative_rates(values: Tensor, initial: Tensor, active: Tensor | None = None) -> Tensor:
    """How much of each loss is left, over the mean of that: r_j = (L_j / L0_j) / mean, (n,).

    ``values`` are the losses, none below 0. A loss that began at 0 has the ratio 1; where all
    ratios are 0, r is 1. The mean is that of the ``active`` ones, a bool tensor (n,).
    """
    ratios = torch.where(initial > 0, values / initial, 1.0)
    mean = ratios.mean() if active is None else active_mean(ratios, active)
    return torch.nan_to_num(ratios / mean, nan=1.0, posinf=torch.inf)


def active_mean(values: Tensor, active: Tensor) -> Tensor:
    """The mean of the active entries, 0 where there are none."""
    return torch.where(active, values, 0.0).sum() / active.sum().clamp_min(1)


def descend(z: Tensor, slope: Tensor, lr: float, active: Tensor | None = None) -> Tensor:
    """z after one gradient step, shifted so that the weights exp z sum to n, (n,).

    The step is at most 1, a factor e of a weight before the shift. Entries that are not active
    stay, and the others share what is left of the sum.
    """
    moved = z - (lr * slope).clamp(-1.0, 1.0)
    if active is None:
        return normalised(moved).clamp_min(-_LOWEST)
    left = z.shape[0] - torch.where(active, 0.0, z.exp()).sum()
    have = torch.where(active, moved, -torch.inf).logsumexp(0)
    shifted = moved + (left.clamp_min(1e-12).log() - have)
    return torch.where(active, shifted.clamp_min(-_LOWEST), z)


def normalised(z: Tensor) -> Tensor:
    """z - log mean exp z: the weights exp z then sum to n, (n,)."""
    return torch.log_softmax(z, 0) + math.log(z.shape[0])


def refuse_peer_update() -> NoReturn:
    """With peer=True the optimiser moves the weights, in a backward of the total."""
    raise RuntimeError(
        "update: expected a balancer with peer=False. With peer=True the weights move in your "
        "optimiser: call balancer(losses), and give the optimiser balancer.parameters()."
    )
