"""Where parts of conditions meet: Dirichlet values should agree there, and no part come twice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.boundary.conditions import Condition, Dirichlet
from colloc.boundary.faces import Start, Surface
from colloc.boundary.pieces import table
from colloc.geometry.curves import Line

#: Points of each wall at which initial values are compared.
_COMPARED = 16


def refuse_overlaps(conditions: Sequence[Condition]) -> None:
    """Refuse conditions of one component whose pieces overlap or that share a face.

    Raises:
        ValueError: some do.
    """
    pieces = tuple(piece for one in conditions for piece in one.pieces)
    if pieces:
        table(pieces, torch.device("cpu"))
    keys = [key for one in conditions for face in one.faces for key in face.keys]
    if len(set(keys)) < len(keys):
        twice = " and ".join(
            repr(one)
            for one in conditions
            if any(keys.count(key) > 1 for face in one.faces for key in face.keys)
        )
        fail("conditions", "parts that meet in edges only", twice, "Give each face once.")


def warn_conflicts(conditions: Sequence[Dirichlet], space: tuple[int, ...]) -> None:
    """Warn once about each joint at which two parts of one component have different values.

    Values are compared in float64 at the pieces' ends; conditions whose data cannot be evaluated
    there by itself (it depends on more inputs than ``space``) are passed over.
    """
    for k, one in enumerate(conditions):
        for other in conditions[:k]:
            shared = _shared(other, one)
            if not shared:
                continue
            for x, y in _common_ends(other, one):
                point = torch.full((1, max(space) + 1), math.nan, dtype=torch.float64)
                point[0, list(space)] = torch.tensor([x, y], dtype=torch.float64)
                pairs = _values(other, one, shared, point)
                for u, v in pairs:
                    if _differ(u, v):
                        warnings.warn(
                            f"Ansatz: the Dirichlet values of two parts differ where they meet, "
                            f"at ({x:g}, {y:g}): {u:g} and {v:g}. Their mean is taken there.",
                            stacklevel=3,
                        )


def warn_initial_conflicts(
    conditions: Sequence[Dirichlet], space: tuple[int, ...], time: int
) -> None:
    """Warn once about each wall whose values at the initial time differ from the initial ones;
    compared as in :func:`warn_conflicts`, at a few points."""
    for initial in conditions:
        for start in (face.start for face in initial.faces if isinstance(face, Start)):
            for wall in conditions:
                shared = _shared(initial, wall) if wall is not initial else []
                found = [
                    (at, u, v)
                    for at in (_points_of(wall) if shared else [])
                    for u, v in _values(wall, initial, shared, _placed(at, start, space, time))
                    if _differ(u, v)
                ]
                if found:
                    at, u, v = found[0]
                    where = ", ".join(f"{value:g}" for value in at.tolist())
                    warnings.warn(
                        f"Ansatz: the Dirichlet values of a wall and of the initial time "
                        f"{start:g} differ where they meet, e.g. at ({where}): {u:g} and {v:g}. "
                        "Their mean is taken there.",
                        stacklevel=3,
                    )


def _points_of(wall: Dirichlet) -> Sequence[Tensor]:
    """A few points of the walls of a condition."""
    unit = (torch.arange(_COMPARED, dtype=torch.float64, device="cpu") + 0.5) / _COMPARED
    found = [
        piece.at(unit * piece.length)[0] for piece in wall.pieces if not isinstance(piece, Line)
    ]
    found += [
        face.part.sample(_COMPARED, start=1, dtype=torch.float64, device="cpu").x
        for face in wall.faces
        if isinstance(face, Surface)
    ]
    return [point for points in found for point in points]


def _placed(at: Tensor, start: float, space: tuple[int, ...], time: int) -> Tensor:
    """A point of a wall at the initial time, (1, d); inputs besides are NaN."""
    point = torch.full((1, max(*space, time) + 1), math.nan, dtype=torch.float64, device="cpu")
    point[0, list(space)] = at
    point[0, time] = start
    return point


def _values(
    one: Dirichlet, other: Dirichlet, shared: Sequence[int], point: Tensor
) -> list[tuple[float, float]]:
    """The values of both at a point, by shared components; none if they need more inputs."""
    try:
        a, b = one.g.at(point), other.g.at(point)
        return [(_column(a, one, i), _column(b, other, i)) for i in shared]
    except Exception:  # the data's own business
        return []


def _differ(u: float, v: float) -> bool:
    return abs(u - v) > 1e-6 * max(1.0, abs(u), abs(v))


def _shared(one: Dirichlet, other: Dirichlet) -> list[int]:
    """Components that both are about; 0 stands for all."""
    if one.components is None and other.components is None:
        return [0]
    if one.components is None or other.components is None:
        return list(one.components or other.components or ())
    return sorted(set(one.components) & set(other.components))


def _column(values: Tensor, condition: Dirichlet, component: int) -> float:
    column = condition.column(component) if values.shape[1] > 1 else 0
    return float(values[0, column])


def _common_ends(one: Dirichlet, other: Dirichlet) -> list[tuple[float, float]]:
    found = []
    for p in one.pieces:
        for q in other.pieces:
            for a in p.ends or ():
                for b in q.ends or ():
                    near = 1e-9 * min(p.length, q.length) + 1e-14 * max(map(abs, (*a, *b)))
                    if math.dist(a, b) <= near and a not in found:
                        found.append(a)
    return found
