"""What every shape can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float_dtype, check_int, check_points, fail_type
from colloc.geometry._sampling import Columns, accept, place_in_box, shares, unit_points
from colloc.geometry.boundary import Boundary
from colloc.geometry.points import Points
from colloc.ops.sequences import METHODS


class Shape(ABC):
    """A bounded region of space, closed: its boundary belongs to it."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates d."""

    @property
    @abstractmethod
    def measure(self) -> float:
        """Length, area or volume; exact, but for combinations of solids that are not all boxes:
        those count which of 2^18 points are inside."""

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

    #: Whether all coordinates are those of space, so that shapes can be combined.
    _is_space: ClassVar[bool] = True

    def _distance_inside(self, x: Tensor) -> Tensor:
        """:meth:`distance` of points that lie in the shape, where that is less work."""
        return self.distance(x)

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
            method: "halton", "sobol", "uniform", or "hammersley" and "latin_hypercube", where
                every call makes a set of its own.
            seed: scrambles the sequence, or seeds the random methods; see ``colloc.sampling``.
            dtype: float32 or float64; None is torch's default dtype.
            device: None is torch's default device.

        Returns:
            Points: x (n, d), measure (n, 1), distance (n, 1); normal and piece are None.

        Raises:
            ValueError: a number out of range, an unknown method, a dtype that cannot resolve
                the shape, or a shape that fills less than 1e-4 of its bounding box.
            TypeError: n or start is not an integer.
        """
        n = check_int("n", n, minimum=0)
        start = check_int("start", start, minimum=0)
        check_choice("method", method, tuple(METHODS))
        dtype = check_float_dtype("dtype", dtype)

        # Where inside is no more than the sign of the distance, both are found at once.
        at_once = type(self).inside is Shape.inside

        def draw(at: int, count: int) -> tuple[Columns, Tensor | None]:
            unit = unit_points(method, count, self.dim, at, seed, device)
            x = place_in_box(unit, self.bounds, dtype)
            if not at_once:
                return (x,), self.inside(x)
            distance = self.distance(x)
            return (x, distance), distance[:, 0] >= 0

        columns: Columns
        if self._accepts_all:
            unit = unit_points(method, n, self.dim, start, seed, device)
            columns, next_start = (place_in_box(unit, self.bounds, dtype),), start + n
        else:
            box = math.prod(high - low for low, high in zip(*self.bounds, strict=True))
            # The measure may be an estimate.
            per_point = max(1.0, box / self.measure) if self.measure > 0 else math.inf
            columns, next_start = accept(n, start, method, per_point, draw, repr(self))
        x = columns[0]
        distance = columns[1] if len(columns) == 2 else self._distance_inside(x)
        return Points(
            x=x,
            normal=None,
            measure=shares(self.measure, n, dtype, x.device),
            distance=distance,
            piece=None,
            next_start=next_start,
        )

    def __or__(self, other: Shape) -> Shape:
        """The union, the points of either shape; both in the plane or both in space."""
        return _combined("|", self, other)

    def __and__(self, other: Shape) -> Shape:
        """The intersection, the points of both shapes."""
        return _combined("&", self, other)

    def __sub__(self, other: Shape) -> Shape:
        """The difference, the points of this shape that are not inside the other."""
        return _combined("-", self, other)

    def _check_x(self, x: Tensor) -> Tensor:
        return check_points("x", x, self.dim)


def _combined(op: str, left: Shape, right: Shape) -> Shape:
    for side, shape in (("left", left), ("right", right)):
        if isinstance(shape, Shape) and not shape._is_space:
            fail_type(side, "a shape of space alone", repr(shape), "Combine shapes first.")
    from colloc.geometry.combination import combined

    return combined(op, left, right)
