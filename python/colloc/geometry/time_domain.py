"""Shapes over a stretch of time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from colloc._checks import check_float, describe, fail, fail_type
from colloc.geometry._sampling import place, place_in_box, split
from colloc.geometry.boundary import Boundary, Laid, Part
from colloc.geometry.point_cloud import PointCloud
from colloc.geometry.shape import Shape


class TimeDomain(Shape):
    """A shape from time ``start`` to ``stop``: points (x, t), time last.

    Its boundary has the pieces of the shape's boundary, over time, with normals (n, 0), and the
    piece "initial", the shape at ``start``, with normal (0, -1). The shape at ``stop`` does not
    belong to it: nothing is prescribed there.

    Args:
        shape: an interval, a shape in the plane or a solid.
        start, stop: finite numbers, start < stop.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, shape: Shape, start: float, stop: float) -> None:
        if not (isinstance(shape, Shape) and shape._is_space) or isinstance(shape, TimeDomain):
            fix = "Put parameters around it: ParameterDomain(TimeDomain(...), ranges)."
            if isinstance(shape, PointCloud):
                fix = "Give a cloud its time by ParameterDomain(cloud, {'t': (start, stop)})."
            fail_type("shape", "a shape without time and parameters", describe(shape), fix)
        self._shape = shape
        self._start, self._stop = check_float("start", start), check_float("stop", stop)
        if not self._start < self._stop or math.isinf(self._stop - self._start):
            fail("stop", f"a number > start = {self._start} at a finite distance", str(self._stop))

    @property
    def shape(self) -> Shape:
        """The shape, at any time."""
        return self._shape

    @property
    def times(self) -> tuple[float, float]:
        """First and last time."""
        return self._start, self._stop

    @property
    def dim(self) -> int:
        """One more than the shape's."""
        return self._shape.dim + 1

    @property
    def measure(self) -> float:
        """The shape's measure times the duration."""
        return self._shape.measure * (self._stop - self._start)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner, (x, t)."""
        lower, upper = self._shape.bounds
        return (*lower, self._start), (*upper, self._stop)

    @property
    def boundary(self) -> TimeBoundary:
        """The pieces of the shape's boundary over time, and "initial"."""
        return TimeBoundary(self)

    @property
    def initial(self) -> Part:
        """The shape at the first time."""
        boundary = self.boundary
        return boundary.part(len(boundary.piece_names) - 1)

    @property
    def lateral(self) -> Part:
        """The shape's boundary over time: everything but :attr:`initial`."""
        boundary = self.boundary
        return boundary.without(len(boundary.piece_names) - 1)

    @property
    def _accepts_all(self) -> bool:
        return self._shape._accepts_all

    def _distance_inside(self, x: Tensor) -> Tensor:
        return self._shape._distance_inside(x[:, :-1])

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance in space to the shape's boundary, whatever the time: (N, d) to (N, 1)."""
        return self._shape.distance(self._check_x(x)[:, :-1])

    def inside(self, x: Tensor) -> Tensor:
        """Whether points lie in the shape, from the first to the last time: (N, d) to (N,) bool."""
        t = self._check_x(x)[:, -1]
        return self._shape.inside(x[:, :-1]) & (t >= self._start) & (t <= self._stop)

    def __repr__(self) -> str:
        return f"TimeDomain({self._shape!r}, {self._start:g}, {self._stop:g})"


class TimeBoundary(Boundary):
    """The pieces of a shape's boundary over time, then the shape at the first time, "initial"."""

    def __init__(self, domain: TimeDomain) -> None:
        self._domain = domain
        self._walls = domain.shape.boundary
        self._labels = (*self._walls._labels, ("initial",))

    @property
    def dim(self) -> int:
        """That of the domain."""
        return self._domain.dim

    @property
    def _duration(self) -> float:
        start, stop = self._domain.times
        return stop - start

    @property
    def _sizes(self) -> tuple[float, ...]:
        return (*(s * self._duration for s in self._walls._sizes), self._domain.shape.measure)

    @property
    def _raw_sizes(self) -> tuple[float, ...]:
        shape = self._domain.shape
        box = math.prod(high - low for low, high in zip(*shape.bounds, strict=True))
        return (*(s * self._duration for s in self._walls._raw_sizes), box)

    @property
    def _takes_all(self) -> bool:
        return self._walls._takes_all and self._domain.shape._accepts_all

    @property
    def _middles(self) -> Tensor:
        walls = self._walls._middles
        lower, upper = torch.tensor(self._domain.shape.bounds, dtype=walls.dtype, device="cpu")
        space = torch.cat((walls, (lower + (upper - lower) / 2).unsqueeze(0)))
        start, stop = self._domain.times
        t = torch.full_like(space[:, :1], (start + stop) / 2)
        t[-1] = start
        return torch.cat((space, t), dim=1)

    @property
    def _geometry(self) -> object:
        return self._walls._geometry, self._domain.times

    @property
    def _parameters(self) -> int:
        return max(self._walls._parameters + 1, self._domain.shape.dim)

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start
        last = len(self._labels) - 1
        walls = [k for k in among if k < last]
        if not walls:
            return self._lay_initial(unit, dtype)
        if last not in among:
            return self._lay_lateral(unit, dtype, walls)
        raw = self._raw_sizes
        which, share = split(unit[:, 0], [sum(raw[k] for k in walls), raw[last]])
        unit = torch.cat((share.unsqueeze(1), unit[:, 1:]), dim=1)
        one, two = self._lay_lateral(unit, dtype, walls), self._lay_initial(unit, dtype)
        on_walls = which == 0
        return Laid(
            torch.where(on_walls.unsqueeze(1), one.x, two.x),
            torch.where(on_walls.unsqueeze(1), one.normal, two.normal),
            torch.where(on_walls, one.piece, two.piece),
            torch.where(on_walls, _all(one), _all(two)),
        )

    def _lay_lateral(self, unit: Tensor, dtype: torch.dtype, among: Sequence[int]) -> Laid:
        count = self._walls._parameters
        x, normal, piece, taken = self._walls._lay(unit[:, :count], None, dtype, among)
        t = place(unit[:, count], *self._domain.times, dtype).unsqueeze(1)
        normal = torch.cat((normal, torch.zeros_like(t)), dim=1)
        return Laid(torch.cat((x, t), dim=1), normal, piece, taken)

    def _lay_initial(self, unit: Tensor, dtype: torch.dtype) -> Laid:
        shape = self._domain.shape
        x = place_in_box(unit[:, : shape.dim], shape.bounds, dtype)
        t = torch.full_like(x[:, :1], self._domain.times[0])
        normal = torch.cat((torch.zeros_like(x), -torch.ones_like(t)), dim=1)
        piece = torch.full_like(t[:, 0], len(self._labels) - 1, dtype=torch.int64)
        taken = None if shape._accepts_all else shape.inside(x)
        return Laid(torch.cat((x, t), dim=1), normal, piece, taken)


def _all(laid: Laid) -> Tensor:
    return torch.ones_like(laid.piece, dtype=torch.bool) if laid.taken is None else laid.taken
