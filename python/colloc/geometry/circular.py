"""Circular pieces: circles and arcs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, describe, fail, fail_type
from colloc.geometry._angles import point_on_circle
from colloc.geometry._piece import (
    SMALLEST,
    Pair,
    Piece,
    check_center,
    check_cut,
    check_radius,
    kernel_numbers,
)


@dataclass(frozen=True)
class Circle(Piece):
    """A full circle; the domain lies inside, for ``inward=False`` (a hole) outside.

    Args:
        center: pair of finite numbers.
        radius: > 0.
        inward: whether the domain lies on the side of the centre.

    Raises:
        ValueError, TypeError: otherwise.
    """

    center: Pair
    radius: float
    inward: bool = True

    def __post_init__(self) -> None:
        _set_circle(self, "Circle")

    @property
    def length(self) -> float:
        """2 pi radius."""
        return 2 * math.pi * self.radius

    @property
    def ends(self) -> None:
        """None."""
        return None

    @property
    def middle(self) -> Pair:
        """The point at angle pi."""
        return self.center[0] - self.radius, self.center[1]

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner."""
        (x, y), r = self.center, self.radius
        return (x - r, y - r), (x + r, y + r)

    @property
    def numbers(self) -> tuple[float, ...]:
        """f = +-(r^2 - |x - c|^2) / (2 r)."""
        side, r = (1.0 if self.inward else -1.0), self.radius
        return kernel_numbers(
            self.center, self.center, f0=side * r / 2, f2=-side / (2 * r), extent=r
        )

    @property
    def _row(self) -> tuple[float, ...]:
        (x, y), r = self.center, self.radius
        side = 1.0 if self.inward else -1.0
        return (x, y, x + r, y, 1.0, 0.0, r, math.inf, side, *(x + r, y) * 2)

    def at(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward unit normals, (N, 2); from angle 0 on, counter-clockwise if inward."""
        turn = 1.0 if self.inward else -1.0
        return _on_circle(self.center, self.radius, turn * along / self.radius, turn)

    def reversed(self) -> Circle:
        """The same circle with the domain on its other side."""
        return replace(self, inward=not self.inward)

    def cut(self, first: float, last: float) -> Circle | Arc:
        """The arc between two arc lengths; ``last`` may pass the start by up to one turn."""
        return _cut(self, 0.0, first, last)

    def swept_area(self, origin: Pair) -> float:
        """+-pi r^2."""
        del origin
        return (math.pi if self.inward else -math.pi) * self.radius * self.radius


@dataclass(frozen=True)
class Arc(Piece):
    """The arc from angle ``start`` to ``stop``, counter-clockwise; the domain lies towards the
    centre, for ``inward=False`` (the wall of a hole, run through from stop to start) away from it.

    Args:
        center: pair of finite numbers.
        radius: > 0.
        start, stop: radians; a difference of 2 pi is a full circle, 0 is refused. ``stop`` may
            be the smaller one: Arc(c, r, 3, -3) is the short arc across pi.
        inward: whether the domain lies on the side of the centre.

    Raises:
        ValueError, TypeError: otherwise.
    """

    center: Pair
    radius: float
    start: float
    stop: float
    inward: bool = True

    def __post_init__(self) -> None:
        _set_circle(self, "Arc")
        start, stop = check_float("Arc.start", self.start), check_float("Arc.stop", self.stop)
        difference = stop - start
        if difference == 0 or abs(difference) > 2 * math.pi * (1 + 1e-15):
            fail(
                "Arc.stop",
                f"an angle other than start = {start!r} and at most 2 pi from it",
                repr(stop),
            )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)
        if not self.is_full and self.radius * self.angle < SMALLEST:
            fail("Arc.stop", f"an arc at least {SMALLEST:g} long", f"{self.radius * self.angle}")

    @property
    def angle(self) -> float:
        """How far the arc turns, in (0, 2 pi]."""
        if self.is_full:
            return 2 * math.pi
        difference = self.stop - self.start
        return difference if difference > 0 else difference + 2 * math.pi

    @property
    def is_full(self) -> bool:
        """Whether the arc is the whole circle."""
        return abs(abs(self.stop - self.start) - 2 * math.pi) <= 1e-15 * 2 * math.pi

    @property
    def length(self) -> float:
        """radius times the angle."""
        return self.radius * self.angle

    @cached_property
    def ends(self) -> tuple[Pair, Pair] | None:
        """The first and the last point in the piece's direction; None for a full circle."""
        if self.is_full:
            return None
        first = point_on_circle(self.center, self.radius, self.start)[0]
        last = point_on_circle(self.center, self.radius, self.stop)[0]
        return (first, last) if self.inward else (last, first)

    @cached_property
    def _at_middle(self) -> tuple[Pair, Pair, Pair]:
        """Of an arc that is not full: its middle, what that lacks by rounding, the unit vector."""
        return point_on_circle(self.center, self.radius, self.start, self.stop)

    @property
    def middle(self) -> Pair:
        """The point half way along the arc."""
        if self.is_full:
            return point_on_circle(self.center, self.radius, self.start + math.pi)[0]
        return self._at_middle[0]

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner."""
        (x, y), r = self.center, self.radius
        if self.is_full:
            return (x - r, y - r), (x + r, y + r)
        points = list(self.ends or ())
        for quarter, side in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
            if (quarter * math.pi / 2 - self.start) % (2 * math.pi) < self.angle:
                points.append((x + r * side[0], y + r * side[1]))
        return (
            (min(p[0] for p in points), min(p[1] for p in points)),
            (max(p[0] for p in points), max(p[1] for p in points)),
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        """From an end e = c + r u: f = -+(u . n + |n|^2 / (2 r)); t across the chord."""
        if self.is_full:
            return Circle(self.center, self.radius, self.inward).numbers
        side, r = (1.0 if self.inward else -1.0), self.radius
        first, first_low, u = point_on_circle(self.center, r, self.start)
        last, last_low, v = point_on_circle(self.center, r, self.stop)
        _, _, middle = point_on_circle(self.center, r, self.start, self.stop)
        return kernel_numbers(
            first,
            last,
            low=(first_low, last_low),
            f1=((-side * u[0], -side * u[1]), (-side * v[0], -side * v[1])),
            f2=-side / (2 * r),
            t1=middle,
            trimmed=1.0,
            extent=self.length,
        )

    @property
    def _row(self) -> tuple[float, ...]:
        if self.ends is None:
            return Circle(self.center, self.radius, self.inward)._row
        middle, _, u = self._at_middle
        side = 1.0 if self.inward else -1.0
        first, last = self.ends if self.inward else self.ends[::-1]
        return (*self.center, *middle, *u, self.radius, self.angle / 2, side, *first, *last)

    def at(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward unit normals, (N, 2)."""
        turn = 1.0 if self.inward else -1.0
        if self.is_full:
            return _on_circle(self.center, self.radius, self.start + turn * along / self.radius,
                              turn)  # fmt: skip
        # From the middle of the arc: the centre of a large circle is far away.
        middle, low, u = (along.new_tensor(pair) for pair in self._at_middle)
        v = torch.stack((-u[1], u[0]))
        angle = (turn * (along / self.radius - self.angle / 2)).unsqueeze(1)
        sine, half = torch.sin(angle), torch.sin(angle / 2)
        x = middle + (self.radius * sine * v - 2 * self.radius * half * half * u + low)
        return x, turn * (torch.cos(angle) * u + sine * v)

    def reversed(self) -> Arc:
        """The same arc with the domain on its other side."""
        return replace(self, inward=not self.inward)

    def cut(self, first: float, last: float) -> Circle | Arc:
        """The part between two arc lengths."""
        return _cut(self, self.start if self.inward else self.start + self.angle, first, last)

    def swept_area(self, origin: Pair) -> float:
        """What the chord sweeps and the area between arc and chord, r^2 (angle - sin angle) / 2."""
        side, r = (1.0 if self.inward else -1.0), self.radius
        if self.ends is None:
            return side * math.pi * r * r
        (a, b), (c, d) = self.ends
        x, y = origin
        chord = 0.5 * ((a - x) * (d - b) - (b - y) * (c - a))
        return chord + side * 0.5 * r * (r * _without_sine(self.angle))


def _without_sine(angle: float) -> float:
    """angle - sin(angle), without loss of digits for small angles >= 0."""
    if angle > 1:
        return angle - math.sin(angle)
    total, term, k = 0.0, angle**3 / 6, 3
    while abs(term) > 1e-17 * total:
        total += term
        term *= -angle * angle / ((k + 1) * (k + 2))
        k += 2
    return total


def _cut(piece: Circle | Arc, begin: float, first: float, last: float) -> Circle | Arc:
    """The part between two arc lengths of a piece that begins at angle ``begin``."""
    closed = piece.ends is None
    check_cut(piece, first, last, 2 * piece.length if closed else piece.length)
    center, r = piece.center, piece.radius
    turned = (last - first) / r
    if closed and turned >= 2 * math.pi * (1 - 1e-15):
        return Circle(center, r, piece.inward)
    turn = 1.0 if piece.inward else -1.0
    one, two = begin + turn * (first / r), begin + turn * (last / r)
    if isinstance(piece, Arc) and not closed:  # its own ends as they are
        begins, ends = (piece.start, piece.stop)[:: 1 if piece.inward else -1]
        one = one if first > 0 else begins
        two = two if last < piece.length else ends
    start, stop = (one, two) if piece.inward else (two, one)
    if closed:
        turns = 2 * math.pi * math.floor((start + math.pi) / (2 * math.pi))
        start, stop = start - turns, stop - turns
    return Arc(center, r, start, stop, piece.inward)


def _on_circle(center: Pair, radius: float, angle: Tensor, turn: float) -> tuple[Tensor, Tensor]:
    outward = torch.stack((torch.cos(angle), torch.sin(angle)), dim=1)
    return angle.new_tensor(center) + radius * outward, turn * outward


def _set_circle(piece: Any, kind: str) -> None:
    object.__setattr__(piece, "center", check_center(f"{kind}.center", piece.center))
    object.__setattr__(piece, "radius", check_radius(f"{kind}.radius", piece.radius))
    if not isinstance(piece.inward, bool):
        fail_type(f"{kind}.inward", "True or False", describe(piece.inward))
