"""Retain, resample, release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from colloc.geometry import Points
from colloc.sampling.adaptive import Measure
from colloc.sampling.kept import KeptSampler, joined


class R3(KeptSampler):
    """Retain-resample-release: a population that gathers where the residual is large.

    At the first step of every ``refresh_every`` steps the points whose residual is above the
    population's mean are retained, and fresh, evenly spread points take the place of the
    others. A retained point is released as soon as its residual has fallen below the mean. No
    point carries a weight. Source: Daw, Bu, Wang, Perdikaris and Karpatne, Mitigating
    propagation failures in physics-informed neural networks using retain-resample-release
    sampling, ICML 2023, algorithm 1.

    Args:
        shape: a shape, a boundary or a part of one, or a :class:`colloc.geometry.PointCloud`.
        measure: what r is: a :class:`colloc.Term`, or as for :class:`ImportanceSampler`.
        n: points of the population.
        refresh_every: steps between two selections; the source selects at every step.
        method: how fresh points are spread; the source takes "uniform".
        seed, parameters, dtype, device, rank, world_size: as for :class:`ImportanceSampler`.

    Raises:
        ValueError, TypeError: as :class:`ImportanceSampler`; and a step of an epoch that is
            over, since these points depend on those before.
    """

    _name = "r3"

    def __init__(
        self,
        shape: Any,
        measure: Measure,
        n: int,
        refresh_every: int = 1,
        *,
        method: str = "uniform",
        seed: int | None = None,
        parameters: Mapping[str, tuple[float, float]] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(
            shape, measure, n, n, refresh_every, method=method, seed=seed,
            parameters=parameters, dtype=dtype, device=device, rank=rank, world_size=world_size,
        )  # fmt: skip

    def _advance(self, points: Points | None, fresh: Points) -> Points:
        if points is None:
            return fresh
        size = self.sizes(points)
        retained = (size > size.mean()).nonzero()[:, 0]
        if not 0 < len(retained) < self._n:  # of equal residuals none is above their mean
            return fresh
        return joined([points[retained], self._some(fresh, self._n - len(retained))])
