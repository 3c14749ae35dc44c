"""The rectangle, in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from colloc.geometry.aligned import AxisAligned
from colloc.geometry.shape import Boundary, place


class Rectangle(AxisAligned):
    """The closed rectangle [lower_0, upper_0] x [lower_1, upper_1].

    Args:
        lower: lower left corner, two finite numbers.
        upper: upper right corner, larger in both.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, lower: Sequence[float], upper: Sequence[float]) -> None:
        super().__init__(lower, upper, 2)

    @property
    def boundary(self) -> RectangleBoundary:
        """The four sides, counter-clockwise: "bottom", "right", "top", "left"."""
        return RectangleBoundary(self)


class RectangleBoundary(Boundary):
    """The sides of a rectangle, run through counter-clockwise by arc length."""

    def __init__(self, rectangle: Rectangle) -> None:
        self._rectangle = rectangle

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @property
    def measure(self) -> float:
        """The perimeter."""
        return 2.0 * sum(self._rectangle.extent)

    @property
    def piece_names(self) -> tuple[str, ...]:
        """("bottom", "right", "top", "left")."""
        return ("bottom", "right", "top", "left")

    @property
    def _parameters(self) -> int:
        return 1

    def _lay(self, unit: Tensor, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        (left, bottom), (right, top) = self._rectangle.bounds
        width, height = self._rectangle.extent
        device = unit.device
        piece, along = split(unit[:, 0], (width, height, width, height))
        # Counter-clockwise: the top and the left side are run through backwards.
        along = torch.where(piece >= 2, 1.0 - along, along)
        free_x = place(along, left, right, dtype)
        free_y = place(along, bottom, top, dtype)
        across = piece % 2 == 1  # the right and left sides, where x is fixed
        fixed_x = torch.tensor([left, right, right, left], dtype=dtype, device=device)[piece]
        fixed_y = torch.tensor([bottom, bottom, top, top], dtype=dtype, device=device)[piece]
        x = torch.where(across, fixed_x, free_x)
        y = torch.where(across, free_y, fixed_y)
        normals = torch.tensor(
            [[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=dtype, device=device
        )
        return torch.stack([x, y], dim=1), normals[piece], piece


def split(unit: Tensor, sizes: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Pieces laid end to end: from positions in [0, 1) to piece (n,) and position on it [0, 1]."""
    total = float(sum(sizes))
    ends = torch.tensor(list(accumulate(sizes)), dtype=unit.dtype, device=unit.device)
    lengths = torch.tensor(sizes, dtype=unit.dtype, device=unit.device)
    at = unit * total
    piece = torch.bucketize(at, ends[:-1], right=True)
    along = (at - (ends - lengths)[piece]) / lengths[piece]
    return piece, along.clamp(0.0, 1.0)
