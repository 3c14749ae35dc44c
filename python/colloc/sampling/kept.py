"""Sets of points that are kept from one look at the field to the next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail
from colloc.geometry import Points
from colloc.ops.sequences import mixed
from colloc.sampling.adaptive import AdaptiveSampler
from colloc.sampling.family import Family

_COLUMNS = ("x", "normal", "measure", "distance", "piece", "values")


class KeptSampler(AdaptiveSampler):
    """An adaptive sampler whose points depend on those before: it only goes forward."""

    _extras = ("points", "stretch", "whole")

    def __init__(self, *args: Any, method: str, **options: Any) -> None:
        if method == "hammersley":
            fix = "Its sets have a first coordinate in common, so that points would repeat."
            fail("method", "a method that gives other points at every refresh", method, fix)
        super().__init__(*args, method=method, **options)
        self._set: Points | None = None  # with measures in units of an even share
        self._stretch = 0  # of the pool's sequence, the next one
        self._whole = 0.0  # the mean of the stretches' measures

    def _refresh(self, epoch: int) -> None:
        if self._epoch is not None and epoch < self._epoch:
            fail(
                "step",
                f"one from {self._epoch * self._refresh_every} on",
                f"one {self._epoch - epoch} refreshes before",
                "These points depend on those before them: load the state_dict of that step, or "
                "make a new sampler.",
            )
        fresh = self._pools(self._stretch)
        whole = float(fresh.measure.double().sum())
        fresh = replace(fresh, measure=fresh.measure * (len(fresh) / whole))
        self._set = self._advance(self._set, fresh)
        self._stretch += 1  # not where a measure was refused: the next call tries again
        self._whole += (whole - self._whole) / self._stretch

    @abstractmethod
    def _advance(self, points: Points | None, fresh: Points) -> Points:
        """The set of the next epoch.

        Args:
            points: that of the last, None before the first.
            fresh: the next stretch of the pool's sequence; its measures have the mean 1.
        """

    def _some(self, fresh: Points, count: int) -> Points:
        """So many of a stretch, evenly: its first ones, but of shapes one after the other at
        random."""
        if not isinstance(self._pools.shape, Family):
            return fresh[:count]
        generator = torch.Generator().manual_seed(mixed(self._seed, self._stretch))
        order = torch.randperm(len(fresh), generator=generator, device="cpu")[:count]
        return fresh[order.to(fresh.x.device)]

    def _points(self, step: int) -> Points:
        del step
        assert self._set is not None
        share = self._whole / float(self._set.measure.double().sum())
        return replace(self._set, measure=self._set.measure * share, whole=self._whole).clone()

    def state_dict(self) -> dict[str, Any]:
        """The points, and where the pool's sequence stands."""
        columns = None
        if self._set is not None:
            columns = {name: getattr(self._set, name) for name in _COLUMNS}
            columns["next_start"] = self._set.next_start
        kept = {"points": columns, "stretch": self._stretch, "whole": self._whole}
        return {**super().state_dict(), **kept}

    def _check_extras(self, state: Mapping[str, Any]) -> None:
        check_int("state['stretch']", state["stretch"], minimum=0)
        columns, dim = state["points"], self._pools.shape.dim
        if columns is None and state["epoch"] is None:
            return
        wanted = f"points with {', '.join(_COLUMNS)} and next_start"
        whole = {*_COLUMNS, "next_start"}
        # States that were saved before points had values have none.
        if not isinstance(columns, Mapping) or {"values", *columns} != whole:
            fail("state['points']", wanted, describe(columns))
        x, measure = columns["x"], columns["measure"]
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != dim or len(x) == 0:
            fail("state['points']['x']", f"a tensor (N, {dim})", describe(x))
        if not isinstance(measure, Tensor) or measure.shape != (len(x), 1):
            fail("state['points']['measure']", f"a tensor ({len(x)}, 1)", describe(measure))
        for name in _COLUMNS:
            column = columns.get(name)
            if column is not None and not (isinstance(column, Tensor) and len(column) == len(x)):
                fail(f"state['points'][{name!r}]", f"None or {len(x)} rows", describe(column))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As of the other samplers."""
        super().load_state_dict(state)
        columns, device = state["points"], self._pools.device
        self._stretch, self._whole = int(state["stretch"]), float(state["whole"])
        self._set = None
        if columns is not None:
            moved: dict[str, Any] = {
                name: value.to(device).clone() if isinstance(value, Tensor) else value
                for name, value in columns.items()
            }
            self._set = Points(**moved)


def joined(parts: Sequence[Points]) -> Points:
    """Points put together."""

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    columns = {name: column(name) for name in _COLUMNS}
    return Points(**columns, next_start=parts[-1].next_start)
