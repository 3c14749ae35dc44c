"""Where Dirichlet parts meet: their values should agree there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from colloc.boundary.conditions import Dirichlet


def warn_conflicts(conditions: Sequence[Dirichlet], space: tuple[int, int]) -> None:
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
                try:
                    a, b = other.g.at(point), one.g.at(point)
                    pairs = [(_column(a, other, i), _column(b, one, i)) for i in shared]
                except Exception:  # the data's own business
                    continue
                for u, v in pairs:
                    if abs(u - v) > 1e-6 * max(1.0, abs(u), abs(v)):
                        warnings.warn(
                            f"Ansatz: the Dirichlet values of two parts differ where they meet, "
                            f"at ({x:g}, {y:g}): {u:g} and {v:g}. Their mean is taken there.",
                            stacklevel=3,
                        )


def _shared(one: Dirichlet, other: Dirichlet) -> list[int]:
    """Components that both are about; 0 stands for all."""
    if one.components is None and other.components is None:
        return [0]
    if one.components is None or other.components is None:
        return list(one.components or other.components or ())
    return sorted(set(one.components) & set(other.components))


def _column(values: torch.Tensor, condition: Dirichlet, component: int) -> float:
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
