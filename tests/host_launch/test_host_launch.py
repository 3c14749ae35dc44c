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
    name("halton", dtype)(out, n, primes(dim), start, leap, seed, 0, 0)
    check_guard(out, n * dim)
    expected = cc.ops.halton(n, dim, start, leap=leap, seed=seed, dtype=dtype).numpy()
    assert np.array_equal(out[: n * dim].reshape(n, dim), expected)


@DTYPES
@pytest.mark.parametrize("seed", [None, 11])
@pytest.mark.parametrize("start", [0, 2**32 - 300, 2**45 + 3])
@pytest.mark.parametrize(
    ("n", "dim"), [(256, 2), (257, 1), (1023, 3), (2500, 4), (5000, 7), (300, 33)]
)
def test_halton_tables_bit_equal(n, dim, start, seed, dtype):
    """Consecutive indices, several tiles a block."""
    out = guarded(n * dim, dtype)
    name("halton", dtype)(out, n, primes(dim), start, 1, seed, 2, 0)
    check_guard(out, n * dim)
    expected = cc.ops.halton(n, dim, start, seed=seed, dtype=dtype).numpy()
    assert np.array_equal(out[: n * dim].reshape(n, dim), expected)


@DTYPES
@pytest.mark.parametrize("leap", [1, 7])
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (300, 2), (1023, 3), (300, 33)])
def test_halton_narrow_bit_equal(n, dim, leap, dtype):
    """Few points: digits of 32 bits, up to the last index that has them and past it."""
    for start in (0, 2**32 - 1 - leap * (n - 1), 2**32 - leap * (n - 1)):
        out = guarded(n * dim, dtype)
        name("halton", dtype)(out, n, primes(dim), start, leap, None, 0, 1 << 20)
        check_guard(out, n * dim)
        expected = cc.ops.halton(n, dim, start, leap=leap, dtype=dtype).numpy()
        assert np.array_equal(out[: n * dim].reshape(n, dim), expected)


def test_halton_tables_of_many_points():
    """A tile is more than one round of the threads."""
    n, start = 140_000, 2**32 - 300
    out = guarded(2 * n, torch.float32)
    host.halton_float32(out, n, primes(2), start, 1, 11, 0, 0)
    check_guard(out, 2 * n)
    expected = cc.ops.halton(n, 2, start, seed=11).numpy()
    assert np.array_equal(out[: 2 * n].reshape(n, 2), expected)


def test_halton_tables_of_large_bases():
    """Axes with tables of one digit, and with none."""
    for first, last in ((160, 176), (1000, 1002)):
        used = primes(last)[first:]
        out = guarded(1500 * len(used), torch.float64)
        host.halton_float64(out, 1500, used, 77, 1, None, 0, 0)
        check_guard(out, 1500 * len(used))
        expected = cc.ops.halton(1500, last, 77, dtype=torch.float64)[:, first:].numpy()
        assert np.array_equal(out[: expected.size].reshape(expected.shape), expected)


def test_halton_quotient_without_division():
    """The bits of the rounded quotient: all numerators of small denominators; for powers of primes
    up to 2^53 random ones, and such that the quotient lies near the middle of two numbers."""
    tried = [(np.arange(d, dtype=np.float64), np.full(d, float(d))) for d in range(2, 1500)]
    generator = np.random.default_rng(5)
    powers = [float(b**k) for b in primes(172) for k in range(1, 54) if b**k <= 2**53]
    powers += [2.0**53 - k for k in range(1, 500)]
    for d in powers:
        n = np.floor(generator.random(500) * d)
        middles = np.ldexp(2 * generator.integers(2**52, 2**53, 500) + 1, -54)
        exact = [int(m) * int(d) for m in np.ldexp(middles, 54)]
        near = np.array([e >> 54 for e in exact], dtype=np.float64)
        near = np.concatenate((near, near + 1))
        n = np.concatenate((n, near[near < d], [0.0, 1.0, d - 1]))
        tried.append((n, np.full(n.shape, d)))
    n, d = (np.concatenate(part) for part in zip(*tried, strict=True))
    found = np.empty_like(n)
    host.halton_quotients(n, d, found)
    assert np.array_equal(found, n / d)


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
    cases = (
        ((1, 1), False),
        ((3, 5), True),
        ((150, 33), True),
        ((200, 40), False),
        ((5, 1303), True),
    )
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


def test_activation_backward_of_many_rows():
    """More rows of 1024 elements than blocks, so that a block walks several, and the last one in
    part; a is shared, beta is not."""
    x, a, _ = operands("tanh", (132 * 12 * 64 + 1001, 16), False, torch.float32)
    beta = 0.5 + torch.rand(16)
    grad = torch.randn(x.shape)
    by_x, by_a, by_beta = (guarded(size, torch.float32) for size in (x.numel(), 1, 16))
    inputs = (flat(v, torch.float32) for v in (grad, x, a, beta))
    host.backward_float32(KINDS.index("stan"), 0, *inputs, 1.5, by_x, by_a, by_beta)
    wide = [v.double() for v in (grad, x, a, beta)]
    expected = torch.ops.colloc.adaptive_activation_backward(*wide, "stan", 1.5, 0, 7)
    for array, value in zip((by_x, by_a, by_beta), expected, strict=True):
        check_guard(array, value.numel())
        close = torch.from_numpy(array[: value.numel()]).double().reshape(value.shape)
        bound = 2e-5 * value.abs().max() + 1e-6 * x.numel() ** 0.5
        assert (close - value).abs().max() <= bound
