"""The interval, in one dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from colloc._checks import check_float
from colloc.geometry.aligned import AxisAligned
from colloc.geometry.shape import Boundary, inner_bounds


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

    @property
    def dim(self) -> int:
        """1."""
        return 1

    @property
    def measure(self) -> float:
        """2, the number of end points."""
        return 2.0

    @property
    def piece_names(self) -> tuple[str, ...]:
        """("left", "right")."""
        return ("left", "right")

    @property
    def _parameters(self) -> int:
        return 1

    def _lay(self, unit: Tensor, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        # Left and right in turn, so that any two points in a row hit both ends.
        piece = torch.arange(unit.shape[0], device=unit.device).add_(start % 2).remainder_(2)
        (low,), (high,) = self._interval.bounds
        inner_bounds(low, high, dtype)  # refuses where both ends would be one point
        ends = torch.tensor([low, high], dtype=dtype, device=unit.device)
        normal = (2 * piece - 1).to(dtype).unsqueeze(1)
        return ends[piece].unsqueeze(1), normal, piece
