"""Op distance away from the pieces, where a plainer formula serves, and where the two meet.

All third derivatives come from the formula that holds everywhere (tests/ops/test_distance.py);
the lower orders have to give the same.
"""

from __future__ import annotations

import functools
import math
import random

import pytest
import torch
from colloc.boundary import Arc, Circle, Segment
from colloc.geometry import Rectangle
from colloc.ops import distance as op
from reference.distance_cases import (
    F32,
    F64,
    excess,
    in_60_digits,
    near_points,
    off_the_pieces,
    star,
    table,
)


def ring(size, shift, rng):
    """A square with a round hole and an arc over one of its sides."""
    a, b, c, d = shift, shift + size, -shift, size - shift
    c = [(a, c), (b, c), (b, d), (a, d)]
    middle = (shift + size / 2, size / 2 - shift)
    sides = [Segment(p, q) for p, q in zip(c, c[1:] + c[:1], strict=True)]
    hole = Circle(middle, size * rng.uniform(0.1, 0.4), inward=False)
    over = Arc((shift + size, size / 2 - shift), size / 2, -math.pi / 2, math.pi / 2)
    return [hole, *sides[:1], over, *sides[2:]]


def chain(size, shift, rng):
    """Segments of very different lengths, the last of them not joined."""
    at, pieces = (shift, shift), []
    for k in range(6):
        step = size * 10 ** rng.uniform(-5, 0)
        a = rng.uniform(-2, 2)
        to = (at[0] + step * math.cos(a), at[1] + step * math.sin(a))
        pieces.append(Segment(at, to))
        at = to if k < 4 else (to[0], to[1] + 0.3 * size)
    return pieces


MAKERS = {"star": lambda size, shift, rng: star(7, size, shift, rng), "ring": ring, "chain": chain}
PLACES = ((1.0, 0.0), (1e-6, 0.0), (1e6, 0.0), (0.37, 30.0), (1.0, 1e6), (1e3, -1e3))


def scattered(rng, pieces, size, shift, count):
    """Points around the pieces, most of them away, some near."""
    found = [
        [shift + 3 * size * rng.gauss(0, 1), -shift + 3 * size * rng.gauss(0, 1)]
        for _ in range(count)
    ]
    found += [q for p in pieces for q in near_points(rng, p, count // 8)]
    for piece in pieces:  # at the distance where one formula takes over from the other
        for away in (0.9e-5, 1e-5, 1.1e-5, 2e-5, 4e-3, 1e-2):
            along = torch.tensor([piece.length * rng.random()], dtype=F64)
            x, normal = piece.at(along)
            found.append((x + away * size * rng.choice([-1, 1]) * normal)[0].tolist())
    return torch.tensor(found, dtype=F64)


@functools.cache
def around(maker):
    """Sizes, shifts, lengths, pieces and points around them."""
    rng, cases = random.Random(maker), []
    for size, shift in PLACES:
        for length in (size, 0.01 * size, 100.0 * size):
            pieces = MAKERS[maker](size, shift, rng)
            x = scattered(rng, pieces, size, shift, 120)
            if shift == 1e6:  # where rounding decides on which side a point is
                x = x[[off_the_pieces(pieces, p) for p in x.tolist()]]
            cases.append((size, shift, length, pieces, x))
    return cases


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("maker", list(MAKERS))
def test_lower_orders_against_the_formula_that_holds_everywhere(capability, maker, m):
    for size, shift, length, pieces, x in around(maker):
        expected = op(x, table(pieces), m, 3, None, length)
        for order, components in ((0, 1), (1, 3), (2, 6)):
            found = op(x, table(pieces), m, order, None, length)
            assert len(found) == components
            worst = max(excess(found, expected[:components], x, pieces))
            assert worst < 1, (size, shift, length, order)
        found = op(x, table(pieces), m, "laplacian", None, length)
        expected[3] += expected[5]
        assert max(excess(found, expected[:4], x, pieces)[:2]) < 1
        bound = 1e-6 * expected[3:6].abs().amax(0).clamp(min=1 / size)
        assert ((found[3] - expected[3]).abs() < bound).all(), (size, shift, length)


@functools.cache
def far_points():
    rng, cases = random.Random("far"), []
    for m in (1, 2):
        for maker in MAKERS.values():
            pieces = maker(1.0, 0.0, rng)
            points = [[4 * rng.uniform(-1, 1), 4 * rng.uniform(-1, 1)] for _ in range(6)]
            cases.append((m, pieces, *in_60_digits(pieces, points, m)))
    return cases


def test_away_from_pieces_against_60_digits(capability):
    for m, pieces, x, expected in far_points():
        assert max(excess(op(x, table(pieces), m, 2), expected[:6], x, pieces)) < 0.1


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("maker", ["star", "ring"])
def test_single_precision(capability, maker, m):
    """Where the formulas meet, derivatives lose eps / 1e-2."""
    rng = random.Random(5)
    for size, shift in ((1.0, 0.0), (1e-3, 0.0), (1e3, 0.0), (1.0, 3.0)):
        pieces = MAKERS[maker](size, shift, rng)
        x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1)) * 3 - 1
        x = (size * x + torch.tensor([shift, -shift])).to(F32)
        expected = op(x.double(), table(pieces), m, "laplacian", None, size)
        # away from what is nearer than the coordinates' rounding
        clear = expected[0] > 1e-4 * size
        assert clear.sum() > 3900
        found = op(x, table(pieces), m, "laplacian", None, size)
        assert found.dtype == F32
        error = (found - expected).abs()[:, clear]
        expected = expected[:, clear]
        assert (error[0] / expected[0].clamp(min=0.01 * size)).max() < 2e-5
        assert error[1:3].max() < 1e-5
        assert (error[3] / expected[3].abs().clamp(min=1 / size)).max() < 5e-4


def test_points_may_wait_for_each_other():
    """Near and far points in any order, in numbers around the blocks' length."""
    rng = random.Random(2)
    pieces = star(5, 1.0, 0.0, rng)
    near = torch.tensor([q for p in pieces for q in near_points(rng, p, 60)], dtype=F64)
    far = torch.tensor([[rng.gauss(0, 1), rng.gauss(0, 1)] for _ in range(300)], dtype=F64)
    x = torch.cat((near, far))[torch.randperm(600, generator=torch.Generator().manual_seed(3))]
    whole = op(x, table(pieces), 2, 2)
    one_by_one = torch.cat([op(row[None], table(pieces), 2, 2) for row in x], dim=1)
    assert torch.equal(whole, one_by_one)
    alone = op(near, table(pieces), 2, 2)
    for count in (1, 63, 64, 65, 127, 128, 129, 300):
        assert torch.equal(op(x[:count], table(pieces), 2, 2), whole[:, :count])
        assert torch.equal(op(near[:count], table(pieces), 2, 2), alone[:, :count])


@pytest.mark.parametrize("order", [1, "laplacian", 2, "grad_laplacian"], ids=str)
@pytest.mark.parametrize("shift", [0.0, 100.0, 300.0, 1000.0, 1e5])
def test_rounded_boundary_points_far_from_the_origin(order, shift):
    """Points of single precision lie beside the boundary; phi's slope is that from inside."""
    shape = Rectangle((shift + 0.1, shift + 0.1), (shift + 1.3, shift + 1.2))
    points = shape.boundary.sample(400, start=5, dtype=F32)
    jet = op(points.x, table(shape.boundary.pieces), 2, order)
    assert ((jet[1:3].T * points.normal).sum(1) < 0).all()


@pytest.mark.parametrize("order", [1, "laplacian", 2], ids=str)
def test_small_arcs_in_a_large_domain(order):
    """Powers of f, which grows with the curvature, do not overflow."""
    arc = Arc((5, 50), 1.0, 0, 3.0, inward=False)
    pieces = [*Rectangle((0, 0), (4000, 100)).boundary.pieces, arc]
    x = torch.rand(2000, 2) * torch.tensor([4000.0, 100.0])
    for m in (1, 2):
        assert op(x, table(pieces), m, order).isfinite().all()
    pieces = [*Rectangle((0, 0), (1000, 1000)).boundary.pieces, Arc((300, 300), 1.0, 0, 3.0)]
    x = torch.tensor([[2900.0, 2500.0], [1e4, -1e4]])
    assert op(x, table(pieces), 2, order).isfinite().all()


def test_near_both_ends_of_an_arc():
    s = 1e-4
    pieces = [
        Arc((0.123 * s, 0.456 * s), s, 0.3, 1.9),
        Segment((3 * s, 3 * s), (3.5 * s, 4 * s)),
    ]
    points = [[-2.0037868759950953e-05, 0.0001402345447299557]]
    for end in pieces[0].ends:
        for k in range(16):
            away = 10 ** random.Random(k).uniform(-4.7, -3) * 2 * s
            points.append([end[0] + away * math.cos(0.4 * k), end[1] + away * math.sin(0.4 * k)])
    x, expected = in_60_digits(pieces, points)
    assert len(x) > 25
    assert max(excess(op(x, table(pieces), 2, 2), expected[:6], x, pieces)) < 1
