"""Point sequences in the unit cube besides Halton's, with the same arguments."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from colloc._checks import check_float_dtype, check_int, fail
from colloc.ops._registration import LARGEST_INT, memory_for, usable_device
from colloc.ops.halton import halton

#: What torch's Sobol engine can give.
MAX_SOBOL_DIM, MAX_SOBOL_POINTS = torch.quasirandom.SobolEngine.MAXDIM, 2**30
#: Up to here i + 1/2 is exact in float64.
MAX_HAMMERSLEY_POINTS = 2**52


def hammersley(
    n: int,
    dim: int,
    start: int = 0,
    total: int | None = None,
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Points ``start`` to ``start + n - 1`` of the Hammersley set of ``total`` points.

    The first coordinate of point i is (i + 1/2) / total; the others are Halton's in the first
    dim - 1 primes. The set is more even than Halton's sequence, but its size must be known
    beforehand: a longer one moves every point. Source: J. M. Hammersley, Annals of the New York
    Academy of Sciences 86 (1960) 844-874, with the first coordinate centred.

    Args:
        n: number of points, >= 0.
        dim: number of coordinates, >= 1.
        start: index of the first point, >= 0.
        total: size of the whole set, at least ``start + n``, at most 2^52; None: exactly
            ``start + n``.
        seed: scrambles the Halton coordinates, see :func:`colloc.ops.halton`.
        dtype: float32 or float64; None is torch's default dtype.
        device: None is torch's default device.

    Returns:
        Tensor (n, dim) in [0, 1).

    Raises:
        RuntimeError: a device that this torch cannot use.
        MemoryError: more points than memory holds.
        ValueError, TypeError: a number out of range or no integer; ``start + n > total``.
    """
    n, dim, start = _check_sizes(n, dim, start)
    total = start + n if total is None else check_int("total", total, minimum=1)
    if start + n > total:
        fail("total", f"at least start + n = {start + n}", str(total))
    if total > MAX_HAMMERSLEY_POINTS:
        fail("total", f"at most {MAX_HAMMERSLEY_POINTS}", str(total), "Use halton further out.")
    if seed is not None:
        seed = check_int("seed", seed, minimum=-(2**63), maximum=2**63 - 1)
    dtype = check_float_dtype("dtype", dtype)
    where = usable_device("device", device)
    with memory_for(n, dim, dtype):
        index = torch.arange(start, start + n, dtype=torch.float64, device=where)
        first = _below_one(((index + 0.5) / max(total, 1)).unsqueeze(1), dtype)
        if dim == 1:
            return first
        rest = halton(n, dim - 1, start, seed=seed, dtype=dtype, device=where)
        return torch.cat([first, rest], dim=1)


def sobol(
    n: int,
    dim: int,
    start: int = 0,
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Points ``start`` to ``start + n - 1`` of Sobol's sequence, by torch's SobolEngine.

    Best in blocks of a power of two. With a seed the sequence is scrambled (Owen's random
    linear matrix and digital shift, as torch does it); equal seeds give equal points. Any
    ``start`` is reached at once: point i is the exclusive or of the direction numbers at the
    bits of i ^ (i >> 1), its Gray code (Antonov & Saleev, USSR Computational Mathematics and
    Mathematical Physics 19, 1979).

    Args:
        n: number of points, >= 0.
        dim: number of coordinates, 1 to 21201.
        start: index of the first point, >= 0; ``start + n`` at most 2^30.
        seed: None for the plain sequence, whose point 0 is the origin.
        dtype: float32 or float64 (points are multiples of 2^-30); None is torch's default.
        device: None is torch's default device. The points are made on the CPU.

    Returns:
        Tensor (n, dim) in [0, 1).

    Raises:
        RuntimeError: a device that this torch cannot use.
        MemoryError: more points than memory holds.
        ValueError, TypeError: a number out of range or no integer.
    """
    n, dim, start = _check_sizes(n, dim, start, MAX_SOBOL_DIM)
    if start + n > MAX_SOBOL_POINTS:
        fail("start + n", f"at most {MAX_SOBOL_POINTS}", str(start + n), "Use halton further out.")
    if seed is not None:
        seed = check_int("seed", seed, minimum=0, maximum=2**63 - 1)
    dtype = check_float_dtype("dtype", dtype)
    where = usable_device("device", device)
    if n == 0:
        return torch.empty((0, dim), dtype=dtype, device=where)
    # The engine follows torch's default device, but runs on the CPU; its points are float64.
    with memory_for(n, dim, torch.float64), torch.device("cpu"):
        engine = torch.quasirandom.SobolEngine(dim, scramble=seed is not None, seed=seed)
        if start > 0:
            _jump(engine, start)
        points = engine.draw(n, dtype=torch.float64)
        if start == 0 and seed is not None:
            # The engine keeps its first point in torch's default dtype, which rounds it.
            points[0] = engine.shift.double() / 2**30
    return _below_one(points, dtype).to(where)


def uniform(
    n: int,
    dim: int,
    start: int = 0,
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Pseudo-random points, independent and uniform in the unit cube.

    Args:
        n: number of points, >= 0.
        dim: number of coordinates, >= 1.
        start: with a seed, different starts give independent batches.
        seed: None: torch's global generator. An integer: the batch depends on
            (seed, start, n, dim, dtype and kind of device) alone.
        dtype: float32 or float64; None is torch's default dtype.
        device: None is torch's default device.

    Returns:
        Tensor (n, dim) in [0, 1).

    Raises:
        RuntimeError: a device that this torch cannot use.
        MemoryError: more points than memory holds.
        ValueError, TypeError: a number out of range or no integer.
    """
    n, dim, start = _check_sizes(n, dim, start)
    dtype = check_float_dtype("dtype", dtype)
    where = usable_device("device", device)
    generator = _generator(seed, start, where)
    with memory_for(n, dim, dtype):
        return torch.rand((n, dim), generator=generator, dtype=dtype, device=where)


def latin_hypercube(
    n: int,
    dim: int,
    start: int = 0,
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A Latin hypercube sample of n points, a set of its own at every call.

    Point i has the coordinates (pi_j(i) + U_ij) / n with a random permutation pi_j of 0 to n - 1
    for every axis and U uniform in [0, 1): each of the n equal slices of every axis holds one
    point, in random order. Source: M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21
    (1979) 239-245.

    Args:
        n: number of points, >= 0, at most 2^52.
        dim: number of coordinates, >= 1.
        start: with a seed, different starts give independent sets.
        seed: None: torch's global generator. An integer: the set depends on (seed, start, n, dim
            and kind of device) alone.
        dtype: float32 or float64; None is torch's default dtype. In float32 a point may be
            rounded onto the edge of its slice.
        device: None is torch's default device.

    Returns:
        Tensor (n, dim) in [0, 1).

    Raises:
        RuntimeError: a device that this torch cannot use.
        MemoryError: more points than memory holds.
        ValueError, TypeError: a number out of range or no integer.
    """
    n, dim, start = _check_sizes(n, dim, start)
    if n > MAX_HAMMERSLEY_POINTS:
        fail("n", f"at most {MAX_HAMMERSLEY_POINTS}", str(n), "Use uniform for more.")
    dtype = check_float_dtype("dtype", dtype)
    where = usable_device("device", device)
    generator = _generator(seed, start, where)
    with memory_for(n, 4 * dim, torch.float64):
        order, jitter = torch.rand((2, n, dim), generator=generator, dtype=torch.float64,
                                   device=where)  # fmt: skip
        return _below_one((order.argsort(dim=0) + jitter) / max(n, 1), dtype)


#: Sequences by name: (n, dim, start, *, seed, dtype, device) -> (n, dim).
METHODS: dict[str, Callable[..., Tensor]] = {
    "halton": halton,
    "hammersley": hammersley,
    "sobol": sobol,
    "uniform": uniform,
    "latin_hypercube": latin_hypercube,
}


def _jump(engine: torch.quasirandom.SobolEngine, index: int) -> None:
    """Bring a new engine to where its next point is the one of the index given, > 0."""
    before = index - 1  # the engine holds the last point that it has given
    code = before ^ (before >> 1)
    point = engine.shift.clone()
    for bit in range(code.bit_length()):
        if code >> bit & 1:
            point ^= engine.sobolstate[:, bit]
    engine.quasi = point
    engine.num_generated = index


def _generator(seed: int | None, start: int, where: torch.device) -> torch.Generator | None:
    """What makes the batch of a seed and a start; None: torch's global generator."""
    if seed is None:
        return None
    seed = check_int("seed", seed, minimum=-(2**63), maximum=2**63 - 1)
    if where.type == "meta":
        return None
    return torch.Generator(where).manual_seed(_mix(_mix(seed) + start))


def _check_sizes(n: int, dim: int, start: int, most: int | None = None) -> tuple[int, int, int]:
    return (
        check_int("n", n, minimum=0, maximum=LARGEST_INT),
        check_int("dim", dim, minimum=1, maximum=most or LARGEST_INT),
        check_int("start", start, minimum=0),
    )


def _below_one(points: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast values of [0, 1), where rounding to float32 may reach 1."""
    largest = 1.0 - torch.finfo(dtype).eps / 2
    return points.to(dtype).clamp(max=largest)


def mixed(seed: int, number: int) -> int:
    """A seed for the ``number``-th of several independent draws of one seed, 0 to 2^63 - 1."""
    return _mix(_mix(seed) + number) >> 1


def _mix(value: int) -> int:
    """SplitMix64: neighbouring integers to unrelated ones (Steele, Lea, Flood 2014)."""
    mask = 2**64 - 1
    z = (value + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
