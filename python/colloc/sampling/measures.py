"""Measures for importance sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail, fail_type
from colloc.jets import Order, jet


class DerivativeNorm:
    """The 2-norm of chosen derivatives of a field, as a measure of importance.

    ``DerivativeNorm(net)`` is |grad u| over all outputs; for the velocities of a flow, whose
    outputs are u, v and p, ``DerivativeNorm(net, outputs=[0, 1])``: what the points of the
    annular ring are drawn by in the source of the scheme.

    Args:
        field: network or callable from (N, d) to (N, m), see :func:`colloc.jet`.
        derivatives: which, each a tuple of inputs, () for the value: ``[(0,), (1,), (0, 1)]``;
            up to the third; None: the first by every input.
        outputs: which outputs; None: all.

    Raises:
        ValueError, TypeError: otherwise; numbers of inputs and outputs are looked at when called.
    """

    def __init__(
        self,
        field: Callable[[Tensor], Tensor],
        derivatives: Sequence[Sequence[int]] | None = None,
        outputs: Sequence[int] | None = None,
    ) -> None:
        if not callable(field):
            fail_type("field", "a module or callable that maps (N, d) to (N, m)", describe(field))
        self.field = field
        self._derivatives: tuple[tuple[int, ...], ...] | None = None
        self._order: Order = 1
        if derivatives is not None:
            if isinstance(derivatives, str) or not isinstance(derivatives, Sequence):
                fail_type("derivatives", "a list of tuples of inputs", describe(derivatives))
            self._derivatives = tuple(map(_checked, derivatives))
            if not self._derivatives:
                fail("derivatives", "at least one tuple of inputs", "none")
            highest = max(len(which) for which in self._derivatives)
            orders: tuple[Order, ...] = (0, 1, 2, 3)
            self._order = orders[highest]
        if outputs is not None:
            if isinstance(outputs, str) or not isinstance(outputs, Sequence):
                fail_type("outputs", "a list of outputs", describe(outputs))
            outputs = [check_int("outputs", k, minimum=0) for k in outputs]
            if not outputs:
                fail("outputs", "at least one output", "none")
        self._outputs = outputs

    def rows(self, x: Tensor) -> Tensor:
        """The derivatives at x (N, d), (N, q)."""
        u = jet(self.field, x, self._order)
        if self._outputs is not None:
            count = u.value.shape[1]
            if max(self._outputs) >= count:
                fail("outputs", f"numbers below the field's {count} outputs", str(self._outputs))
        if self._derivatives is None:
            of_all = u.grad
            if self._outputs is not None:
                of_all = of_all[:, self._outputs]
            return of_all.flatten(1)
        values = [u.d(*which) if which else u.value for which in self._derivatives]
        if self._outputs is not None:
            values = [value[:, self._outputs] for value in values]
        return torch.cat(values, dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        """The norm at x (N, d), (N, 1)."""
        return torch.linalg.vector_norm(self.rows(x), dim=1, keepdim=True)


def _checked(which: Sequence[int]) -> tuple[int, ...]:
    if isinstance(which, (str, int)) or not isinstance(which, Sequence):
        fail_type("derivatives", "tuples of inputs such as (0, 1)", describe(which))
    if len(which) > 3:
        fail("derivatives", "derivatives up to the third", describe(which))
    return tuple(check_int("derivatives", k, minimum=0) for k in which)
