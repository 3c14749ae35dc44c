"""What boxes of any dimension share: intervals, rectangles and boxes along the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, describe, fail, fail_type
from colloc.geometry.shape import Shape


class AxisAligned(Shape):
    """The product of intervals [lower_i, upper_i]."""

    def __init__(self, lower: Sequence[float], upper: Sequence[float], dim: int) -> None:
        self._lower = checked_corner("lower", lower, dim)
        self._upper = checked_corner("upper", upper, dim)
        for axis, (low, high) in enumerate(zip(self._lower, self._upper, strict=True)):
            if not low < high:
                fail(f"upper[{axis}]", f"a number > lower[{axis}] = {low}", str(high))
            if math.isinf(high - low):
                fail(f"upper[{axis}]", "a finite extent", f"{high} - {low}")
        # Products of huge or tiny extents leave the numbers; points would become NaN.
        faces = [math.prod(self.extent[:k] + self.extent[k + 1 :]) for k in range(dim)]
        if not (min(*faces, self.measure) > 0 and max(2 * sum(faces), self.measure) < math.inf):
            fail(
                "upper",
                "extents whose products are finite and > 0 in float64",
                f"extents {self.extent}",
                "Choose other units of length.",
            )

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
        nearest point of the box. Differentiable, on the boundary too, where the derivative is
        that of the inside (at edges and corners the mean over the faces that meet).
        """
        x = self._check_x(x)
        lower, upper = x.new_tensor(self.bounds)
        gap = torch.minimum(x - lower, upper - x)
        nearest = gap.amin(dim=1, keepdim=True)
        away = gap.clamp(max=0)
        # Scaled, so that squares neither overflow nor underflow. The scale drops out of the
        # derivative. Ones where it is not needed: a square root of 0 has no gradient.
        scale = away.detach().abs().amax(dim=1, keepdim=True)
        scale = torch.where((scale > 0) & (scale < math.inf), scale, torch.ones_like(scale))
        ratio = torch.where(nearest >= 0, torch.ones_like(away), away / scale)
        outside = scale * ratio.square().sum(dim=1, keepdim=True).sqrt()
        return torch.where(nearest >= 0, nearest, -outside)

    def _distance_inside(self, x: Tensor) -> Tensor:
        nearest: Tensor | None = None
        for axis, (low, high) in enumerate(zip(*self.bounds, strict=True)):
            gap = torch.minimum(x[:, axis] - low, high - x[:, axis])
            nearest = gap if nearest is None else torch.minimum(nearest, gap)
        assert nearest is not None
        return nearest.unsqueeze(1)

    def __repr__(self) -> str:
        lower, upper = self.bounds
        if self.dim == 1:
            return f"{type(self).__name__}({lower[0]:g}, {upper[0]:g})"
        corners = ("(" + ", ".join(f"{v:g}" for v in corner) + ")" for corner in (lower, upper))
        return f"{type(self).__name__}({', '.join(corners)})"


def checked_corner(name: str, corner: Any, dim: int) -> tuple[float, ...]:
    """Finite numbers, one for each axis."""
    wanted = f"{dim} numbers"
    if hasattr(corner, "tolist"):  # tensors, numpy arrays
        corner = corner.tolist()
    if isinstance(corner, (str, bytes)) or not isinstance(corner, Sequence):
        fail_type(name, wanted, describe(corner), f"Give a tuple of {dim}." if dim > 1 else "")
    if len(corner) != dim:
        fail(name, wanted, corner)
    return tuple(check_float(f"{name}[{axis}]", value) for axis, value in enumerate(corner))
