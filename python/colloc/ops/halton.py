"""Halton's sequence: op ``colloc::halton``."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from colloc._checks import check_float_dtype, check_int, fail
from colloc.ops._registration import (
    LARGEST_INT,
    check_device,
    default_device,
    memory_for,
    register_backend_select,
)

_op = torch.ops.colloc.halton.default
register_backend_select(_op, device_argument=6)

#: More axes than this are refused (the primes grow, and with them the digits).
MAX_DIM = 10_000


@torch.library.register_fake("colloc::halton")
def _fake(
    n: int,
    dim: int,
    start: int,
    leap: int,
    seed: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    return torch.empty((n, dim), dtype=dtype, device=device)


@functools.cache
def _nth_prime(n: int) -> int:
    primes: list[int] = []
    candidate = 2
    while len(primes) < n:
        if all(candidate % p for p in primes if p * p <= candidate):
            primes.append(candidate)
        candidate += 1
    return primes[-1]


def _check_reach(n: int, dim: int, start: int, leap: int) -> None:
    """All digits of the last index must fit an integer."""
    limit = (2**63 - 1) // (_nth_prime(dim) if dim <= 16 else 105_000)
    last = start + leap * max(n - 1, 0)
    if last > limit:
        fail("start", f"start + leap * (n - 1) <= {limit} for dim {dim}", f"{last}")


def halton(
    n: int,
    dim: int,
    start: int = 0,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    *,
    leap: int = 1,
) -> Tensor:
    """Points ``start, start + leap, ..., start + (n - 1) leap`` of Halton's sequence.

    Coordinate j of point i is the radical inverse of i in the j-th prime b,

        phi_b(i) = sum_k digit_k(i) b^-(k+1),

    computed in integers with one final rounding: the correctly rounded value wherever
    b^digits < 2^53 (all indices to 2^40 in the first 1000 axes), the same bits on CPU and
    GPU, and never 1.0. Index 0 is the origin. Source: J. H. Halton, Numerische Mathematik 2
    (1960) 84-90.

    Args:
        n: number of points, >= 0.
        dim: number of coordinates, 1 to 10,000 (the first ``dim`` primes).
        start: index of the first point, >= 0. Consecutive stretches continue the sequence.
        seed: None for the plain sequence; an integer scrambles every digit by a random linear
            permutation d -> (h d + g) mod b, drawn anew for every axis and position from the
            seed (Matousek, Journal of Complexity 14, 1998). Equal seeds give equal points.
        dtype: float32 or float64; None is torch's default dtype.
        device: None is torch's default device.
        leap: take every ``leap``-th point (>= 1); choose one that no base divides.

    Returns:
        Tensor (n, dim) in [0, 1).

    Raises:
        ValueError: a number out of range, or an index so far out that its digits would not
            fit (``start + leap (n - 1)`` times the largest prime must stay below 2^63;
            from 17 axes on the last index must stay below 8.7e13).
        TypeError: an argument that is not an integer.
        RuntimeError: a device without kernels.
        MemoryError: more points than memory holds.
    """
    n = check_int("n", n, minimum=0, maximum=LARGEST_INT)
    dim = check_int("dim", dim, minimum=1, maximum=MAX_DIM)
    start = check_int("start", start, minimum=0, maximum=LARGEST_INT)
    leap = check_int("leap", leap, minimum=1, maximum=LARGEST_INT)
    if seed is not None:
        seed = check_int("seed", seed, minimum=-(2**63), maximum=2**63 - 1)
    dtype = check_float_dtype("dtype", dtype)
    where = default_device() if device is None else torch.device(device)
    check_device("device", where)
    if torch.compiler.is_compiling():  # the numbers may be symbols; the op checks again
        return _op(n, dim, start, leap, seed, dtype, where)
    _check_reach(n, dim, start, leap)
    with memory_for(n, dim, dtype):
        return _op(n, dim, start, leap, seed, dtype, where)
