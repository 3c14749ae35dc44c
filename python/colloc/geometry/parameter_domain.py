"""Shapes over ranges of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail_type
from colloc.geometry._ranges import Range, checked_ranges, corners, shown, volume
from colloc.geometry._sampling import place_in_box
from colloc.geometry.boundary import Boundary, Laid, Part
from colloc.geometry.point_cloud import PointCloud
from colloc.geometry.shape import Shape


class ParameterDomain(Shape):
    """A shape over ranges of parameters: points (x, k, ...), or (x, t, k, ...), parameters last.

    All axes are sampled together: one sequence of as many coordinates as the points have. A
    point's measure is its share of the shape's measure times the lengths of the ranges.

    Of a boundary, or of a part of one, it makes the boundary over the same ranges, a
    :class:`Boundary` (or :class:`Part`) with the same pieces and names. Normals are (n, 0, ...).
    Of a :class:`PointCloud` it makes a cloud whose samples have the parameters' columns.

    Example::

        domain = cc.geometry.ParameterDomain(square, {"k": (1.0, 2.0)})
        inside = domain.sample(4096)                    # x (4096, 3), the columns x, y, k
        inlet  = domain.boundary["left"].sample(256)

    Args:
        shape: a shape (a TimeDomain too), its boundary, a part of that, or a point cloud.
        ranges: for each parameter's name the lowest and the highest value, low < high; the
            columns come in this order.

    Raises:
        ValueError, TypeError: otherwise.
    """

    _is_space = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A boundary or cloud over the ranges where the first argument is one."""
        shape = args[0] if args else kwargs.get("shape")
        ranges = args[1] if len(args) > 1 else kwargs.get("ranges")
        if isinstance(shape, PointCloud):
            return shape._over(checked_ranges("ranges", ranges))
        if not isinstance(shape, Boundary):
            return super().__new__(cls)
        whole, numbers = shape._parent
        boundary = ParameterBoundary(whole, checked_ranges("ranges", ranges))
        return boundary.part(numbers) if isinstance(shape, Part) else boundary

    def __init__(
        self, shape: Shape | Boundary | PointCloud, ranges: Mapping[str, Sequence[float]]
    ) -> None:
        if not isinstance(shape, Shape):
            wanted = "a shape, a boundary, a part of one or a point cloud"
            fail_type("shape", wanted, describe(shape))
        if isinstance(shape, ParameterDomain):
            fail_type(
                "shape", "a shape without parameters", repr(shape), "Give all ranges at once."
            )
        self._shape = shape
        self._ranges = checked_ranges("ranges", ranges)

    @property
    def shape(self) -> Shape:
        """The shape, at any parameters."""
        return self._shape

    @property
    def parameters(self) -> dict[str, Range]:
        """The range of each parameter, in the order of the columns."""
        return dict(self._ranges)

    @property
    def dim(self) -> int:
        """The shape's, and one for each parameter."""
        return self._shape.dim + len(self._ranges)

    @property
    def measure(self) -> float:
        """The shape's measure times the lengths of the ranges."""
        return self._shape.measure * volume(self._ranges)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner."""
        (lower, upper), (low, high) = self._shape.bounds, corners(self._ranges)
        return (*lower, *low), (*upper, *high)

    @property
    def boundary(self) -> ParameterBoundary:
        """The pieces of the shape's boundary over the ranges; the ends of these are none of it."""
        return ParameterBoundary(self._shape.boundary, self._ranges)

    @property
    def _accepts_all(self) -> bool:
        return self._shape._accepts_all

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the shape's boundary, whatever the parameters: (N, d) to (N, 1)."""
        return self._shape.distance(self._check_x(x)[:, : self._shape.dim])

    def inside(self, x: Tensor) -> Tensor:
        """Whether points lie in the shape and in the ranges: (N, d) to (N,) bool."""
        x = self._check_x(x)
        values = x[:, self._shape.dim :]
        low, high = values.new_tensor(corners(self._ranges))
        within = ((values >= low) & (values <= high)).all(dim=1)
        return self._shape.inside(x[:, : self._shape.dim]) & within

    def _distance_inside(self, x: Tensor) -> Tensor:
        return self._shape._distance_inside(x[:, : self._shape.dim])

    def __repr__(self) -> str:
        return f"ParameterDomain({self._shape!r}, {shown(self._ranges)})"


class ParameterBoundary(Boundary):
    """The pieces of a boundary over ranges of parameters; made by :class:`ParameterDomain`."""

    def __init__(self, boundary: Boundary, ranges: dict[str, Range]) -> None:
        if isinstance(boundary, ParameterBoundary):
            fail_type("shape", "a boundary without parameters", repr(boundary),
                      "Give all ranges at once.")  # fmt: skip
        self._walls = boundary
        self._ranges = ranges
        self._labels = boundary._labels

    @property
    def parameters(self) -> dict[str, Range]:
        """The range of each parameter, in the order of the columns."""
        return dict(self._ranges)

    @property
    def dim(self) -> int:
        """The boundary's, and one for each parameter."""
        return self._walls.dim + len(self._ranges)

    @property
    def _sizes(self) -> tuple[float, ...]:
        return tuple(size * volume(self._ranges) for size in self._walls._sizes)

    @property
    def _raw_sizes(self) -> tuple[float, ...]:
        return tuple(size * volume(self._ranges) for size in self._walls._raw_sizes)

    @property
    def _takes_all(self) -> bool:
        return self._walls._takes_all

    @property
    def _middles(self) -> Tensor:
        walls = self._walls._middles
        middle = [low + (high - low) / 2 for low, high in self._ranges.values()]
        return torch.cat((walls, walls.new_tensor(middle).expand(len(walls), -1)), dim=1)

    @property
    def _geometry(self) -> object:
        return self._walls._geometry, tuple(self._ranges.items())

    @property
    def _parameters(self) -> int:
        return self._walls._parameters + len(self._ranges)

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start
        count = self._walls._parameters
        x, normal, piece, taken = self._walls._lay(unit[:, :count], None, dtype, among)
        values = place_in_box(unit[:, count:], corners(self._ranges), dtype)
        normal = torch.cat((normal, torch.zeros_like(values)), dim=1)
        return Laid(torch.cat((x, values), dim=1), normal, piece, taken)

    def __repr__(self) -> str:
        return f"ParameterBoundary({self._walls!r}, {shown(self._ranges)})"
