"""Some columns of a residual as a residual of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail, fail_type
from colloc.jets import Jet, Order
from colloc.pde._arguments import Residual, check_jet, check_residual, check_rows
from colloc.pde.residual_points import on_points, takes_points

Selection = str | int | Sequence[str | int]


class Columns:
    """Some columns of a residual, made by :func:`columns`."""

    def __init__(self, residual: Residual, names: Selection) -> None:
        self.residual = check_residual("residual", residual)
        self.takes_points = takes_points(residual)
        self._on_points = on_points(residual)
        self.order: Order | None = getattr(residual, "order", None)
        known = getattr(residual, "names", None)
        self._known = None if known is None else tuple(known)
        self.indices = _indices(names, self._known)
        """The columns selected, counted from 0."""
        self.names = None if self._known is None else tuple(self._known[i] for i in self.indices)

    def __call__(self, jet: Jet, x: Tensor, points: Any = None) -> Tensor:
        """The selected columns (N, q) of the residual of ``jet`` at its points ``x`` (N, d)."""
        check_jet(jet, x, self.order)
        rows = check_rows("residual", self._on_points(jet, x, points), jet)
        count = rows.shape[1]
        if self._known is not None and count != len(self._known):
            plural = "" if len(self._known) == 1 else "s"
            wanted = f"{len(self._known)} column{plural} ({', '.join(self._known)})"
            fix = "Its names stand for one field: select outputs with jet[:, i] first."
            fail("residual", wanted, f"{count}", fix)
        if max(self.indices) >= count:
            fail("names", f"columns below {count}", f"{max(self.indices)}")
        first = self.indices[0]
        if self.indices == tuple(range(first, first + len(self.indices))):
            return rows[:, first : first + len(self.indices)]
        return torch.cat([rows[:, i : i + 1] for i in self.indices], dim=1)

    def __repr__(self) -> str:
        return f"columns({self.residual}, {list(self.names or self.indices)})"


def columns(residual: Residual, names: Selection) -> Columns:
    """Some columns of a residual as a residual of its own, for a term with a weight of its own.

    Example::

        equation = cc.pde.helmholtz(1.0, f, first_order=True)
        inside = cc.Term("helmholtz", net, points, cc.pde.columns(equation, "helmholtz"), order=1)
        slopes = cc.Term("compatibility", net, points,
                         cc.pde.columns(equation, "compatibility"), order=1, weight=0.5)

    Two terms evaluate the network twice. Where that counts, keep one term and scale its columns
    by the roots of their weights, in a residual of your own.

    Args:
        residual: ``residual(jet, x) -> (N, q)``, one of :mod:`colloc.pde` or your own.
        names: what to select, one or a sequence: names of columns; the beginning of several,
            as ``"momentum"`` for ``"momentum_x"`` and ``"momentum_y"``; or indices from 0. A
            residual without ``names`` of its own is selected from by indices alone.

    Returns:
        ``residual(jet, x) -> (N, q')``, the columns in the order given, with ``residual``'s
        ``order`` and the selected ``names`` (None where ``residual`` has none).

    Raises:
        TypeError: residual is not callable; names is not a name, an index or a sequence of them.
        ValueError: nothing is selected, a name is unknown, a column is selected twice; when
            called, the residual has not the columns that its names or the indices say.
    """
    return Columns(residual, names)


def _indices(names: Any, known: tuple[str, ...] | None) -> tuple[int, ...]:
    """The columns that the names stand for."""
    single = isinstance(names, (str, int))
    if not single and not isinstance(names, (list, tuple, range)):
        fail_type("names", "a name, an index or a sequence of them", describe(names))
    found: list[int] = []
    for position, name in enumerate([names] if single else names):
        label = "names" if single else f"names[{position}]"
        if isinstance(name, str):
            found += _named(label, name, known)
        else:
            last = None if known is None else len(known) - 1
            found.append(check_int(label, name, minimum=0, maximum=last))
    if not found:
        fail("names", "at least one column", describe(names))
    if len(set(found)) < len(found):
        fail("names", "different columns", describe(names))
    return tuple(found)


def _named(label: str, name: str, known: tuple[str, ...] | None) -> list[int]:
    """The columns of this name, or else those that begin with it."""
    if known is None:
        fix = "The residual has no names."
        fail_type(label, "an index of a column", describe(name), fix)
    if name in known:
        return [known.index(name)]
    found = [i for i, column in enumerate(known) if name and column.startswith(f"{name}_")]
    if not found:
        fail(label, f"one of {', '.join(known)}, or the beginning of some", describe(name))
    return found
