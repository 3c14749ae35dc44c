"""The disk, in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colloc.geometry._piece import Pair
from colloc.geometry.circular import Circle
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.geometry.plane import PlaneShape


class Disk(PlaneShape):
    """The closed disk of points at most ``radius`` from ``center``.

    Args:
        center: two finite numbers.
        radius: > 0.
        name: of its boundary's one piece.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, center: Sequence[float], radius: float, name: str = "circle") -> None:
        self._circle = Circle(center, radius)  # type: ignore[arg-type]
        self._boundary = PieceBoundary((self._circle,), (name,))

    @property
    def center(self) -> Pair:
        """The centre."""
        return self._circle.center

    @property
    def radius(self) -> float:
        """The radius."""
        return self._circle.radius

    @property
    def boundary(self) -> PieceBoundary:
        """The circle, counter-clockwise."""
        return self._boundary

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the circle, r - |x - c|: (N, 2) to (N, 1); gradient 0 at c."""
        x = self._check_x(x)
        away = torch.linalg.vector_norm(x - x.new_tensor(self.center), dim=1, keepdim=True)
        return self.radius - away

    def __repr__(self) -> str:
        (x, y), r = self.center, self.radius
        return f"Disk(({x:g}, {y:g}), {r:g})"
