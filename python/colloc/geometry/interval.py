"""The interval, in one dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colloc._checks import check_float
from colloc.geometry._sampling import inner_bounds, split
from colloc.geometry.aligned import AxisAligned
from colloc.geometry.boundary import Boundary, Laid


class Interval(AxisAligned):
    """The closed interval [lower, upper].

    Args:
        lower, upper: finite numbers, lower < upper.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, lower: float, upper: float) -> None:
        super().__init__((check_float("lower", lower),), (check_float("upper", upper),), 1)

    @property
    def boundary(self) -> IntervalBoundary:
        """The two end points: piece 0 is "left", piece 1 "right"."""
        return IntervalBoundary(self)


class IntervalBoundary(Boundary):
    """The two end points of an interval, with the counting measure (whole 2)."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._labels = (("left",), ("right",))

    @property
    def dim(self) -> int:
        """1."""
        return 1

    @property
    def _sizes(self) -> tuple[float, ...]:
        return (1.0, 1.0)

    @property
    def _middles(self) -> Tensor:
        return torch.tensor(self._interval.bounds, dtype=torch.float64, device="cpu")

    @property
    def _geometry(self) -> object:
        return self._interval.bounds

    @property
    def _parameters(self) -> int:
        return 1

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        numbers = torch.tensor(list(among), dtype=torch.int64, device=unit.device)
        if start is None:
            which = split(unit[:, 0], (1.0,) * len(among))[0]
        else:  # in turn, so that any two points in a row hit both ends
            count = len(among)
            which = torch.arange(unit.shape[0], device=unit.device).add_(start % count)
            which = which.remainder_(count)
        piece = numbers[which]
        (low,), (high,) = self._interval.bounds
        inner_bounds(low, high, dtype)  # refuses where both ends would be one point
        ends = torch.tensor([low, high], dtype=dtype, device=unit.device)
        normal = (2 * piece - 1).to(dtype).unsqueeze(1)
        return Laid(ends[piece].unsqueeze(1), normal, piece)
