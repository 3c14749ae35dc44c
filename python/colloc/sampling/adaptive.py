"""What the samplers share that look at the field: the pool, its measure, several processes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, distributed

from colloc._checks import check_choice, check_int, describe, fail, fail_type
from colloc.geometry import Points
from colloc.sampling.sampler import Sampler, process, share_of
from colloc.sampling.sequences import Halton, Hammersley, LatinHypercube, Sobol, Uniform

SAMPLERS: dict[str, type[Sampler]] = {
    "halton": Halton,
    "hammersley": Hammersley,
    "sobol": Sobol,
    "uniform": Uniform,
    "latin_hypercube": LatinHypercube,
}
#: Points at which a measure is evaluated at once: what a network keeps of them is small.
_CHUNK = 2**16


@runtime_checkable
class HasRows(Protocol):
    """What has rows whose 2-norm is the measure, such as a :class:`colloc.Term`."""

    def rows(self, x: Tensor) -> Tensor:
        """(N, q) of any sign, for x (N, d)."""
        ...


Measure: TypeAlias = "HasRows | Callable[[Tensor], Tensor]"


class AdaptiveSampler(ABC):
    """Points that follow the field: every ``refresh_every`` steps a pool is looked at anew.

    Epoch e of a sampler is the steps from ``e refresh_every`` on. At its first call within an
    epoch the sampler takes the next stretch of the pool's sequence, evaluates the measure there,
    and keeps what follows from it; a call with another step of that epoch evaluates nothing. The
    measure is evaluated under ``torch.no_grad()`` (one that differentiates by autograd itself has
    to enable gradients for that) and with its modules as they stand: a batch normalisation in
    training mode would count the pool in.

    With several processes the pool is shared out, each evaluates its part of it, and every
    rank returns its share of the points, number r, r + R, ...: together they are the points of
    a single process, and a mean of the ranks' gradients is that of its loss.

    To go on after a restart keep ``sampler.state_dict()`` beside those of the network and the
    optimiser, and the step; load all of them before the next call.
    """

    #: The sampler's name in ``state_dict``.
    _name: str
    #: What a scheme's state holds besides.
    _extras: tuple[str, ...] = ()

    def __init__(
        self,
        shape: Any,
        measure: Measure,
        n: int,
        pool: int,
        refresh_every: int,
        *,
        method: str,
        seed: int | None,
        parameters: Mapping[str, tuple[float, float]] | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        if not isinstance(measure, HasRows) and not callable(measure):
            wanted = "a Term, an object with rows(x) -> (N, q), or a callable x -> (N, 1)"
            fail_type("measure", wanted, describe(measure))
        self._measure = measure
        self._n = check_int("n", n, minimum=1)
        self._refresh_every = check_int("refresh_every", refresh_every, minimum=1)
        check_choice("method", method, tuple(SAMPLERS))
        self._has_own_seed = seed is None
        # Of random pools; the pools of sequences are the plain ones.
        of_pools = seed if method in ("uniform", "latin_hypercube") else None
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
        self._seed = check_int("seed", seed, minimum=-(2**63), maximum=2**63 - 1)
        options: dict[str, Any] = {"parameters": parameters, "dtype": dtype, "device": device}
        options |= {"seed": of_pools, "rank": 0, "world_size": 1}
        self._pools = SAMPLERS[method](shape, check_int("pool", pool, minimum=1), **options)
        self._rank, self._world_size = rank, world_size
        process(self._n, rank, world_size)
        self._epoch: int | None = None
        self._pool: Points | None = None

    # ---- what it was made with --------------------------------------------------------------

    @property
    def shape(self) -> Any:
        """What is sampled."""
        return self._pools.shape

    @property
    def measure(self) -> Measure:
        """What the points follow; assignable, heeded from the next refresh on."""
        return self._measure

    @measure.setter
    def measure(self, measure: Measure) -> None:
        if not isinstance(measure, HasRows) and not callable(measure):
            fail_type("measure", "a Term or a callable", describe(measure))
        self._measure = measure

    @property
    def n(self) -> int:
        """Points a step, of all processes together."""
        return self._n

    @property
    def seed(self) -> int:
        """The seed of the draws."""
        return self._seed

    @property
    def refresh_every(self) -> int:
        """Steps between two looks at the field."""
        return self._refresh_every

    @property
    def epoch(self) -> int | None:
        """The epoch that the pool was looked at in; None before the first call."""
        return self._epoch

    # ---- points -----------------------------------------------------------------------------

    def __call__(self, step: int) -> Points:
        """The points of a step >= 0, this process's share of them.

        Raises:
            ValueError, TypeError: step is no integer >= 0, or the measure has a wrong shape or
                a value that is NaN, infinite or negative.
        """
        step = check_int("step", step, minimum=0)
        # What is kept would else be of no use outside of torch.inference_mode().
        with torch.inference_mode(False), torch.no_grad():
            return self._at(step)

    def _at(self, step: int) -> Points:
        epoch = step // self._refresh_every
        rank, world_size = process(self._n, self._rank, self._world_size)
        if world_size > 1 and self._has_own_seed:
            fail("seed", "a number, the same for all processes", "None",
                 "Each process would draw another one.")  # fmt: skip
        if epoch != self._epoch:
            self._refresh(epoch)
            self._epoch = epoch
        points = self._points(step)
        return share_of(points, rank, world_size)

    @property
    def world_size(self) -> int:
        """How many processes share a step's points."""
        return process(self._n, self._rank, self._world_size)[1]

    @abstractmethod
    def _refresh(self, epoch: int) -> None:
        """Look at the field at the beginning of an epoch."""

    @abstractmethod
    def _points(self, step: int) -> Points:
        """The points of a step, of all processes."""

    def evaluate(self, points: Points | Tensor) -> tuple[Tensor, bool]:
        """The measure at points, or at x (N, d): (N, 1) numbers, False; or rows (N, q), True."""
        x = points if isinstance(points, Tensor) else points.x
        rank, world_size = process(self._n, self._rank, self._world_size)
        shared = world_size > 1 and self._rank is None  # those of torch.distributed
        mine = points if getattr(self._measure, "takes_points", False) else x
        if shared:
            mine = mine[rank::world_size]
        with torch.no_grad():
            # Copies: a measure may write to its x.
            starts = range(0, max(len(mine), 1), _CHUNK)
            parts = (mine[begin : begin + _CHUNK].clone() for begin in starts)
            values = torch.cat([self._one_chunk(part) for part in parts])
        of_rows = isinstance(self._measure, HasRows)
        if not shared:
            return values, of_rows
        if of_rows:
            values = torch.linalg.vector_norm(values, dim=1, keepdim=True)
        return _gathered(values, x.shape[0], world_size), False

    def sizes(self, points: Points | Tensor) -> Tensor:
        """The measure at points, or at x (N, d), as numbers, (N,) float64, refused as at a draw."""
        values, of_rows = self.evaluate(points)
        values = values.double()
        size = torch.linalg.vector_norm(values, dim=1) if of_rows else values[:, 0]
        bad = ~(size.isfinite() & (size >= 0))
        count = int(bad.sum())
        if count:
            first = int(bad.nonzero()[0])
            got = f"{count} of {len(size)} that are not, the first of them number {first}"
            fail("measure", "finite numbers >= 0", got)
        return size

    def _one_chunk(self, points: Any) -> Tensor:
        count = len(points)
        if isinstance(self._measure, HasRows):
            name, wanted = "measure.rows(x)", f"a floating tensor of shape ({count}, q)"
            values = self._measure.rows(points)
        else:
            name, wanted = "measure(x)", f"a floating tensor of shape ({count}, 1)"
            values = self._measure(points)
        if not isinstance(values, Tensor) or not values.is_floating_point():
            fail_type(name, wanted, describe(values))
        if not isinstance(self._measure, HasRows) and values.ndim == 1:
            values = values.unsqueeze(1)
        right = values.ndim == 2 and values.shape[0] == count and values.shape[1] > 0
        if not right or (values.shape[1] > 1 and not isinstance(self._measure, HasRows)):
            fix = "Take a norm over the columns." if values.ndim == 2 else ""
            fail(name, wanted, values, fix)
        return values

    # ---- state ------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        """What a state must have been saved with."""
        return {
            "sampler": self._name,
            "n": self._n,
            "refresh_every": self._refresh_every,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that further points follow from besides the field itself."""
        pools = self._pools.state_dict()
        return {**self._settings(), "seed": self._seed, "epoch": self._epoch, "pools": pools}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler with the same settings stood; where no seed was given,
        with its seed.

        Raises:
            ValueError: a state of other settings; the message names the first that differs.
            TypeError: no state.
        """
        fix = "Load a state into a sampler made with the same arguments."
        if not isinstance(state, Mapping):
            fail_type("state", "what state_dict returned", describe(state))
        wanted = self._settings()
        if not self._has_own_seed:
            wanted["seed"] = self._seed
        for name in (*wanted, "seed", "epoch", "pools", *self._extras):
            if name not in state:
                fail("state", "what state_dict returned", f"one without {name!r}", fix)
        for name, value in wanted.items():
            if state[name] != value:
                fail(f"state[{name!r}]", repr(value), repr(state[name]), fix)
        seed = check_int("state['seed']", state["seed"], -(2**63), 2**63 - 1)
        epoch = state["epoch"]
        if epoch is not None:
            epoch = check_int("state['epoch']", epoch, minimum=0)
        self._check_extras(state)
        # Everything is looked at before anything is taken over.
        self._pools.load_state_dict(state["pools"])
        self._epoch, self._seed, self._has_own_seed = epoch, seed, False

    @abstractmethod
    def _check_extras(self, state: Mapping[str, Any]) -> None:
        """Refuse what a scheme's state holds besides, where it does not fit."""

    def plot(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """The points over what they were drawn by: :func:`colloc.sampling.plot`.

        Args:
            path: where to write it; None: only return the matplotlib Figure.
            options: step, axes, title.
        """
        from colloc.sampling.plot import plot

        return plot(self, path, **options)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self._settings().items() if k != "sampler")
        return f"{type(self).__name__}({self.shape!r}, {settings}, seed={self._seed})"


def _gathered(mine: Tensor, count: int, world_size: int) -> Tensor:
    """Rows r, r + R, ... of every process put together, (count, 1)."""
    each = -(-count // world_size)
    padded = mine.new_zeros((each, 1))
    padded[: mine.shape[0]] = mine
    parts = [torch.empty_like(padded) for _ in range(world_size)]
    distributed.all_gather(parts, padded)
    return torch.cat(parts, dim=1).reshape(-1, 1)[:count]
