"""The box, in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colloc.geometry.aligned import AxisAligned
from colloc.geometry.rectangle import split
from colloc.geometry.shape import Boundary, place


class Box(AxisAligned):
    """The closed box of points with lower_i <= x_i <= upper_i, i = 0, 1, 2.

    Args:
        lower: the corner with the smallest coordinates, three finite numbers.
        upper: the corner with the largest, larger in all three.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, lower: Sequence[float], upper: Sequence[float]) -> None:
        super().__init__(lower, upper, 3)

    @property
    def boundary(self) -> BoxBoundary:
        """The six faces "x-", "x+", "y-", "y+", "z-", "z+"."""
        return BoxBoundary(self)


class BoxBoundary(Boundary):
    """The faces of a box: face 2k has x_k at its lower, face 2k + 1 at its upper value."""

    def __init__(self, box: Box) -> None:
        self._box = box

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def measure(self) -> float:
        """The surface area."""
        return float(sum(self._areas))

    @property
    def piece_names(self) -> tuple[str, ...]:
        """("x-", "x+", "y-", "y+", "z-", "z+")."""
        return ("x-", "x+", "y-", "y+", "z-", "z+")

    @property
    def _areas(self) -> tuple[float, ...]:
        a, b, c = self._box.extent
        return (b * c, b * c, c * a, c * a, a * b, a * b)

    @property
    def _parameters(self) -> int:
        return 2

    def _lay(self, unit: Tensor, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        # The faces stand side by side in one strip, as wide as their areas: the first
        # coordinate picks the face and the position across it, the second the other position.
        piece, across = split(unit[:, 0], self._areas)
        axis = piece // 2
        columns = []
        for k, (low, high) in enumerate(zip(*self._box.bounds, strict=True)):
            free = place(torch.where((axis + 1) % 3 == k, across, unit[:, 1]), low, high, dtype)
            ends = torch.tensor([low, high], dtype=dtype, device=unit.device)
            columns.append(torch.where(axis == k, ends[piece % 2], free))
        sign = (2 * (piece % 2) - 1).to(dtype)
        normal = torch.nn.functional.one_hot(axis, 3).to(dtype) * sign.unsqueeze(1)
        return torch.stack(columns, dim=1), normal, piece
