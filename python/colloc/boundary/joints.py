"""Where parts of conditions meet: Dirichlet values should agree there, and no part come twice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.boundary.conditions import Condition, Dirichlet
from colloc.boundary.faces import Start, Surface, keys_of
from colloc.boundary.pieces import flat, overlap, table
from colloc.geometry.boundary import Boundary
from colloc.geometry.curves import Line, Piece

#: Points of each wall at which initial values are compared.
_COMPARED = 16


def refuse_overlaps(conditions: Sequence[Condition]) -> None:
    """Refuse conditions of one component whose pieces overlap or that share a face, but for a
    value and a velocity at an initial time.

    Raises:
        ValueError: some do.
    """
    for k, one in enumerate(conditions):
        for other in conditions[:k]:
            shared = _twice(other, one)
            if shared and not _value_and_velocity(other, one):
                fix = "Give each part of the boundary once: one part takes one condition."
                if any(isinstance(face, Start) for face in one.faces):
                    fix += (
                        " An initial time takes a Dirichlet and a Neumann one that are about it "
                        "alone."
                    )
                wanted = "parts that meet in edges only"
                fail("conditions", wanted, f"{_called(other)} and {_called(one)} on {shared}", fix)
    pieces = tuple(piece for one in conditions for piece in one.pieces)
    if pieces:
        table(pieces, torch.device("cpu"))
    for one in conditions:
        keys = [key for face in one.faces for key in face.keys]
        if len(set(keys)) < len(keys):
            fail("conditions", "parts that meet in edges only", _called(one), "Give a face once.")


def _twice(one: Condition, other: Condition) -> str:
    """What two conditions are both about, in words; "" for nothing."""
    keys = {key for face in one.faces for key in face.keys}
    faces = [face for face in other.faces if keys.intersection(face.keys)]
    if any(isinstance(face, Start) for face in faces):
        return "the initial time"
    if faces:
        return "a face that is the same"
    pieces = [piece for piece in other.pieces if piece in one.pieces]
    if not pieces:
        return ""
    names = dict.fromkeys(_name(other, piece) for piece in pieces)
    return f"{', '.join(names)}, which overlap along a length"


def _name(condition: Condition, piece: Piece) -> str:
    names = getattr(condition.part, "piece_names", ())
    matched = len(names) == len(condition.pieces)
    return repr(names[condition.pieces.index(piece)]) if matched else repr(piece)


def _called(condition: Condition) -> str:
    return f"{type(condition).__name__}({condition.extra_repr()})"


def _value_and_velocity(one: Condition, other: Condition) -> bool:
    """Whether two conditions are a value at an initial time and a derivative by it there."""
    kinds = {isinstance(one, Dirichlet), isinstance(other, Dirichlet)}
    natural = other if isinstance(one, Dirichlet) else one
    alone = not natural.pieces and len(natural.faces) == 1
    return len(kinds) == 2 and alone and isinstance(natural.faces[0], Start)


def uncovered(conditions: Sequence[Condition]) -> tuple[str, ...] | None:
    """The names of the pieces without a condition, of all boundaries that conditions' parts
    belong to; None if they belong to none."""
    parts = flat([one.part for one in conditions])
    if not any(isinstance(part, Boundary) for part in parts):
        return None
    given = {key for part in parts for key in keys_of(part)}
    found: dict[Any, str] = {}
    for part in parts:
        if isinstance(part, Boundary):
            whole = part._parent[0]
            for key, name in zip(keys_of(whole), whole.piece_names, strict=True):
                if not (key in given or any(_covers(one, key) for one in given)):
                    found[key] = name
    return tuple(found.values())


def _covers(one: Any, other: Any) -> bool:
    return isinstance(one, Piece) and isinstance(other, Piece) and overlap(one, other)


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
