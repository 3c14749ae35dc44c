"""Op distance and cc.boundary.distance: values against 60 digits and golden ones, limits on the
pieces, joints, what is far, tiny or huge, single precision."""

from __future__ import annotations

import functools
import json
import math
import random
from pathlib import Path

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS, layout
from colloc.ops import distance as op
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


# ---- golden values ------------------------------------------------------------------------------


def golden():
    data = np.load(GOLDEN / "adf_golden.npz")
    meta = json.loads((GOLDEN / "adf_golden_meta.json").read_text())
    return {k: (torch.from_numpy(data[k + "__x"]), torch.from_numpy(data[k + "__d"]), meta[k])
            for k in meta}  # fmt: skip


def golden_pieces(case):
    kind = case["kind"]
    if kind == "line":
        return [Line(case["p1"], case["p2"])]
    if kind == "circle":
        return [Circle(case["xc"], case["R"])]
    if kind == "segment":
        return [Segment(case["p1"], case["p2"])]
    if kind == "arc":
        return [Arc(case["xc"], case["R"], *case["angles"])]
    return [Segment(p, q) for p, q in case["segments"]]


@pytest.mark.parametrize("name", [name for name in golden() if name != "tfi_square_mu2"])
def test_golden_values(capability, name):
    x, expected, case = golden()[name]
    pieces = golden_pieces(case)
    # Stored with the sign of f for untrimmed pieces; phi is not negative here.
    expected = (expected * torch.where(expected[:, :1] < 0, -1.0, 1.0)).T
    found = op(x, table(pieces), case.get("m", 2), 2)
    assert torch.isfinite(found).all()
    known = torch.isfinite(expected).all(0)
    # On pieces the values alone are known; so are they for points within rounding of one.
    assert (found[0, ~known] == 0).all() and (expected[0, ~known] == 0).all()
    off = known & (expected[0] > 1e-15)
    assert off.sum() >= 25
    assert max(excess(found[:, off], expected[:, off], x[off], pieces)) < 1


def test_golden_refusals():
    x = torch.zeros(1, 2, dtype=F64)
    segment = Segment((0, 0), (1, 0))

    def arc(radius, center, p1, p2, side):
        angles = [math.atan2(p[1] - center[1], p[0] - center[0]) for p in (p1, p2)]
        # which side: our arcs say so by a bool
        return Arc(center, radius, *angles, inward=bool(side) if side in (1, -1) else side)

    made = {
        "segment": lambda p, q: Segment([float(v) for v in p], [float(v) for v in q]),
        "circle": lambda radius, center: Circle(center, radius),
        "arc": arc,
        "r_equiv": lambda values, m: cc.boundary.distance([segment] * bool(values), x, m),
    }
    for case in json.loads((GOLDEN / "adf_must_raise.json").read_text()):
        with pytest.raises((ValueError, TypeError)) as info:
            made[case["kind"]](*case["args"])
        assert "expected" in str(info.value), case


# ---- against 60 digits --------------------------------------------------------------------------


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


SIZES = (1e-8, 1e-6, 1e-3, 1.0, 1e3, 1e6)


@functools.cache
def single_pieces(kind):
    rng = random.Random(kind)
    cases = []
    for size in SIZES:
        if kind != "segment" and size == 1e-8:
            continue
        for shift in (0.0, 1e6):
            piece = random_piece(rng, kind, size, shift)
            cases.append(([piece], *in_60_digits([piece], near_points(rng, piece, 24))))
    return cases


@pytest.mark.parametrize("kind", ["segment", "arc", "circle", "line"])
def test_one_piece_against_60_digits(capability, kind):
    for pieces, x, expected in single_pieces(kind):
        if len(x):
            found = op(x, table(pieces), 2, 3)
            assert max(excess(found, expected, x, pieces)) < 1, pieces


@functools.cache
def arcs_of_all_turns():
    rng, cases = random.Random("arcs"), []
    for turn in (1e-3, 1e-2, 0.1, 1.0, 2.0, math.pi - 1e-9, math.pi, 4.0, 6.0, 6.283, 2 * math.pi):
        for radius, shift in ((1e-6, 0.0), (1.0, 1e6), (1e6, 1.0)):
            a = rng.uniform(-3, 3)
            arc = Arc((shift, -shift), radius, a, a + turn, rng.random() < 0.5)
            cases.append(([arc], *in_60_digits([arc], near_points(rng, arc, 8))))
    return cases


def test_arcs_against_60_digits(capability):
    for pieces, x, expected in arcs_of_all_turns():
        if len(x):
            found = op(x, table(pieces), 2, 3)
            assert max(excess(found, expected, x, pieces)) < 1, pieces


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


@functools.cache
def composites():
    rng, cases = random.Random("composite"), []
    for m in range(1, 7):
        for k, (size, shift) in enumerate(((1.0, 0.0), (1e-6, 0.0), (1e6, 0.0), (1.0, 1e6))):
            pieces = star(5, size, shift, rng) if (m + k) % 2 else mixed_composite(size, shift, rng)
            points = [q for p in pieces for q in near_points(rng, p, 1)]
            cases.append((m, pieces, *in_60_digits(pieces, points, m)))
    return cases


def test_composites_against_60_digits(capability):
    for m, pieces, x, expected in composites():
        found = op(x, table(pieces), m, 3)
        assert max(excess(found, expected, x, pieces)) < 1, (m, pieces)


@functools.cache
def many_pieces():
    rng = random.Random("many")
    pieces = star(256, 1.0, 0.0, rng)
    points = [p for p in near_points(rng, pieces[7], 9) if off_the_pieces(pieces, p)]
    points = [[0.1, 0.2], points[0]]
    x, expected = in_60_digits(pieces, points, 2)
    return pieces, x, expected


def test_256_pieces(capability):
    pieces, x, expected = many_pieces()
    assert len(x) == 2
    assert max(excess(op(x, table(pieces), 2, 3), expected, x, pieces)) < 1


@functools.cache
def other_lengths():
    rng, cases = random.Random("length"), []
    for length in (1e-3, 0.5, 20.0):
        for pieces in ([Segment((0.1, 0.2), (1.3, -0.4))], mixed_composite(1.0, 0.0, rng)):
            points = [q for p in pieces for q in near_points(rng, p, 5)]
            cases.append((length, pieces, *in_60_digits(pieces, points, 2, length)))
    return cases


def test_another_length(capability):
    for length, pieces, x, expected in other_lengths():
        found = op(x, table(pieces), 2, 3, None, length)
        assert max(excess(found, expected, x, pieces)) < 1, (length, pieces)


def test_length_makes_it_independent_of_units():
    rng = random.Random(1)
    pieces = mixed_composite(1.0, 0.0, rng)
    scaled = mixed_composite(256.0, 0.0, random.Random(1))
    x = torch.randn(50, 2, dtype=F64)
    found = op(256 * x, table(scaled), 2, 1, None, 256.0)
    expected = op(x, table(pieces), 2, 1)
    torch.testing.assert_close(found[0], 256 * expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1:], expected[1:], rtol=1e-10, atol=1e-10)


def lesser(jet, order):
    """The components of a lower order from all third derivatives."""
    if order == 0:
        return jet[:1]
    trace = jet[3] + jet[5]
    if order == 1:
        return jet[:3]
    if order == "laplacian":
        return torch.cat((jet[:3], trace[None]))
    if order == 2:
        return jet[:6]
    if order == "grad_laplacian":
        return torch.cat((jet[:6], torch.stack((jet[6] + jet[8], jet[7] + jet[9]))))
    return jet


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_orders_agree(capability, order):
    x = 1.5 * torch.randn(203, 2, dtype=F64)
    for m in (1, 2, 3, 7):
        for pieces in (
            mixed_composite(1.0, 0.0, random.Random(m)),
            [Arc((0, 0), 1, 0, 2)],
            [Segment((0, 0), (1, 1))],
            [Circle((0, 0), 1)],
            [Line((0, 0), (1, 2))],
        ):
            full = op(x, table(pieces), m, 3)
            found = op(x, table(pieces), m, order)
            assert found.shape == (layout(order, 2).size, 203)
            expected = lesser(full, order)
            scale = full.abs().amax(0).clamp(min=1)
            assert ((found - expected).abs() / scale).max() < 1e-12


# ---- single precision ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_float32_against_float64(capability, order):
    rng = random.Random(3)
    for size, shift in ((1.0, 0.0), (1e-3, 0.0), (1e3, 0.0), (1.0, 100.0)):
        for pieces in (
            mixed_composite(size, shift, rng),
            star(7, size, shift, rng),
            [Segment((shift, shift), (shift + size, shift))],
            [Arc((shift, 0), size, 0, 2.5)],
        ):
            x = torch.tensor([q for p in pieces for q in near_points(rng, p, 12)], dtype=F32)
            x = x[(x - shift).abs().amax(1) < 100 * size]  # |f| stays below 1e9, see distance.h
            wide, eps = x.double(), 2.0**-23
            # Points where one of the two takes the inside limit and the other does not:
            at = table(pieces)
            clear = torch.ones(len(x), dtype=torch.bool)
            for k in range(len(pieces)):
                # an untrimmed f, by the reference
                f = [exact_f(pieces[k], *p) for p in wide.tolist()]
                noise = 8 * eps * (wide.abs().sum(1) + pieces[k].numbers[-1])
                clear &= torch.tensor(f, dtype=F64) > noise
            for m in (1, 2, 4):
                found = op(x, at, m, order)
                assert found.dtype == F32 and torch.isfinite(found).all()
                expected = op(wide, at, m, order)
                L = size_of(pieces)
                # The value of every point, the derivatives of those whose side is certain.
                allowed = 4e-6 * expected[0] + 8 * eps * max(p.numbers[-1] for p in pieces)
                assert ((found[0].double() - expected[0]).abs() <= allowed).all()
                if not clear.any():
                    continue
                found, expected = found[:, clear].double(), expected[:, clear]
                for first, last, natural, tolerance in (
                    (1, 3, 1.0, 1e-4),
                    (3, 6, 1 / L, 1e-6 if order in (2, 3, "grad_laplacian") else 1e-3),
                    (6, 10, 1 / L**2, 1e-6),
                ):
                    if len(found) >= last or (first == 3 and len(found) == 4):
                        error = (found[first:last] - expected[first:last]).abs().amax(0)
                        scale = expected[first:last].abs().amax(0).clamp(min=natural)
                        if first == 3 and len(found) == 4:  # a sum of terms that cancel
                            second = op(wide, at, m, 2)[3:6, clear].abs().amax(0)
                            scale = torch.maximum(scale, second)
                        # Up to the Laplacian the arithmetic is in single precision: rounding
                        # moves the point by `noise`, which counts as a part of its distance.
                        noise = eps * (wide[clear].abs().sum(1) + size) / expected[0]
                        allowed = tolerance + (
                            0 if order in (2, 3, "grad_laplacian") else 4 * noise
                        )
                        assert (error / scale / allowed).max() < 1, (order, m, first, pieces)


# ---- on the pieces ------------------------------------------------------------------------------


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


# ---- cc.boundary.distance -----------------------------------------------------------------------


def test_parts_and_jets():
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    x = torch.rand(20, 2, dtype=F64)
    pieces = square.boundary.pieces
    jet = cc.boundary.distance(square.boundary, x, order="laplacian")
    torch.testing.assert_close(jet.components[..., 0], op(x, table(pieces), 2, "laplacian"))
    value = cc.boundary.distance(list(pieces), x, m=3)
    assert value.shape == (20, 1)
    torch.testing.assert_close(value.T, op(x, table(pieces), 3, 0))
    points = square.boundary.sample(40, dtype=F64)
    jet = cc.boundary.distance(square.boundary, points.x, order=1, piece=points.piece)
    assert (jet.value == 0).all()
    inside = points.x.abs().amin(1) < 1  # no corner
    torch.testing.assert_close(jet.grad[inside, 0], -points.normal[inside])
    # A part counts its pieces' numbers in the whole boundary.
    name = square.boundary.piece_names[2]
    part = square.boundary[name]
    jet = cc.boundary.distance(part, points.x, order=1, piece=points.piece)
    on = points.piece == 2
    assert (jet.value[on] == 0).all() and (jet.value[~on] >= 0).all()
    assert (jet.value[~on] > 0).any()


def test_gradients_of_the_jet_by_the_points():
    part = [Segment((0, 0), (1, 0)), Arc((0, 0), 1, 0, 2)]
    x = torch.rand(6, 2, dtype=F64, requires_grad=True)
    for order in (0, 1, "laplacian", 2):

        def call(at, order=order):
            made = cc.boundary.distance(part, at, order=order)
            return made if order == 0 else made.components

        assert torch.autograd.gradcheck(call, x)
        if order in (0, 1):
            assert torch.autograd.gradgradcheck(call, x)
    for order, times in ((3, 1), ("grad_laplacian", 1), (2, 2), ("laplacian", 2), (0, 4)):
        y = cc.boundary.distance(part, x, order=order)
        y = y if order == 0 else y.components
        with pytest.raises((ValueError, RuntimeError), match=r"expected an order"):
            for _ in range(times):
                (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)


SEGMENT = Segment((0, 0), (1, 0))
X = torch.rand(3, 2, dtype=F64)
IDS = torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, X), TypeError, "pieces: expected a boundary"),
        (([], X), ValueError, "pieces: expected a boundary"),
        (([SEGMENT, 3], X), TypeError, "pieces: expected a boundary"),
        ((cc.geometry.Rectangle((0, 0), (1, 1)), X), TypeError, "Give its .boundary"),
        (([SEGMENT, Segment((0.5, 0), (2, 0))], X), ValueError, "overlap along a length"),
        (([SEGMENT, SEGMENT.reversed()], X), ValueError, "overlap along a length"),
        (([SEGMENT, Line((5, 0), (6, 0))], X), ValueError, "overlap along a length"),
        (([Circle((0, 0), 1), Arc((0, 0), 1, 0, 1)], X), ValueError, "overlap along a length"),
        (([Arc((0, 0), 1, 0, 2), Arc((0, 0), 1, 1, 3)], X), ValueError, "overlap along a length"),
        ((SEGMENT, X[0]), ValueError, "x: expected"),
        ((SEGMENT, X[:, :1]), ValueError, "x: expected"),
        ((SEGMENT, X.numpy()), TypeError, "x: expected"),
        ((SEGMENT, X.long()), TypeError, "x: expected"),
        ((SEGMENT, X.half()), ValueError, "x: expected float32 or float64"),
        ((SEGMENT, X, 0), ValueError, "m: expected an integer >= 1"),
        ((SEGMENT, X, 65), ValueError, "m: expected an integer <= 64"),
        ((SEGMENT, X, 1.5), TypeError, "m: expected an integer"),
        ((SEGMENT, X, True), TypeError, "m: expected an integer"),
        ((SEGMENT, X, 2, 4), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, True), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, "1"), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, 0, [0, 0, 0]), TypeError, "piece: expected None or an int64"),
        ((SEGMENT, X, 2, 0, torch.zeros(3)), TypeError, "piece: expected None or an int64"),
        ((SEGMENT, X, 2, 0, torch.zeros(2, dtype=torch.long)), ValueError, "piece: expected"),
        ((SEGMENT, X, 2, 0, 1 + IDS), ValueError, "piece: expected numbers below 1"),
        ((SEGMENT, X, 2, 0, None, 0.0), ValueError, "length: expected a number > 0"),
        ((SEGMENT, X, 2, 0, None, -1), ValueError, "length: expected a number > 0"),
        ((SEGMENT, X, 2, 0, None, math.nan), ValueError, "length: expected a finite"),
        ((SEGMENT, X, 2, 0, None, "1"), TypeError, "length: expected a number"),
        ((Segment((0, 0), (1e-10, 0)), X.float()), ValueError, "x: expected float64"),
    ],
)  # fmt: skip
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        cc.boundary.distance(*arguments)
    assert message in str(info.value)


TABLE = table([SEGMENT])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, TABLE.numpy()), TypeError, "pieces: expected a float64 tensor"),
        ((X, TABLE.float()), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[0]), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[:, :5]), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[:0]), ValueError, "pieces: expected at least one piece"),
        ((X, TABLE.to("meta")), ValueError, "pieces: expected a tensor on the device of x"),
        ((X, TABLE, 2, "second"), ValueError, "order: expected one of"),
        ((X, TABLE, 2, 0, IDS[:, None]), ValueError, "piece: expected shape"),
        ((X, TABLE, 2, 0, IDS.to("meta")), ValueError, "piece: expected"),
        ((X, TABLE, 2, 0, None, math.inf), ValueError, "length: expected a finite"),
    ],
)  # fmt: skip
def test_op_errors(arguments, error, message):
    with pytest.raises(error) as info:
        op(*arguments)
    assert message in str(info.value)


def test_raw_op_checks_its_arguments():
    raw = torch.ops.colloc.distance
    for arguments, message in (
        ((X.half(), TABLE, None, 2, 1.0, "0"), "x: expected float32"),
        ((X[0], TABLE, None, 2, 1.0, "0"), "x: expected shape"),
        ((X, TABLE[0], None, 2, 1.0, "0"), "pieces: expected shape"),
        ((X, TABLE.float(), None, 2, 1.0, "0"), "pieces: expected a float64"),
        ((X, TABLE, torch.zeros(3), 2, 1.0, "0"), "piece: expected an int64"),
        ((X, TABLE, torch.zeros(1, dtype=torch.long), 2, 1.0, "0"), "piece: expected shape"),
        ((X, TABLE, None, 0, 1.0, "0"), "m: expected 1 to 64"),
        ((X, TABLE, None, 2, 0.0, "0"), "length: expected"),
        ((X, TABLE, None, 2, math.nan, "0"), "length: expected"),
        ((X, TABLE, None, 2, 1.0, "4"), "order: expected one of"),
    ):
        with pytest.raises(RuntimeError, match=message):
            raw(*arguments)


# ---- autograd and transforms --------------------------------------------------------------------


PARTS = table([Segment((0, 0), (1, 0)), Arc((0, 0), 1.0, 0, 2.0), Circle((0.2, 0.1), 2.0)])


def test_gradcheck_and_gradgradcheck():
    x = torch.randn(5, 2, dtype=F64, requires_grad=True)
    for m in (1, 2, 3):
        for order in (0, 1, "laplacian", 2):
            assert torch.autograd.gradcheck(lambda v, o=order, m=m: op(v, PARTS, m, o), x)
            if order in (0, 1):
                assert torch.autograd.gradgradcheck(lambda v, o=order, m=m: op(v, PARTS, m, o), x)


def test_third_derivatives_by_nested_autograd_and_a_loud_end():
    x = torch.randn(4, 2, dtype=F64, requires_grad=True)
    y = op(x, PARTS, 2, 0)[0]
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g[:, 0].sum(), x, create_graph=True)
    (t,) = torch.autograd.grad(h[:, 1].sum(), x, create_graph=True)
    jet = op(x, PARTS, 2, 3)
    torch.testing.assert_close(t, jet[[7, 8]].T)
    with pytest.raises(RuntimeError, match="fourth order"):
        torch.autograd.grad(t.sum(), x)
    for order in ("grad_laplacian", 3):
        with pytest.raises(RuntimeError, match="fourth order"):
            torch.autograd.grad(op(x, PARTS, 2, order).sum(), x)


def test_opcheck():
    x = torch.randn(5, 2, dtype=F64, requires_grad=True)
    ids = torch.tensor([-1, 0, 1, -1, 2])
    for order, piece in (("0", None), ("laplacian", ids)):
        torch.library.opcheck(
            torch.ops.colloc.distance.default, (x, PARTS, piece, 2, 1.0, order)
        )  # fmt: skip
    torch.library.opcheck(
        torch.ops.colloc.distance.default, (x.detach().float(), PARTS, None, 3, 2.0, "3")
    )


def test_compiled():
    x = torch.randn(7, 2, dtype=F64, requires_grad=True)

    def loss(at):
        return op(at, PARTS, 2, 1).square().sum() + cc.boundary.distance(SEGMENT, at).sum()

    expected = torch.autograd.grad(loss(x), x)[0]
    torch.compiler.reset()
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(found(x), loss(x))
    torch.testing.assert_close(torch.autograd.grad(found(x), x)[0], expected)


def test_transforms_give_the_derivatives():
    x = torch.randn(6, 2, dtype=F64)
    for m in (1, 2, 4):
        jet = op(x, PARTS, m, 3)
        one = lambda p, m=m: op(p[None], PARTS, m, 0)[0, 0]  # noqa: E731
        func = torch.func
        gradient, hessian = (
            jet[1:3].T,
            torch.stack((jet[3], jet[4], jet[4], jet[5])).T.view(-1, 2, 2),
        )
        torch.testing.assert_close(func.vmap(one)(x), jet[0])
        for first in (func.jacrev, func.jacfwd, func.grad):
            torch.testing.assert_close(func.vmap(first(one))(x), gradient)
            torch.testing.assert_close(first(one)(x[0]), gradient[0])
        for outer in (func.jacfwd, func.jacrev):
            for inner in (func.jacfwd, func.jacrev):
                found = func.vmap(outer(inner(one)))(x)
                torch.testing.assert_close(found, hessian, msg=f"{outer} {inner}")
        third = func.vmap(func.jacrev(func.jacrev(func.jacrev(one))))(x)
        torch.testing.assert_close(third[:, 0, 1, 1], jet[8])
        third = func.vmap(func.jacfwd(func.jacfwd(func.jacfwd(one))))(x)
        torch.testing.assert_close(third[:, 0, 0, 0], jet[6])
        value, tangent = func.jvp(lambda v, m=m: op(v, PARTS, m, 0)[0], (x,), (torch.ones_like(x),))
        torch.testing.assert_close(value, jet[0])
        torch.testing.assert_close(tangent, gradient.sum(1))


def test_vmap_over_points_and_ids():
    x = torch.randn(3, 5, 2, dtype=F64)
    ids = torch.randint(-1, 3, (3, 5))
    for order in ORDERS:
        expected = torch.stack([op(x[b], PARTS, 2, order, ids[b]) for b in range(3)])
        found = torch.func.vmap(lambda v, k, o=order: op(v, PARTS, 2, o, k))(x, ids)
        torch.testing.assert_close(found, expected)
        found = torch.func.vmap(lambda k, o=order: op(x[0], PARTS, 2, o, k))(ids)
        torch.testing.assert_close(found[0], expected[0])
    with pytest.raises(RuntimeError, match="same pieces"):
        torch.func.vmap(lambda t: op(x[0], t, 2, 0))(torch.stack((PARTS, PARTS)))


def test_forward_mode_of_higher_orders_is_refused():
    x = torch.randn(4, 2, dtype=F64)
    with pytest.raises(RuntimeError, match="expected order 0 in forward mode"):
        torch.func.jvp(lambda v: op(v, PARTS, 2, 1), (x,), (torch.ones_like(x),))


def test_the_plain_formula_is_the_same_function():
    rng = random.Random(8)
    for pieces in (
        mixed_composite(1.0, 0.0, rng),
        star(6, 1.0, 2.0, rng),
        [Segment((0, 0), (1, 0))],
        [Arc((0, 0), 1, 0, 4)],
    ):
        x = torch.tensor([q for p in pieces for q in near_points(rng, p, 9)], dtype=F64)
        x = torch.cat((x, torch.tensor([e for p in pieces for e in p.ends or ()], dtype=F64)))
        on, _, ids = points_on(pieces)
        for m in (1, 2, 5):
            for at, piece in ((x, None), (on, ids)):
                jet = op(at, table(pieces), m, 1, piece)
                for axis in (0, 1):
                    tangent = torch.zeros_like(at)
                    tangent[:, axis] = 1
                    value, slope = torch.func.jvp(
                        lambda v, p=piece, t=pieces, m=m: op(v, table(t), m, 0, p)[0],
                        (at,),
                        (tangent,),
                    )
                    torch.testing.assert_close(value, jet[0], rtol=1e-11, atol=1e-15)
                    torch.testing.assert_close(slope, jet[1 + axis], rtol=1e-7, atol=1e-9)
