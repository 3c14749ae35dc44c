"""Residuals that read more of their points than the coordinates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from colloc._checks import fail
from colloc.jets import Jet

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_points(residual: Callable[..., Any]) -> bool:
    """Whether a residual is to be called as ``residual(jet, x, points)``.

    It has a parameter ``points``, or three that need a value; or it says so by an attribute
    ``takes_points``.
    """
    says = getattr(residual, "takes_points", None)
    if isinstance(says, bool):
        return says
    parameters = _parameters(residual)
    needed = [p for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    return len(needed) == 3 or any(p.name == "points" for p in parameters)


def on_points(residual: Callable[..., Any]) -> Callable[[Jet, Tensor, Any], Any]:
    """The residual as a function of jet, coordinates and points, where it takes them or not."""
    if not takes_points(residual):
        return lambda jet, x, points: residual(jet, x)
    if any(p.name == "points" for p in _parameters(residual)):
        return lambda jet, x, points: residual(jet, x, points=points)
    return residual


def _parameters(residual: Callable[..., Any]) -> list[inspect.Parameter]:
    function = residual.forward if isinstance(residual, nn.Module) else residual
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins
        return []


def refuse_points(name: str, residual: Callable[..., Any], why: str) -> None:
    """Refuse a residual that takes its points.

    Raises:
        ValueError: it does; ``why`` says what it is wanted for.
    """
    if takes_points(residual):
        fail(name, f"residual(jet, x), {why}", "one that takes points")
