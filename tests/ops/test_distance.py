"""Op distance against golden values and 60 digits; its orders; single precision."""

from __future__ import annotations

import functools
import json
import math
import random

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS, layout
from colloc.ops import distance as op
from reference.distance_cases import (
    F32,
    F64,
    GOLDEN,
    exact_f,
    excess,
    in_60_digits,
    mixed_composite,
    near_points,
    off_the_pieces,
    random_piece,
    size_of,
    star,
    table,
)

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
