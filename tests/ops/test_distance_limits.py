"""Op distance on the pieces, at joints and far away; NaN; layouts of points."""

from __future__ import annotations

import math
import random

import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS, layout
from colloc.ops import distance as op
from mpmath import mp, mpf
from reference import distance as reference
from reference.distance_cases import EPS, F32, F64, mixed_composite, points_on, star, table

# ---- on the pieces ------------------------------------------------------------------------------


DOMAINS = {
    "square": lambda s, c: star(4, s, c, random.Random(1)),
    "half disk with a hole": lambda s, c: mixed_composite(s, c, random.Random(1))[:3],
    "segment": lambda s, c: [Segment((c, c), (c + s, c + 0.3 * s))],
    "arc": lambda s, c: [Arc((c, c), s, 0.3, 2.0, False)],
    "circle": lambda s, c: [Circle((c, c), s)],
    "line": lambda s, c: [Line((c, c), (c + s, c - s))],
}


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_points_of_known_pieces(capability, domain, dtype):
    for size, shift in ((1.0, 0.0), (1e-3, 0.0), (1e3, 0.0), (1.0, 1e3)):
        pieces = DOMAINS[domain](size, shift)
        x, inner, ids = points_on(pieces)
        x = x.to(dtype)
        for m in (1, 2, 5):
            for order in ORDERS:
                jet = op(x, table(pieces), m, order, ids)
                assert (jet[0] == 0).all() and torch.isfinite(jet).all()
                if order != 0:
                    # Float32 points lie beside the piece, where an arc's normal is another one.
                    tolerance = 1e-9 if dtype == F64 else 1e-6 * (1 + shift / size)
                    torch.testing.assert_close(
                        jet[1:3].T.double(), inner, rtol=0, atol=tolerance
                    )  # fmt: skip
            # Beside it, whichever side rounding has put the point on: the same limits.
            if dtype == F64:
                for nudge in (-1, 1):
                    moved = x + nudge * EPS * (x.abs().sum(1, keepdim=True) + size) * inner
                    jet = op(moved, table(pieces), m, 1)
                    torch.testing.assert_close(jet[1:3].T, inner, rtol=0, atol=1e-8)


def test_the_limits_are_those_from_inside():
    for pieces in (
        mixed_composite(1.0, 0.0, random.Random(2))[:3],
        star(5, 1.0, 3.0, random.Random(2)),
    ):
        x, _, ids = points_on(pieces, (0.31, 0.6))
        for m in (1, 2, 3):
            found = op(x, table(pieces), m, 3, ids)
            for i in range(len(x)):
                piece = pieces[ids[i]]
                with mp.workdps(60):
                    # the nearest point that lies on the piece in 60 digits, and 1e-25 inside
                    point = [mpf(v) for v in x[i].tolist()]
                    f = reference.curves(piece, *reference.variables(*point))[0]
                    gradient = [f.terms[1, 0], f.terms[0, 1]]
                    for _ in range(3):
                        value = reference.curves(piece, *point)[0]
                        point = [p - value * g for p, g in zip(point, gradient, strict=True)]
                    point = [p + mpf("1e-16") * g for p, g in zip(point, gradient, strict=True)]
                    expected = [float(v) for v in reference.distance(pieces, point, m)]
                expected = torch.tensor(expected, dtype=F64)
                for first, last in ((1, 3), (3, 6), (6, 10)):
                    scale = max(1, expected[first:last].abs().max().item())
                    error = (found[first:last, i] - expected[first:last]).abs().max().item()
                    assert error < 1e-9 * scale, (piece, m, first)


def test_a_known_piece_counts_whatever_the_coordinates_say():
    pieces = star(5, 1.0, 0.0, random.Random(1))
    x = torch.randn(9, 2, dtype=F64)
    ids = torch.tensor([0, 1, 2, 3, 4, -1, -1, 0, 1])
    jet = op(x, table(pieces), 2, 3, ids)
    assert (jet[0, ids >= 0] == 0).all() and torch.isfinite(jet).all()
    torch.testing.assert_close(jet[:, ids < 0], op(x[ids < 0], table(pieces), 2, 3))


# ---- nothing is NaN -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_finite_at_joints_and_ends(capability, order, dtype):
    for size, shift in ((1.0, 0.0), (1e-3, 0.0), (1e3, 0.0), (1.0, 1e3)):
        for pieces in (
            star(6, size, shift, random.Random(5)),
            mixed_composite(size, shift, random.Random(5)),
        ):
            ends = [e for p in pieces for e in p.ends or ()]
            x = torch.tensor(ends, dtype=dtype)
            x = torch.cat((x, torch.nextafter(x, x + 1), torch.nextafter(x, x - 1)))
            for m in (1, 2, 3, 64):
                jet = op(x, table(pieces), m, order)
                assert torch.isfinite(jet).all(), (m, pieces)
                for k in range(len(pieces)):
                    ids = torch.full((len(x),), k)
                    jet = op(x, table(pieces), m, order, ids)
                    assert torch.isfinite(jet).all() and (jet[0] == 0).all()


def test_a_corner_of_a_square():
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    pieces = [Segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=F64)
    for m in (1, 2, 3):
        jet = op(x, table(pieces), m, 1)
        assert (jet[0] == 0).all()
        # The limit along phi_1 = phi_2, from the diagonal.
        close = x + torch.tensor([[1e-9, 1e-9], [-1e-9, -1e-9]], dtype=F64)
        expected = op(close, table(pieces), m, 1)
        assert torch.isfinite(jet).all()
        along = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=F64) / math.sqrt(2)
        rate = expected[0] / (1e-9 * math.sqrt(2))
        assert torch.isfinite((jet[1:3].T * along).sum(1)).all() and (rate > 0).all()


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_finite_everywhere(capability, order, dtype):
    """No NaN for any finite x; where powers leave the dtype, inf at most."""
    largest = torch.finfo(dtype).max
    values = [0.0, -0.0, 5e-324, 1e-300, 1e-160, 1e-30, 1e-8, 0.5, 1.0]
    values += [1e3, 1e8, 1e12, 1e18, 1e30, 1e38, 1e60, 1e100, 1e154, 1e200, 1e308, largest]
    values = [v for v in values if v <= largest]
    values = torch.tensor([*values, *(-v for v in values)], dtype=dtype)
    x = torch.cartesian_prod(values, values)
    rng = random.Random(9)
    for pieces in (
        [Segment((0, 0), (1, 0))],
        [Arc((0, 0), 1, 0, 2)],
        [Circle((0, 0), 1)],
        [Line((0, 0), (1, 1))],
        mixed_composite(1.0, 0.0, rng),
        star(5, 1e6, 0, rng),
        star(5, 1e-6, 0, rng),
    ):
        for m in (1, 2, 5, 64):
            jet = op(x, table(pieces), m, order)
            assert not torch.isnan(jet).any(), (m, pieces, x[torch.isnan(jet).any(0)][:3])
            assert (jet[0] >= 0).all()


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_far_points_are_far(dtype):
    x = torch.tensor([[1e30, 0.0], [-1e30, 1e30], [1e6, 1e7]], dtype=dtype)
    for pieces in ([Segment((0, 0), (1, 0))], star(5, 1.0, 0, random.Random(2))):
        jet = op(x, table(pieces), 2, 2)
        assert torch.isfinite(jet).all() and (jet[0] > 1e6).all()


@pytest.mark.parametrize("size", [1e-29, 1e-15, 1e15, 1e29])
def test_pieces_of_extreme_size(size):
    x = size * torch.randn(40, 2, dtype=F64)
    for pieces in ([Segment((0, 0), (1.5 * size, 0))], [Circle((0, 0), size)]):
        for order in ORDERS:
            jet = op(x, table(pieces), 2, order, None, size)
            assert not torch.isnan(jet).any(), (size, pieces, order)


@pytest.mark.parametrize("size", [1e-31, 1e31])
def test_pieces_out_of_range_are_refused(size):
    for piece in (Segment((0, 0), (1.5 * size, 0)), lambda: Circle((0, 0), size)):
        with pytest.raises(ValueError, match=r"1e[-+]30"):
            table([piece() if callable(piece) else piece])


def test_nan_stays_visible(capability):
    x = torch.tensor([[0.3, 0.2], [math.nan, 0.1], [0.1, math.nan], [0.4, 0.1]], dtype=F64)
    for pieces in (
        [Segment((0, 0), (1, 0))],
        [Circle((0, 0), 1)],
        star(5, 1.0, 0, random.Random(2)),
    ):
        for order in (0, 1, 3):
            for at in (x, x.float()):
                jet = op(at, table(pieces), 2, order)
                assert torch.isnan(jet[0]).tolist() == [False, True, True, False], pieces


# ---- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 5001])
def test_counts_and_layouts(capability, count, dtype):
    pieces = table(mixed_composite(1.0, 0.0, random.Random(4)))
    x = torch.randn(count, 2, dtype=dtype)
    ids = torch.randint(-1, 4, (count,))
    for order in ORDERS:
        found = op(x, pieces, 2, order, ids)
        assert found.shape == (layout(order, 2).size, count) and found.dtype == dtype
        turned = x.t().contiguous().t()
        apart = torch.stack((x, x), 1)[:, 0]
        spread = torch.stack((ids, ids), 1)[:, 0]
        stepped = torch.stack((pieces, pieces), 1)[:, 0]
        assert torch.equal(op(turned, pieces, 2, order, spread), found)
        assert torch.equal(op(apart, stepped, 2, order, ids), found)
        for i in range(0, count, 1 + count // 3):
            one = op(x[i : i + 1], pieces, 2, order, ids[i : i + 1])
            torch.testing.assert_close(one[:, 0], found[:, i], rtol=1e-5 if dtype == F32 else 1e-12,
                                       atol=1e-5 if dtype == F32 else 1e-12)  # fmt: skip


def test_threads_make_no_difference():
    pieces = table(star(9, 1.0, 0, random.Random(4)))
    x = torch.randn(20_000, 2, dtype=F64)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(op(x, pieces, 3, "laplacian"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
