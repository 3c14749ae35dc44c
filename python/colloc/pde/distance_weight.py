"""Weights of points by their distance to the boundary."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from colloc._checks import check_float, describe, fail, fail_type


def distance_weight(points: Any, power: float = 1.0, scale: float = 1.0) -> Tensor:
    """The weight of points by their distance to the boundary::

        w = scale distance^power

    Where a residual meets boundary data that do not fit, as at the corner of a lid-driven cavity,
    its squares near the wall would dominate the loss; this weight lets them go to 0 there.

    Example::

        inside = cc.Term("interior", net, square.sample(4000), cc.pde.helmholtz(1.0, f),
                         weight=cc.pde.distance_weight)
        steeper = cc.Term(..., weight=lambda points: cc.pde.distance_weight(points, power=2))

    Args:
        points: a sample with ``distance`` (N, 1), as of :mod:`colloc.geometry`.
        power: a number >= 0.
        scale: a number >= 0.

    Returns:
        The weight, (N, 1).

    Raises:
        TypeError: points have no distance, power or scale is not a number.
        ValueError: the distance is not (N, 1), power or scale is negative or not finite.
    """
    power = check_float("power", power, nonnegative=True)
    scale = check_float("scale", scale, nonnegative=True)
    distance = getattr(points, "distance", None)
    if not isinstance(distance, Tensor) or not distance.is_floating_point():
        wanted = "a sample with distance (N, 1), as of colloc.geometry"
        got = describe(points if distance is None else distance)
        fail_type("points" if distance is None else "points.distance", wanted, got)
    if distance.ndim != 2 or distance.shape[1] != 1:
        fail("points.distance", "a floating tensor of shape (N, 1)", distance)
    weight = distance if power == 1.0 else distance**power
    return weight if scale == 1.0 else scale * weight
