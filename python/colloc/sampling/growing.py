"""Sets of points that are kept from one look at the field to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.geometry import Points
from colloc.sampling.adaptive import AdaptiveSampler

_COLUMNS = ("x", "normal", "measure", "distance", "piece")


class KeptSampler(AdaptiveSampler):
    """An adaptive sampler whose points depend on those before: it only goes forward."""

    _extras = ("points", "stretch")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._set: Points | None = None
        self._stretch = 0  # of the pool's sequence, the next one
        self._whole: float | None = None  # the shape's measure

    def _refresh(self, epoch: int) -> None:
        if self._epoch is not None and epoch < self._epoch:
            fail(
                "step",
                f"one from {self._epoch * self._refresh_every} on",
                f"one {self._epoch - epoch} refreshes before",
                "These points depend on those before them: load the state_dict of that step, or "
                "make a new sampler.",
            )
        self._set = self._advance(self._set)
        self._stretch += 1  # not where a measure was refused: the next call tries again

    def _advance(self, points: Points | None) -> Points:
        """The set of the next epoch; points: that of the last, None before the first."""
        raise NotImplementedError

    def _points(self, step: int) -> Points:
        del step
        assert self._set is not None
        return self._set

    def _join(self, *parts: Points) -> Points:
        assert self._whole is not None
        return joined(parts, self._whole)

    def _next_stretch(self) -> Points:
        points = self._pools(self._stretch)
        if self._whole is None:
            self._whole = float(points.measure.double().sum())
        return points

    def state_dict(self) -> dict[str, Any]:
        """The points, and where the pool's sequence stands."""
        columns = None
        if self._set is not None:
            columns = {name: getattr(self._set, name) for name in _COLUMNS}
            columns["next_start"] = self._set.next_start
            columns["whole"] = self._set.whole
        return {**super().state_dict(), "points": columns, "stretch": self._stretch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As of the other samplers."""
        super().load_state_dict(state)
        columns, device = state["points"], self._pools.device
        self._stretch = state["stretch"]
        self._set = None
        if columns is not None:
            moved: dict[str, Any] = {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in columns.items()
            }
            self._set = Points(**moved)
            self._whole = self._set.whole


def joined(parts: Sequence[Points], whole: float) -> Points:
    """Points of one shape put together, each with an even share of the whole."""

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    columns = {name: column(name) for name in _COLUMNS}
    columns["measure"] = torch.full_like(columns["measure"], whole / len(columns["x"]))
    return Points(**columns, next_start=parts[-1].next_start, whole=whole)
