"""The ball, in three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from colloc._checks import check_float, fail
from colloc.geometry._piece import check_radius
from colloc.geometry._sampling import inner_bounds
from colloc.geometry.aligned import checked_corner
from colloc.geometry.boundary import Boundary, Laid
from colloc.geometry.piece_boundary import checked_labels
from colloc.geometry.shape import Shape


class Ball(Shape):
    """The closed ball of points at most ``radius`` from ``center``.

    Args:
        center: three finite numbers.
        radius: > 0.
        name: of its boundary's one piece.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, center: Sequence[float], radius: float, name: str = "sphere") -> None:
        self._center = checked_corner("center", center, 3)
        self._radius = check_radius("radius", check_float("radius", radius, positive=True))
        self._labels = checked_labels("name", (name,), 1, "sphere")
        if any(c + self._radius == c for c in self._center):
            fail("radius", f"a number that counts beside center = {self._center}", f"{radius}")

    @property
    def center(self) -> tuple[float, ...]:
        """The centre."""
        return self._center

    @property
    def radius(self) -> float:
        """The radius."""
        return self._radius

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def measure(self) -> float:
        """4/3 pi r^3."""
        return 4 / 3 * math.pi * self._radius**3

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner of the smallest axis-aligned box around the ball."""
        r = self._radius
        return tuple(c - r for c in self._center), tuple(c + r for c in self._center)

    @property
    def boundary(self) -> BallBoundary:
        """The sphere."""
        return BallBoundary(self)

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the sphere, r - |x - c|: (N, 3) to (N, 1); gradient 0 at c."""
        x = self._check_x(x)
        away = torch.linalg.vector_norm(x - x.new_tensor(self._center), dim=1, keepdim=True)
        return self._radius - away

    def __repr__(self) -> str:
        center = ", ".join(f"{c:g}" for c in self._center)
        return f"Ball(({center}), {self._radius:g})"


class BallBoundary(Boundary):
    """A sphere, sampled evenly by area."""

    def __init__(self, ball: Ball) -> None:
        self._ball = ball
        self._labels = ball._labels

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def _sizes(self) -> tuple[float, ...]:
        return (4 * math.pi * self._ball.radius**2,)

    @property
    def _middles(self) -> Tensor:
        """The northernmost point."""
        x, y, z = self._ball.center
        point = [[x, y, z + self._ball.radius]]
        return torch.tensor(point, dtype=torch.float64, device="cpu")

    @property
    def _geometry(self) -> object:
        return self._ball.center, self._ball.radius

    @property
    def _parameters(self) -> int:
        return 2

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start, among
        for low, high in zip(*self._ball.bounds, strict=True):
            inner_bounds(low, high, dtype)
        # Archimedes: zones of the same height have the same area.
        height, angle = 2 * unit[:, 0] - 1, 2 * math.pi * unit[:, 1]
        across = ((1 - height) * (1 + height)).sqrt()
        normal = torch.stack((across * torch.cos(angle), across * torch.sin(angle), height), dim=1)
        x = normal.new_tensor(self._ball.center) + self._ball.radius * normal
        piece = torch.zeros(unit.shape[0], dtype=torch.int64, device=unit.device)
        return Laid(x.to(dtype), normal.to(dtype), piece)
