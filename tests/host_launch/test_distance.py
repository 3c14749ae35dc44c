"""The bodies of the distance and transfinite kernels, run on the host with the grid they have on
the GPU. Arrays have guard values behind them; behind an input they are NaN."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS, layout
from reference.distance_cases import excess, near_points, star
from reference.distance_cases import table as table_of

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 256
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
OPS = torch.ops.colloc
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
HERE = (0, "laplacian", 2, 3)  # the orders that are compiled there
PIECES = [
    Segment((-1.0, 0.0), (1.0, 0.0)),
    Arc((0.0, 0.0), 1.0, 0.0, math.pi),
    Circle((0.0, 0.5), 0.2, inward=False),
    Line((-2.0, -1.0), (1.0, -1.5)),
]
SETS = [PIECES[:1], PIECES[1:2], PIECES[2:3], PIECES[3:], PIECES[:2], PIECES, PIECES[:1] * 1]


def with_guards(value, dtype):
    flat = np.asarray(value, dtype=dtype).reshape(-1)
    guard = np.nan if np.issubdtype(dtype, np.floating) else 10**9
    return np.concatenate((flat, np.full(GUARDS, guard, dtype)))


def call(name, arguments, shape, dtype):
    out = np.full(int(np.prod(shape)) + GUARDS, GUARD, NUMPY[dtype])
    suffix = "float32" if dtype == torch.float32 else "float64"
    getattr(host, f"{name}_{suffix}")(*arguments, out)
    size = int(np.prod(shape))
    assert np.all(out[size:] == GUARD), "written past the end"
    return torch.from_numpy(out[:size]).reshape(shape)


def compare(found, expected, dtype):
    """Relative to the largest component of a point: near joints they are large."""
    assert torch.equal(torch.isfinite(found), torch.isfinite(expected))
    scale = expected.double().abs().amax(0).clamp(min=1)
    error = ((found.double() - expected.double()).abs() / scale).max() if expected.numel() else 0
    assert error < (2e-5 if dtype == torch.float32 else 1e-12)


def points(count, dtype):
    x = torch.randn(count, 2, dtype=dtype)
    special = [e for p in PIECES for e in p.ends or ()]
    special += [(0.3, 0.0), (0.0, 1.0), (0.2, 0.5), (1e30, -1e30), (0.0, 1e6), (1e-20, 0.0)]
    special = torch.tensor(special, dtype=dtype)[:count]
    x[: len(special)] = special
    return x


def run_distance(x, numbers, ids, m, length, order):
    """The jet of points (N, 2) by the kernel's body."""
    dtype, count = x.dtype, len(x)
    on = with_guards(ids.numpy(), np.int64) if ids is not None else np.empty(0, np.int64)
    arrays = (with_guards(x.numpy(), NUMPY[dtype]), with_guards(numbers, np.float64), on)
    arguments = (ORDERS.index(order), count, len(numbers), *arrays, m, length)
    return call("distance", arguments, (layout(order, 2).size, count), dtype)


def check_distance(pieces, count, m, length, order, with_ids, dtype):
    x = points(count, dtype)
    numbers = np.array([p.numbers for p in pieces])
    ids = torch.randint(-1, len(pieces), (count,)) if with_ids else None
    found = run_distance(x, numbers, ids, m, length, order)
    table = torch.from_numpy(numbers)
    compare(found, OPS.distance(x, table, ids, m, length, str(order)), dtype)


@DTYPES
@pytest.mark.parametrize("order", HERE, ids=str)
def test_distance(order, dtype):
    for pieces in SETS:
        for count in (1, 3, 65):
            for m, length in ((1, 1.0), (2, 1.0), (5, 0.7)):
                for with_ids in (False, True):
                    check_distance(pieces, count, m, length, order, with_ids, dtype)


@DTYPES
def test_distance_of_many_pieces(dtype):
    a = np.linspace(0, 2 * math.pi, 101)
    corners = [(math.cos(v), math.sin(v)) for v in a[:-1]]
    pieces = [Segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]
    check_distance(pieces, 40, 2, 1.0, "laplacian", True, dtype)


def test_more_points_than_threads():
    # the grid has 132 * 32 blocks of 128 threads at most, in float32 of two points each
    check_distance(PIECES[:1], 132 * 32 * 128 + 77, 2, 1.0, 0, False, torch.float64)
    check_distance(PIECES[:2], 132 * 32 * 256 + 77, 2, 1.0, 0, False, torch.float32)


def around(size, shift, rng):
    """A polygon, its hole, an arc, in no order; points at all distances from them."""
    apart = Arc((shift + 2 * size, -shift), 0.5 * size, 0.3, 2.8)
    hole = Circle((shift, -shift), 0.2 * size, inward=False)
    pieces = [hole, *star(5, size, shift, rng)]
    pieces.insert(3, apart)
    x = [q for p in pieces for q in near_points(rng, p, 20)]
    x += [[shift + size * rng.gauss(0, 1), -shift + size * rng.gauss(0, 1)] for _ in range(200)]
    return pieces, torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize("m", [1, 2])
def test_the_sweep_against_the_formula_that_holds_everywhere(m):
    rng = random.Random(m)
    for size, shift in ((1.0, 0.0), (1e-6, 0.0), (1e6, 0.0), (0.37, 30.0)):
        pieces, x = around(size, shift, rng)
        for length in (size, 0.01 * size, 100 * size):
            expected = OPS.distance(x, table_of(pieces), None, m, length, "3")
            found = run_distance(x, table_of(pieces).numpy(), None, m, length, 2)
            assert max(excess(found, expected[:6], x, pieces)) < 1, (size, shift, length)
            found = run_distance(x, table_of(pieces).numpy(), None, m, length, "laplacian")
            expected[3] += expected[5]
            assert max(excess(found, expected[:4], x, pieces)[:2]) < 1
            bound = 1e-6 * expected[3:6].abs().amax(0).clamp(min=1 / size)
            assert ((found[3] - expected[3]).abs() < bound).all(), (size, shift, length)


def test_the_sweep_in_single_precision():
    """Nearer to the pieces than the CPU takes its plain formula, derivatives lose no more."""
    rng = random.Random(3)
    for size in (1.0, 1e-3, 1e3):
        pieces, x = around(size, 0.0, rng)
        x = x[x.abs().amax(1) < 5 * size].float()
        expected = OPS.distance(x.double(), table_of(pieces), None, 2, size, "laplacian")
        found = run_distance(x, table_of(pieces).numpy(), None, 2, size, "laplacian")
        clear = expected[0] > 2e-5 * size
        assert 200 < clear.sum() < len(x)
        error, expected = (found - expected).abs()[:, clear], expected[:, clear]
        noise = 2e-7 * size / expected[0]  # coordinates' rounding moves a point by so much
        assert (error[0] < 3e-6 * expected[0] + 1e-6 * size).all()
        assert (error[1:3] < 1e-5 + 8 * noise).all()
        natural = expected[3].abs().clamp(min=1 / size)
        assert (error[3] / natural < 5e-4 + 8 * noise).all()


def test_the_sweep_at_joints_in_single_precision():
    """Offsets are taken from the nearer end of a piece: from the other they would lose digits."""
    rng = random.Random(4)
    for size in (1.0, 1e-3, 1e3):
        pieces, x = star(7, size, 0.0, rng), []
        for k in range(210):
            away, turn = size * 10 ** rng.uniform(-4, -2), rng.uniform(0, 2 * math.pi)
            a, b = pieces[k % 7].ends[0]
            x.append([a + away * math.cos(turn), b + away * math.sin(turn)])
        x = torch.tensor(x)
        expected = OPS.distance(x.double(), table_of(pieces), None, 2, size, "laplacian")
        found = run_distance(x, table_of(pieces).numpy(), None, 2, size, "laplacian")
        clear = expected[0] > 3e-5 * size  # of where rounding of f itself counts
        error, expected = (found - expected).abs()[:, clear], expected[:, clear]
        assert clear.sum() > 180
        assert (error[1:3] < 1e-5).all()
        assert (error[3] < 1e-4 * expected[3].abs().clamp(min=1 / size)).all()


@DTYPES
@pytest.mark.parametrize(
    "order,n", [(0, 1), ("laplacian", 2), ("laplacian", 3), ("laplacian", 4), (3, 2)]
)
def test_transfinite(order, n, dtype):
    size = layout(order, n).size
    for groups in (1, 2, 5):
        for count in (1, 3, 65):
            phi = torch.randn(groups, size, count, dtype=dtype)
            phi[:, 0] = 0.05 + torch.rand(groups, count, dtype=dtype)
            phi[0, 0, 0] = 0
            if groups > 2:
                phi[1:3, 0, -1] = 0  # a joint
            for mu in ([2] * groups, [1 + k % 3 for k in range(groups)]):
                arguments = (
                    ORDERS.index(order), n, count, groups, with_guards(phi.numpy(), NUMPY[dtype]),
                    with_guards(np.array(mu), np.int64), 1.3,
                )  # fmt: skip
                found = call("transfinite", arguments, (size, count, groups), dtype)
                expected = OPS.transfinite(phi, torch.tensor(mu), 1.3, str(order), n)
                compare(found, expected, dtype)
