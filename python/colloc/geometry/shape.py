"""What every shape and every boundary can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float_dtype, check_int, check_points
from colloc.geometry.points import Points
from colloc.ops.sequences import METHODS

#: Sampling gives up when so few of this many raw points lie in the shape.
_FEWEST_ACCEPTED = 1e-6
_MOST_RAW_POINTS = 2**24


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


class Shape(ABC):
    """A bounded region of space, closed: its boundary belongs to it."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates d."""

    @property
    @abstractmethod
    def measure(self) -> float:
        """Length, area or volume."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner of the smallest axis-aligned box around the shape."""

    @property
    @abstractmethod
    def boundary(self) -> Boundary:
        """The boundary, with its own ``sample``."""

    @abstractmethod
    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the boundary: (N, d) to (N, 1), positive inside, 0 on it."""

    def inside(self, x: Tensor) -> Tensor:
        """Whether points lie in the closed shape: (N, d) to (N,) bool."""
        return self.distance(x)[:, 0] >= 0

    @property
    def _accepts_all(self) -> bool:
        """Whether every point of the bounding box lies in the shape."""
        return False

    def sample(
        self,
        n: int,
        start: int = 0,
        method: str = "halton",
        *,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Points:
        """n points of the interior.

        Raw points of the sequence, from index ``start`` on, are laid into the bounding box and
        those inside the shape are taken, in order, until there are n; ``next_start`` of the
        result is the first index not looked at, so that ``sample(n, points.next_start)``
        continues the sequence and no index is used twice.

        Args:
            n: number of points, >= 0.
            start: index of the first raw point, >= 0.
            method: "halton", "hammersley" (every call a set of its own), "sobol", "uniform".
            seed: scrambles the sequence, or seeds "uniform"; see ``colloc.sampling``.
            dtype: float32 or float64; None is torch's default dtype.
            device: None is torch's default device.

        Returns:
            Points: x (n, d), measure (n, 1), distance (n, 1); normal and piece are None.

        Raises:
            ValueError: a number out of range, an unknown method, a dtype that cannot resolve
                the shape, or a shape that fills less than a millionth of its bounding box.
            TypeError: n or start is not an integer.
        """
        n = check_int("n", n, minimum=0)
        start = check_int("start", start, minimum=0)
        check_choice("method", method, tuple(METHODS))
        dtype = check_float_dtype("dtype", dtype)
        x, next_start = self._accepted(n, start, method, seed, dtype, device)
        return Points(
            x=x,
            normal=None,
            measure=_shares(self.measure, n, dtype, x.device),
            distance=self.distance(x),
            piece=None,
            next_start=next_start,
        )

    def _accepted(
        self,
        n: int,
        start: int,
        method: str,
        seed: int | None,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> tuple[Tensor, int]:
        """The first n points inside, from raw index ``start`` on, and the next raw index."""
        if self._accepts_all:
            unit = unit_points(method, n, self.dim, start, seed, device)
            return self._place(unit, dtype), start + n
        if n == 0:
            return self._place(unit_points(method, 0, self.dim, start, seed, device), dtype), start
        box = math.prod(high - low for low, high in zip(*self.bounds, strict=True))
        # Raw points per accepted one; the measure may be an estimate, or 0 of an empty shape.
        per_point = max(1.0, box / self.measure) if self.measure > 0 else math.inf
        if method == "hammersley":
            return self._accepted_of_a_set(n, start, per_point, seed, dtype, device)
        parts: list[Tensor] = []
        found, at = 0, start
        while found < n:
            wanted = min(1.1 * (n - found) * per_point + 64, _MOST_RAW_POINTS)
            # At least as many as before: few rounds even where the measure misleads.
            block = min(max(int(wanted), at - start), _MOST_RAW_POINTS)
            candidates = self._place(unit_points(method, block, self.dim, at, seed, device), dtype)
            index = self.inside(candidates).nonzero()[:, 0][: n - found]
            parts.append(candidates[index])
            found += len(index)
            at += int(index[-1]) + 1 if found == n else block
            self._check_found(found, n, at - start)
        return torch.cat(parts), at

    def _accepted_of_a_set(
        self,
        n: int,
        start: int,
        per_point: float,
        seed: int | None,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> tuple[Tensor, int]:
        """As :meth:`_accepted`, of one Hammersley set just large enough.

        A set runs from one side of the box to the other, so its first n points inside would
        leave the far side empty: all are made, and a surplus is left out evenly.
        """
        size = int(min(n * per_point, max(_MOST_RAW_POINTS, n))) + 1
        while True:
            x = self._place(unit_points("hammersley", size, self.dim, start, seed, device), dtype)
            index = self.inside(x).nonzero()[:, 0]
            found = len(index)
            if found >= n:
                kept = (torch.arange(n, device=index.device) * found + found // 2) // n
                return x[index[kept]], start + size
            self._check_found(found, n, size)
            size += min((n - found) * size // found + 1, size) if found else size

    def _check_found(self, found: int, n: int, looked_at: int) -> None:
        """Give up on a shape that is empty or next to it."""
        if found < n and looked_at >= _MOST_RAW_POINTS and found < _FEWEST_ACCEPTED * looked_at:
            raise ValueError(
                f"sample: expected points in at least a millionth of the bounding box, found "
                f"{found} among {looked_at}. Check that {self!r} is not empty."
            )

    def _place(self, unit: Tensor, dtype: torch.dtype) -> Tensor:
        """Points of the unit cube, float64, in the bounding box, as ``dtype``; never outside."""
        columns = []
        for axis, (low, high) in enumerate(zip(*self.bounds, strict=True)):
            columns.append(place(unit[:, axis], low, high, dtype))
        return torch.stack(columns, dim=1)

    def _check_x(self, x: Tensor) -> Tensor:
        return check_points("x", x, self.dim)


class Boundary(ABC):
    """The boundary of a shape: numbered, named pieces."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates d of its points."""

    @property
    @abstractmethod
    def measure(self) -> float:
        """Length or area; in one dimension the number of end points."""

    @property
    @abstractmethod
    def piece_names(self) -> tuple[str, ...]:
        """Names of the pieces; a point's ``piece`` is the position in this tuple."""

    @property
    @abstractmethod
    def _parameters(self) -> int:
        """How many coordinates of a raw sequence place a point."""

    @abstractmethod
    def _lay(self, unit: Tensor, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """x (n, d), normal (n, d) and piece (n,) for raw points (n, parameters) from ``start``."""

    def sample(
        self,
        n: int,
        start: int = 0,
        method: str = "halton",
        *,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Points:
        """n points spread evenly over the whole boundary.

        Args, errors: as for :meth:`Shape.sample`.

        Points of float32 lie on the wall as float32 rounds it.

        Returns:
            Points: x (n, d), outward unit normal (n, d), measure (n, 1) summing to the
            boundary's, distance (n, 1) of zeros, piece (n,).
        """
        n = check_int("n", n, minimum=0)
        start = check_int("start", start, minimum=0)
        check_choice("method", method, tuple(METHODS))
        dtype = check_float_dtype("dtype", dtype)
        unit = unit_points(method, n, self._parameters, start, seed, device)
        x, normal, piece = self._lay(unit, start, dtype)
        return Points(
            x=x,
            normal=normal,
            measure=_shares(self.measure, n, dtype, x.device),
            distance=torch.zeros((n, 1), dtype=dtype, device=x.device),
            piece=piece,
            next_start=start + n,
        )


def place(unit: Tensor, low: float, high: float, dtype: torch.dtype) -> Tensor:
    """low + unit (high - low) as ``dtype``, within [low, high] whatever is rounded."""
    first, last = inner_bounds(low, high, dtype)
    return (low + unit * (high - low)).clamp(low, high).to(dtype).clamp(first, last)


def _shares(measure: float, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Equal shares of the whole, (n, 1)."""
    share = measure / max(n, 1)
    if n and not torch.finfo(dtype).tiny <= share <= torch.finfo(dtype).max:
        raise ValueError(
            f"dtype: expected one that holds each point's share {share:g} of the measure, got "
            f"{dtype}. Use torch.float64, or other units of length."
        )
    return torch.full((n, 1), share, dtype=dtype, device=device)


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
    inner = ends.to(dtype)
    away = torch.tensor([float("inf"), float("-inf")], dtype=dtype, device="cpu")
    outside = torch.stack([inner[0].double() < ends[0], inner[1].double() > ends[1]])
    inner = torch.where(outside, torch.nextafter(inner, away), inner)
    first, last = inner.tolist()
    if first >= last:
        raise ValueError(
            f"dtype: expected one that resolves the shape's extent from {low!r} to {high!r}, got "
            f"{dtype}. Use torch.float64, or move the shape nearer to the origin."
        )
    return first, last
