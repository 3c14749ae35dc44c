"""NTK: weights by the traces of the neural tangent kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc._graph import leaves_of
from colloc.balancing.base import averaged
from colloc.balancing.gradient_rule import CountedRule
from colloc.balancing.gradients import gradients_of, norms, shared
from colloc.balancing.lr_annealing import check_rate
from colloc.pde import Term


class NTKState(NamedTuple):
    """What the rule remembers."""

    weight: Tensor
    """(n,)."""
    updates: int
    """How many there were."""


def ntk(values: Tensor, state: NTKState, *, alpha: float = 1.0) -> tuple[Tensor, NTKState]:
    """One update: the weights (n,) and the new state; ``values`` (n,) are the traces.

    ``w_j <- (1 - alpha) w_j + alpha sum_k T_k / T_j``, at the first update with alpha = 1. A
    trace that is 0 or not finite does not count in the sum, and its weight stays.
    """
    share = alpha if state.updates else 1.0
    good = torch.isfinite(values) & (values > 0)
    fresh = torch.where(good, values, 0.0).sum() / values
    weights = (1.0 - share) * state.weight + share * fresh
    weights = torch.where(good & torch.isfinite(weights), weights, state.weight)
    return weights, NTKState(weights, state.updates + 1)


class NTK(CountedRule):
    """Weights by the traces of the neural tangent kernel: ``w_j = sum_k T_k / T_j``.

    ``T_j = sum_i s_i^2 |grad r_i|^2`` over the rows of term j, s_i^2 the row's share in its
    loss: the trace of J J^T of what the loss squares, by the parameters of the term's network.
    Terms then fall at the same average rate. Wang, Yu and Perdikaris, J. Comput. Phys. 449,
    2022, with Jacobians of the residual rows, never of the losses (which vanish as training
    converges). The first call already has these weights.

    Calls where an update is due need ``terms``::

        terms = [inside, wall]
        loss = balancer({t.name: t.loss() for t in terms}, step, terms=terms)

    The traces are those of the terms: where a loss is not ``term.loss()`` (a multiple of it, say),
    give the term that weight instead. In ``torch.compile`` and in a captured CUDA graph call
    ``update(losses, terms=terms)`` outside.

    ==================================  ================================================
    a loss that is, or has              does
    ==================================  ================================================
    a trace of 0, or not finite         its weight stays, and it is not in the sum
    0 or negative                       nothing special: only traces count
    inf or NaN                          all weights stay; the total shows it
    rounding errors (holds exactly)     a weight that makes these count: leave it out
    ==================================  ================================================

    Args:
        names: the losses' names, those of the terms, different strings.
        alpha: weight of the new value in a moving average, in (0, 1].
        update_every: how many steps the weights are used for. A trace costs about as much as
            two to four gradients of its loss; 100 to 1000 are usual.
        peer: PhysicsNeMo-Sym's arithmetic, to repeat old runs: in place of T_j the norm of the
            gradient of sqrt(L_j), the square root of a Rayleigh quotient, by all that the
            losses depend on; no terms are needed. (There weights are 0 between step 0 and
            the first update, ``run_per_step`` steps with no gradient; here they are true from
            the first call on.)
        process_group: whose processes share the weights, of the mean of their traces; None is
            the default group of torch.distributed, where that has been initialised.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a call where an
            update is due: terms are absent, or not one for each name.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        alpha: float = 1.0,
        update_every: int = 1,
        peer: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(names, update_every, process_group)
        self.alpha = check_rate(alpha)
        self.peer = bool(peer)

    def _move(
        self, losses: Sequence[Tensor], values: Tensor, terms: Any, dtype: torch.dtype | None
    ) -> tuple[Tensor, Tensor | None]:
        if self.peer:
            traces = self._roots(losses, values.detach())
        else:
            from colloc.ntk import term_trace

            each = [term_trace(term).to(values.device) for term in self._ordered(terms)]
            traces = averaged(torch.stack(each).to(torch.float64), self.process_group)
        assert self._counted is not None
        state = NTKState(self.weight, self._counted[1])
        with torch.no_grad():
            weights = self._accept(values, ntk(traces, state, alpha=self.alpha)[0])
            self.weight.copy_(weights)
        return weights, None

    def _roots(self, losses: Sequence[Tensor], values: Tensor) -> Tensor:
        """|grad sqrt|L_j|| = |grad L_j| / (2 sqrt|L_j|), (n,)."""
        leaves = leaves_of(losses)
        with torch.no_grad():
            found = shared(gradients_of(losses, leaves), leaves, self.process_group)
            means = averaged(values, self.process_group)
            return norms(found, 2, values) / (2.0 * means.abs().sqrt())

    def _ordered(self, terms: Any) -> list[Term]:
        """The terms in the order of ``names``."""
        wanted = "a list of terms, or a dict of them by name"
        if terms is None:
            fail(
                "terms",
                f"{wanted}, where the weights are updated",
                "None",
                "Call balancer(losses, step, terms=terms).",
            )
        if isinstance(terms, Mapping):
            named = dict(terms)
        elif isinstance(terms, Iterable) and not isinstance(terms, str):
            listed = list(terms)
            for term in listed:
                if not isinstance(term, Term):
                    fail_type("terms", wanted, describe(term))
            named = {term.name: term for term in listed}
            if len(named) != len(listed):
                fail("terms", "terms of different names", f"{[t.name for t in listed]}")
        else:
            fail_type("terms", wanted, describe(terms))
        for name, term in named.items():
            if not isinstance(term, Term):
                fail_type(f"terms[{name!r}]", "a colloc.Term", describe(term))
        if set(named) != set(self.names):
            fail(
                "terms",
                f"one for each of {list(self.names)}",
                f"those of {list(named)}",
                "Give the terms the names of their losses.",
            )
        return [named[name] for name in self.names]
