"""Ranges of parameters: names with their lowest and highest values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from colloc._checks import check_float, describe, fail, fail_type

#: The lowest and the highest value of a parameter.
Range = tuple[float, float]


def checked_ranges(name: str, ranges: Any) -> dict[str, Range]:
    """Ranges by name, low < high, at least one; their lengths multiply to a finite number > 0."""
    wanted = 'ranges by name, such as {"k": (1.0, 2.0)}'
    if not isinstance(ranges, Mapping):
        fail_type(name, wanted, describe(ranges))
    if not ranges:
        fail(name, wanted, "none")
    found: dict[str, Range] = {}
    for key, given in ranges.items():
        if not isinstance(key, str) or not key:
            fail_type(name, f"{wanted}, named by strings", describe(key))
        ends = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(ends, (tuple, list)) or len(ends) != 2:
            fail_type(f"{name}[{key!r}]", "a pair (low, high)", describe(ends))
        low, high = (check_float(f"{name}[{key!r}][{k}]", end) for k, end in enumerate(ends))
        if not low < high or math.isinf(high - low):
            fail(f"{name}[{key!r}]", "low < high at a finite distance", f"({low}, {high})")
        found[key] = (low, high)
    if not 0 < volume(found) < math.inf:
        fail(name, "ranges whose lengths multiply to a finite number > 0", describe(found),
             "Choose other units.")  # fmt: skip
    return found


def volume(ranges: Mapping[str, Range]) -> float:
    """The product of the lengths of ranges."""
    return math.prod(high - low for low, high in ranges.values())


def corners(ranges: Mapping[str, Range]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """All lower and all upper ends."""
    return tuple(low for low, _ in ranges.values()), tuple(high for _, high in ranges.values())


def shown(ranges: Mapping[str, Range]) -> str:
    """Ranges as they are written."""
    inside = ", ".join(f"{name!r}: ({low:g}, {high:g})" for name, (low, high) in ranges.items())
    return "{" + inside + "}"
