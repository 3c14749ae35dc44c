"""The whole line that a straight part of a boundary lies on."""

from __future__ import annotations

import math
from typing import Any

from colloc._checks import fail
from colloc.geometry._chains import chain_tolerance, is_balanced
from colloc.geometry._piece import Pair, Piece
from colloc.geometry.circular import Arc, Circle
from colloc.geometry.straight import Line, Segment

_WANTED = "a part of a boundary of the plane that is one straight line"


def whole_line(part: Any) -> Line:
    """The line of a part of a boundary, with the domain on its left: :attr:`Boundary.line`.

    Raises:
        ValueError: a part that is not one straight line, or whose line crosses the domain.
    """
    parent, numbers = part._parent
    while hasattr(parent, "_walls"):  # over time, or over parameters
        parent = parent._walls
        if max(numbers) >= len(parent):
            fail("line", _WANTED, f"{part!r}, an initial time")
        start, within = parent._parent
        parent, numbers = start, tuple(within[k] for k in numbers)
    if not isinstance(getattr(parent, "pieces", None), tuple):
        fail("line", _WANTED, f"{part!r}, which is not made of curves")
    pieces: tuple[Piece, ...] = parent.pieces
    tolerance = chain_tolerance(pieces)
    line = _joined([pieces[k] for k in numbers], tolerance)
    if is_balanced(pieces, tolerance):
        beyond = [piece for piece in pieces if _least(line, piece) < -tolerance]
        if beyond:
            fail(
                "line",
                "a part whose line has the domain on one side",
                f"{part!r}, of whose line {beyond[0]} is on the right",
                "A condition on the line would hold within the domain too: take the part itself.",
            )
    return line


def _joined(pieces: list[Piece], tolerance: float) -> Line:
    """The line of straight pieces that have one in common."""
    straight = [piece for piece in pieces if isinstance(piece, (Segment, Line))]
    if len(straight) < len(pieces):
        curved = next(piece for piece in pieces if piece not in straight)
        fail("line", _WANTED, f"one with {curved}, which is curved")
    longest = max(straight, key=lambda piece: piece.length)
    a, b = longest.direction
    first, last = longest.p1, longest.p2
    for piece in straight:
        if max(abs(_offset(longest, p)) for p in (piece.p1, piece.p2)) > tolerance:
            fail(
                "line",
                _WANTED,
                f"{longest} and {piece}, which lie on two",
                "Take one piece at a time: [piece.line for piece in boundary[...]].",
            )
        c, d = piece.direction
        if a * c + b * d < 0:
            got = f"{longest} and {piece}, which have the domain on different sides"
            fail("line", _WANTED, got, "Take one of them, or the part itself.")
        # The outermost ends say best which way the line goes.
        first = min(first, piece.p1, key=lambda p: a * p[0] + b * p[1])
        last = max(last, piece.p2, key=lambda p: a * p[0] + b * p[1])
    return Line(first, last)


def _offset(line: Segment | Line, point: Pair) -> float:
    """How far a point is to the left."""
    a, b = line.direction
    return a * (point[1] - line.p1[1]) - b * (point[0] - line.p1[0])


def _least(line: Line, piece: Piece) -> float:
    """How far the point furthest to the right is to the left."""
    found = [_offset(line, end) for end in piece.ends or ()]
    if isinstance(piece, (Arc, Circle)):
        a, b = line.direction
        turned = math.atan2(-a, b)  # to the right
        start, angle = 0.0, 2 * math.pi
        if isinstance(piece, Arc):
            start, angle = piece.start, piece.angle
        if (turned - start) % (2 * math.pi) <= angle:
            found.append(_offset(line, piece.center) - piece.radius)
    return min(found, default=0.0)
