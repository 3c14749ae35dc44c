"""What conditions can be about besides curves of the plane: faces of solids, end points of an
interval, an initial time, the zeros of a function of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.boundary.pieces import Numbering, flat, pieces_of
from colloc.boundary.solid import initial_distance, solid_distance
from colloc.geometry.boundary import Boundary, Part
from colloc.geometry.curves import Piece
from colloc.geometry.parameter_domain import ParameterBoundary
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.geometry.shape import Shape
from colloc.geometry.time_domain import TimeBoundary
from colloc.jets import Jet, Order

#: A distance function of one's own, (x, order, wrt) -> a jet with one output.
OwnPhi: TypeAlias = Callable[[Tensor, Order, tuple[int, ...]], Jet]


class Local(NamedTuple):
    """Where the coordinates of conditions' parts stand among the inputs."""

    space: tuple[int, ...]
    time: int | None


class Surface:
    """Faces of a solid, or end points of an interval.

    Raises:
        ValueError: faces that :func:`solid_distance` does not support.
    """

    def __init__(self, part: Boundary) -> None:
        self.part, self.dim = part, part.dim
        self.size = _size(_shape_of(part._parent[0]))
        self.keys = keys_of(part)
        solid_distance(part, torch.zeros(1, part.dim, dtype=torch.float64, device="cpu"))

    def phi(self, x: Tensor, order: Order, at: Local, m: int, scale: float | None) -> Jet:
        """phi at points x by all their coordinates."""
        del scale
        return solid_distance(self.part, x, order, m=m, space=at.space)


class Start:
    """A shape at the first time of a :class:`colloc.geometry.TimeDomain`."""

    def __init__(self, boundary: TimeBoundary) -> None:
        shape, (self.start, stop) = boundary._domain.shape, boundary._domain.times
        self.dim, self.size = shape.dim, _size(shape)
        self.duration = stop - self.start
        self.keys: tuple[Any, ...] = (("initial", self.start),)

    def phi(self, x: Tensor, order: Order, at: Local, m: int, scale: float | None) -> Jet:
        """t - start; given a ``scale``, in units in which it grows to that."""
        del m
        assert at.time is not None
        found = initial_distance(self.start, x, order, axis=at.time)
        return found if scale is None else found * (scale / self.duration)


class Own:
    """The zeros of a function of one's own."""

    dim: int | None = None
    size: float | None = None

    def __init__(self, function: OwnPhi) -> None:
        self.function = function
        self.keys: tuple[Any, ...] = (id(function),)

    def phi(self, x: Tensor, order: Order, at: Local, m: int, scale: float | None) -> Jet:
        """What the function gives."""
        del at, m, scale
        wrt = tuple(range(x.shape[1]))
        found: Any = self.function(x, order, wrt)
        wanted = f"a jet of order {order!r} by wrt = {wrt} with one output, ({x.shape[0]}, 1)"
        if not isinstance(found, Jet):
            fix = "Make it of colloc.jets.coordinate(x, i, order, wrt), or see half_space."
            fail_type("part(x, order, wrt)", wanted, describe(found), fix)
        if found.wrt != wrt or found.components.shape[1:] != (x.shape[0], 1):
            fail("part(x, order, wrt)", wanted, repr(found), "Pass order and wrt on.")
        return found.truncate(order)


Face: TypeAlias = "Surface | Start | Own"


class Places(NamedTuple):
    """Where a condition holds."""

    pieces: tuple[Piece, ...]  # curves of the plane
    faces: tuple[Face, ...]  # everything else


def without_parameters(part: Any) -> Any:
    """Parts of a boundary over ranges of parameters as those of the boundary itself: a condition
    holds for all parameters."""
    if isinstance(part, (list, tuple)):
        return type(part)(without_parameters(one) for one in part)
    if not isinstance(part, Boundary):
        return part
    parent, numbers = part._parent
    if not isinstance(parent, ParameterBoundary):
        return part
    return parent._walls.part(numbers) if isinstance(part, Part) else parent._walls


def places_of(name: str, part: Any) -> Places:
    """The places of a boundary, of a part of one, of a piece, of a function, of a list of those.

    Raises:
        ValueError, TypeError: something else; faces that are not supported.
    """
    if _is_timed(part):
        parent, numbers = part._parent
        last, found = len(parent) - 1, Places((), ())
        walls = [k for k in numbers if k < last]
        if walls:
            found = places_of(name, parent._walls.part(walls))
        return Places(found.pieces, (*found.faces, Start(parent))) if last in numbers else found
    if isinstance(part, Boundary) and not isinstance(part._parent[0], PieceBoundary):
        return Places((), (Surface(part),))
    if callable(part) and not isinstance(part, type):
        return Places((), (Own(part),))
    if isinstance(part, (list, tuple)) and part:
        listed = [places_of(name, one) for one in part]
        return Places(
            tuple(piece for one in listed for piece in one.pieces),
            tuple(face for one in listed for face in one.faces),
        )
    return Places(pieces_of(name, part), ())


class FaceNumbering(Numbering):
    """:class:`Numbering` of pieces and faces together. Walls, at one time or over time, have the
    numbers that they have in a TimeDomain's boundary."""

    def __init__(self, parts: Sequence[Any]) -> None:
        parts = flat(parts)
        wholes = [keys_of(p._parent[0] if isinstance(p, Boundary) else p) for p in parts]
        longest = max(wholes, key=len)
        if all(isinstance(p, Boundary) for p in parts) and all(
            whole == longest[: len(whole)] for whole in wholes
        ):
            self.pieces: tuple[Any, ...] = longest
        else:
            self.pieces = tuple(key for part in parts for key in keys_of(part))


def _is_timed(part: Any) -> bool:
    return isinstance(part, Boundary) and isinstance(part._parent[0], TimeBoundary)


def keys_of(part: Any) -> tuple[Any, ...]:
    """What tells apart the pieces and faces of a part, in its order."""
    if isinstance(part, Boundary):
        parent, numbers = part._parent
        if isinstance(parent, TimeBoundary):
            start = ("initial", parent._domain.times[0])
            whole: tuple[Any, ...] = (*keys_of(parent._walls), start)
        elif isinstance(parent, PieceBoundary):
            whole = parent.pieces
        else:
            owner = (type(parent).__name__, parent._geometry)
            whole = tuple((owner, k) for k in range(len(parent)))
        return tuple(whole[k] for k in numbers)
    if callable(part):
        return (id(part),)
    return pieces_of("part", part)


def _shape_of(boundary: Any) -> Shape:
    """The shape that a boundary belongs to."""
    names = ("_box", "_interval", "_ball", "_solid")
    for name in names:
        if hasattr(boundary, name):
            found: Shape = getattr(boundary, name)
            return found
    fail(
        "part",
        "a boundary of plane curves, of an interval, or of boxes, balls and their combinations",
        repr(boundary),
        "Put such a condition into the loss instead.",
    )


def _size(shape: Any) -> float:
    """The diagonal of the box around a shape and all that it is combined of."""
    corners = [leaf.bounds for leaf in getattr(shape, "_leaves", (shape,))]
    lower, upper = (list(zip(*side, strict=True)) for side in zip(*corners, strict=True))
    return math.dist([min(values) for values in lower], [max(values) for values in upper])
