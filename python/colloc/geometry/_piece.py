"""What all pieces of a plane boundary can do, and the checks of their arguments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor

from colloc._checks import check_float, check_points, describe, fail, fail_type

Pair = tuple[float, float]
_Piece = TypeVar("_Piece", bound="Piece")

#: Numbers outside of this range would leave float64 in the powers that distances take. Checked for
#: all circles, and where straight pieces are handed to kernels.
SMALLEST, LARGEST = 1e-30, 1e30


class Piece(ABC):
    """A piece of a boundary in the plane; made as Segment, Arc, Circle or Line."""

    @property
    @abstractmethod
    def length(self) -> float:
        """Arc length; infinite for a line."""

    @property
    @abstractmethod
    def ends(self) -> tuple[Pair, Pair] | None:
        """The first and the last point; None for a circle and a line."""

    @property
    @abstractmethod
    def middle(self) -> Pair:
        """The point half way along the piece."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner of the smallest box around the piece."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, ...]:
        """The piece as the kernels read it: the fields of Piece in csrc/math/distance.h."""

    @property
    @abstractmethod
    def _row(self) -> tuple[float, ...]:
        """The piece as a row of a table in colloc.geometry._tables."""

    @abstractmethod
    def at(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward unit normals, both (N, 2), at arc lengths (N,) from the start."""

    @abstractmethod
    def reversed(self: _Piece) -> _Piece:
        """The same curve run through the other way, with the domain on its other side."""

    @abstractmethod
    def cut(self, first: float, last: float) -> Piece:
        """The part between two arc lengths, 0 <= first < last <= length.

        On a full circle ``last`` may pass the length, by up to one turn.
        """

    @abstractmethod
    def swept_area(self, origin: Pair) -> float:
        """The signed area between ``origin`` and the piece: half the integral of x dy - y dx.

        Summed over closed pieces it is the area that they enclose (Green's theorem), whatever
        the origin; one near the pieces keeps all digits.
        """

    def nearest(self, x: Tensor) -> Tensor:
        """The distance of points (N, 2) to the piece, (N, 1), >= 0.

        Differentiable; on the piece the derivative is that of the domain's side, at its ends 0
        or that.
        """
        from colloc.geometry._tables import Tables

        return Tables([self]).nearest(check_points("x", x, 2))[0]


def check_pair(name: str, value: Any) -> Pair:
    """Two finite numbers."""
    wanted = "a pair of finite numbers (x, y)"
    if hasattr(value, "tolist"):  # tensors, numpy arrays
        value = value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        fail_type(name, wanted, describe(value))
    if len(value) != 2:
        fail(name, wanted, describe(value))
    x, y = (check_float(f"{name}[{axis}]", value[axis]) for axis in (0, 1))
    return x, y


def check_center(name: str, value: Any) -> Pair:
    """Two finite numbers whose powers stay within float64."""
    center = check_pair(name, value)
    if max(map(abs, center)) > LARGEST:
        fail(name, f"coordinates up to {LARGEST:g}", f"{center}", "Choose other units.")
    return center


def check_radius(name: str, value: Any) -> float:
    """A number > 0 whose powers stay within float64."""
    radius = check_float(name, value, positive=True)
    if not SMALLEST <= radius <= LARGEST:
        fail(name, f"a number from {SMALLEST:g} to {LARGEST:g}", f"{radius}")
    return radius


def check_cut(piece: Piece, first: float, last: float, limit: float) -> None:
    """Refuse arc lengths that do not name a part of the piece."""
    if not (0 <= first < last <= limit and math.isfinite(last)):
        fail("cut", f"0 <= first < last <= {limit:g} on {piece}", f"{first!r}, {last!r}")


_ZERO: Pair = (0.0, 0.0)


def kernel_numbers(
    a: Pair,
    b: Pair,
    *,
    low: tuple[Pair, Pair] = (_ZERO, _ZERO),
    f0: float = 0.0,
    f1: tuple[Pair, Pair] = (_ZERO, _ZERO),
    f2: float = 0.0,
    t1: Pair = _ZERO,
    t2: float = 0.0,
    trimmed: float = 0.0,
    extent: float,
) -> tuple[float, ...]:
    """The fields of Piece in csrc/math/distance.h, in their order."""
    return (*a, *low[0], *b, *low[1], f0, *f1[0], *f1[1], f2, *t1, t2, trimmed, extent)
