"""Signed distances to plane pieces as they are defined, one point and one piece at a time."""

from __future__ import annotations

import math
from itertools import pairwise

from colloc.geometry.curves import Arc, Circle, Piece, Segment


def angles(piece: Arc | Circle) -> tuple[float, float]:
    """Where an arc starts, counter-clockwise, and how far it turns."""
    return (piece.start, piece.angle) if isinstance(piece, Arc) else (0.0, 2 * math.pi)


def away(piece: Piece, point) -> float:
    """The distance of a point to a piece."""
    if isinstance(piece, Segment):
        (a, b), (ex, ey) = piece.p1, piece.direction
        along = ex * (point[0] - a) + ey * (point[1] - b)
        if 0 < along < piece.length:
            return abs(ex * (point[1] - b) - ey * (point[0] - a))
        return min(math.dist(end, point) for end in piece.ends)
    assert isinstance(piece, (Arc, Circle))
    dx, dy = point[0] - piece.center[0], point[1] - piece.center[1]
    start, angle = angles(piece)
    if (math.atan2(dy, dx) - start) % (2 * math.pi) <= angle:
        return abs(math.hypot(dx, dy) - piece.radius)
    return min(math.dist(end, point) for end in piece.ends or ())


def chord_angle(p, q, point) -> float:
    """The angle from p to q as seen from a point."""
    ax, ay, bx, by = p[0] - point[0], p[1] - point[1], q[0] - point[0], q[1] - point[1]
    return math.atan2(ax * by - ay * bx, ax * bx + ay * by)


def turned(piece: Piece, point) -> float:
    """The angle that a piece turns around a point: that of chords which do not pass it. Of points
    that lie on an arc to rounding, that of the chord from end to end."""
    if isinstance(piece, Segment):
        return chord_angle(*piece.ends, point)
    assert isinstance(piece, (Arc, Circle))
    start, angle = angles(piece)
    depth = min(0.5 * away(piece, point) / piece.radius, 0.5)  # of a chord below its arc
    count = math.ceil(angle / (4 * math.asin(math.sqrt(depth / 2)))) + 2 if depth > 1e-9 else 1
    corners = [
        (
            piece.center[0] + piece.radius * math.cos(start + angle * k / count),
            piece.center[1] + piece.radius * math.sin(start + angle * k / count),
        )
        for k in range(count + 1)
    ]
    total = math.fsum(chord_angle(p, q, point) for p, q in pairwise(corners))
    return total if piece.inward else -total


def signed_distance(pieces, point) -> float:
    """The distance to the nearest piece, negative where they do not run around the point."""
    inside = math.fsum(turned(piece, point) for piece in pieces) > math.pi
    least = min(away(piece, point) for piece in pieces)
    return least if inside else -least
