"""Learning rates over the steps of a run, as torch schedulers (one call of ``step()`` a step)."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from colloc._checks import check_float, check_int, fail


def exponential(optimizer: Optimizer, steps: int, final: float = 1e-2) -> LambdaLR:
    """``lr final^(k / steps)`` at step k: from the optimiser's rate down to ``final`` of it.

    Args:
        optimizer: whose rates these are.
        steps: of the whole run, >= 1; the rate stays afterwards.
        final: share of the rate at the end, > 0.
    """
    steps, final = check_int("steps", steps, minimum=1), check_float("final", final, positive=True)
    return LambdaLR(optimizer, lambda k: final ** min(k / steps, 1.0))


def cosine(optimizer: Optimizer, steps: int, final: float = 0.0, warm_up: int = 0) -> LambdaLR:
    """A linear rise over ``warm_up`` steps, then half a cosine down to ``final`` of the rate.

    Loshchilov and Hutter, ICLR 2017, without restarts.

    Args:
        optimizer: whose rates these are.
        steps: of the whole run, >= 1; the rate stays afterwards.
        final: share of the rate at the end, >= 0.
        warm_up: steps until the whole rate is reached, fewer than ``steps``.
    """
    steps = check_int("steps", steps, minimum=1)
    warm_up = check_int("warm_up", warm_up, minimum=0)
    final = check_float("final", final, nonnegative=True)
    if warm_up >= steps:
        fail("warm_up", f"fewer than steps, {steps}", str(warm_up))

    def share(k: int) -> float:
        if k < warm_up:
            return (k + 1) / warm_up
        done = min((k - warm_up) / max(steps - warm_up, 1), 1.0)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, share)


def decay(optimizer: Optimizer, rate: float = 0.95, every: int = 4000) -> LambdaLR:
    """``lr rate^(k / every)`` at step k, continuously: the schedule of PhysicsNeMo-Sym's examples.

    Args:
        optimizer: whose rates these are.
        rate: factor of ``every`` steps, > 0.
        every: steps, >= 1.
    """
    rate, every = check_float("rate", rate, positive=True), check_int("every", every, minimum=1)
    return LambdaLR(optimizer, lambda k: rate ** (k / every))
