"""Rectangles, and channels, whose sides have the names of a flow's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from colloc.geometry.aligned import AxisAligned
from colloc.geometry.piece_boundary import Labels, PieceBoundary, checked_labels
from colloc.geometry.straight import Segment


class Rectangle(AxisAligned):
    """The closed rectangle [lower_0, upper_0] x [lower_1, upper_1].

    Args:
        lower: lower left corner, two finite numbers.
        upper: upper right corner, larger in both.
        names: one for all, or those of the four sides, counter-clockwise from the bottom; a
            tuple gives names of groups after the side's own. None: "bottom", "right", "top",
            "left". A rectangle that cuts another, or joins it, needs other names than its: sides
            of one name are one part of the boundary, e.g. ``names="notch"``.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self,
        lower: Sequence[float],
        upper: Sequence[float],
        names: str | Sequence[Labels] | None = None,
    ) -> None:
        super().__init__(lower, upper, 2)
        names = ("bottom", "right", "top", "left") if names is None else names
        self._labels = checked_labels("names", names, 4, "side")

    @cached_property
    def boundary(self) -> RectangleBoundary:  # type: ignore[override]
        """The four sides, counter-clockwise from the bottom."""
        return RectangleBoundary(self)


class Channel(Rectangle):
    """A rectangle whose sides are named "inlet" (left), "outlet" (right), "bottom" and "top";
    "walls" are the bottom and the top.

    Args:
        lower: lower left corner, two finite numbers.
        upper: upper right corner, larger in both.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(self, lower: Sequence[float], upper: Sequence[float]) -> None:
        super().__init__(lower, upper, (("bottom", "walls"), "outlet", ("top", "walls"), "inlet"))


class RectangleBoundary(PieceBoundary):
    """The sides of a rectangle, run through counter-clockwise by arc length."""

    def __init__(self, rectangle: Rectangle) -> None:
        (left, bottom), (right, top) = rectangle.bounds
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        sides = [Segment(corners[k - 1], corners[k]) for k in (1, 2, 3, 0)]
        super().__init__(sides, rectangle._labels)
