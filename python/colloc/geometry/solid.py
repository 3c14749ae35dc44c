"""Unions, differences and intersections of solids, in three dimensions."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.geometry._sampling import place_in_box, split, unit_points
from colloc.geometry.boundary import Boundary, Laid
from colloc.geometry.box import Box
from colloc.geometry.combination import Combination
from colloc.geometry.shape import Shape
from colloc.geometry.time_domain import TimeDomain

_EPS = sys.float_info.epsilon
#: Points by which volumes and areas of faces are estimated, and in how large portions.
_VOLUME_POINTS, _FACE_POINTS, _PORTION = 2**18, 2**14, 2**16

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def is_solid(shape: Shape) -> bool:
    """Whether a shape can be combined in three dimensions; time is none of them."""
    return shape.dim == 3 and not isinstance(shape, TimeDomain)


class SolidCombination(Combination):
    """A combination of solids.

    Volume and areas are exact where all operands are boxes. Otherwise they are estimated once,
    with the same Halton points every time: the volume by 2^18 points in the bounding box, off by
    about 1e-4 of the box, and every operand's face by 2^14, off by about 1e-3 of the face.
    """

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def bounds(self) -> Bounds:
        """Corners of a box around the shape: that of the first operand of a difference, the
        common part or the hull of the operands' boxes. Not always the smallest.

        Raises:
            ValueError: the combination is empty.
        """
        box = self._box
        if box is None or self.measure == 0:
            self._refuse_empty()
        return box

    @cached_property
    def _box(self) -> Bounds | None:
        boxes = [s._box if isinstance(s, SolidCombination) else s.bounds for s in self._operands]
        if self._op == "-":
            return boxes[0]
        some = [box for box in boxes if box is not None]
        if not some or (self._op == "&" and len(some) < len(boxes)):
            return None
        lower, upper = zip(*some, strict=True)
        outer, inner = (min, max) if self._op == "|" else (max, min)
        low = tuple(outer(values) for values in zip(*lower, strict=True))
        high = tuple(inner(values) for values in zip(*upper, strict=True))
        return (low, high) if all(a < b for a, b in zip(low, high, strict=True)) else None

    @property
    def is_empty(self) -> bool:
        """Whether no volume is left, as far as :attr:`measure` knows."""
        return self.measure == 0

    @cached_property
    def measure(self) -> float:  # type: ignore[override]
        """The volume; 0 if it is empty. Exact where all operands are boxes, otherwise an estimate
        by the share of 2^18 Halton points in the bounding box, off by about 1e-4 of the box."""
        if self._box is None:
            return 0.0
        if self._are_boxes:
            cells = [self._steps(axis) for axis in range(3)]
            inside = self._inside_leaves(torch.cartesian_prod(*(c for c, _ in cells)))
            widths = torch.cartesian_prod(*(w for _, w in cells)).prod(dim=1)
            return float(widths[inside].sum())
        found = 0
        for start in range(0, _VOLUME_POINTS, _PORTION):
            unit = unit_points("halton", _PORTION, 3, start, None, "cpu")
            found += int(self._inside_leaves(place_in_box(unit, self._box, unit.dtype)).sum())
        box = math.prod(high - low for low, high in zip(*self._box, strict=True))
        return box * found / _VOLUME_POINTS

    @cached_property
    def boundary(self) -> SolidBoundary:  # type: ignore[override]
        """The parts of the operands' faces that lie on the surface.

        Raises:
            ValueError: no face does: the combination is empty.
        """
        return SolidBoundary(self)

    def distance(self, x: Tensor) -> Tensor:
        """The minima and maxima of the operands' signed distances, (N, 3) to (N, 1).

        The sign is right. The value is a bound, never more than the distance, and it is the
        distance near the surface except close to where faces of several operands meet, in all of
        the inside of an intersection, and outside of a union.
        """
        x = self._check_x(x)
        return self._evaluate(
            [leaf.distance(x) for leaf in self._leaves],
            torch.maximum,
            torch.minimum,
            lambda value: -value,
        )

    def _inside_leaves(self, x: Tensor) -> Tensor:
        return self._decide([leaf.inside(x) for leaf in self._leaves])

    @property
    def _are_boxes(self) -> bool:
        return all(isinstance(leaf, Box) for leaf in self._leaves)

    def _steps(self, axis: int) -> tuple[Tensor, Tensor]:
        """Middles and widths of the intervals between all faces across an axis."""
        at = sorted({corner[axis] for leaf in self._leaves for corner in leaf.bounds})
        ends = torch.tensor(at, dtype=torch.float64, device="cpu")
        return ends[:-1] + ends.diff() / 2, ends.diff()


class SolidBoundary(Boundary):
    """Those parts of the operands' faces that lie on the surface of a combination of solids.

    Pieces are the operands' faces, in their order, with their names; of the sizes that are left
    of them, 0 too. Points are taken from the operands' faces where the combination is on one
    side only; of coinciding faces the first is used.
    """

    def __init__(self, solid: SolidCombination) -> None:
        self._solid = solid
        self._faces = [leaf.boundary for leaf in solid._leaves]
        self._owner = [k for k, face in enumerate(self._faces) for _ in face._labels]
        self._within = [k for face in self._faces for k in range(len(face._labels))]
        labels = [names for face in self._faces for names in face._labels]
        corners = [c for leaf in solid._leaves for corner in leaf.bounds for c in corner]
        # Far enough from a face to tell its two sides.
        self._beside = 1e-9 * (max(corners) - min(corners)) + 64 * _EPS * max(map(abs, corners))
        self._labels = tuple(labels)
        raw = [size for face in self._faces for size in face._raw_sizes]
        shares = [self._share(k) for k in range(len(labels))]
        self._raw = tuple(
            size if share > 0 else 0.0 for size, share in zip(raw, shares, strict=True)
        )
        self._areas = tuple(size * share for size, share in zip(raw, shares, strict=True))
        if not any(self._areas):
            solid._refuse_empty()

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def _sizes(self) -> tuple[float, ...]:
        return self._areas

    @property
    def _raw_sizes(self) -> tuple[float, ...]:
        return self._raw

    @property
    def _takes_all(self) -> bool:
        return False

    @property
    def _middles(self) -> Tensor:
        """Midpoints of the operands' whole faces."""
        return torch.cat([face._middles for face in self._faces])

    @property
    def _geometry(self) -> object:
        return repr(self._solid), tuple(face._geometry for face in self._faces)

    @property
    def _parameters(self) -> int:
        return 2

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start
        among = [k for k in among if self._raw[k] > 0]
        if not among:
            fail("sample", "a part with area on the surface", repr(self._solid))
        owners = sorted({self._owner[k] for k in among})
        pieces = [[k for k in among if self._owner[k] == owner] for owner in owners]
        which, share = split(unit[:, 0], [sum(self._raw[k] for k in part) for part in pieces])
        unit = torch.cat((share.unsqueeze(1), unit[:, 1:]), dim=1)
        laid = [self._lay_on(owner, part, unit, dtype)
                for owner, part in zip(owners, pieces, strict=True)]  # fmt: skip
        x, normal, piece, taken = (torch.stack(columns) for columns in zip(*laid, strict=True))
        row = torch.arange(unit.shape[0], device=unit.device)
        return Laid(x[which, row], normal[which, row], piece[which, row], taken[which, row])

    def _lay_on(
        self, owner: int, pieces: Sequence[int], unit: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All raw points on faces of one operand: x, normal, piece, whether on the surface."""
        face, numbers = self._faces[owner], [self._within[k] for k in pieces]
        exact = face._lay(unit, None, torch.float64, numbers)
        laid = exact if dtype == torch.float64 else face._lay(unit, None, dtype, numbers)
        side = self._side(owner, exact.x, exact.normal)
        first = self._owner.index(owner)
        normal = torch.where((side < 0).unsqueeze(1), -laid.normal, laid.normal)
        return laid.x, normal, laid.piece + first, side != 0

    def _side(self, owner: int, x: Tensor, normal: Tensor) -> Tensor:
        """For points on an operand's faces, +1 where the combination is on the operand's inner
        side only, -1 where on its outer side only, else 0; 0 too where the face coincides with
        that of an operand before; (N,)."""
        both = torch.cat((x - self._beside * normal, x + self._beside * normal))
        says = [leaf.inside(both) for leaf in self._solid._leaves]
        inner, outer = self._solid._decide(says).chunk(2)
        side = inner.int() - outer.int()
        for answer in says[:owner]:
            one, two = answer.chunk(2)
            side = torch.where(one != two, 0, side)
        return side

    def _share(self, piece: int) -> float:
        """How much of an operand's face lies on the surface, 0 to 1."""
        owner, within = self._owner[piece], self._within[piece]
        face = self._faces[owner]
        if self._solid._are_boxes:
            x, normal, weight = self._cells(owner, within)
        else:
            unit = unit_points("halton", _FACE_POINTS, 2, 0, None, "cpu")
            x, normal = face._lay(unit, None, torch.float64, [within])[:2]
            weight = torch.full_like(unit[:, 0], 1 / _FACE_POINTS)
        taken = self._side(owner, x, normal) != 0
        return 1.0 if bool(taken.all()) else float(weight[taken].sum())

    def _cells(self, owner: int, face: int) -> tuple[Tensor, Tensor, Tensor]:
        """A face of a box cut along all planes: middles, normals and shares of its cells."""
        box = self._solid._leaves[owner]
        axis, upper = face // 2, face % 2
        columns, widths = [], []
        for k in range(3):
            middles, width = self._solid._steps(k)
            low, high = box.bounds[0][k], box.bounds[1][k]
            here = (middles > low) & (middles < high)
            across = torch.tensor([box.bounds[upper][k]], dtype=torch.float64, device="cpu")
            columns.append(across if k == axis else middles[here])
            widths.append(torch.ones_like(across) if k == axis else width[here] / (high - low))
        x = torch.cartesian_prod(*columns)
        normal = torch.zeros_like(x)
        normal[:, axis] = 2.0 * upper - 1.0
        return x, normal, torch.cartesian_prod(*widths).prod(dim=1)
