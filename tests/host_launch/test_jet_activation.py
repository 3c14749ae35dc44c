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
    given = (None, y, *rest) if with_columns else (y, None, *rest)

    (h,) = call("forward", arguments, (*given, None), dtype, (None, jet, None))
    compare(h, OPS.jet_activation(y, *named), dtype)

    by_beta = (points, width) if kind == "stan" else None
    found = call("backward", arguments, (*given, g), dtype, (jet, jet, by_beta))
    expected = OPS.jet_activation_backward(g, y, *named)
    for one, other in zip(found, expected, strict=False):
        compare(one, other, dtype)

    (tangent,) = call("tangent", arguments, (*given, g), dtype, (jet, None, None))
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
        arrays, shapes = (y, None, None, None, beta, None), (None, (3, 4, 7), None)
        (h,) = call("forward", arguments, arrays, dtype, shapes)
        expected = OPS.jet_activation(y, None, None, beta, kind, "laplacian", 2)
        torch.testing.assert_close(h, expected, rtol=TOLERANCE[dtype] * 10, atol=TOLERANCE[dtype])


# ---- jets stored in 16 bits ------------------------------------------------------------------

NARROW = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def bits(value, guards=np.nan):
    """Numbers of 16 bits as NumPy takes them, with guards behind them."""
    if value is None:
        return np.empty(0, np.uint16)
    full = torch.cat((value.reshape(-1), torch.full((GUARDS,), guards).to(value)))
    return full.view(torch.int16).numpy().view(np.uint16)


def values(array, shape, dtype):
    found = torch.from_numpy(array.view(np.int16)).view(dtype)
    size = int(np.prod(shape))
    assert torch.all(found[size:] == GUARD), "written past the end"
    return found[:size].reshape(shape)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("kind", cc.ops.KINDS)
@pytest.mark.parametrize("order,n", [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4)])
def test_16_bits(kind, order, n, dtype):
    for points, width in [(1, 2), (3, 6), (33, 130)] if kind in ("tanh", "stan") else [(3, 6)]:
        for with_columns in (False, True):
            check_16_bits(kind, order, n, points, width, with_columns, dtype)


def test_16_bits_more_elements_than_threads():
    check_16_bits("tanh", 1, 2, 9001, 122, False, "bfloat16")


def check_16_bits(kind, order, n, points, width, with_columns, dtype):
    narrow, jet = NARROW[dtype], (points, jet_size(str(order), n), width)
    y = torch.randn(points, width) if with_columns else torch.randn(jet).to(narrow)
    g = torch.randn(jet).to(narrow)
    columns = torch.randn(n, width).to(narrow) if with_columns else None
    bias = torch.randn(width)
    beta = torch.randn(width) if kind == "stan" else None
    arguments = (cc.ops.KINDS.index(kind), ORDERS.index(order), n, points, width)
    full, value = (None, y) if with_columns else (y, None)
    rest = [bits(full), with_guards(value, torch.float32), bits(columns),
            *(with_guards(t, torch.float32) for t in (bias, beta))]  # fmt: skip
    absent, empty = bits(None), np.empty(0, np.float32)
    blank = torch.full(jet, GUARD).to(narrow)

    h = bits(blank, GUARD)
    getattr(host, f"jet_forward_{dtype}")(*arguments, *rest, absent, absent, h, empty)
    named = (columns, bias, beta, kind, str(order), n)
    near(values(h, jet, narrow), OPS.jet_activation(y, *named))

    out, h = bits(blank, GUARD), bits(blank, GUARD)
    shape = (points, width) if kind == "stan" else (0,)
    count = int(np.prod(shape)) + GUARDS
    by_beta = empty if beta is None else np.full(count, GUARD, np.float32)
    getattr(host, f"jet_backward_{dtype}")(*arguments, *rest, bits(g), out, h, by_beta)
    expected = OPS.jet_activation_backward(g, y, *named)
    near(values(out, jet, narrow), expected[0])
    near(values(h, jet, narrow), expected[1])
    if beta is not None:
        size = points * width
        assert np.all(by_beta[size:] == GUARD), "written past the end"
        compare(torch.from_numpy(by_beta[:size]).reshape(shape), expected[2], torch.float32)


def near(found, expected):
    """The same but for roundings of nearly the same float32."""
    unit = torch.finfo(found.dtype).eps
    torch.testing.assert_close(found.float(), expected.float(), rtol=unit, atol=1e-5)
    assert (found == expected).float().mean() > 0.98
