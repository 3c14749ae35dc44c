"""ResNorm: weights that bring the weighted losses to targets by their training rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import check_float
from colloc.balancing.base import averaged, given_gradient, pinned
from colloc.balancing.log_weights import (
    descend,
    normalised,
    refuse_peer_update,
    relative_rates,
)
from colloc.balancing.loss_rule import LossRule, accepted


class ResNormState(NamedTuple):
    """What ResNorm remembers."""

    z: Tensor
    """The weights' logarithms, (n,)."""
    initial: Tensor
    """The losses of the first update, (n,)."""
    updates: Tensor
    """How many updates there were, (), int64."""


def resnorm(
    values: Tensor,
    state: ResNormState,
    *,
    alpha: float = 1.0,
    lr: float = 0.01,
    due: Tensor | None = None,
) -> tuple[Tensor, ResNormState]:
    """One update: the weights (n,) and the new state; ``values`` (n,) are the losses.

    Where ``due`` is false, or a number is not finite, both are as they were.
    """
    losses = values.clamp_min(0.0)
    initial = torch.where(state.updates == 0, losses, state.initial)
    weighted, off = _deviations(losses, state.z, initial, alpha)
    z = descend(state.z, weighted * torch.sign(off), lr)
    accept = accepted(values, z, due)
    z = torch.where(accept, z, state.z)
    initial = torch.where(accept, initial, state.initial)
    return z.exp(), ResNormState(z, initial, state.updates + accept)


def _deviations(losses: Tensor, z: Tensor, initial: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """w_j L_j, and how far they are off their targets mean(L) r_j^alpha, each (n,)."""
    weighted = z.exp() * losses
    return weighted, weighted - losses.mean() * relative_rates(losses, initial) ** alpha


class ResNorm(LossRule):
    """Weights that bring the weighted losses to targets by their training rates: GradNorm with
    losses in place of gradient norms, so that no backward is needed::

        F(z) = sum_j |w_j L_j - mean(L) r_j^alpha|,   w = exp z,   r_j = (L_j / L0_j) / mean

    One step of gradient descent on z an update (the targets are constants), then z is shifted
    so that the weights sum to n. A step's total has the weights before its update; they are 1
    at first. An update changes a weight by a factor of at most e, and not below e^-30, before
    the shift. The slope of F grows with the losses: choose lr for their size. As in
    PhysicsNeMo-Sym (Nandi, Van Essendelft, Nabian).

    ==================================  ================================================
    a loss that is                      does
    ==================================  ================================================
    0                                   no slope: its weight moves by the shift alone
    0 at the first update               r from the ratio 1 ever after
    negative                            counts as 0
    inf or NaN                          weights and state stay; the total shows it
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        alpha: strength of the pull to equal training rates, >= 0.
        lr: of the step on z, > 0.
        update_every: how many steps the weights are used for.
        peer: PhysicsNeMo-Sym's arithmetic, to repeat old runs: z is a parameter for the user's
            optimiser (``lr`` is not used), F is added to the total, and the shift comes at the
            beginning of a call.
        process_group: whose processes share the weights, of the mean of their losses; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    _state = ResNormState
    _uses_updated = False
    z: Tensor
    initial: Tensor

    def __init__(
        self,
        names: Iterable[str],
        alpha: float = 1.0,
        lr: float = 0.01,
        *,
        update_every: int = 1,
        peer: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, 1.0, update_every, process_group)
        self.alpha = check_float("alpha", alpha, nonnegative=True)
        self.lr = check_float("lr", lr, positive=True)
        self.peer = bool(peer)
        zeros = torch.zeros_like(self.weight)
        if self.peer:
            self.z = nn.Parameter(zeros)
        else:
            self.register_buffer("z", zeros)
        self.register_buffer("initial", torch.zeros_like(self.weight))

    def _core(
        self, values: Tensor, state: ResNormState, due: Tensor | None
    ) -> tuple[Tensor, ResNormState]:
        return resnorm(values, state, alpha=self.alpha, lr=self.lr, due=due)

    def forward(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> Tensor:
        """The weighted sum of ``losses``, shape (), in their dtype; updates the weights if due.

        Arguments and errors as of every rule, see :meth:`SoftAdapt.forward`.
        """
        if not (self.peer and self.training and torch.is_grad_enabled()):
            return super().forward(losses, step, terms=terms)
        values, dtype = self.stacked(losses)
        weights, objective, slope = self._peer_step(values.detach(), step)
        objective = given_gradient(self.z, objective, slope)
        return (torch.dot(values, weights) + objective).to(dtype)

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Move the weights as a call does, without the total."""
        if self.peer:
            refuse_peer_update()
        super().update(losses, step, terms=terms)

    @torch.no_grad()
    def _peer_step(
        self, values: Tensor, step: int | Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weights, what is added to the total and its gradient by z; 0 where not due."""
        values = averaged(values, self.process_group)
        due, at = self._due(step)
        self.z.copy_(normalised(self.z))
        losses = values.clamp_min(0.0)
        initial = torch.where(self.updates == 0, losses, self.initial)
        weighted, off = _deviations(losses, self.z, initial, self.alpha)
        objective, slope = off.abs().sum(), weighted * torch.sign(off)
        accept = accepted(values, slope + objective, due)
        if at is not None:
            self.last_step.copy_(torch.where(accept, at, self.last_step))
        self.initial.copy_(torch.where(accept, initial, self.initial))
        self.updates.add_(accept)
        weights = self.z.exp()
        self.weight.copy_(weights)
        weights, slope = pinned(weights, torch.where(accept, slope, 0.0))
        return weights, torch.where(accept, objective, 0.0), slope
