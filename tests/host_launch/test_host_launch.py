"""The bodies of the CUDA kernels, run on the host with the grid they have on the GPU.

Outputs have guard values behind them, so that a write past the end is seen.
"""

from __future__ import annotations

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.ops import KINDS
from reference.halton import primes

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD = 7.25
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def name(function, dtype):
    return getattr(host, f"{function}_{'float32' if dtype == torch.float32 else 'float64'}")


def guarded(size, dtype):
    return np.full(size + 64, GUARD, dtype=NUMPY[dtype])


def check_guard(array, size):
    assert np.all(array[size:] == GUARD), "written past the end"


@DTYPES
@pytest.mark.parametrize("dim", [1, 4, 5, 33])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 40_000])
@pytest.mark.parametrize("seed", [None, 11])
def test_halton_bit_equal(n, dim, dtype, seed):
    start, leap = 2**40 + 3, 7
    out = guarded(n * dim, dtype)
    name("halton", dtype)(out, n, primes(dim), start, leap, seed)
    check_guard(out, n * dim)
    expected = cc.ops.halton(n, dim, start, leap=leap, seed=seed, dtype=dtype).numpy()
    assert np.array_equal(out[: n * dim].reshape(n, dim), expected)


def operands(kind, shape, per_neuron, dtype):
    width = shape[-1]
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    slope = (width,) if per_neuron else ()
    a = 0.5 + torch.rand(slope, generator=generator, dtype=dtype)
    beta = 0.5 + torch.rand(slope, generator=generator, dtype=dtype) if kind == "stan" else None
    return x, a, beta


def flat(value, dtype):
    if value is None:
        return np.zeros(1, NUMPY[dtype])
    return np.ascontiguousarray(value.numpy().reshape(-1))


@DTYPES
@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_activation_forward(kind, order, dtype):
    for shape, per_neuron in (((1, 1), False), ((3, 5), True), ((517, 33), True)):
        x, a, beta = operands(kind, shape, per_neuron, dtype)
        out = guarded(x.numel(), dtype)
        name("forward", dtype)(
            KINDS.index(kind), order, flat(x, dtype), flat(a, dtype), flat(beta, dtype), 1.5, out
        )
        check_guard(out, x.numel())
        expected = cc.ops.adaptive_activation(x, a, kind, 1.5, beta, order=order)
        rtol, atol = (1e-5, 1e-5) if dtype == torch.float32 else (1e-12, 1e-13)
        found = torch.from_numpy(out[: x.numel()]).reshape(shape)
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol * 4**order)


@DTYPES
@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_activation_backward(kind, order, dtype):
    cases = (((1, 1), False), ((3, 5), True), ((517, 33), True), ((1200, 40), False))
    for shape, per_neuron in cases:
        x, a, beta = operands(kind, shape, per_neuron, dtype)
        grad = torch.randn(shape, dtype=dtype)
        by_x, by_a, by_beta = (guarded(size, dtype) for size in (x.numel(), a.numel(), a.numel()))
        name("backward", dtype)(
            KINDS.index(kind), order, *(flat(v, dtype) for v in (grad, x, a, beta)), 1.5,
            by_x, by_a, by_beta,
        )  # fmt: skip
        mask = 7 if beta is not None else 3
        wide = [None if v is None else v.double() for v in (grad, x, a, beta)]
        expected = torch.ops.colloc.adaptive_activation_backward(*wide, kind, 1.5, order, mask)
        found = [by_x, by_a, by_beta][: len(expected) if beta is not None else 2]
        eps = torch.finfo(dtype).eps
        for array, value in zip(found, expected, strict=False):
            check_guard(array, value.numel())
            close = torch.from_numpy(array[: value.numel()]).double().reshape(value.shape)
            scale = value.abs().max() + x.numel() ** 0.5 * (value.numel() < x.numel())
            assert (close - value).abs().max() <= 60 * 4**order * eps * scale
