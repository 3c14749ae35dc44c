"""Straight pieces: segments and lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.geometry._piece import (
    LARGEST,
    SMALLEST,
    Pair,
    Piece,
    check_cut,
    check_pair,
    kernel_numbers,
)


@dataclass(frozen=True)
class Segment(Piece):
    """The straight piece from ``p1`` to ``p2``; the domain lies on its left.

    Args:
        p1, p2: two different points, pairs of finite numbers.

    Raises:
        ValueError, TypeError: otherwise.
    """

    p1: Pair
    p2: Pair

    def __post_init__(self) -> None:
        _set_points(self, "Segment")

    @property
    def length(self) -> float:
        """|p2 - p1|."""
        return math.dist(self.p1, self.p2)

    @property
    def ends(self) -> tuple[Pair, Pair]:
        """p1 and p2."""
        return self.p1, self.p2

    @property
    def middle(self) -> Pair:
        """(p1 + p2) / 2."""
        return _middle(self.p1, self.p2)

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner."""
        (a, b), (c, d) = self.p1, self.p2
        return (min(a, c), min(b, d)), (max(a, c), max(b, d))

    @property
    def direction(self) -> Pair:
        """The unit vector from p1 to p2."""
        return _direction(self.p1, self.p2)

    @property
    def numbers(self) -> tuple[float, ...]:
        """f across the segment, t = -(x - p1) . (x - p2) / L."""
        _check_numbers(self)
        e, length = self.direction, self.length
        normal = (-e[1], e[0])
        return kernel_numbers(
            self.p1, self.p2, f1=(normal, normal), t2=-1 / length, trimmed=1.0, extent=length
        )

    @property
    def _row(self) -> tuple[float, ...]:
        return (*self.p1, *self.p2, *self.direction, 0.0, self.length)

    def at(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward unit normals, (N, 2)."""
        share = (along / self.length).unsqueeze(1)
        p1, p2 = along.new_tensor(self.p1), along.new_tensor(self.p2)
        # From the nearer end: exact at both, and never past them by rounding.
        x = torch.where(share < 0.5, p1 + share * (p2 - p1), p2 - (1 - share) * (p2 - p1))
        e = self.direction
        return x, along.new_tensor((e[1], -e[0])).expand_as(x)

    def reversed(self) -> Segment:
        """From p2 to p1."""
        return Segment(self.p2, self.p1)

    def cut(self, first: float, last: float) -> Segment:
        """The part between two arc lengths."""
        length = self.length
        check_cut(self, first, last, length)
        p1 = self.p1 if first == 0 else self._point(first / length)
        p2 = self.p2 if last == length else self._point(last / length)
        return Segment(p1, p2)

    def swept_area(self, origin: Pair) -> float:
        """Half the cross product of p1 - origin and p2 - origin."""
        (a, b), (c, d), (x, y) = self.p1, self.p2, origin
        return 0.5 * ((a - x) * (d - b) - (b - y) * (c - a))

    def _point(self, share: float) -> Pair:
        (a, b), (c, d) = self.p1, self.p2
        if share < 0.5:
            return a + share * (c - a), b + share * (d - b)
        return c - (1 - share) * (c - a), d - (1 - share) * (d - b)


@dataclass(frozen=True)
class Line(Piece):
    """The infinite line through ``p1`` and ``p2``; the domain lies on its left.

    The wrong way round it turns around normals and the slopes of phi on the line itself:
    ``boundary["left"].line`` is the line of a straight part of a boundary, the right way round.
    Exact values on lines train faster than on parts of them, see
    :class:`colloc.boundary.Dirichlet`.

    Args:
        p1, p2: two different points, pairs of finite numbers.

    Raises:
        ValueError, TypeError: otherwise.
    """

    p1: Pair
    p2: Pair

    def __post_init__(self) -> None:
        _set_points(self, "Line")

    @property
    def length(self) -> float:
        """Infinite."""
        return math.inf

    @property
    def ends(self) -> None:
        """None."""
        return None

    @property
    def middle(self) -> Pair:
        """(p1 + p2) / 2, which stands for all of it."""
        return _middle(self.p1, self.p2)

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """The whole plane."""
        return (-math.inf, -math.inf), (math.inf, math.inf)

    @property
    def direction(self) -> Pair:
        """The unit vector from p1 to p2."""
        return _direction(self.p1, self.p2)

    @property
    def numbers(self) -> tuple[float, ...]:
        """f across the line."""
        _check_numbers(self)
        e = self.direction
        normal = (-e[1], e[0])
        extent = math.dist(self.p1, self.p2)
        return kernel_numbers(self.p1, self.p2, f1=(normal, normal), extent=extent)

    @property
    def _row(self) -> tuple[float, ...]:
        return (*self.p1, *self.p2, *self.direction, -math.inf, math.inf)

    def at(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward unit normals, (N, 2); arc length is counted from p1."""
        e = self.direction
        x = along.new_tensor(self.p1) + along.unsqueeze(1) * along.new_tensor(e)
        return x, along.new_tensor((e[1], -e[0])).expand_as(x)

    def reversed(self) -> Line:
        """Through p2 and p1."""
        return Line(self.p2, self.p1)

    def cut(self, first: float, last: float) -> Segment:
        """The segment between two arc lengths, both counted from p1."""
        check_cut(self, first, last, math.inf)
        (a, b), (c, d) = self.p1, self.direction
        return Segment((a + first * c, b + first * d), (a + last * c, b + last * d))

    def swept_area(self, origin: Pair) -> float:
        """Refused: it has none."""
        fail("swept_area", "a piece of finite length", f"{self} seen from {origin}")


def _middle(p1: Pair, p2: Pair) -> Pair:
    return (p1[0] + p2[0]) / 2, (p1[1] + p2[1]) / 2


def _direction(p1: Pair, p2: Pair) -> Pair:
    length = math.dist(p1, p2)
    return (p2[0] - p1[0]) / length, (p2[1] - p1[1]) / length


def _set_points(piece: Any, kind: str) -> None:
    p1, p2 = check_pair(f"{kind}.p1", piece.p1), check_pair(f"{kind}.p2", piece.p2)
    length = math.dist(p1, p2)
    if not 0 < length < math.inf:
        fail(f"{kind}.p2", f"a point at a finite distance > 0 from p1 = {p1}", f"{p2}")
    object.__setattr__(piece, "p1", p1)
    object.__setattr__(piece, "p2", p2)


def _check_numbers(piece: Segment | Line) -> None:
    kind = type(piece).__name__
    for name, point in ((f"{kind}.p1", piece.p1), (f"{kind}.p2", piece.p2)):
        if max(map(abs, point)) > LARGEST:
            fail(name, f"coordinates up to {LARGEST:g}", f"{point}", "Choose other units.")
    if math.dist(piece.p1, piece.p2) < SMALLEST:
        fail(f"{kind}.p2", f"a point at least {SMALLEST:g} from p1 = {piece.p1}", f"{piece.p2}",
             "Choose other units.")  # fmt: skip
