"""Which inputs of a field are the coordinates of its conditions' parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colloc._checks import check_int, describe, fail
from colloc.boundary.conditions import Condition
from colloc.boundary.faces import Start

_COUNTS = {1: "one input", 2: "two different inputs", 3: "three different inputs"}
_WORDS = {1: "the line's coordinate", 2: "the plane's coordinates", 3: "the space's coordinates"}


def called(space: Sequence[int]) -> str:
    """What the inputs ``space`` are called in errors."""
    return _WORDS.get(len(space), "the coordinates")


def checked_space(space: Any, conditions: Sequence[Condition]) -> tuple[int, ...] | None:
    """The inputs that are the coordinates of all parts; None: all inputs there are.

    Raises:
        ValueError: parts in spaces of different dimensions, or inputs that do not fit.
    """
    dim = _dimension(conditions)
    if space is None:
        return None if dim is None else tuple(range(dim))
    wanted = "different inputs, the coordinates"
    if dim is not None:
        wanted = f"{_COUNTS[dim]}, {_WORDS[dim]}"
    if not isinstance(space, (list, tuple)) or not space:
        fail("space", wanted, describe(space))
    found = tuple(check_int("space", one, minimum=0) for one in space)
    if len(set(found)) < len(found) or len(found) != (dim or len(found)):
        fail("space", wanted, describe(space))
    return found


def checked_time(
    time: Any, space: tuple[int, ...] | None, conditions: Sequence[Condition]
) -> int | None:
    """The input that is the time of initial values; None without such.

    Raises:
        ValueError, TypeError: one of the coordinates, or no input.
    """
    if not any(isinstance(face, Start) for one in conditions for face in one.faces):
        if time is not None:
            fix = "Leave it out; of a TimeDomain take domain.initial as a part."
            fail("time", "None where no condition is about an initial time", describe(time), fix)
        return None
    assert space is not None  # an initial value is one in a shape of known dimension
    if time is None:
        return next(i for i in range(len(space) + 1) if i not in space)
    found = check_int("time", time, minimum=0)
    if found in space:
        fail("time", f"another input than {space}, {called(space)}", str(found))
    return found


def _dimension(conditions: Sequence[Condition]) -> int | None:
    """Dimension of the space that all parts are in; None: of functions alone."""
    found: dict[int, str] = {}
    for k, one in enumerate(conditions):
        if one.pieces:
            found.setdefault(2, f"conditions[{k}]")
        for face in one.faces:
            if face.dim is not None:
                found.setdefault(face.dim, f"conditions[{k}]")
    if len(found) > 1:
        got = " and ".join(f"{dim} dimensions in {where}" for dim, where in found.items())
        fix = "Each space has a field of its own. Time does not count: see TimeDomain."
        fail("conditions", "parts in one space", got, fix)
    return next(iter(found), None)
