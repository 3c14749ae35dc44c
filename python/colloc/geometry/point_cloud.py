"""Clouds of points with shares of a measure: what a mesher or a measurement gave."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from colloc._checks import (
    check_choice,
    check_float_dtype,
    check_int,
    check_points,
    describe,
    fail,
    fail_type,
)
from colloc.geometry._ranges import Range, corners, shown, volume
from colloc.geometry._sampling import place_in_box, shares, unit_points
from colloc.geometry.points import Points
from colloc.ops.sequences import METHODS


class PointCloud:
    """Points that are given, each with its share of a measure.

    Samples are points of the cloud, drawn in proportion to their shares: a point of the sequence
    in [0, 1) picks the point at which the cumulative measure (float64) passes it. A point may
    come several times; those with a share of 0 never come. :meth:`all` gives the whole cloud.

    Example::

        cloud  = cc.geometry.PointCloud(x, measure=cell_volumes)
        points = cc.sampling.Halton(cloud, 1024)(step)

    Measured data stay with their points, whichever are drawn::

        sensors = cc.geometry.PointCloud(x, values=u)          # (N, d), (N, k)
        data = cc.Term("data", net, sensors.all(),
                       lambda u, x, points: u.value - points.values, order=0)
        data.points = cc.sampling.Halton(sensors, 64)(step)    # some at a time

    Args:
        x: the points, a floating tensor (N, d), N >= 1, finite.
        measure: their shares, (N, 1), finite, >= 0, not all 0. None: equal parts of 1.
        normal: outward unit normals, (N, d), where the cloud lies on a boundary.
        distance: of each point to the boundary, (N, 1), as in :class:`Points`. None: 0 where
            normals are given, else it is not known and NaN.
        values: data at the points, (N, k), finite: ``points.values`` of every sample.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self,
        x: Tensor,
        measure: Tensor | None = None,
        normal: Tensor | None = None,
        distance: Tensor | None = None,
        values: Tensor | None = None,
    ) -> None:
        self._x = check_points("x", x).detach().clone()  # the caller may write to it
        n, dim = self._x.shape
        if n == 0 or dim == 0:
            fail("x", "at least one point with at least one coordinate", x)
        _check_finite("x", self._x)
        if measure is None:
            measure = self._x.new_full((n, 1), 1.0 / n, dtype=torch.float64)
        self._shares = self._checked("measure", measure, 1).double()
        if bool((self._shares < 0).any()):
            fail("measure", "shares >= 0", f"{float(self._shares.min()):g}")
        self._whole = float(self._shares.sum())
        if not 0 < self._whole < math.inf:
            fail("measure", "shares with a finite sum > 0", f"a sum of {self._whole:g}")
        self._normal = None if normal is None else self._checked("normal", normal, dim)
        if distance is not None:
            distance = self._checked("distance", distance, 1)
        elif normal is not None:
            distance = torch.zeros_like(self._x[:, :1])
        else:
            distance = torch.full_like(self._x[:, :1], math.nan)
        self._distance = distance
        self._values = None if values is None else self._checked("values", values, None)
        self._cumulative = self._shares[:, 0].cumsum(0)
        self._last = int(self._shares[:, 0].nonzero()[-1])
        self._bounds = (tuple(self._x.amin(0).tolist()), tuple(self._x.amax(0).tolist()))
        self._ranges: dict[str, Range] = {}

    def _checked(self, name: str, value: Any, columns: int | None) -> Tensor:
        """A tensor with one row a point, of so many columns (None: any number)."""
        shown = "k" if columns is None else columns
        wanted = f"a floating tensor of shape ({len(self._x)}, {shown}) on {self._x.device}"
        if not isinstance(value, Tensor) or not value.is_floating_point():
            fail_type(name, wanted, describe(value))
        count = value.shape[1] if columns is None and value.ndim == 2 else columns
        if value.shape != (len(self._x), count):
            fix = f"Use {name}[:, None]." if value.ndim == 1 and columns in (1, None) else ""
            fail(name, wanted, value, fix)
        if value.device != self._x.device:
            fail(name, wanted, f"one on {value.device}")
        value = value.detach().clone()  # the caller may write to it
        _check_finite(name, value)
        return value

    def __len__(self) -> int:
        """Number of points in the cloud."""
        return self._x.shape[0]

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return self._x.shape[1] + len(self._ranges)

    @property
    def measure(self) -> float:
        """The sum of all shares, times the lengths of the ranges of parameters."""
        return self._whole * volume(self._ranges)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner of the smallest axis-aligned box around the points."""
        low, high = corners(self._ranges)
        return (*self._bounds[0], *low), (*self._bounds[1], *high)

    @property
    def parameters(self) -> dict[str, Range]:
        """The range of each parameter, where ParameterDomain gave the cloud some."""
        return dict(self._ranges)

    @property
    def _takes_all(self) -> bool:
        return True

    def _over(self, ranges: dict[str, Range]) -> PointCloud:
        """The same cloud over ranges of parameters."""
        if self._ranges:
            fail_type("shape", "a cloud without parameters", repr(self), "Give all ranges at once.")
        cloud = copy.copy(self)
        cloud._ranges = ranges
        return cloud

    def all(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Points:
        """The whole cloud in its own order, with its shares; in tensors of their own.

        Args:
            dtype: float32 or float64; None is that of x.
            device: None is the cloud's.

        Raises:
            ValueError: a cloud over ranges of parameters, which has no end of points.
        """
        if self._ranges:
            fail("all", "a cloud without parameters", repr(self), "Use sample.")
        dtype = check_float_dtype("dtype", self._x.dtype if dtype is None else dtype)
        return (
            Points(
                x=self._x,
                normal=self._normal,
                measure=self._shares,
                distance=self._distance,
                piece=None,
                values=self._values,
                next_start=0,
            )
            .clone()
            .to(None if device is None else torch.device(device), dtype)
        )

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
        """n points of the cloud, in proportion to their shares.

        Args, errors: as for :meth:`Shape.sample`, but that None is the cloud's own device.

        Returns:
            Points: x (n, d), normal (n, d) where the cloud has them, measure (n, 1): equal
            shares of the whole; distance (n, 1); piece is None.
        """
        n = check_int("n", n, minimum=0)
        start = check_int("start", start, minimum=0)
        check_choice("method", method, tuple(METHODS))
        dtype = check_float_dtype("dtype", dtype)
        where = self._x.device
        unit = unit_points(method, n, 1 + len(self._ranges), start, seed, where)
        at = unit[:, 0] * self._cumulative[-1]
        # The first point whose cumulative share is larger; rounding may pass all of them.
        index = torch.searchsorted(self._cumulative, at, right=True).clamp_(max=self._last)
        x = self._x[index].to(dtype)
        normal = None if self._normal is None else self._normal[index].to(dtype)
        if self._ranges:
            values = place_in_box(unit[:, 1:], corners(self._ranges), dtype)
            x = torch.cat((x, values), dim=1)
            if normal is not None:
                normal = torch.cat((normal, torch.zeros_like(values)), dim=1)
        points = Points(
            x=x,
            normal=normal,
            measure=shares(self.measure, n, dtype, where),
            distance=self._distance[index].to(dtype),
            piece=None,
            values=None if self._values is None else self._values[index].to(dtype),
            next_start=start + n,
        )
        return points if device is None else points.to(device=torch.device(device))

    def __repr__(self) -> str:
        ranges = f", {shown(self._ranges)}" if self._ranges else ""
        return f"PointCloud({len(self)} points in {self._x.shape[1]}D{ranges})"


def _check_finite(name: str, value: Tensor) -> None:
    """Refuse NaN and infinity; reads the values once, where a cloud is made."""
    wrong = ~value.isfinite().all(dim=1)
    count = int(wrong.sum())
    if count:
        first = int(wrong.nonzero()[0])
        fail(name, "finite numbers", f"{count} rows with NaN or infinity, the first is {first}")
