"""Shapes, and points in them and on their boundaries."""

from colloc.geometry.ball import Ball
from colloc.geometry.boundary import Boundary, Part
from colloc.geometry.box import Box
from colloc.geometry.curves import Arc, Circle, Line, Piece, Segment
from colloc.geometry.disk import Disk
from colloc.geometry.interval import Interval
from colloc.geometry.parameter_domain import ParameterDomain
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.geometry.point_cloud import PointCloud
from colloc.geometry.points import Points
from colloc.geometry.polygon import Polygon
from colloc.geometry.rectangle import Channel, Rectangle
from colloc.geometry.shape import Shape
from colloc.geometry.time_domain import TimeDomain
from colloc.geometry.triangle_surface import TriangleSurface

__all__ = [
    "Arc",
    "Ball",
    "Boundary",
    "Box",
    "Channel",
    "Circle",
    "Disk",
    "Interval",
    "Line",
    "ParameterDomain",
    "Part",
    "Piece",
    "PieceBoundary",
    "PointCloud",
    "Points",
    "Polygon",
    "Rectangle",
    "Segment",
    "Shape",
    "TimeDomain",
    "TriangleSurface",
]
