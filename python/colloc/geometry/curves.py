"""Plane curves, the pieces of a boundary: segments, arcs, circles and lines.

Every piece has a direction, with the domain on its left: a piece of a domain's outer boundary is
run through counter-clockwise, the circle of a hole clockwise (``Circle(...).reversed()``).
"""

from colloc.geometry._piece import Pair, Piece, check_pair
from colloc.geometry.circular import Arc, Circle
from colloc.geometry.straight import Line, Segment

__all__ = ["Arc", "Circle", "Line", "Pair", "Piece", "Segment", "check_pair"]
