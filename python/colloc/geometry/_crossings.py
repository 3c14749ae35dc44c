"""Where two pieces meet: segments, arcs and circles, in closed form."""

from __future__ import annotations

import math

from colloc.geometry._piece import Pair, Piece
from colloc.geometry.circular import Arc, Circle
from colloc.geometry.straight import Segment

#: A meeting point as arc lengths on the one and on the other piece.
Crossing = tuple[float, float]
_TURN = 2 * math.pi


def crossings(a: Piece, b: Piece, tolerance: float) -> list[Crossing]:
    """Where two pieces cross or touch, and where ends of the one lie on the other.

    Curves nearer than ``tolerance`` touch: where they overlap or almost do, one crossing stands
    for those in a row, and only the ends count along stretches that coincide. A crossing may be
    named more than once.
    """
    found = []
    for t, end in _ends(b):
        along_a = _along(a, end, tolerance)
        if along_a is not None:
            found.append((along_a, t))
    for s, end in _ends(a):
        along_b = _along(b, end, tolerance)
        if along_b is not None:
            found.append((s, along_b))
    if isinstance(a, Segment) and isinstance(b, Segment):
        return found + _two_segments(a, b, tolerance)
    if isinstance(a, Segment) and isinstance(b, (Arc, Circle)):
        return found + _segment_and_circle(a, b, tolerance)
    if isinstance(a, (Arc, Circle)) and isinstance(b, Segment):
        return found + [(t, s) for s, t in _segment_and_circle(b, a, tolerance)]
    if isinstance(a, (Arc, Circle)) and isinstance(b, (Arc, Circle)):
        return found + _two_circles(a, b, tolerance)
    raise AssertionError(f"{a}, {b}")  # shapes have no other pieces


def _ends(piece: Piece) -> list[tuple[float, Pair]]:
    ends = piece.ends
    return [(0.0, ends[0]), (piece.length, ends[1])] if ends else []


def _along(piece: Piece, point: Pair, tolerance: float) -> float | None:
    """The arc length of a point on a piece; None if it is farther away than the tolerance."""
    if isinstance(piece, Segment):
        (x, y), (ex, ey) = piece.p1, piece.direction
        dx, dy = point[0] - x, point[1] - y
        if abs(ex * dy - ey * dx) > tolerance:
            return None
        return _clamped(ex * dx + ey * dy, piece.length, tolerance)
    assert isinstance(piece, (Arc, Circle))
    dx, dy = point[0] - piece.center[0], point[1] - piece.center[1]
    if abs(math.hypot(dx, dy) - piece.radius) > tolerance:
        return None
    return _along_circle(piece, math.atan2(dy, dx), tolerance)


def _along_circle(piece: Arc | Circle, angle: float, tolerance: float) -> float | None:
    """The arc length at an angle of the circle; None beyond the ends of an arc."""
    r = piece.radius
    if piece.inward:
        turned = (angle - (piece.start if isinstance(piece, Arc) else 0.0)) % _TURN
    else:
        begin = piece.start + piece.angle if isinstance(piece, Arc) else 0.0
        turned = (begin - angle) % _TURN
    if piece.ends is None:
        return min(r * turned, piece.length)
    if r * (_TURN - turned) <= tolerance:  # just before the start
        return 0.0
    return _clamped(r * turned, piece.length, tolerance)


def _clamped(along: float, length: float, tolerance: float) -> float | None:
    if not -tolerance <= along <= length + tolerance:
        return None
    return min(max(along, 0.0), length)


def _two_segments(a: Segment, b: Segment, tolerance: float) -> list[Crossing]:
    (ax, ay), (bx, by) = a.direction, b.direction
    sine = ax * by - ay * bx
    # Along the shorter one they part by less than the tolerance: only their ends count.
    if abs(sine) * min(a.length, b.length) <= tolerance:
        return []
    dx, dy = b.p1[0] - a.p1[0], b.p1[1] - a.p1[1]
    s = _clamped((dx * by - dy * bx) / sine, a.length, tolerance)
    t = _clamped((dx * ay - dy * ax) / sine, b.length, tolerance)
    return [] if s is None or t is None else [(s, t)]


def _segment_and_circle(a: Segment, b: Arc | Circle, tolerance: float) -> list[Crossing]:
    (ex, ey), r = a.direction, b.radius
    dx, dy = a.p1[0] - b.center[0], a.p1[1] - b.center[1]
    foot, height = -(ex * dx + ey * dy), ex * dy - ey * dx
    depth = r - abs(height)
    if depth < -tolerance:
        return []
    half = math.sqrt(depth * (r + abs(height))) if depth > tolerance else 0.0
    found = []
    for step in (-half, half) if half else (0.0,):
        # The point is height e^perp + step e from the centre.
        angle = math.atan2(height * ex + step * ey, -height * ey + step * ex)
        s = _clamped(foot + step, a.length, tolerance)
        t = _along_circle(b, angle, tolerance)
        if s is not None and t is not None:
            found.append((s, t))
    return found


def _two_circles(a: Arc | Circle, b: Arc | Circle, tolerance: float) -> list[Crossing]:
    dx, dy = b.center[0] - a.center[0], b.center[1] - a.center[1]
    d, r, q = math.hypot(dx, dy), a.radius, b.radius
    apart, within = d - (r + q), abs(r - q) - d  # > 0: outside, inside each other
    if apart > tolerance or within > tolerance or d == 0 or d + abs(r - q) <= tolerance:
        return []
    # From either centre, the chord is at `to_chord` towards the other one.
    to_chord = 0.5 * (d + (r - q) * ((r + q) / d))
    if apart > -tolerance or within > -tolerance:
        half = 0.0
    else:
        half = math.sqrt(-apart * (d + r + q) * (d + r - q) * (d - r + q)) / (2 * d)
    base = math.atan2(dy, dx)
    found = []
    for step in (-half, half) if half else (0.0,):
        on_a = base + math.atan2(step, to_chord)
        on_b = base + math.atan2(step, to_chord - d)
        s = _along_circle(a, on_a, tolerance)
        t = _along_circle(b, on_b, tolerance)
        if s is not None and t is not None:
            found.append((s, t))
    return found
