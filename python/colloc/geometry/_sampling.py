"""How raw points of a sequence become points of a shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from colloc.ops.sequences import METHODS

#: Sampling gives up when less than this share of so many raw points lies in the shape.
_FEWEST_ACCEPTED = 1e-4
_MOST_RAW_POINTS = 2**20
#: Methods whose every batch is a set of its own, to be taken as a whole.
_SETS = ("hammersley", "latin_hypercube")

#: Columns of points, all of the same length.
Columns = tuple[Tensor, ...]


class Laid(NamedTuple):
    """Raw points laid on a boundary."""

    x: Tensor  # (n, d)
    normal: Tensor  # (n, d), outward
    piece: Tensor  # (n,)
    taken: Tensor | None = None  # (n,) bool; None: all


#: From the first raw index and the number of raw points to points, and which to take (None: all).
Draw = Callable[[int, int], tuple[Columns, Tensor | None]]


def unit_points(
    method: str,
    n: int,
    dim: int,
    start: int,
    seed: int | None,
    device: torch.device | str | None,
) -> Tensor:
    """Raw points ``start`` to ``start + n - 1`` of a sequence, (n, dim) float64.

    A Hammersley set has to know its size: here every batch is a set of its own, evenly spread
    in the first coordinate, with Halton's points of the indices asked for in the others.
    """
    if method == "hammersley":
        first = METHODS[method](n, 1, dtype=torch.float64, device=device)
        if dim == 1:
            return first
        rest = METHODS["halton"](n, dim - 1, start, seed=seed, dtype=torch.float64, device=device)
        return torch.cat([first, rest], dim=1)
    return METHODS[method](n, dim, start, seed=seed, dtype=torch.float64, device=device)


def accept(
    n: int, start: int, method: str, per_point: float, draw: Draw, where: str
) -> tuple[Columns, int]:
    """The first n points that are taken, from raw index ``start`` on, and the next raw index.

    Args:
        per_point: raw points for each one taken, >= 1; may be an estimate, infinite for none.
        draw: makes the points.
        where: what is sampled, for the error message.
    """
    if n == 0:
        return draw(start, 0)[0], start
    if method in _SETS:
        return _accept_of_a_set(n, start, method, per_point, draw, where)
    parts: list[Columns] = []
    found, at = 0, start
    while found < n:
        most = max(_MOST_RAW_POINTS, n)
        wanted = min(1.1 * (n - found) * per_point + 64, most)
        # At least as many as before: few rounds even where the estimate misleads.
        block = min(max(int(wanted), at - start), most)
        columns, taken = draw(at, block)
        index = _indices(columns, taken)[: n - found]
        parts.append(tuple(column[index] for column in columns))
        found += len(index)
        at += int(index[-1]) + 1 if found == n else block
        _check_found(found, n, at - start, where)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True)), at


def _accept_of_a_set(
    n: int, start: int, method: str, per_point: float, draw: Draw, where: str
) -> tuple[Columns, int]:
    """As :func:`accept`, of one set just large enough.

    Hammersley's runs from one side to the other, so its first n points would leave the far side
    empty: all are made, and a surplus is left out evenly. A Latin hypercube is in random order,
    so a surplus at its end is one left out at random.
    """
    size = int(min(n * per_point, max(_MOST_RAW_POINTS, 4 * n))) + 1
    while True:
        columns, taken = draw(start, size)
        index = _indices(columns, taken)
        found = len(index)
        if found >= n:
            kept = torch.arange(n, device=index.device)
            if method == "hammersley":
                kept = (kept * found + found // 2) // n
            return tuple(column[index[kept]] for column in columns), start + size
        _check_found(found, n, size, where)
        size += min((n - found) * size // found + 1, size) if found else size


def _indices(columns: Columns, taken: Tensor | None) -> Tensor:
    if taken is None:
        return torch.arange(columns[0].shape[0], device=columns[0].device)
    return taken.nonzero()[:, 0]


def _check_found(found: int, n: int, looked_at: int, where: str) -> None:
    """Give up on a shape that is empty or next to it."""
    if found < n and looked_at >= _MOST_RAW_POINTS and found < _FEWEST_ACCEPTED * looked_at:
        raise ValueError(
            f"sample: expected at least {_FEWEST_ACCEPTED:g} of the raw points to be taken, found "
            f"{found} among {looked_at}, a fraction of {found / looked_at:.2g}. Check that {where} "
            f"is not empty; of one that fills so little of its bounding box cut or turn the shape, "
            f"or sample its parts one by one."
        )


def place(unit: Tensor, low: float, high: float, dtype: torch.dtype) -> Tensor:
    """low + unit (high - low) as ``dtype``, within [low, high] whatever is rounded."""
    first, last = inner_bounds(low, high, dtype)
    return (low + unit * (high - low)).clamp(low, high).to(dtype).clamp(first, last)


def place_in_box(
    unit: Tensor, bounds: tuple[Sequence[float], Sequence[float]], dtype: torch.dtype
) -> Tensor:
    """Points of the unit cube (n, d), float64, in a box, as ``dtype``; never outside."""
    # Column by column, with plain numbers: broadcasting along short rows is slow, and on a GPU
    # every tensor made of numbers is a transfer.
    x = torch.empty(unit.shape, dtype=dtype, device=unit.device)
    for axis, (low, high) in enumerate(zip(*bounds, strict=True)):
        first, last = inner_bounds(low, high, dtype)
        column = (unit[:, axis] * (high - low)).add_(low)
        x[:, axis] = column.to(dtype).clamp_(first, last)
    return x


def split(unit: Tensor, sizes: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Pieces laid end to end: from positions in [0, 1) to piece (n,) and position on it [0, 1]."""
    total = float(sum(sizes))
    ends = torch.tensor(list(accumulate(sizes)), dtype=unit.dtype, device=unit.device)
    lengths = torch.tensor(sizes, dtype=unit.dtype, device=unit.device)
    at = unit * total
    piece = torch.bucketize(at, ends[:-1], right=True)
    along = (at - (ends - lengths)[piece]) / lengths[piece]
    return piece, along.clamp(0.0, 1.0)


def shares(measure: float, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Equal shares of the whole, (n, 1)."""
    share = measure / max(n, 1)
    if n and not torch.finfo(dtype).tiny <= share <= torch.finfo(dtype).max:
        raise ValueError(
            f"dtype: expected one that holds each point's share {share:g} of the measure, got "
            f"{dtype}. Use torch.float64, or other units of length."
        )
    return torch.full((n, 1), share, dtype=dtype, device=device)


@functools.lru_cache(maxsize=4096)
def inner_bounds(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """The smallest and largest numbers of ``dtype`` within [low, high].

    Raises:
        ValueError: fewer than two: the shape is thinner than the dtype's resolution there, or
            out of its range.
    """
    largest = torch.finfo(dtype).max
    if low < -largest or high > largest:
        raise ValueError(
            f"dtype: expected one that reaches from {low!r} to {high!r}, got {dtype}. Use "
            f"torch.float64, or other units of length."
        )
    ends = torch.tensor([low, high], dtype=torch.float64, device="cpu")
    first, last = (float(end) for end in rounded_inwards(ends[0], ends[1], dtype))
    if first >= last:
        raise ValueError(
            f"dtype: expected one that resolves the shape's extent from {low!r} to {high!r}, got "
            f"{dtype}. Use torch.float64, or move the shape nearer to the origin."
        )
    return first, last


def rounded_inwards(low: Tensor, high: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``low`` rounded up and ``high`` rounded down from float64 to ``dtype``."""
    first, last = low.to(dtype), high.to(dtype)
    up, down = torch.full_like(first, math.inf), torch.full_like(last, -math.inf)
    first = torch.where(first.double() < low, torch.nextafter(first, up), first)
    last = torch.where(last.double() > high, torch.nextafter(last, down), last)
    return first, last
