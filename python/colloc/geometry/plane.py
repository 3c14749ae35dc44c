"""Plane shapes that are given by the pieces of their boundary."""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor

from colloc.geometry._piece import Pair
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.geometry.shape import Shape


class PlaneShape(Shape):
    """A region of the plane on the left of closed pieces."""

    @property
    @abstractmethod
    def boundary(self) -> PieceBoundary:
        """The pieces."""

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @property
    def measure(self) -> float:
        """The area, exactly: half the integral of x dy - y dx over the boundary (Green)."""
        lower, upper = self.bounds
        center = ((lower[0] + upper[0]) / 2, (lower[1] + upper[1]) / 2)
        return math.fsum(piece.swept_area(center) for piece in self.boundary.pieces)

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner of the smallest axis-aligned box around the shape."""
        return self.boundary.bounds

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the boundary, exact everywhere: (N, 2) to (N, 1).

        The distance to the nearest piece, positive where the boundary winds around the point.
        Differentiable, on the boundary too, where the derivative is that of the inside (at
        vertices that of one of the pieces that meet).
        """
        return self.boundary._tables.signed_distance(self._check_x(x))
