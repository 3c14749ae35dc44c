"""Points in a shape or on its boundary."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type


@dataclass(frozen=True, eq=False)
class Points:
    """A sample of N points with what quadrature and weighting need of them.

    ``points[mask]``, ``points[a:b]`` and ``points[indices]`` select points; masks and indices
    are one-dimensional. Their measure is kept as it is: the shares of a part sum to about the
    part's measure. ``whole`` shrinks with the number of points of a slice or of indices, which are
    taken for a choice without regard to the points, as of a mini-batch; a mask, taken for a choice
    by the points, drops it: their mean is then one over the part that it picks.
    """

    x: Tensor
    """Coordinates, (N, d)."""
    normal: Tensor | None
    """Outward unit normals on a boundary, (N, d); None in the interior."""
    measure: Tensor
    """Each point's share of length, area or volume, (N, 1); all sum to the whole."""
    distance: Tensor
    """Distance to the shape's boundary, (N, 1); 0 on it."""
    piece: Tensor | None
    """On a boundary, the number of the piece that each point lies on, (N,) int64."""
    next_start: int
    """The index of the raw sequence at which the next batch begins."""
    whole: float | None = None
    """What the points stand for, where their measure sums to it on the average alone, as after
    importance sampling or in one of several processes; None: the sum of their measure."""
    values: Tensor | None = None
    """Data at each point, (N, k), of a :class:`PointCloud` that has them."""

    @property
    def weight(self) -> Tensor:
        """Each point's measure in terms of an even share, (N, 1): 1 for points that were spread
        evenly, f / q for importance sampling. ``(points.weight * loss).mean()`` estimates the
        mean of a loss (N, 1) over the shape."""
        if self.whole is None or len(self) == 0:
            return self.measure / self.measure.mean()
        return self.measure * (len(self) / self.whole)

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, index: slice | Tensor | list[int]) -> Points:
        if not isinstance(index, (slice, Tensor, list)):
            raise TypeError(
                f"points[...]: expected a slice, a mask or a list of indices, got {index!r}. "
                f"For one point use points[{index!r}:{index!r} + 1]."
            )
        if isinstance(index, Tensor) and index.ndim != 1:  # else x would lose its shape (N, d)
            fix = "Use mask[:, 0]." if index.ndim == 2 and index.shape[1] == 1 else ""
            fail("points[...]", "a one-dimensional mask or index tensor", index, fix)
        x = self.x[index]
        whole = None
        is_mask = isinstance(index, Tensor) and index.dtype == torch.bool
        if isinstance(index, list):
            is_mask = any(isinstance(one, bool) for one in index)
        if self.whole is not None and not is_mask:
            whole = self.whole * x.shape[0] / max(len(self), 1)
        return replace(
            self,
            x=x,
            normal=None if self.normal is None else self.normal[index],
            measure=self.measure[index],
            distance=self.distance[index],
            piece=None if self.piece is None else self.piece[index],
            values=None if self.values is None else self.values[index],
            whole=whole,
        )

    def clone(self) -> Points:
        """The same points in tensors of their own."""
        return replace(
            self,
            x=self.x.clone(),
            normal=None if self.normal is None else self.normal.clone(),
            measure=self.measure.clone(),
            distance=self.distance.clone(),
            piece=None if self.piece is None else self.piece.clone(),
            values=None if self.values is None else self.values.clone(),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Points:
        """The same points on another device or in another floating dtype."""
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            fail_type("dtype", "a floating torch.dtype", describe(dtype))

        def move(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype)

        return replace(
            self,
            x=move(self.x),
            normal=None if self.normal is None else move(self.normal),
            measure=move(self.measure),
            distance=move(self.distance),
            piece=None if self.piece is None else self.piece.to(device=device),
            values=None if self.values is None else move(self.values),
        )

    def __repr__(self) -> str:
        count, dim = self.x.shape
        where = "interior" if self.piece is None else "boundary"
        dtype = str(self.x.dtype).removeprefix("torch.")
        return (
            f"Points({count} {where} points in {dim}D, {dtype}, {self.x.device}, "
            f"next_start={self.next_start})"
        )
