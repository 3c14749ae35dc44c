"""Exact boundary conditions: distance functions, interpolation of data, and fields that meet
Dirichlet, Neumann and Robin conditions by construction."""

from colloc.boundary.ansatz import Ansatz
from colloc.boundary.conditions import Condition, Dirichlet, Neumann, Robin
from colloc.boundary.distance import distance
from colloc.boundary.plain_jets import distance_jet, transfinite_jet
from colloc.boundary.plot import plot
from colloc.boundary.rfunctions import conjunction, disjunction, equivalence, negation
from colloc.boundary.solid import half_space, initial_distance, solid_distance
from colloc.boundary.transfinite import transfinite
from colloc.geometry.boundary import Boundary
from colloc.geometry.curves import Arc, Circle, Line, Piece, Segment
from colloc.ops._registration import jet_formulas

Boundary._plot = plot
jet_formulas.update(distance=distance_jet, transfinite=transfinite_jet)

__all__ = [
    "Ansatz",
    "Arc",
    "Circle",
    "Condition",
    "Dirichlet",
    "Line",
    "Neumann",
    "Piece",
    "Robin",
    "Segment",
    "conjunction",
    "disjunction",
    "distance",
    "equivalence",
    "half_space",
    "initial_distance",
    "negation",
    "plot",
    "solid_distance",
    "transfinite",
]
