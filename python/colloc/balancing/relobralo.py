"""ReLoBRaLo: relative loss balancing with random lookback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, fail
from colloc.balancing.loss_rule import LossRule, accepted
from colloc.ops.sequences import mixed

_EPS = 1e-8
_GAMMA = 0x9E3779B97F4A7C15


class ReLoBRaLoState(NamedTuple):
    """What ReLoBRaLo remembers."""

    weight: Tensor
    """(n,)."""
    previous: Tensor
    """The losses of the last update, (n,); infinite before the first, so that all ratios are 0."""
    initial: Tensor
    """The losses of the first, (n,); infinite before."""
    updates: Tensor
    """How many there were, (), int64."""


def relobralo(
    values: Tensor,
    state: ReLoBRaLoState,
    look_back: Tensor,
    *,
    alpha: float = 0.95,
    tau: float = 1.0,
    due: Tensor | None = None,
) -> tuple[Tensor, ReLoBRaLoState]:
    """One update: the weights (n,) and the new state; ``values`` (n,) are the losses.

    ``look_back`` (a bool tensor of shape ()) is the draw: true keeps the weights before, false
    takes those against the first losses. Where ``due`` is false, or a number is not finite, both
    are as they were.
    """
    losses = values.clamp_min(0.0)
    before = torch.stack([state.previous, state.initial])
    exponents = losses / (tau * before + _EPS)
    by_previous, by_initial = (torch.softmax(exponents, 1) * values.shape[0]).unbind()
    base = torch.where(look_back, state.weight, by_initial)
    weights = torch.lerp(by_previous, base, alpha)
    accept = accepted(values, weights, due)
    weights = torch.where(accept, weights, state.weight)
    previous = torch.where(accept, losses, state.previous)
    initial = torch.where(accept & (state.updates == 0), losses, state.initial)
    return weights, ReLoBRaLoState(weights, previous, initial, state.updates + accept)


class ReLoBRaLo(LossRule):
    """Relative loss balancing with random lookback::

        w_j <- alpha (rho w_j + (1 - rho) v_j(L / L0)) + (1 - alpha) v_j(L / L_prev)
        v_j(q) = n softmax_j(q / tau),   rho = 1 with probability beta, else 0

    (1e-8 is added to the denominators). The weights sum to n and are 1 at first. ``L_prev`` and
    ``L0`` are the losses of the update before and of the first one. The draw rho is a hash of
    the seed and the number of the update: the same in every process and after resuming. Bischof
    and Kraus, Multi-objective loss balancing for physics-informed deep learning, CMAME 439,
    117914, 2025 (arXiv 2110.09813).

    ==================================  ================================================
    a loss that is                      does
    ==================================  ================================================
    0                                   ratio 0; after it the ratio is ``L / 1e-8``
    much below 1e-8                     ratio near 0, whether it falls or rises
    negative                            counts as 0
    inf or NaN                          weights and state stay; the total shows it
    ==================================  ================================================

    PhysicsNeMo-Sym's arithmetic is the same up to a relative 1e-8; its draws come from torch's
    global generator, so that which updates look back is chance there.

    Args:
        names: the losses' names, different strings.
        alpha: weight of what was before, in [0, 1].
        beta: probability of keeping the weights before instead of those against the first
            losses, in [0, 1].
        tau: temperature, > 0; a larger one makes the weights more alike.
        seed: of the draws.
        update_every: how many steps the weights are used for.
        process_group: whose processes share the weights, of the mean of their losses; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    _state = ReLoBRaLoState
    previous: Tensor
    initial: Tensor
    key: Tensor

    def __init__(
        self,
        names: Iterable[str],
        alpha: float = 0.95,
        beta: float = 0.99,
        tau: float = 1.0,
        seed: int = 0,
        *,
        update_every: int = 1,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, 1.0, update_every, process_group)
        self.alpha = _check_share("alpha", alpha)
        self.beta = _check_share("beta", beta)
        self.tau = check_float("tau", tau, positive=True)
        seed = check_int("seed", seed, -(2**63), 2**63 - 1)
        self.register_buffer("previous", torch.full_like(self.weight, torch.inf))
        self.register_buffer("initial", torch.full_like(self.weight, torch.inf))
        # The seed as the hash takes it, saved with the rest: a resumed run goes on with its draws.
        self.register_buffer("key", torch.tensor(mixed(seed, 0), dtype=torch.int64))

    def _core(
        self, values: Tensor, state: ReLoBRaLoState, due: Tensor | None
    ) -> tuple[Tensor, ReLoBRaLoState]:
        draw = bernoulli(self.key, state.updates, self.beta)
        return relobralo(values, state, draw, alpha=self.alpha, tau=self.tau, due=due)


def bernoulli(key: Tensor, number: Tensor, probability: float) -> Tensor:
    """True with ``probability``: a hash of ``key`` and ``number`` (int64 tensors), bool tensor ().

    The output of SplitMix64 (Steele, Lea, Flood 2014) of the state ``key`` after ``number``
    steps, in wrapping int64 arithmetic, against the probability.
    """
    z = torch.add(key, number, alpha=_signed(_GAMMA))
    z = (z ^ ((z >> 30) & (2**34 - 1))) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ ((z >> 27) & (2**37 - 1))) * _signed(0x94D049BB133111EB)
    z = z ^ ((z >> 31) & (2**33 - 1))
    # All 64 bits as a signed number, uniform from -2^63 on; the limit is one below 2^63 at most.
    return z < min(round(probability * 2**64) - 2**63, 2**63 - 1)


def _signed(value: int) -> int:
    """The int64 of the same 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def _check_share(name: str, value: Any) -> float:
    number = check_float(name, value)
    if not 0.0 <= number <= 1.0:
        fail(name, "a number from 0 to 1", str(number))
    return number
