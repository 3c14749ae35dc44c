"""On a GPU: ops signed_distance and signed_distance_slope, and what shapes make of them, equal what
the CPU gives. Skipped where there is none."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.geometry import Arc, Circle, Segment
from colloc.geometry._tables import Tables, _made

pytestmark = pytest.mark.cuda

GPU = "cuda"
OPS = torch.ops.colloc
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
SETS = [
    [
        Arc((0.0, 0.0), 1.0, 0.0, math.pi),
        Segment((-1.0, 0.0), (1.0, 0.0)),
        Circle((0.0, 0.5), 0.2, inward=False),
    ],
    [Circle((0.3, -0.2), 0.7)],
    [Segment(p, q) for p, q in (((0, 0), (1, 0)), ((1, 0), (0, 1)), ((0, 1), (0, 0)))],
]


def check(pieces, count, dtype, device=GPU):
    tables = Tables(pieces)
    x = torch.randn(count, 2, dtype=dtype)
    special = [e for p in pieces for e in p.ends or ()]
    special += [(0.0, 0.0), (0.3, 0.0), (0.5, 0.5), (1e6, -1e6), (math.nan, 0.0)]
    special = torch.tensor(special, dtype=dtype)[:count]
    x[: len(special)] = special
    rows = _made(tables, torch.device("cpu"))
    there = [t.to(device) for t in (x, *rows)]
    for op in (OPS.signed_distance, OPS.signed_distance_slope):
        found, expected = op(*there, tables._size), op(x, *rows, tables._size)
        assert found.device.type == GPU
        tolerance = 16 * torch.finfo(dtype).eps
        torch.testing.assert_close(
            found.cpu(), expected, equal_nan=True, rtol=tolerance, atol=tolerance
        )


@DTYPES
def test_both_ops(dtype):
    for pieces in SETS:
        # the grid has 132 * 32 blocks of 128 threads at most
        for count in (0, 1, 65, 132 * 32 * 128 + 77):
            check(pieces, count, dtype)


@DTYPES
def test_shapes(dtype):
    shape = cc.geometry.Rectangle((0, 0), (2, 1)) - cc.geometry.Disk((1, 0.5), 0.2)
    x = torch.rand(3000, 2, dtype=dtype)
    found = []
    for device in ("cpu", GPU):
        at = x.to(device).requires_grad_()
        y = shape.distance(at)
        (slope,) = torch.autograd.grad(y.sum(), at)
        found.append(torch.cat((y.detach(), slope), 1).cpu())
    tolerance = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(found[1], found[0], rtol=tolerance, atol=tolerance)
    # The same raw points are taken.
    one, two = (shape.sample(500, dtype=dtype, device=device).x.cpu() for device in ("cpu", GPU))
    torch.testing.assert_close(two, one, rtol=0, atol=tolerance)


def test_points_of_a_diagonal_are_on_it():
    """No product is fused."""
    shape = cc.geometry.Polygon([(0, 0), (1, 0), (0, 1)])
    share = torch.arange(65, device=GPU) / 64
    for dtype in (torch.float32, torch.float64):
        x = torch.stack((share, 1 - share), 1).to(dtype)
        assert (shape.distance(x) == 0).all()


def test_it_does_not_wait_for_the_gpu():
    shape = cc.geometry.Polygon([(0, 0), (1, 0), (0, 1)])
    x = torch.rand(100, 2, device=GPU)
    shape.distance(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        shape.distance(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu():
    check(SETS[0], 100, torch.float64, "cuda:1")
    assert torch.cuda.current_device() == 0
