"""The bodies of the kernels of ntk_trace and ntk_gram_block, run on the host with the grid they
have on the GPU. Outputs have guard values behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 256
OPS = torch.ops.colloc
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def guarded(size, dtype):
    return np.full(size + GUARDS, GUARD, dtype)


def with_nans(tensor):
    """A flat copy of an input with NaN behind it: what is read past the end shows."""
    flat = tensor.numpy().reshape(-1)
    return np.concatenate((flat, np.full(GUARDS, np.nan, flat.dtype)))


def suffix(dtype):
    return "float32" if dtype == torch.float32 else "float64"


@DTYPES
@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1, 1, 1),
        (65, 4, 3, 7),
        (7, 13, 9, 1),
        (3, 6, 2, 64),
        (9, 5, 40, 33),
        (10, 4, 128, 128),
        (5, 9, 300, 130),
        (2, 3, 0, 5),
    ],
)
def test_trace(sizes, dtype):
    points, size, inputs, outputs = sizes
    h = torch.randn(points, size, inputs, dtype=dtype)
    zbar = torch.randn(points, size, outputs, dtype=dtype)
    squares = guarded(points, np.float64)
    call = getattr(host, f"ntk_trace_{suffix(dtype)}")
    call(points, size, inputs, outputs, with_nans(h), with_nans(zbar), squares, 0)
    assert np.all(squares[points:] == GUARD)
    expected = OPS.ntk_trace(h, zbar)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    found = torch.from_numpy(squares[:points])
    assert ((found - expected).abs() <= tolerance * expected.abs().max()).all()


@DTYPES
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (33, 4, 9, 3), (5, 13, 70, 1)])
def test_gram_block(sizes, dtype):
    n1, size1, n2, size2 = sizes
    h1, h2 = torch.randn(n1, size1, 3, dtype=dtype), torch.randn(n2, size2, 3, dtype=dtype)
    z1, z2 = torch.randn(n1, size1, 5, dtype=dtype), torch.randn(n2, size2, 5, dtype=dtype)
    hh = h1.flatten(0, 1) @ h2.flatten(0, 1).t()
    zz = z1.flatten(0, 1) @ z2.flatten(0, 1).t()
    kind = np.float32 if dtype == torch.float32 else np.float64
    out = guarded(n1 * n2, kind)
    call = getattr(host, f"ntk_gram_block_{suffix(dtype)}")
    call(n1, size1, n2, size2, with_nans(hh), with_nans(zz), out)
    assert np.all(out[n1 * n2 :] == GUARD)
    expected = OPS.ntk_gram_block(h1, z1, h2, z2)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    found = torch.from_numpy(out[: n1 * n2]).reshape(n1, n2)
    assert ((found - expected).abs() <= tolerance * expected.abs().max()).all()


@pytest.mark.parametrize("width", [1, 40, 80])
def test_more_points_than_a_grid(width):
    """Two blocks for 77 points more than they take at once, with 8, 16 and 32 lanes each."""
    lanes = {1: 8, 40: 16, 80: 32}[width]
    points = 2 * 256 // lanes + 77
    h, zbar = torch.randn(points, 2, width), torch.randn(points, 2, 1)
    squares = guarded(points, np.float64)
    host.ntk_trace_float32(points, 2, width, 1, with_nans(h), with_nans(zbar), squares, 2)
    assert np.all(squares[points:] == GUARD)
    found = torch.from_numpy(squares[:points])
    torch.testing.assert_close(found, OPS.ntk_trace(h, zbar), rtol=1e-5, atol=1e-5)
