"""The bodies of the distance and transfinite kernels, run on the host with the grid they have on
the GPU. Arrays have guard values behind them; behind an input they are NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS, layout

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 256
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
OPS = torch.ops.colloc
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
HERE = (0, "laplacian", 3)  # the orders that are compiled there
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


def check_distance(pieces, count, m, length, order, with_ids, dtype):
    x = points(count, dtype)
    numbers = np.array([p.numbers for p in pieces])
    ids = torch.randint(-1, len(pieces), (count,)) if with_ids else None
    on = with_guards(ids.numpy(), np.int64) if with_ids else np.empty(0, np.int64)
    arrays = (with_guards(x.numpy(), NUMPY[dtype]), with_guards(numbers, np.float64), on)
    arguments = (ORDERS.index(order), count, len(pieces), *arrays, m, length)
    found = call("distance", arguments, (layout(order, 2).size, count), dtype)
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
    # the grid has 132 * 32 blocks of 128 threads at most
    check_distance(PIECES[:1], 132 * 32 * 128 + 77, 2, 1.0, 0, False, torch.float64)


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
