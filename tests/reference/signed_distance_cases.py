"""Shapes and points that op signed_distance is tested on."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import torch
from colloc.geometry import Arc, Circle, Disk, Rectangle, Segment
from colloc.geometry._tables import Tables, _made

F64 = torch.float64
CPU = torch.device("cpu")


def loop(corners):
    return [Segment(p, q) for p, q in zip(corners, [*corners[1:], corners[0]], strict=True)]


def star(count=7):
    r = random.Random(count)
    radii = [r.uniform(0.3, 1) for _ in range(count)]
    turns = [2 * math.pi * k / count for k in range(count)]
    return loop([(q * math.cos(a), q * math.sin(a)) for q, a in zip(radii, turns, strict=True)])


def halves(turn):
    """A disk of two arcs, whose chord runs through its middle, exactly level for turn 0; with a
    hole that the chord crosses."""
    c = (0.5, 3.0)
    hole = Circle((c[0] + 0.3 * math.cos(turn), c[1] + 0.3 * math.sin(turn)), 0.25, inward=False)
    return [Arc(c, 1.0, turn, turn + math.pi), Arc(c, 1.0, turn + math.pi, turn), hole]


def cake(turned):
    """What is left of a disk, or the slice that is missing: an arc of more or less than half."""
    arc = Arc((0, 0), 1.0, 0.0, turned)
    (a, b) = arc.ends
    return [arc, Segment(b, (0.0, 0.0)), Segment((0.0, 0.0), a)]


def arch():
    """A rectangle that goes on above a level chord, where its sides end."""
    left, right = (0.0, 3.0), (2.0, 3.0)
    sides = [Segment(left, (0.0, 2.0)), Segment((0.0, 2.0), (2.0, 2.0)), Segment((2.0, 2.0), right)]
    return [*sides, Arc((1.0, 3.0), 1.0, 0.0, math.pi)]


def bay():
    """A rectangle with an arc cut out of its top, and a flat one of a far centre at its bottom."""
    r = 200.0
    half = math.asin(1 / r)
    low = Arc((0, -r * math.cos(half)), r, math.pi / 2 - half, math.pi / 2 + half, inward=False)
    (left, right) = low.ends
    cut = Arc((0, 1.0), 0.5, math.pi, 2 * math.pi, inward=False)
    (one, two) = cut.ends
    corners = [right, (right[0], 1.0), one]
    sides = [Segment(p, q) for p, q in pairwise(corners)]
    return [low, *sides, cut, Segment(two, (left[0], 1.0)), Segment((left[0], 1.0), left)]


def ring():
    channel = Rectangle((-2, -0.5), (2, 0.5))
    return list(((channel | Disk((0, 0), 1)) - Disk((0, 0), 0.5)).boundary.pieces)


SHAPES = {
    "star": star(),
    "steps": loop([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0.5, 2), (0.5, 1), (0, 1)]),
    "level halves": halves(0.0),
    "upright halves": halves(math.pi / 2),
    "slanted halves": halves(0.6),
    "cake": cake(5.0),
    "half": cake(math.pi),
    "slice": cake(0.5),
    "almost all": cake(2 * math.pi - 1e-4),
    "arch": arch(),
    "bay": bay(),
    "ring": ring(),
    "circle": [Circle((0.1, 0.2), 0.7)],
    "turned circle": [Arc((0.1, 0.2), 0.7, 1.0, 1.0 + 2 * math.pi)],
}


def tables(pieces, device=CPU):
    found = Tables(pieces)
    return *_made(found, device), found._size


def levels(pieces):
    """Heights and places at which rays or points on them meet ends, or touch arcs."""
    ends = [end for piece in pieces for end in piece.ends or ()]
    round_ones = [piece for piece in pieces if not isinstance(piece, Segment)]
    centers = [piece.center for piece in round_ones if piece.radius < 10]
    tops = [p.center[1] + s * p.radius for p in round_ones for s in (-1, 1) if p.radius < 10]
    heights = sorted({y for _, y in [*ends, *centers]} | set(tops))
    return heights, sorted({x for x, _ in [*ends, *centers]})


def places(pieces, dtype, count=60):
    """Random points; points near the pieces; points on a level with ends, and on chords."""
    r = random.Random(5)
    found = [(r.uniform(-2.5, 2.5), r.uniform(-1.5, 2.5)) for _ in range(count)]
    for piece in pieces:
        for share in (0.2, 0.5, 0.9):
            x, normal = piece.at(torch.tensor([share * piece.length], dtype=F64))
            for away in (1e-1, 1e-3, *((1e-6,) if dtype == F64 else ())):
                found += (x + away * normal).tolist() + (x - away * normal).tolist()
    heights, across = levels(pieces)
    for y in heights:
        found += [(x, y) for x in [-3.0, *across, r.uniform(-2, 2), r.uniform(-2, 2)]]
    for piece in pieces:
        if piece.ends and not isinstance(piece, Segment):
            (a, b), (c, d) = piece.ends
            found += [(a + s * (c - a), b + s * (d - b)) for s in (0.25, 0.5, 0.6)]
    return torch.tensor(found, dtype=F64).to(dtype)
