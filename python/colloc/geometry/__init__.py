"""Shapes, and points in them and on their boundaries."""

from colloc.geometry.box import Box
from colloc.geometry.interval import Interval
from colloc.geometry.points import Points
from colloc.geometry.rectangle import Rectangle
from colloc.geometry.shape import Boundary, Shape

__all__ = ["Boundary", "Box", "Interval", "Points", "Rectangle", "Shape"]
