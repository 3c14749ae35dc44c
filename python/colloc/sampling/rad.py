"""Residual-based adaptive distribution."""

from __future__ import annotations

from typing import Any

from colloc._checks import check_float
from colloc.sampling.adaptive import Measure
from colloc.sampling.importance import ImportanceSampler


class RAD(ImportanceSampler):
    """Residual-based adaptive distribution: all points drawn anew by the residual.

    At the first step of every ``refresh_every`` steps n points are drawn, without replacement,
    from a pool with

        q_i proportional to |r_i|^k / mean |r|^k + c,

    and stay until the next. They carry no weights: unlike importance sampling this moves the
    emphasis of the loss on purpose. Source: Wu, Zhu, Tan, Kartha and Lu, Computer Methods in
    Applied Mechanics and Engineering 403 (2023) 115671, algorithm 2.

    Args:
        shape: a shape, a boundary or a part of one, or a :class:`colloc.geometry.PointCloud`.
        measure: what r is: a :class:`colloc.Term`, or as for :class:`ImportanceSampler`.
        n: points a step.
        pool: points looked at; None: 16 n, or the whole of a point cloud.
        refresh_every: steps between two draws.
        k: exponent, > 0. The source finds k = 1, c = 1 good for most problems.
        c: share of the mean that every point gets on top, >= 0; 0 leaves out points without
            residual.
        options: further ones of :class:`ImportanceSampler`: scheme, method, seed, parameters,
            dtype, device, rank, world_size.

    Raises:
        ValueError, TypeError: as :class:`ImportanceSampler`.
    """

    _name = "rad"

    def __init__(
        self,
        shape: Any,
        measure: Measure,
        n: int,
        pool: int | None = None,
        refresh_every: int = 1000,
        k: float = 1.0,
        c: float = 1.0,
        scheme: str = "without_replacement",
        **options: Any,
    ) -> None:
        for name, place in (("floor", "c"), ("power", "k")):
            if name in options:
                raise TypeError(f"{name}: expected to be given as {place}, got {name}=.")
        super().__init__(
            shape, measure, n, pool, refresh_every,
            floor=check_float("c", c, nonnegative=True), power=check_float("k", k, positive=True),
            scheme=scheme, **{"weighted": False, "redraw": False, **options},
        )  # fmt: skip
