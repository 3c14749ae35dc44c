"""The box, in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colloc.geometry._sampling import place, split
from colloc.geometry.aligned import AxisAligned
from colloc.geometry.boundary import Boundary, Laid
from colloc.geometry.piece_boundary import Labels, checked_labels


class Box(AxisAligned):
    """The closed box of points with lower_i <= x_i <= upper_i, i = 0, 1, 2.

    Args:
        lower: the corner with the smallest coordinates, three finite numbers.
        upper: the corner with the largest, larger in all three.
        names: one for all, or those of the six faces, in the order of "x-", "x+", "y-", "y+",
            "z-", "z+", which are their names otherwise; a tuple gives names of groups after
            the face's own.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self,
        lower: Sequence[float],
        upper: Sequence[float],
        names: str | Sequence[Labels] | None = None,
    ) -> None:
        super().__init__(lower, upper, 3)
        names = ("x-", "x+", "y-", "y+", "z-", "z+") if names is None else names
        self._labels = checked_labels("names", names, 6, "face")

    @property
    def boundary(self) -> BoxBoundary:
        """The six faces."""
        return BoxBoundary(self)


class BoxBoundary(Boundary):
    """The faces of a box: face 2k has x_k at its lower, face 2k + 1 at its upper value."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._labels = box._labels

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def _sizes(self) -> tuple[float, ...]:
        a, b, c = self._box.extent
        return (b * c, b * c, c * a, c * a, a * b, a * b)

    @property
    def _middles(self) -> Tensor:
        lower, upper = torch.tensor(self._box.bounds, dtype=torch.float64, device="cpu")
        middles = (lower + (upper - lower) / 2).repeat(6, 1)
        for axis in range(3):
            middles[2 * axis, axis] = lower[axis]
            middles[2 * axis + 1, axis] = upper[axis]
        return middles

    @property
    def _geometry(self) -> object:
        return self._box.bounds

    @property
    def _parameters(self) -> int:
        return 2

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start
        # The faces stand side by side in one strip, as wide as their areas: the first
        # coordinate picks the face and the position across it, the second the other position.
        sizes = self._sizes
        which, across = split(unit[:, 0], [sizes[k] for k in among])
        piece = torch.tensor(list(among), dtype=torch.int64, device=unit.device)[which]
        axis = piece // 2
        columns = []
        for k, (low, high) in enumerate(zip(*self._box.bounds, strict=True)):
            free = place(torch.where((axis + 1) % 3 == k, across, unit[:, 1]), low, high, dtype)
            ends = torch.tensor([low, high], dtype=dtype, device=unit.device)
            columns.append(torch.where(axis == k, ends[piece % 2], free))
        sign = (2 * (piece % 2) - 1).to(dtype)
        normal = torch.nn.functional.one_hot(axis, 3).to(dtype) * sign.unsqueeze(1)
        return Laid(torch.stack(columns, dim=1), normal, piece)
