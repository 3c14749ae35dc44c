"""Pieces, points near them, and how far a distance function may be from 60 digits."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from mpmath import mp, mpf
from reference import distance as reference

F64, F32 = torch.float64, torch.float32
EPS = 2.0**-52
GOLDEN = Path(__file__).parents[1] / "golden"
#: Of the larger of the derivative and what the piece's size makes natural: first, second, third.
#: Each derivative may lose two digits more than the one before.
TOLERANCE = (1e-8, 1e-6, 1e-4)


def table(pieces):
    return torch.tensor([p.numbers for p in pieces], dtype=F64)


def size_of(pieces):
    return min(p.numbers[-1] for p in pieces)


def excess(found, expected, x, pieces, on=None):
    """The largest error of the value, the first, second and third derivatives, each as a part
    of its tolerance."""
    L = size_of(pieces)
    away = torch.stack([torch.from_numpy(nearest(p, x.numpy())) for p in pieces]).amin(0)
    allowed = 1e-12 * expected[0].abs() + 8 * EPS * (away + max(p.numbers[-1] for p in pieces))
    worst = [((found[0] - expected[0]).abs() / allowed).max().item()]
    for degree, (first, last) in enumerate(((1, 3), (3, 6), (6, 10))):
        if last <= len(expected):
            error = (found[first:last] - expected[first:last]).abs().amax(0)
            scale = expected[first:last].abs().amax(0).clamp(min=L**-degree)
            worst.append((error / scale).max().item() / TOLERANCE[degree])
    return worst


def nearest(piece, x):
    """The distance of points to a piece, or to its circle or line: close enough for a scale."""
    if isinstance(piece, (Circle, Arc)):
        return np.abs(np.hypot(*(x - np.array(piece.center)).T) - piece.radius)
    p, q = np.array(piece.p1), np.array(piece.p2)
    share = ((x - p) @ (q - p)) / ((q - p) @ (q - p))
    if isinstance(piece, Segment):
        share = share.clip(0, 1)
    return np.hypot(*(x - p - share[:, None] * (q - p)).T)


def random_piece(rng, kind, size, shift):
    a = rng.uniform(0, 2 * math.pi)
    at = (shift * rng.uniform(-1, 1), shift * rng.uniform(-1, 1))
    if kind == "segment":
        return Segment(at, (at[0] + size * math.cos(a), at[1] + size * math.sin(a)))
    if kind == "line":
        return Line(at, (at[0] + size * math.cos(a), at[1] + size * math.sin(a)))
    inward = rng.random() < 0.5
    if kind == "circle":
        return Circle(at, size, inward)
    turn = rng.choice([1e-3, 0.03, 0.7, math.pi, 5.0, 6.28, 2 * math.pi])
    return Arc(at, size, a, a + turn, inward)


def near_points(rng, piece, count):
    """Points at log-spaced distances from the ends and from the piece, inside and outside."""
    size = min(piece.length, 10 * piece.numbers[-1])
    found = []
    for _ in range(count):
        away = size * 10 ** rng.uniform(-13, 3)
        if piece.ends and rng.random() < 0.6:
            base = rng.choice(piece.ends)
            a = rng.uniform(0, 2 * math.pi)
            if rng.random() < 0.3:  # along the piece, past its end
                other = piece.ends[0] if base == piece.ends[1] else piece.ends[1]
                a = math.atan2(base[1] - other[1], base[0] - other[0]) + away / size * rng.random()
            step = (math.cos(a), math.sin(a))
        else:
            along = torch.tensor([size * rng.random()], dtype=F64)
            x, normal = piece.at(along)
            base, step = x[0].tolist(), (normal[0] * rng.choice([-1, 1])).tolist()
        found.append([base[0] + away * step[0], base[1] + away * step[1]])
    return found


@functools.cache
def exact_f(piece, x, y):
    return abs(float(reference.curves(piece, mpf(x), mpf(y))[0]))


def off_the_pieces(pieces, point):
    """Not where the inside limits are taken by design."""
    with mp.workdps(60):
        x, y = (mpf(v) for v in point)
        for piece in pieces:
            f = reference.curves(piece, x, y)[0]
            extent = piece.numbers[-1]
            if abs(f) <= 8 * EPS * (abs(point[0]) + abs(point[1]) + extent):
                return False
    return True


def in_60_digits(pieces, points, m=2, length=1.0):
    kept = [p for p in points if off_the_pieces(pieces, p)]
    rows = [[float(v) for v in reference.distance(pieces, p, m, length)] for p in kept]
    return torch.tensor(kept, dtype=F64).reshape(-1, 2), torch.tensor(rows, dtype=F64).T


def star(count, size, shift, rng):
    """A closed polygon around a point."""
    corners = []
    for k in range(count):
        a, r = 2 * math.pi * (k + 0.3 * rng.random()) / count, size * rng.uniform(0.6, 1)
        corners.append((shift + r * math.cos(a), -shift + r * math.sin(a)))
    return [Segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]


def mixed_composite(size, shift, rng):
    """A half disk with a hole, and a line beside it."""
    a, b = (shift - size, shift), (shift + size, shift)
    return [
        Segment(a, b),
        Arc((shift, shift), size, 0, math.pi),
        Circle((shift, shift + size / 2), size / 5, inward=False),
        Line((shift - 2 * size, shift - size * rng.uniform(1, 2)), (shift + size, shift - size)),
    ]


def points_on(pieces, shares=(0.2, 0.37, 0.5, 0.81)):
    x, inner, ids, exact = [], [], [], []
    for k, piece in enumerate(pieces):
        for share in shares:
            size = piece.length if math.isfinite(piece.length) else 1.0
            at, normal = piece.at(torch.tensor([share * size], dtype=F64))
            x.append(at[0])
            inner.append(-normal[0])
            ids.append(k)
            exact.append((piece, share))
    return torch.stack(x), torch.stack(inner), torch.tensor(ids)
