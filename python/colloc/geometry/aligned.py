"""What boxes of any dimension share: intervals, rectangles and boxes along the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, fail, fail_type
from colloc.geometry.shape import Shape


class AxisAligned(Shape):
    """The product of intervals [lower_i, upper_i]."""

    def __init__(self, lower: Sequence[float], upper: Sequence[float], dim: int) -> None:
        self._lower = _corner("lower", lower, dim)
        self._upper = _corner("upper", upper, dim)
        for axis, (low, high) in enumerate(zip(self._lower, self._upper, strict=True)):
            if not low < high:
                fail(f"upper[{axis}]", f"a number > lower[{axis}] = {low}", str(high))
            if math.isinf(high - low):
                fail(f"upper[{axis}]", "a finite extent", f"{high} - {low}")

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return len(self._lower)

    @property
    def extent(self) -> tuple[float, ...]:
        """Length along each axis."""
        return tuple(high - low for low, high in zip(self._lower, self._upper, strict=True))

    @property
    def measure(self) -> float:
        """Length, area or volume."""
        return math.prod(self.extent)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner."""
        return self._lower, self._upper

    @property
    def _accepts_all(self) -> bool:
        return True

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the boundary, exact everywhere: (N, d) to (N, 1).

        Inside it is the distance to the nearest face, outside minus the distance to the
        nearest point of the box.
        """
        x = self._check_x(x)
        lower, upper = (
            torch.tensor(corner, dtype=x.dtype, device=x.device) for corner in self.bounds
        )
        gap = torch.minimum(x - lower, upper - x)
        nearest = gap.amin(dim=1, keepdim=True)
        away = gap.clamp(max=0)
        scale = away.abs().amax(dim=1, keepdim=True)
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        outside = safe * (away / safe).square().sum(dim=1, keepdim=True).sqrt()
        return torch.where(nearest >= 0, nearest, -outside)

    def __repr__(self) -> str:
        lower, upper = self.bounds
        if self.dim == 1:
            return f"{type(self).__name__}({lower[0]:g}, {upper[0]:g})"
        corners = ("(" + ", ".join(f"{v:g}" for v in corner) + ")" for corner in (lower, upper))
        return f"{type(self).__name__}({', '.join(corners)})"


def _corner(name: str, corner: Any, dim: int) -> tuple[float, ...]:
    wanted = f"{dim} numbers"
    if isinstance(corner, Tensor):
        corner = corner.tolist()
    if isinstance(corner, (str, bytes)) or not hasattr(corner, "__len__"):
        fail_type(name, wanted, corner, f"Give a tuple of {dim}." if dim > 1 else "")
    if len(corner) != dim:
        fail(name, wanted, corner)
    return tuple(check_float(f"{name}[{axis}]", value) for axis, value in enumerate(corner))
