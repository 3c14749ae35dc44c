"""The points of several steps, made at one call: what that costs is shared among the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc.geometry import (
    Boundary,
    Box,
    Channel,
    Interval,
    ParameterDomain,
    Part,
    PieceBoundary,
    Points,
    Rectangle,
    Segment,
    TimeDomain,
)
from colloc.geometry._sampling import place_in_box, shares, unit_points
from colloc.geometry.box import BoxBoundary
from colloc.geometry.interval import IntervalBoundary
from colloc.geometry.parameter_domain import ParameterBoundary
from colloc.geometry.rectangle import RectangleBoundary
from colloc.geometry.time_domain import TimeBoundary

_STRAIGHT = (Interval, Rectangle, Channel, Box, IntervalBoundary, RectangleBoundary, BoxBoundary)
#: Steps that are worth making at once.
FEWEST = 4
#: Methods of which a step's raw points follow on those of the step before.
_CONSECUTIVE = ("halton", "sobol")


class Block:
    """The points of consecutive steps; made by :func:`draw`.

    Args:
        columns: of :class:`Points` what differs from step to step, (steps, n, ...) each.
        same: the other columns, (n, ...) or None.
        first: the first step.
        ends: for each step the raw index behind its last one.
        rank, world_size: whose share of each step's points is given.
    """

    def __init__(
        self,
        columns: dict[str, Tensor],
        same: dict[str, Tensor | None],
        first: int,
        ends: Sequence[int],
        rank: int,
        world_size: int,
    ) -> None:
        self._columns, self._same, self.first, self._ends = columns, same, first, ends
        self._rank, self._world_size = rank, world_size
        self._whole: float | None = None
        measure = same["measure"]
        if world_size > 1 and measure is not None:  # as share_of finds at each step
            self._whole = float(measure.double().sum()) / world_size

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._ends)

    def points(self, step: int, own: bool) -> Points:
        """The points of a step, bit for bit those that a call of the sampler makes.

        Args:
            step: one of the block's.
            own: whether in memory of their own; else in the block's, which is not to be written to.
        """
        k = step - self.first
        found: dict[str, Any] = {name: c.select(0, k) for name, c in self._columns.items()}
        found |= self._same
        if own:
            found = {name: None if c is None else c.clone() for name, c in found.items()}
        if self._world_size > 1:
            mine = slice(self._rank, None, self._world_size)
            found = {name: None if c is None else c[mine] for name, c in found.items()}
        return Points(**found, next_start=self._ends[k], whole=self._whole)


def draw(
    shape: Any,
    n: int,
    method: str,
    first: int,
    starts: Sequence[int],
    *,
    seed: int | None,
    dtype: torch.dtype,
    device: torch.device | None,
    rank: int,
    world_size: int,
) -> Block:
    """n points for each step from ``first`` on, whose raw points begin at ``starts``.

    The shape is one that :func:`can_draw` takes: its points then depend, bit by bit, on their own
    raw points alone.

    Raises:
        ValueError, MemoryError: as ``shape.sample``.
    """
    count = len(starts)

    def by_steps(column: Tensor) -> Tensor:
        return column.reshape(count, n, *column.shape[1:])

    same: dict[str, Tensor | None]
    if isinstance(shape, Boundary):
        unit = _unit(method, n, shape._parameters, starts, seed, device)
        x, normal, piece = shape._lay(unit, starts[0], dtype, range(len(shape)))[:3]
        columns = {"x": by_steps(x), "normal": by_steps(normal), "piece": by_steps(piece)}
        same = {"distance": torch.zeros((n, 1), dtype=dtype, device=x.device)}
    else:
        unit = _unit(method, n, shape.dim, starts, seed, device)
        x = place_in_box(unit, shape.bounds, dtype)
        columns = {"x": by_steps(x), "distance": by_steps(shape._distance_inside(x))}
        same = {"normal": None, "piece": None}
    same["measure"] = shares(shape.measure, n, dtype, x.device)
    return Block(columns, same, first, [at + n for at in starts], rank, world_size)


def can_draw(shape: Any, n: int, random: bool) -> bool:
    """Whether a step's n points of a shape are the same bits among those of other steps.

    So they are where every raw point is taken, and laid by operations that are rounded correctly:
    sines of a curve's angles need not be. Subclasses may do anything.

    Args:
        random: whether the steps' raw indices lie apart.
    """
    kind: Any = type(shape)
    if kind is IntervalBoundary:  # lays points on its ends in turn, by their raw indices
        return not random or n % len(shape) == 0
    if kind is PieceBoundary:
        return all(type(piece) is Segment for piece in shape.pieces)
    if kind in (TimeDomain, ParameterDomain):
        return can_draw(shape.shape, n, random)
    if kind is TimeBoundary:
        return can_draw(shape._domain, n, random)
    if kind is ParameterBoundary:
        return can_draw(shape._walls, n, random)
    if kind is Part:
        return can_draw(shape.boundary, n, random)
    return kind in _STRAIGHT


def _unit(
    method: str,
    n: int,
    dim: int,
    starts: Sequence[int],
    seed: int | None,
    device: torch.device | None,
) -> Tensor:
    """Each step's raw points, one step after the other, (len(starts) n, dim) float64."""
    count = len(starts)
    if method in _CONSECUTIVE:
        return unit_points(method, count * n, dim, starts[0], seed, device)
    if method != "hammersley":
        parts = [unit_points(method, n, dim, at, seed, device) for at in starts]
        return torch.cat(parts)
    along = unit_points(method, n, 1, starts[0], seed, device).repeat(count, 1)
    if dim == 1:
        return along
    rest = unit_points("halton", count * n, dim - 1, starts[0], seed, device)
    return torch.cat([along, rest], dim=1)
