"""Importance sampling of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float, check_int, describe, fail
from colloc.geometry import PointCloud, Points
from colloc.ops import importance_probabilities, importance_sample
from colloc.ops.importance_sample import SCHEMES
from colloc.ops.sequences import mixed
from colloc.sampling.adaptive import AdaptiveSampler, Measure


class ImportanceSampler(AdaptiveSampler):
    """Points drawn where a measure is large, with the weights that keep the loss unbiased.

    Every ``refresh_every`` steps a pool of evenly spread points with shares a_i is looked at:

        q_i proportional to (measure_i^power + floor mean(measure^power)) a_i,

    the mean weighted by area; each step draws n points by q, with weights f_i / q_i, f = a /
    sum a. The mean of weight times loss is then an unbiased estimate of the mean loss over the
    pool, whatever the measure, with less variance the nearer q is to f times the loss. The
    weights are at most (1 + floor) / floor. Source: Nabian, Gladstone and Meidani,
    Computer-Aided Civil and Infrastructure Engineering 36 (2021) 962-977.

    Example::

        term = cc.Term("interior", net, square.sample(1), residual)
        sampler = cc.sampling.ImportanceSampler(square, term, n=1024, pool=16384)
        for step in range(10_000):
            term.points = sampler(step)
            loss = term.loss()                      # weighted by points.measure
            ...

    In a loop of one's own the loss is ``(points.weight * r.square()).mean()``.

    Args:
        shape: a shape, a boundary or a part of one, or a :class:`colloc.geometry.PointCloud`.
        measure: a :class:`colloc.Term` (the norm of its residual), any object with ``rows(x)``
            -> (N, q) such as :class:`DerivativeNorm`, or a callable from x (N, d) to numbers
            >= 0, (N, 1).
        n: points a step, >= 1; of all processes together.
        pool: points looked at; None: 16 n, or the whole of a point cloud.
        refresh_every: steps between two looks, >= 1.
        floor: share of the mean measure that every point gets on top, >= 0.
        scheme: "stratified" (one draw in each n-th of the probability, the least variance),
            "multinomial" (independent draws) or "without_replacement"; see
            :func:`colloc.ops.importance_sample`.
        power: exponent of the measure, > 0.
        weighted: whether points carry the weights; without them the loss is a mean over q in
            place of f, which moves the emphasis of training, see :class:`RAD`.
        redraw: whether every step draws anew; else the points stay for a whole epoch.
        method: how the pool is spread, "halton", "hammersley", "sobol", "uniform" or
            "latin_hypercube".
        seed: of the draws; None: one from torch's global generator.
        parameters, dtype, device, rank, world_size: as for :class:`Halton`.

    Raises:
        ValueError, TypeError: an argument of the wrong type or size; n above the pool in draws
            without replacement. When called: a measure that is NaN, infinite or negative, with
            the number of such points and the first.
    """

    _name = "importance"
    _extras = ("probabilities",)

    def __init__(
        self,
        shape: Any,
        measure: Measure,
        n: int,
        pool: int | None = None,
        refresh_every: int = 100,
        floor: float = 1e-3,
        scheme: str = "stratified",
        *,
        power: float = 1.0,
        weighted: bool = True,
        redraw: bool = True,
        method: str = "halton",
        seed: int | None = None,
        parameters: Mapping[str, tuple[float, float]] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        n = check_int("n", n, minimum=1)
        plain = isinstance(shape, PointCloud) and not shape.parameters and parameters is None
        self._whole_cloud = pool is None and plain
        if pool is None:
            pool = len(shape) if self._whole_cloud else 16 * n
        super().__init__(
            shape, measure, n, pool, refresh_every, method=method, seed=seed,
            parameters=parameters, dtype=dtype, device=device, rank=rank, world_size=world_size,
        )  # fmt: skip
        self._floor = check_float("floor", floor, nonnegative=True)
        self._power = check_float("power", power, positive=True)
        self._draw = check_choice("scheme", scheme, SCHEMES)
        if scheme == "without_replacement" and n > pool:
            fail("n", f"at most the pool's {pool} points without replacement", str(n))
        self._weighted, self._redraw = bool(weighted), bool(redraw)
        self._probabilities: Tensor | None = None
        self._kept: Points | None = None

    @property
    def pool(self) -> Points:
        """The points that were last looked at."""
        if self._pool is None:
            if self._epoch is None:
                raise RuntimeError("pool: expected a sampler that has been called, call it once.")
            self._keep(self._pool_of(self._epoch))
        assert self._pool is not None
        return self._pool

    @property
    def probabilities(self) -> Tensor:
        """q of the pool's points, (pool, 1) float64, summing to 1."""
        if self._probabilities is None:
            raise RuntimeError(
                "probabilities: expected a sampler that has been called, call it once."
            )
        return self._probabilities

    def _pool_of(self, epoch: int) -> Points:
        if self._whole_cloud:
            return self._pools.shape.all(dtype=self._pools.dtype, device=self._pools.device)  # type: ignore[no-any-return]
        return self._pools(epoch)

    def _refresh(self, epoch: int) -> None:
        pool = self._pool_of(epoch)
        values, of_rows = self.evaluate(pool)
        self._probabilities = importance_probabilities(
            values, pool.measure, norm=of_rows, power=self._power, relative_floor=self._floor
        )
        self._keep(pool)

    def _keep(self, pool: Points) -> None:
        self._pool, self._kept = pool, None
        self._whole = float(pool.measure.double().sum())  # once an epoch: a GPU is waited for

    def _points(self, step: int) -> Points:
        if self._redraw:
            return self._drawn(step)
        if self._kept is None:
            self._kept = self._drawn(step // self._refresh_every)
        return self._kept.clone()

    def _drawn(self, number: int) -> Points:
        pool, n = self.pool, self._n
        index, weight = importance_sample(
            self.probabilities, n, pool.measure, self._draw, seed=mixed(self._seed, number),
            dtype=pool.measure.dtype,
        )  # fmt: skip
        # In random order: a slice of the points, or a rank's share, is a sample of them all.
        generator = torch.Generator().manual_seed(mixed(self._seed, -1 - number))
        order = torch.randperm(n, generator=generator, device="cpu").to(index.device)
        index, weight = index[order], weight[order]
        drawn = pool[index]
        share = self._whole / n
        measure = share * weight if self._weighted else torch.full_like(weight, share)
        return replace(drawn, measure=measure, whole=self._whole)

    def _settings(self) -> dict[str, Any]:
        own = {
            "floor": self._floor,
            "scheme": self._draw,
            "power": self._power,
            "weighted": self._weighted,
            "redraw": self._redraw,
        }
        return {**super()._settings(), **own}

    def state_dict(self) -> dict[str, Any]:
        """The pool's probabilities, and where its sequence stands."""
        return {**super().state_dict(), "probabilities": self._probabilities}

    def _check_extras(self, state: Mapping[str, Any]) -> None:
        q, pool = state["probabilities"], self._pools.n
        if q is None and state["epoch"] is None:
            return
        wanted = f"probabilities ({pool}, 1) in float64, finite and >= 0"
        if not isinstance(q, Tensor) or q.dtype != torch.float64 or q.shape != (pool, 1):
            fail("state['probabilities']", wanted, describe(q))
        if not bool((q.isfinite() & (q >= 0)).all()):
            fail("state['probabilities']", wanted, "others")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As of the other samplers."""
        super().load_state_dict(state)
        kept = state["probabilities"]
        self._probabilities = None if kept is None else kept.to(self._pools.device)
        self._pool = self._kept = None
