"""GradNorm: weights that bring gradient norms to targets by the losses' training rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import check_float
from colloc.balancing.base import averaged, check_step, given_gradient
from colloc.balancing.gradient_rule import GradientRule, capturing
from colloc.balancing.gradients import Gradients, last_weight, norms
from colloc.balancing.log_weights import (
    active_mean,
    descend,
    normalised,
    refuse_peer_update,
    relative_rates,
)
from colloc.balancing.loss_rule import all_finite


class GradNormValues(NamedTuple):
    """What GradNorm looks at."""

    losses: Tensor
    """(n,)."""
    norms: Tensor
    """Of the gradients of the unweighted losses, (n,)."""


class GradNormState(NamedTuple):
    """What GradNorm remembers."""

    z: Tensor
    """The weights' logarithms, (n,)."""
    initial: Tensor
    """The losses of the first update, (n,); NaN before."""


def gradnorm(
    values: GradNormValues, state: GradNormState, *, alpha: float = 1.0, lr: float = 0.01
) -> tuple[Tensor, GradNormState]:
    """One update: the weights (n,) and the new state.

    A norm that is 0 or not finite takes no part: its weight stays. Where a loss is not finite,
    weights and state are as they were.
    """
    losses = values.losses.clamp_min(0.0)
    initial = torch.where(torch.isnan(state.initial), losses, state.initial)
    _, slope, active = gradnorm_objective(values, state.z, initial, alpha)
    z = descend(state.z, slope, lr, active)
    accept = all_finite(values.losses + z)
    z = torch.where(accept, z, state.z)
    return z.exp(), GradNormState(z, torch.where(accept, initial, state.initial))


def gradnorm_objective(
    values: GradNormValues, z: Tensor, initial: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """F = sum_j |w_j |g_j| - mean_k(w_k |g_k|) r_j^alpha|, (); its gradient by z with the
    targets constant, (n,); and which losses take part, a bool tensor (n,)."""
    active = torch.isfinite(values.norms) & (values.norms > 0)
    weighted = torch.where(active, z.exp() * values.norms, 0.0)
    rates = relative_rates(values.losses.clamp_min(0.0), initial, active)
    off = torch.where(active, weighted - active_mean(weighted, active) * rates**alpha, 0.0)
    return off.abs().sum(), weighted * torch.sign(off), active


class GradNorm(GradientRule):
    """Weights that bring the norms of the weighted gradients to targets by training rates::

        F(z) = sum_j |G_j - mean(G) r_j^alpha|,   G_j = w_j |grad L_j|,   w = exp z
        r_j = (L_j / L0_j) / mean_k (L_k / L0_k)

    One step of gradient descent on z an update (the targets are constants), then z is shifted
    so that the weights sum to n. A step's total has the weights before its update; they are 1
    at first. The higher a loss compared with its first value, the larger its target. An update
    changes a weight by a factor of at most e, and not below e^-30, before the shift. Chen,
    Badrinarayanan, Lee and Rabinovich, ICML 2018; z in place of w keeps the weights positive.

    The slope of F grows with the losses: with losses of size 1 the default lr is right, with
    losses of size 1000 divide it by 1000. In ``torch.compile`` and in a captured CUDA graph call
    ``update(losses, step)`` outside; the call inside has the weights before it if it gets the
    same step (a tensor, where a graph is captured), and those after it without one. With float16
    give it losses that are not scaled, and ``balancer.gradient_scale`` the scaler's factor.

    ==================================  ================================================
    a loss that is, or has              does
    ==================================  ================================================
    a gradient of 0, or none            its weight stays, and it is in none of the means
    a gradient that is not finite       its weight stays, and it is in none of the means
    0 at the first update               r from the ratio 1 ever after
    negative                            counts as 0 in r
    inf or NaN                          weights and state stay; the total shows it
    ==================================  ================================================

    Args:
        names: the losses' names, different strings.
        parameters: by which the gradients are: leaf tensors, or a module, of which the weight
            of its last ``nn.Linear`` (without its bias; v where it is g v / |v|) is meant.
        alpha: strength of the pull to equal training rates, >= 0.
        lr: of the step on z, > 0.
        update_every: how many steps the weights are used for.
        peer: PhysicsNeMo-Sym's arithmetic, to repeat old runs: z is a parameter for the user's
            optimiser (``lr`` is not used), F is added to the total, and the shift comes at the
            beginning of a call. Not for compiled or captured steps, where z would stay.
        process_group: whose processes share the weights, of the mean of their losses and
            gradients; None is the default group of torch.distributed, where that has been
            initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; a parameter that
            is no leaf; in a call: no loss depends on any of ``parameters``.
    """

    z: Tensor
    initial: Tensor
    used: Tensor

    def __init__(
        self,
        names: Iterable[str],
        parameters: Any,
        alpha: float = 1.0,
        lr: float = 0.01,
        *,
        update_every: int = 1,
        peer: bool = False,
        process_group: Any = None,
    ) -> None:
        if isinstance(parameters, nn.Module):
            parameters = last_weight(parameters)
        super().__init__(names, parameters, update_every, process_group)
        self.alpha = check_float("alpha", alpha, nonnegative=True)
        self.lr = check_float("lr", lr, positive=True)
        self.peer = bool(peer)
        zeros = torch.zeros_like(self.weight)
        if self.peer:
            self.z = nn.Parameter(zeros)
        else:
            self.register_buffer("z", zeros)
        self.register_buffer("initial", torch.full_like(self.weight, torch.nan))
        # What the last step's total has: a step may be evaluated again.
        self.register_buffer("used", torch.ones_like(self.weight))
        self._slope: tuple[Tensor, Tensor] | None = None

    def forward(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> Tensor:
        """The weighted sum of ``losses``, shape (), in their dtype; updates the weights if due.

        Arguments and errors as of :meth:`LRAnnealing.forward`.
        """
        total = super().forward(losses, step, terms=terms)
        if self._slope is not None:
            objective, slope = self._slope
            self._slope = None
            total = total + given_gradient(self.z, objective, slope).to(total.dtype)
        return total

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Move the weights as a call does, without the total; for use outside of a compiled or
        captured step, with losses that have their graph."""
        if self.peer:
            refuse_peer_update()
        super().update(losses, step, terms=terms)

    def _present(self, step: int | Tensor | None) -> Tensor:
        if self._again:
            return self.used.clone()
        outside = self.outside or torch.compiler.is_compiling() or capturing(self.weight)
        at = check_step(step)
        if at is None or not self.training or not outside:
            return self.weight.clone()
        # A step whose update was made outside has the weights before it, as any other.
        return torch.where(self.last_step == at, self.used, self.weight)

    def _weigh(self, gradients: Sequence[Gradients], values: Tensor) -> Tensor:
        values = averaged(values, self.process_group)
        found = GradNormValues(values, norms(gradients, 2, values))
        state = GradNormState(self.z.detach(), self.initial)
        if self.peer:
            return self._weigh_as_peer(found)
        before = self.weight.clone()
        weights, state = gradnorm(found, state, alpha=self.alpha, lr=self.lr)
        self.weight.copy_(weights)
        self.z.copy_(state.z)
        self.initial.copy_(state.initial)
        self.used.copy_(before)
        return before

    def _weigh_as_peer(self, found: GradNormValues) -> Tensor:
        """The weights by z as the optimiser left it; what is to be added to the total."""
        self.z.copy_(normalised(self.z))
        initial = torch.where(torch.isnan(self.initial), found.losses.clamp_min(0.0), self.initial)
        objective, slope, _ = gradnorm_objective(found, self.z, initial, self.alpha)
        accept = all_finite(found.losses + objective)
        self.initial.copy_(torch.where(accept, initial, self.initial))
        self._slope = (torch.where(accept, objective, 0.0), torch.where(accept, slope, 0.0))
        weights = self.z.exp()
        self.weight.copy_(weights)
        self.used.copy_(weights)
        return weights
