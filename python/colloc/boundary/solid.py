"""Distance functions of solids, of intervals and of an initial time, as jets."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, check_points, describe, fail, fail_type
from colloc.boundary.rfunctions import conjunction, disjunction, equivalence, negation
from colloc.geometry.aligned import AxisAligned, checked_corner
from colloc.geometry.ball import Ball, BallBoundary
from colloc.geometry.boundary import Boundary, Part
from colloc.geometry.box import BoxBoundary
from colloc.geometry.combination import Combination
from colloc.geometry.interval import IntervalBoundary
from colloc.geometry.shape import Shape
from colloc.geometry.solid import SolidBoundary, SolidCombination
from colloc.geometry.time_domain import TimeBoundary, TimeDomain
from colloc.jets import Jet, Order, check_order, coordinate
from colloc.jets.functions import sqrt, square
from colloc.jets.layout import check_wrt

_WANTED = "an Interval, Box, Ball or a combination of solids, or (a part of) its boundary"
#: Combinations that have been looked at.
_looked_at: weakref.WeakSet[Shape] = weakref.WeakSet()


def solid_distance(
    part: Shape | Boundary,
    x: Tensor,
    order: Order = 0,
    wrt: Sequence[int] | None = None,
    *,
    m: int = 2,
    space: Sequence[int] | None = None,
) -> Jet:
    """phi, an approximate distance to the boundary of a solid or interval, or to a part of it:
    0 there with the slope 1 along the inner normal, > 0 elsewhere in the closed shape.

    ================== ======================================================================
    of                 phi
    ================== ======================================================================
    Interval, Box      R_0 conjunction of x_i - lower_i and upper_i - x_i, axis by axis
    Ball               (R^2 - r^2) / (2 R), r = |x - c|; where a ball is cut out, of its part of
                       the boundary alone (r^2 - R^2) / sqrt(2 (r^2 + R^2))
    ``|``, ``&``, -    R_0 disjunction, conjunction, conjunction with the negation
    faces of a box     equivalence of order m of the faces' planes: a plane meets the closed box
                       in the face alone
    TimeDomain         lateral: that of its shape; initial: t - start; both: their equivalence
    ================== ======================================================================

    For a whole boundary phi < 0 outside. Parts of a combination's boundary: the faces of
    operands that enclose it (a in a & b and a - b), and all the faces that are left of an operand
    that is cut out (b in a - b or a - (b | c)). Others, such as a face of a union, would need
    trimmed faces and are refused.

    phi is smooth up to edges and corners, where derivatives are finite but one-sided (see
    :func:`colloc.boundary.conjunction`); second derivatives grow like 1 / distance towards an
    edge. It is normalised to first order: the second normal derivative on a face is not 0.
    Faces of several operands that coincide: where they coincide on the surface |grad phi| is not
    1 (one warning; phi = 0 is right and Dirichlet conditions are met, Neumann and Robin are
    not); where they coincide inside of a union phi would be 0 there, which is refused.

    Args:
        part: an Interval, a Box, a Ball, a combination of solids by ``| & -``, its boundary or a
            part of that; or a TimeDomain of those. For shapes of the plane use
            :func:`colloc.boundary.distance`.
        x: points (N, d), d at least the part's dimension.
        order: the order of the jet.
        wrt: the inputs to differentiate by; None: all d.
        m: order of the equivalence of faces, and of walls with the initial time.
        space: the inputs that are the part's coordinates, in its order (a TimeDomain's time is
            the last); None: the first ones.

    Returns:
        A jet with one output, value (N, 1), differentiable in x.

    Raises:
        TypeError: part is something else, a shape of the plane.
        ValueError: x, order, wrt, m or space do not fit; a part that is not supported; operands
            that touch along a face inside of their union.
    """
    if not isinstance(part, (Shape, Boundary)):
        fail_type("part", _WANTED, describe(part))
    dim = part.dim
    check_points("x", x)
    if x.shape[1] < dim:
        fail("x", f"points with at least {dim} inputs, the part's coordinates", x)
    at = _check_space(space, dim, x.shape[1])
    order, m = check_order(order), check_int("m", m, minimum=1)
    by = check_wrt(wrt, x.shape[1])
    axes = [coordinate(x, i, order, by) for i in at]
    if isinstance(part, TimeDomain):
        part = part.boundary
    if isinstance(part, Shape):
        return _of_shape(part, axes)
    return _of_faces(*part._parent, axes, m)


def half_space(
    point: Sequence[float],
    normal: Sequence[float],
    x: Tensor,
    order: Order = 0,
    wrt: Sequence[int] | None = None,
    *,
    space: Sequence[int] | None = None,
) -> Jet:
    """The distance to a plane (a line, a point), (point - x) . n with n = normal / |normal|: 0
    on it, > 0 on the side that the normal points away from.

    Args:
        point: a point of the plane, as many numbers as there are coordinates.
        normal: outward normal, of any length > 0.
        x, order, wrt, space: as for :func:`solid_distance`.

    Returns:
        A jet with one output; to be combined with others by :func:`colloc.boundary.conjunction`.

    Raises:
        ValueError, TypeError: otherwise.
    """
    if not hasattr(normal, "__len__"):
        fail_type("normal", "a tuple of numbers", describe(normal))
    n = checked_corner("normal", normal, len(normal))
    p = checked_corner("point", point, len(n))
    size = math.hypot(*n)
    if not 0 < size < math.inf:
        fail("normal", "a vector other than 0", str(n))
    check_points("x", x)
    if x.shape[1] < len(n):
        fail("x", f"points with at least {len(n)} inputs", x)
    by = check_wrt(wrt, x.shape[1])
    total: Jet | None = None
    for i, component, start in zip(_check_space(space, len(n), x.shape[1]), n, p, strict=True):
        term = (coordinate(x, i, check_order(order), by) - start) * (-component / size)
        total = term if total is None else total + term
    assert total is not None  # a normal of length > 0 has components
    return total


def initial_distance(
    start: float,
    x: Tensor,
    order: Order = 0,
    wrt: Sequence[int] | None = None,
    *,
    axis: int = -1,
) -> Jet:
    """t - start, the distance from an initial time, as a jet with one output.

    Args:
        start: the initial time.
        x: points (N, d).
        order, wrt: as for :func:`solid_distance`.
        axis: which input is the time; the last by default.

    Raises:
        ValueError, TypeError: otherwise.
    """
    check_points("x", x)
    d = x.shape[1]
    axis = check_int("axis", axis, minimum=-d, maximum=d - 1) % max(d, 1)
    return coordinate(x, axis, order, wrt) - check_float("start", start)


def _check_space(space: Any, dim: int, inputs: int) -> tuple[int, ...]:
    if space is None:
        return tuple(range(dim))
    wanted = f"{dim} different inputs below {inputs}"
    if not isinstance(space, (list, tuple)):
        fail_type("space", wanted, describe(space))
    found = tuple(check_int("space", i, minimum=0, maximum=inputs - 1) for i in space)
    if len(found) != dim or len(set(found)) != dim:
        fail("space", wanted, str(found))
    return found


def _of_shape(shape: Shape, axes: Sequence[Jet]) -> Jet:
    """phi of a whole shape, negative outside."""
    if isinstance(shape, Ball):
        return (shape.radius**2 - _squares(shape, axes)) / (2 * shape.radius)
    if isinstance(shape, AxisAligned) and shape.dim != 2:
        slabs = [
            conjunction(axis - low, high - axis)
            for axis, low, high in zip(axes, *shape.bounds, strict=True)
        ]
        return conjunction(*slabs)
    if isinstance(shape, SolidCombination):
        _look_at(shape)
        return _evaluate(shape, axes)
    fix = "For shapes of the plane use cc.boundary.distance." if shape.dim == 2 else ""
    fail_type("part", _WANTED, describe(shape), fix)


def _outside(shape: Shape, axes: Sequence[Jet]) -> Jet:
    """phi of the boundary of a shape that is cut out, positive outside of it."""
    if isinstance(shape, Ball):  # the other one grows like the square of the distance
        squares = _squares(shape, axes)
        return (squares - shape.radius**2) / sqrt(2 * (squares + shape.radius**2))
    return negation(_of_shape(shape, axes))


def _squares(ball: Ball, axes: Sequence[Jet]) -> Jet:
    """|x - c|^2."""
    x, y, z = (axis - c for axis, c in zip(axes, ball.center, strict=True))
    return square(x) + square(y) + square(z)


def _evaluate(solid: SolidCombination, axes: Sequence[Jet]) -> Jet:
    leaves = [_of_shape(leaf, axes) for leaf in solid._leaves]
    return solid._evaluate(leaves, disjunction, conjunction, negation)


def _of_faces(boundary: Boundary, numbers: Sequence[int], axes: Sequence[Jet], m: int) -> Jet:
    """phi of the faces with these numbers."""
    if isinstance(boundary, BallBoundary):
        return _of_shape(boundary._ball, axes)
    if isinstance(boundary, (BoxBoundary, IntervalBoundary)):
        box = boundary._box if isinstance(boundary, BoxBoundary) else boundary._interval
        if len(numbers) == len(boundary):
            return _of_shape(box, axes)
        return equivalence(*(_plane(box, k, axes) for k in numbers), m=m)
    if isinstance(boundary, TimeBoundary):
        last, found = len(boundary) - 1, []
        walls = [k for k in numbers if k < last]
        if walls:
            found.append(_of_faces(*boundary._walls.part(walls)._parent, axes[:-1], m))
        if last in numbers:
            found.append(axes[-1] - boundary._domain.times[0])
        return equivalence(*found, m=m)
    if isinstance(boundary, SolidBoundary):
        return _of_solid_faces(boundary, numbers, axes, m)
    fix = "For curves of the plane use cc.boundary.distance." if boundary.dim == 2 else ""
    fail_type("part", _WANTED, describe(boundary), fix)


def _plane(box: AxisAligned, face: int, axes: Sequence[Jet]) -> Jet:
    lower, upper = box.bounds
    axis = face // 2
    return upper[axis] - axes[axis] if face % 2 else axes[axis] - lower[axis]


def _of_solid_faces(
    boundary: SolidBoundary, numbers: Sequence[int], axes: Sequence[Jet], m: int
) -> Jet:
    solid, left = boundary._solid, [k for k in range(len(boundary)) if boundary._raw[k] > 0]
    chosen = [k for k in numbers if k in left]
    if not chosen:
        fail("part", "faces with area on the surface", repr(Part(boundary, numbers)))
    if chosen == left:
        return _of_shape(solid, axes)
    _look_at(solid)
    encloses: dict[int, bool] = {}
    _find_sides(solid, True, encloses)
    found = []
    for owner in sorted({boundary._owner[k] for k in chosen}):
        leaf = solid._leaves[owner]
        own = [k for k in chosen if boundary._owner[k] == owner]
        whole = own == [k for k in left if boundary._owner[k] == owner]
        side = encloses.get(id(leaf))
        if side is None or (not side and not whole):
            fail(
                "part",
                "faces of operands that enclose the shape (a in a & b and a - b), or all faces "
                "of one that is cut out (b in a - b)",
                repr(Part(boundary, own)),
                "The surfaces of other faces go on inside of the shape.",
            )
        if not side:
            found.append(_outside(leaf, axes))
        else:
            faces = leaf.boundary.part([boundary._within[k] for k in own])
            found.append(_of_faces(*faces._parent, axes, m))
    return equivalence(*found, m=m)


def _find_sides(shape: Shape, within: bool, found: dict[int, bool]) -> None:
    """The operands on one side of whose boundary the whole shape lies: True for the inside.

    With ``within`` the shape lies in ``shape``, otherwise outside of it.
    """
    if not isinstance(shape, Combination):
        found.setdefault(id(shape), within)
        return
    first, *rest = shape.operands
    if shape._op == "&" and within:
        sides = [True] * (1 + len(rest))
    elif shape._op == "-" and within:
        sides = [True] + [False] * len(rest)
    elif shape._op == "|" and not within:
        sides = [False] * (1 + len(rest))
    else:
        return
    for operand, side in zip((first, *rest), sides, strict=True):
        _find_sides(operand, side, found)


def _look_at(solid: SolidCombination) -> None:
    """Once for each combination: at points of the operands' faces, is phi > 0 inside of the
    shape and |grad phi| = 1 on its surface? Neither is where faces coincide."""
    if torch.compiler.is_compiling() or solid in _looked_at:
        return
    corners = torch.tensor(
        [leaf.bounds for leaf in solid._leaves], dtype=torch.float64, device="cpu"
    )
    size = float(corners.amax() - corners.amin())
    step = 1e-7 * size + 1e-13 * float(corners.abs().amax())
    normalised = True
    for leaf in solid._leaves:
        at = leaf.boundary.sample(512, method="uniform", seed=0, dtype=torch.float64, device="cpu")
        assert at.normal is not None
        below = solid.inside(at.x - step * at.normal)
        above = solid.inside(at.x + step * at.normal)
        phi = _evaluate(solid, [coordinate(at.x, i, 1) for i in range(3)])
        if bool((phi.value[below & above].abs() < 1e-12 * size).any()):
            fail(
                "part",
                "operands that overlap, or keep apart",
                f"a face of {leaf} that others touch from the other side, in {solid}",
                "phi would be 0 inside of the shape. Let the operands overlap.",
            )
        slope = phi.grad[below ^ above].norm(dim=2)
        normalised = normalised and bool(((slope - 1).abs() < 1e-6).all())
    if not normalised:
        warnings.warn(
            f"solid_distance: faces of several operands coincide on the surface of {solid}. "
            "|grad phi| is not 1 there: Dirichlet conditions are met all the same, Neumann and "
            "Robin conditions are not.",
            stacklevel=4,
        )
    _looked_at.add(solid)
