"""Polygons, in two dimensions."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from colloc._checks import describe, fail, fail_type
from colloc.geometry._piece import Pair, check_center
from colloc.geometry.piece_boundary import Labels, PieceBoundary, checked_labels
from colloc.geometry.plane import PlaneShape
from colloc.geometry.straight import Segment

_EPS = sys.float_info.epsilon


class Polygon(PlaneShape):
    """The closed region within a polygon that does not meet itself.

    Args:
        vertices: three or more corners (x, y), in order, either way round; a list of pairs or
            an array (V, 2). Stored counter-clockwise. A vertex may lie within a straight side:
            its two halves are two pieces.
        names: one for all edges, or one for each; edge k runs from vertex k to the next. A tuple
            gives names of groups after the edge's own. None: "edge0", "edge1", ...

    Raises:
        ValueError: fewer than three vertices, edges that cross, touch or fold back, vertices
            that coincide, each up to 16 roundings of the largest coordinate.
        ValueError, TypeError: vertices that are not pairs of finite numbers.
    """

    def __init__(
        self, vertices: Sequence[Sequence[float]], names: str | Sequence[Labels] | None = None
    ) -> None:
        corners = _vertices(vertices)
        labels = checked_labels("names", names, len(corners), "edge")
        _check_simple(corners)
        edges = [Segment(p, corners[(k + 1) % len(corners)]) for k, p in enumerate(corners)]
        if math.fsum(edge.swept_area(corners[0]) for edge in edges) < 0:
            # The last edge, from the last vertex to the first, comes first: vertex 0 stays so.
            edges = [edge.reversed() for edge in reversed(edges)]
            labels = labels[::-1]
        self._boundary = PieceBoundary(edges, labels)

    @property
    def vertices(self) -> tuple[Pair, ...]:
        """The corners, counter-clockwise from the first one given."""
        return tuple(edge.ends[0] for edge in self._boundary.pieces if isinstance(edge, Segment))

    @property
    def boundary(self) -> PieceBoundary:
        """The edges, counter-clockwise."""
        return self._boundary

    def __repr__(self) -> str:
        shown = ", ".join(f"({x:g}, {y:g})" for x, y in self.vertices[:5])
        more = f", ... {len(self.vertices)} in all" if len(self.vertices) > 5 else ""
        return f"Polygon([{shown}{more}])"


def _vertices(vertices: Any) -> list[Pair]:
    wanted = "a list of at least three pairs (x, y)"
    if hasattr(vertices, "tolist"):  # tensors, numpy arrays
        vertices = vertices.tolist()
    if isinstance(vertices, (str, bytes)) or not isinstance(vertices, Sequence):
        fail_type("vertices", wanted, describe(vertices))
    if len(vertices) < 3:
        fail("vertices", wanted, describe(vertices))
    return [check_center(f"vertices[{k}]", vertex) for k, vertex in enumerate(vertices)]


def _check_simple(vertices: Sequence[Pair]) -> None:
    """Refuse edges that meet anywhere but at the vertex that they share."""
    count = len(vertices)
    p = np.array(vertices)
    q = np.roll(p, -1, axis=0)
    tolerance = 16 * _EPS * float(np.abs(p).max())
    for k in range(count):
        same = np.flatnonzero(np.abs(p[:k] - p[k]).max(axis=1) <= tolerance)
        if len(same):
            closing = k == count - 1 and same[0] == 0
            fail(
                f"vertices[{k}]",
                "vertices that differ from each other",
                f"{vertices[k]}, the same as vertices[{same[0]}]",
                "The last vertex is joined to the first without being repeated." if closing else "",
            )
    length = np.hypot(*(q - p).T)
    e = (q - p) / length[:, None]
    # An edge that folds back onto the one before.
    before = np.roll(e, 1, axis=0)
    cross, dot = before[:, 0] * e[:, 1] - before[:, 1] * e[:, 0], (before * e).sum(axis=1)
    shorter = np.minimum(length, np.roll(length, 1))
    folded = np.flatnonzero((np.abs(cross) * shorter <= tolerance) & (dot < 0))
    if len(folded):
        k = int(folded[0])
        fail("vertices", "edges that do not fold back onto each other",
             f"the edges that meet at vertices[{k}] = {vertices[k]}")  # fmt: skip
    for k in range(count - 2):
        others = np.arange(k + 2, count - (1 if k == 0 else 0))
        meets = _meets(p[k], q[k], p[others], q[others], tolerance)
        if meets.any():
            other = int(others[np.flatnonzero(meets)[0]])
            fail(
                "vertices",
                "edges that meet at their common vertices only",
                f"edge {k} (from {vertices[k]} to {vertices[k + 1]}) and edge {other} (from "
                f"{vertices[other]} to {vertices[(other + 1) % count]}), which cross or touch",
                "Give the vertices in order around the polygon.",
            )


def _meets(p: Any, q: Any, others_p: Any, others_q: Any, tolerance: float) -> Any:
    """Which of the other segments cross the segment p q or come within the tolerance."""

    def side(a: Any, b: Any, c: Any) -> Any:
        u, v = b - a, c - a
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    def near(point: Any, a: Any, b: Any) -> Any:
        u, v = b - a, point - a
        share = np.clip((u * v).sum(-1) / (u * u).sum(-1), 0.0, 1.0)
        return np.hypot(*np.moveaxis(v - share[..., None] * u, -1, 0)) <= tolerance

    crossing = (side(p, q, others_p) * side(p, q, others_q) < 0) & (
        side(others_p, others_q, p) * side(others_p, others_q, q) < 0
    )
    return (
        crossing
        | near(others_p, p, q)
        | near(others_q, p, q)
        | near(p, others_p, others_q)
        | near(q, others_p, others_q)
    )
