"""A named residual on points."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from colloc._checks import check_float, check_points, concrete, describe, fail, fail_type
from colloc.jets import Jet, Order, check_order, jet
from colloc.pde.residual_points import on_points, takes_points


@runtime_checkable
class MeasuredPoints(Protocol):
    """What a term needs of points: ``colloc.geometry`` samples have it."""

    @property
    def x(self) -> Tensor:
        """Coordinates, (N, d)."""
        ...

    @property
    def measure(self) -> Tensor:
        """Each point's share of length, area or volume, (N, 1)."""
        ...


Weight: TypeAlias = "float | Tensor | Callable[[Any], Tensor]"

# Up to here equations may by chance be as many as the points; above, it is worth a warning.
_SMALL = 32


class Term:
    """A named residual on points: the one object that carries residual rows.

    ``term()`` gives the rows, ``term.loss()`` their area-weighted mean square::

        loss = sum_i m_i w_i mean_q r_iq^2 / sum_i m_i

    with m the points' measure (equal shares where ``points`` is a plain tensor) and w the
    weight; a Monte-Carlo estimate of the mean of w r^2 over the domain. Points that say what
    they stand for (``points.whole``, of importance sampling) have that in place of sum_i m_i:
    their measure sums to it on the average alone, and only so is the estimate unbiased. With
    ``reduce`` the rows are integrals, and the loss is ``mean_k w_k mean_q r_kq^2``.

    Example::

        inside = cc.Term("interior", net, square.sample(4000), cc.pde.helmholtz(1.0, f),
                         weight=cc.pde.distance_weight)
        wall = cc.Term("wall", net, square.boundary.sample(800), lambda u, x: u.value, order=0)
        loss = inside.loss() + wall.loss()

    A residual that reads more of its points than the coordinates takes them as a third argument,
    those that are in the term at the time, or in the pool of an importance sampler::

        flux = cc.Term("flux", net, wall.sample(256), lambda u, x, points:
                       (u.grad[:, 0] * points.normal).sum(1, keepdim=True), order=1)
        data = cc.Term("data", net, sensors.all(),           # PointCloud(x, values=u)
                       lambda u, x, points: u.value - points.values, order=0)

    An integral row, here the flux of u through an outlet, which should be 2::

        flux = cc.Term("flux", net, outlet, lambda u, x: u[:, 0].value, order=0,
                       reduce=cc.pde.integral(outlet, 2.0))

    Args:
        name: the key of this term's loss, not empty.
        field: network (or any callable) from (N, d) to (N, m), see :func:`colloc.jet`.
        points: a sample with ``x`` (N, d) and ``measure`` (N, 1), or a plain (N, d) tensor.
            May be assigned anew: ``term.points = sampler(step)``.
        residual: ``residual(jet, x) -> (N, q)`` or ``residual(jet, x, points) -> (N, q)``, row i
            depending on point i alone. It gets the points where it has a parameter ``points``, or
            three without a default.
        order: the order of jet that the residual reads; None: the residual's own ``order``, as
            those of ``colloc.pde`` have, and "laplacian" for one without.
        weight: multiplies the squares: a number >= 0, a tensor (N, 1) of them (looked at once,
            on the CPU), or a callable from
            ``points`` to (N, 1). A tensor or callable goes with the rows that are squared:
            (k, 1) where ``reduce`` leaves k rows.
        reduce: from the rows (N, q) to integral rows (k, q).

    Raises:
        TypeError, ValueError: an argument of the wrong type, shape or device. Nothing
            broadcasts: a residual of shape (N,), or (N, N) out of (N, 1) and (N,), is refused
            when evaluated. Where there are as many columns as points, the residual is evaluated
            once more, without gradients, on N + 1 points: columns of its own stay as many.
    """

    def __init__(
        self,
        name: str,
        field: Callable[[Tensor], Tensor],
        points: MeasuredPoints | Tensor,
        residual: Callable[..., Tensor],
        order: Order | None = None,
        weight: Weight = 1.0,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if not isinstance(name, str):
            fail_type("name", "a string", describe(name))
        if not name:
            fail("name", "a string that is not empty", name)
        if not callable(field):
            fail_type("field", "a module or callable that maps (N, d) to (N, m)", describe(field))
        if not callable(residual):
            wanted = "a callable residual(jet, x) -> (N, q) or residual(jet, x, points)"
            fail_type("residual", wanted, describe(residual))
        if reduce is not None and not callable(reduce):
            wanted = "None or a callable from rows (N, q) to rows (k, q)"
            fail_type("reduce", wanted, describe(reduce))
        self.name = name
        self.field = field
        self.residual = residual
        self._called = residual, on_points(residual)
        self._columns: tuple[Any, int] | None = None  # a residual, and how many it truly has
        self.order = residual_order(residual) if order is None else check_order(order)
        self.weight = weight
        self.reduce = reduce
        self.points = points

    @property
    def points(self) -> MeasuredPoints | Tensor:
        """The points that the residual is taken on; assignable."""
        return self._points

    @points.setter
    def points(self, points: MeasuredPoints | Tensor) -> None:
        if isinstance(points, Tensor):
            check_points("points", points)
        elif isinstance(points, MeasuredPoints):
            _check_measure(points.measure, check_points("points.x", points.x))
        else:
            wanted = "a sample with x (N, d) and measure (N, 1), or a tensor (N, d)"
            fail_type("points", wanted, describe(points))
        self._points = points

    @property
    def weight(self) -> Weight:
        """What multiplies the squares; assignable."""
        return self._weight

    @weight.setter
    def weight(self, weight: Weight) -> None:
        if not isinstance(weight, Tensor) and not callable(weight):
            weight = check_float("weight", weight, nonnegative=True)
        if isinstance(weight, Tensor):
            _check_weight("weight", weight)
        self._weight = weight
        self._weight_checked = isinstance(weight, (float, Tensor))

    @property
    def x(self) -> Tensor:
        """The points' coordinates, (N, d)."""
        return self._points if isinstance(self._points, Tensor) else self._points.x

    def __call__(self) -> Tensor:
        """The residual's rows, (N, q), or the integral rows (k, q) where ``reduce`` is given."""
        rows = self.rows(self._points)
        if self.reduce is None:
            return rows
        reduced = self.reduce(rows)
        wanted = f"a floating tensor of shape (k, {rows.shape[1]}), k >= 1"
        if not isinstance(reduced, Tensor) or not reduced.is_floating_point():
            fail_type(f"reduce of term {self.name!r}", wanted, reduced)
        if reduced.ndim != 2 or reduced.shape[0] < 1 or reduced.shape[1] != rows.shape[1]:
            fix = "Sum with keepdim=True." if reduced.ndim < 2 else ""
            fail(f"reduce of term {self.name!r}", wanted, reduced, fix)
        return reduced

    @property
    def takes_points(self) -> bool:
        """Whether the residual takes points, so that :meth:`rows` needs them, too."""
        return takes_points(self.residual)

    def rows(self, x: MeasuredPoints | Tensor) -> Tensor:
        """The residual's rows at any points, (N, q), before ``reduce`` and without the weight;
        what importance sampling takes its measure from. Those of 16 bits are given in float32.

        Args:
            x: the points, a sample; or their coordinates (N, d), for a residual that takes no
                more of them.
        """
        points, x = x, x if isinstance(x, Tensor) else x.x
        values = jet(self.field, x, self.order)
        rows = self._check_rows(self._residual_at(values, x, points), values, x, points)
        # Squares and sums of 16 bits (autocast) would overflow from 256 on, and vanish.
        return rows.float() if rows.dtype.itemsize == 2 else rows

    def _residual_at(self, values: Jet, x: Tensor, points: Any) -> Any:
        if self._called[0] is not self.residual:
            self._called = self.residual, on_points(self.residual)
        return self._called[1](values, x, points)

    def loss(self) -> Tensor:
        """The weight times the area-weighted mean square of the rows, shape ().

        Raises:
            ValueError: there are no points, or the weight's shape is not that of the rows.
        """
        if self.x.shape[0] == 0:
            fail("points", f"at least one point in term {self.name!r}", "none")
        squares = self().square().mean(dim=1, keepdim=True)
        weighted = self._row_weight(squares) * squares
        if self.reduce is not None or isinstance(self._points, Tensor):
            return weighted.mean()
        measure = self._points.measure.to(squares.dtype)
        return (measure * weighted).sum() / self._whole(measure)

    def shares(self, rows: Tensor) -> Tensor:
        """What each row's mean square is multiplied by in :meth:`loss`: of (k, q) rows (k, 1).

        ``loss = sum_i shares_i mean_q r_iq^2``; they are the rows' weights in the trace of the
        neural tangent kernel.
        """
        first = rows[:, :1]
        weight = self._row_weight(first)
        if self.reduce is not None or isinstance(self._points, Tensor):
            return torch.ones_like(first) * weight / max(1, rows.shape[0])
        measure = self._points.measure.to(rows.dtype)
        return measure * weight / self._whole(measure)

    def __repr__(self) -> str:
        count, inputs = self.x.shape
        return f"Term({self.name!r}, order={self.order!r}, points={count}, inputs={inputs})"

    def _whole(self, measure: Tensor) -> Any:
        """What the points stand for altogether."""
        whole = getattr(self._points, "whole", None)
        return measure.sum() if whole is None else whole

    def _row_weight(self, squares: Tensor) -> float | Tensor:
        """The weight as a number, or as a tensor with one entry a row."""
        weight = self.weight
        if isinstance(weight, float):
            return weight
        name, wanted = "weight", f"a floating tensor of shape {tuple(squares.shape)}"
        if not isinstance(weight, Tensor):
            name, weight = "weight(points)", weight(self._points)
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            fail_type(f"{name} of term {self.name!r}", wanted, describe(weight))
        if not self._weight_checked:
            _check_weight(f"{name} of term {self.name!r}", weight)
            self._weight_checked = True
        if weight.shape != squares.shape:
            fail(f"{name} of term {self.name!r}", wanted, weight)
        _check_device(f"{name} of term {self.name!r}", weight, squares)
        return weight.to(squares.dtype)

    def _check_rows(self, rows: Any, values: Jet, x: Tensor, points: Any) -> Tensor:
        """The residual's rows if they are (N, q) and no product of broadcasting."""
        count = x.shape[0]
        name = f"residual of term {self.name!r}"
        wanted = f"a floating tensor of shape ({count}, q), one row a point"
        if not isinstance(rows, Tensor) or not rows.is_floating_point():
            fail_type(name, wanted, describe(rows))
        if rows.ndim == 1:
            fix = "Keep the last axis: u.d(0) is (N, 1), x[:, :1] too; x[:, 0] is not."
            fail(name, wanted, rows, fix)
        if rows.ndim != 2 or rows.shape[0] != count or rows.shape[1] == 0:
            fail(name, wanted, rows)
        if rows.shape[1] == count > 1 and not self._has_columns(rows, values, points):
            fix = "An (N, 1) and an (N,) tensor were broadcast: give both the shape (N, 1)."
            fail(name, wanted, rows, fix)
        return rows

    def _has_columns(self, rows: Tensor, values: Jet, points: Any) -> bool:
        """Whether the residual truly has as many columns as there are points.

        Asked once for a residual and a number. On one point more, the first one taken twice, a
        true residual keeps its columns, where a broadcast one gains one or fails. A residual
        that holds data of the points, (N, q), fails too: there row i of a true one depends on
        point i alone, so that putting the first point in place of the last changes no other row.
        """
        count = rows.shape[0]
        if self._columns is not None and self._columns == (self.residual, count):
            return True
        x = points if isinstance(points, Tensor) else points.x
        after = self._elsewhere(values, points, [*range(count), 0])
        if after is not None:
            real = after.shape[1] == count
            if real and count > _SMALL and count not in (values.value.shape[1], x.shape[1]):
                warnings.warn(
                    f"residual of term {self.name!r}: as many columns as points, {count}, and also "
                    f"on {count + 1} points. If they are data of shape (N,), give them the shape "
                    "(N, 1); if they are equations, all is well.",
                    stacklevel=5,
                )
        else:
            swapped = self._elsewhere(values, points, [*range(count - 1), 0])
            real = (
                count in (values.value.shape[1], x.shape[1])
                if swapped is None
                else swapped.shape == rows.shape
                and torch.allclose(swapped[:-1], rows[:-1].detach(), equal_nan=True)
            )
        if real:
            self._columns = (self.residual, count)
        return real

    def _elsewhere(self, values: Jet, points: Any, some: list[int]) -> Tensor | None:
        """The residual's rows at some of the points, or None where it can't be had there."""
        index = torch.tensor(some, device=values.components.device)
        moved = Jet(values.components[:, index], values.order, values.wrt, values.inputs)
        x = points if isinstance(points, Tensor) else points.x
        try:
            with torch.no_grad():
                there = points[index] if self.takes_points else None
                rows = self._residual_at(moved, x[index], there)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
        return rows if isinstance(rows, Tensor) and rows.ndim == 2 else None


def residual_order(residual: Any) -> Order:
    """The order that a residual says it reads, "laplacian" if it says nothing."""
    found = getattr(residual, "order", None)
    if found is None:
        return "laplacian"
    try:
        return check_order(found)
    except ValueError:
        fix = "Where it means something else, give the term an order."
        fail("residual.order", "None or an order of jets", describe(found), fix)


def _check_weight(name: str, weight: Tensor) -> None:
    if concrete(weight) and not bool(((weight >= 0) & (weight < torch.inf)).all()):
        least, most = float(weight.min()), float(weight.max())
        fail(name, "finite numbers >= 0", f"a tensor with entries from {least:g} to {most:g}")


def _check_measure(measure: Any, x: Tensor) -> None:
    wanted = f"a floating tensor of shape ({x.shape[0]}, 1)"
    if not isinstance(measure, Tensor) or not measure.is_floating_point():
        fail_type("points.measure", wanted, measure)
    if measure.shape != (x.shape[0], 1):
        fail("points.measure", wanted, measure)
    _check_device("points.measure", measure, x)
    # On a GPU looking at the values would stop and wait for it at every refresh.
    if measure.device.type == "cpu" and x.shape[0] > 0:
        total = float(measure.sum())
        if not (0.0 < total < float("inf")) or bool((measure < 0).any()):
            got = f"a sum of {total} and a smallest of {float(measure.min())}"
            fail("points.measure", "finite shares >= 0 with a sum > 0", got)


def _check_device(name: str, tensor: Tensor, other: Tensor) -> None:
    if tensor.device != other.device:
        fail(name, f"a tensor on {other.device}", f"{describe(tensor)} on {tensor.device}")
