"""The bodies of the jet kernels, run on the host with the grid they have on the GPU.

Every array has guard values behind it: a write past the end of an output is seen, and so is a
read past the end of an input, whose guard is NaN.
"""

from __future__ import annotations

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.jets.layout import ORDERS
from colloc.ops.jet_activation import jet_size

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 256
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
OPS = torch.ops.colloc
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
CASES = [(order, n) for order in ORDERS for n in (1, 2, 3, 4)]
SHAPES = [(points, width) for points in (1, 3, 33) for width in (1, 7, 130)]


def with_guards(value, dtype):
    """The values of an input, flat, with NaN behind them; empty for an absent one."""
    if value is None:
        return np.empty(0, NUMPY[dtype])
    return np.concatenate((value.numpy().reshape(-1), np.full(GUARDS, np.nan, NUMPY[dtype])))


def call(work, arguments, arrays, dtype, outputs):
    """Run a body; ``outputs`` are the shapes of out, h and by_beta, None for an absent one."""
    made = [
        np.full(int(np.prod(shape)) + GUARDS, GUARD, NUMPY[dtype])
        if shape is not None
        else np.empty(0, NUMPY[dtype])
        for shape in outputs
    ]
    suffix = "float32" if dtype == torch.float32 else "float64"
    inputs = [with_guards(value, dtype) for value in arrays]
    getattr(host, f"jet_{work}_{suffix}")(*arguments, *inputs, *made)
    found = []
    for array, shape in zip(made, outputs, strict=True):
        if shape is not None:
            size = int(np.prod(shape))
            assert np.all(array[size:] == GUARD), "written past the end"
            found.append(torch.from_numpy(array[:size]).reshape(shape))
    return found


def compare(found, expected, dtype):
    assert found.shape == expected.shape
    scale = 1 + expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def check(kind, order, n, points, width, with_columns, with_bias, dtype):
    size = jet_size(str(order), n)
    jet = (points, size, width)
    y = torch.randn((points, width) if with_columns else jet, dtype=dtype)
    columns = torch.randn(n, width, dtype=dtype) if with_columns else None
    bias = torch.randn(width, dtype=dtype) if with_bias else None
    beta = torch.randn(width, dtype=dtype) if kind == "stan" else None
    g = torch.randn(jet, dtype=dtype)
    arguments = (cc.ops.KINDS.index(kind), ORDERS.index(order), n, points, width)
    rest = (columns, bias, beta)
    named = (*rest, kind, str(order), n)

    (h,) = call("forward", arguments, (y, *rest, None), dtype, (None, jet, None))
    compare(h, OPS.jet_activation(y, *named), dtype)

    by_beta = (points, width) if kind == "stan" else None
    found = call("backward", arguments, (y, *rest, g), dtype, (jet, jet, by_beta))
    expected = OPS.jet_activation_backward(g, y, *named)
    for one, other in zip(found, expected, strict=False):
        compare(one, other, dtype)

    (tangent,) = call("tangent", arguments, (y, *rest, g), dtype, (jet, None, None))
    compare(tangent, OPS.jet_activation_tangent(g, y, *named), dtype)


@DTYPES
@pytest.mark.parametrize("order,n", CASES)
@pytest.mark.parametrize("kind", cc.ops.KINDS)
def test_equals_the_cpu(kind, order, n, dtype):
    # Indexing does not depend on the kind: all shapes for one with beta and one without.
    for points, width in SHAPES if kind in ("tanh", "stan") else [(3, 7)]:
        for with_columns in (False, True):
            for with_bias in (False, True):
                check(kind, order, n, points, width, with_columns, with_bias, dtype)


@DTYPES
def test_more_elements_than_threads(dtype):
    # the grid has 132 * 32 blocks of 128 threads at most
    check("tanh", "laplacian", 2, 9001, 61, False, True, dtype)
    check("stan", 0, 1, 4503, 121, True, True, dtype)


@DTYPES
def test_large_arguments(dtype):
    # sin past the reduction in three parts, and saturated activations
    for kind in cc.ops.KINDS:
        y = torch.randn(3, 4, 7, dtype=dtype)
        y[:, 0] = torch.tensor([-3e7, -500.0, -90.0, 0.0, 90.0, 500.0, 3e7], dtype=dtype)
        beta = torch.rand(7, dtype=dtype) if kind == "stan" else None
        arguments = (cc.ops.KINDS.index(kind), ORDERS.index("laplacian"), 2, 3, 7)
        arrays, shapes = (y, None, None, beta, None), (None, (3, 4, 7), None)
        (h,) = call("forward", arguments, arrays, dtype, shapes)
        expected = OPS.jet_activation(y, None, None, beta, kind, "laplacian", 2)
        torch.testing.assert_close(h, expected, rtol=TOLERANCE[dtype] * 10, atol=TOLERANCE[dtype])
