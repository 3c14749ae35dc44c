"""Shapes that depend on parameters: a sample has points of several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry import Boundary, Points, Shape
from colloc.geometry._ranges import checked_ranges, corners, shown, volume
from colloc.geometry._sampling import place_in_box, unit_points
from colloc.ops.sequences import mixed


class Family:
    """The shapes that a function makes over ranges of parameters; made by the samplers.

    Args:
        make: from values by name to a shape, a boundary or a part of one, always of one kind and
            dimension.
        parameters: ranges by name.
        groups: how many shapes a sample has points of.
    """

    def __init__(
        self,
        make: Callable[[dict[str, float]], Any],
        parameters: Mapping[str, tuple[float, float]],
        groups: int,
    ) -> None:
        self._make = make
        self._ranges = checked_ranges("parameters", parameters)
        self._groups = groups
        low, high = corners(self._ranges)
        middle = [a + (b - a) / 2 for a, b in zip(low, high, strict=True)]
        example = self._shape(middle)
        self._is_boundary = isinstance(example, Boundary)
        self._space = example.dim
        self._example = example.measure

    @property
    def dim(self) -> int:
        """The shapes', and one for each parameter."""
        return self._space + len(self._ranges)

    @property
    def groups(self) -> int:
        """How many shapes a sample has points of."""
        return self._groups

    @property
    def parameters(self) -> dict[str, tuple[float, float]]:
        """The range of each parameter, in the order of the columns."""
        return dict(self._ranges)

    @property
    def measure(self) -> float:
        """That of the shape in the middle of the ranges, times their volume: it is not known."""
        return self._example * volume(self._ranges)

    def _shape(self, values: list[float]) -> Any:
        given = dict(zip(self._ranges, values, strict=True))
        shape = self._make(given)
        if not isinstance(shape, (Shape, Boundary)):
            wanted = "a function that returns a shape, a boundary or a part of one"
            fail_type("shape", wanted, f"{describe(shape)} at {given}")
        return shape

    def sample(
        self,
        n: int,
        start: int,
        method: str,
        *,
        step: int,
        seed: int | None,
        dtype: torch.dtype,
        device: torch.device | None,
    ) -> Points:
        """n points from raw index ``start`` on, those of each shape behind those of the one before.

        ``step`` picks the stretch of the parameters' own sequence.
        """
        # The dimensions behind those that points are laid by: in the same ones parameters would
        # go with places. A shape's few points are no set that fills it, as Hammersley's are.
        own, behind = None if seed is None else mixed(seed, 1), self._space + 1
        unit = unit_points(
            method, self._groups, behind + len(self._ranges), step * self._groups, own, "cpu"
        )[:, behind:]
        method = "halton" if method == "hammersley" else method
        values = place_in_box(unit, corners(self._ranges), dtype)
        parts, at = [], start
        for group, row in enumerate(values.tolist()):
            shape = self._shape(row)
            if isinstance(shape, Boundary) != self._is_boundary or shape.dim != self._space:
                kind = "boundary" if self._is_boundary else "shape"
                fail("shape", f"a {kind} in {self._space}D for all parameters", repr(shape))
            count = n * (group + 1) // self._groups - n * group // self._groups
            points = shape.sample(count, at, method, seed=seed, dtype=dtype, device=device)
            at = points.next_start
            parts.append(points)
        share = volume(self._ranges) / self._groups
        sizes = torch.tensor([len(points) for points in parts], device="cpu")
        x = torch.cat([points.x for points in parts])
        columns = values.to(x.device).repeat_interleave(sizes.to(x.device), dim=0)
        normal = piece = None
        if self._is_boundary:
            normals: list[Tensor] = [p.normal for p in parts if p.normal is not None]
            normal = torch.cat((torch.cat(normals), torch.zeros_like(columns)), dim=1)
            piece = torch.cat([p.piece for p in parts if p.piece is not None])
        return Points(
            x=torch.cat((x, columns), dim=1),
            normal=normal,
            measure=torch.cat([points.measure for points in parts]) * share,
            distance=torch.cat([points.distance for points in parts]),
            piece=piece,
            next_start=at,
        )

    def __repr__(self) -> str:
        kind = "boundaries" if self._is_boundary else "shapes"
        return f"Family({kind} in {self._space}D, {shown(self._ranges)}, groups={self._groups})"
