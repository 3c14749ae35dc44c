"""Residual-based adaptive refinement with distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from colloc._checks import check_float, check_int, fail
from colloc.geometry import Points
from colloc.ops import importance_probabilities, importance_sample
from colloc.ops.sequences import mixed
from colloc.sampling.adaptive import Measure
from colloc.sampling.kept import KeptSampler, joined


class RARD(KeptSampler):
    """Residual-based adaptive refinement with distribution: points are added by the residual.

    Training begins with n evenly spread points. At the first step of every further
    ``refresh_every`` steps ``added`` points are drawn, without replacement, from a pool with

        q_i proportional to |r_i|^k / mean |r|^k + c,

    and join the others (fewer where the residual is 0 at all but a few). No point carries a
    weight. Source: Wu, Zhu, Tan, Kartha and Lu,
    Computer Methods in Applied Mechanics and Engineering 403 (2023) 115671, algorithm 3.

    Args:
        shape: a shape, a boundary or a part of one, or a :class:`colloc.geometry.PointCloud`.
        measure: what r is: a :class:`colloc.Term`, or as for :class:`ImportanceSampler`.
        n: points at the beginning.
        added: points that join at every refresh, >= 1.
        pool: points looked at; None: 16 times the larger of n and added.
        refresh_every: steps between two refreshes.
        k: exponent, > 0; c: share of the mean that every point gets on top, >= 0. The source
            finds k = 2, c = 0 good here.
        most: the number of points at which the set stops growing; None: never.
        method, seed, parameters, dtype, device, rank, world_size: as for
            :class:`ImportanceSampler`.

    Raises:
        ValueError, TypeError: as :class:`ImportanceSampler`; and a step of an epoch that is
            over, since these points depend on those before.
    """

    _name = "rar-d"

    def __init__(
        self,
        shape: Any,
        measure: Measure,
        n: int,
        added: int = 10,
        pool: int | None = None,
        refresh_every: int = 1000,
        k: float = 2.0,
        c: float = 0.0,
        *,
        most: int | None = None,
        method: str = "halton",
        seed: int | None = None,
        parameters: Mapping[str, tuple[float, float]] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        n = check_int("n", n, minimum=1)
        self._added = check_int("added", added, minimum=1)
        pool = 16 * max(n, self._added) if pool is None else check_int("pool", pool, minimum=1)
        if pool < max(n, self._added):
            fail("pool", f"at least the larger of n and added, {max(n, self._added)}", str(pool))
        super().__init__(
            shape, measure, n, pool, refresh_every, method=method, seed=seed,
            parameters=parameters, dtype=dtype, device=device, rank=rank, world_size=world_size,
        )  # fmt: skip
        self._k = check_float("k", k, positive=True)
        self._c = check_float("c", c, nonnegative=True)
        self._most = None if most is None else check_int("most", most, minimum=n)

    def _advance(self, points: Points | None, fresh: Points) -> Points:
        if points is None:
            return self._some(fresh, self._n)
        added = self._added if self._most is None else min(self._added, self._most - len(points))
        if added <= 0:
            return points
        values, of_rows = self.evaluate(fresh)
        q = importance_probabilities(
            values, fresh.measure, norm=of_rows, power=self._k, relative_floor=self._c
        )
        added = min(added, int((q > 0).sum()))  # elsewhere there is nothing to learn
        seed = mixed(self._seed, self._stretch)
        drawn = fresh[importance_sample(q, added, scheme="without_replacement", seed=seed).index]
        # They came in proportion to their shares, and so count alike.
        return joined([points, replace(drawn, measure=torch.ones_like(drawn.measure))])

    def _settings(self) -> dict[str, Any]:
        own = {"added": self._added, "k": self._k, "c": self._c, "most": self._most}
        return {**super()._settings(), **own}
