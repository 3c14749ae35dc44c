"""What the samplers of sequences share: steps, the table of their beginnings, several processes."""

from __future__ import annotations

import math
import os
import threading
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, distributed

from colloc._checks import check_float, check_float_dtype, check_int, describe, fail, fail_type
from colloc.geometry import Boundary, ParameterDomain, PointCloud, Points, Shape
from colloc.sampling import ahead
from colloc.sampling.family import Family

#: Raw indices that a step of a random method may use; the next one begins behind them.
_RANDOM_STRIDE = 2**32
#: Steps whose beginnings are found at one call: minutes.
_MOST_STEPS_AHEAD = 100_000
_ADDING = threading.Lock()

#: For each parameter's name its lowest and its highest value.
Ranges: TypeAlias = "Mapping[str, tuple[float, float]]"
#: Makes a shape, a boundary or a part of one from values of the parameters.
MakeShape: TypeAlias = "Callable[[dict[str, float]], Shape | Boundary]"


@runtime_checkable
class Sampled(Protocol):
    """What a sampler needs of a shape."""

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        ...

    @property
    def measure(self) -> float:
        """Length, area or volume."""
        ...

    def sample(self, n: int, start: int, method: str, **options: Any) -> Points:
        """n points from a raw index on."""
        ...


class Sampler(ABC):
    """``sampler(step)`` is the step's stretch of one sequence, n points of a shape.

    A step goes on where the step before ended, so that no raw index is used twice. Steps may be
    asked for in any order, and each always gives the same points. Where a shape takes only some
    of the raw points, the beginning of a step is found by way of those before it, once, and kept:
    in :meth:`state_dict` too.

    Args:
        shape: a shape, a boundary or a part of one, a point cloud, a triangle surface, any of
            them over ranges of parameters; or a function that makes a shape or boundary from a
            dict of parameters' values.
        n: points a step, of all processes together, >= 1.
        start: the raw index of step 0, >= 0.
        seed: scrambles the sequence. A random method without one draws one from torch's global
            generator here.
        parameters: ranges by name, as of :class:`colloc.geometry.ParameterDomain`: further
            columns of x, sampled together with the others. Needed where shape is a function:
            then a step takes ``groups`` values of the parameters from a sequence of their own (of
            the dimensions behind those of the points), and n / groups points of each shape that
            they make (Halton's in place of Hammersley's, whose sets of few points fill nothing).
            A point's measure is its share of that shape's, times the volume of the ranges, over
            groups.
        groups: values of the parameters a step, 1 to n; None is 16, or n if that is less. For
            functions alone.
        dtype: float32 or float64; None is torch's default dtype, as it is here.
        device: None is torch's default device (a cloud's own).
        rank, world_size: this process's number and how many there are. None: those of
            torch.distributed, where it has been initialised when points are asked for, else 0 of
            1. Every process looks at the same stretch and returns its points r, r + R, ...:
            together they are the points of a single process, and the measures sum to the whole;
            each share stands for an R-th of it (``points.whole``), so that the mean of the
            processes' losses is the loss of one process, also where R does not divide n.
            One process' share alone need not be even (of Halton's points in a square the first
            of two has the left half): use what all make together, the mean of their gradients.

    Raises:
        ValueError, TypeError: an argument of the wrong type or out of range; in a call: step is
            no integer >= 0, fewer points than processes, several processes and a random method
            without a seed; whatever ``shape.sample`` raises.
    """

    #: The name of the sequence, as in ``shape.sample(n, method=...)``.
    method: ClassVar[str]
    _is_random: ClassVar[bool] = False

    def __init__(
        self,
        shape: Shape | Boundary | PointCloud | MakeShape,
        n: int,
        *,
        start: int = 0,
        seed: int | None = None,
        parameters: Ranges | None = None,
        groups: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._n = check_int("n", n, minimum=1)
        self._start = check_int("start", start, minimum=0)
        self._dtype = check_float_dtype("dtype", dtype)
        self._device = None if device is None else torch.device(device)
        self._shape = _sampled(shape, parameters, groups, self._n)
        self._has_own_seed = seed is None and self._is_random
        if self._has_own_seed:
            seed = int(torch.randint(2**62, (), device="cpu"))
        low = 0 if self.method == "sobol" else -(2**63)
        self._seed = None if seed is None else check_int("seed", seed, low, 2**63 - 1)
        self._rank, self._world_size = rank, world_size
        process(self._n, rank, world_size)
        self._table = [self._start]

    # ---- what it was made with --------------------------------------------------------------

    @property
    def shape(self) -> Any:
        """What is sampled: over the ranges, where there are parameters."""
        return self._shape

    @property
    def n(self) -> int:
        """Points a step, of all processes together."""
        return self._n

    @property
    def seed(self) -> int | None:
        """The seed; of a random method the one that was drawn, where none was given."""
        return self._seed

    @property
    def start(self) -> int:
        """The raw index of step 0."""
        return self._start

    @property
    def dtype(self) -> torch.dtype:
        """The points' dtype."""
        return self._dtype

    @property
    def device(self) -> torch.device | None:
        """The points' device; None is torch's default device."""
        return self._device

    # ---- points -----------------------------------------------------------------------------

    def __call__(self, step: int) -> Points:
        """The points of a step >= 0, this process's share of them."""
        step = check_int("step", step, minimum=0)
        rank, world_size = process(self._n, self._rank, self._world_size)
        if world_size > 1 and self._has_own_seed:
            fail("seed", "a number, the same for all processes", "None",
                 "Each process would draw another one.")  # fmt: skip
        points = self._sample(self._first_index(step), step)
        if self._needs_table:
            self._add(step + 1, points.next_start)
        return share_of(points, rank, world_size)

    def points_ahead(self, step: int, steps: int, memory: int) -> ahead.Block | None:
        """The points of a step and of those after it, made at once: the bits of single calls.

        Args:
            step: the first, >= 0.
            steps: at most so many.
            memory: bytes that making them may take, about.

        Returns:
            None where they are to be asked for one by one: of shapes that take only some of the
            raw points or have curves, of functions, and where fewer than four would fit.
        """
        step = check_int("step", step, minimum=0)
        kind: Any = type(self)
        plain = all(
            getattr(kind, name) is getattr(Sampler, name)
            for name in ("__call__", "_sample", "_first_index")
        )
        if not plain or not ahead.can_draw(self._shape, self._n, self._is_random):
            return None
        rank, world_size = process(self._n, self._rank, self._world_size)
        # Of float64 at most the raw points, and what is made of them: more where they are laid on
        # the pieces of a boundary.
        each = 32 * self._n * (self._shape.dim + 1)
        steps = min(steps, memory // (2 * each if isinstance(self._shape, Boundary) else each))
        if steps < ahead.FEWEST or (world_size > 1 and self._has_own_seed):
            return None
        starts = [self._first_index(step + k) for k in range(steps)]
        try:
            return ahead.draw(
                self._shape, self._n, self.method, step, starts, seed=self._seed,
                dtype=self._dtype, device=self._device, rank=rank, world_size=world_size,
            )  # fmt: skip
        except (ValueError, MemoryError, torch.OutOfMemoryError):  # the end of a sequence, say
            return None

    @property
    def world_size(self) -> int:
        """How many processes share a step's points."""
        return process(self._n, self._rank, self._world_size)[1]

    @property
    def _needs_table(self) -> bool:
        """Whether a step has to be taken to know where the next one begins."""
        return not (self._is_random or _takes_all(self._shape))

    def _first_index(self, step: int) -> int:
        """The raw index at which a step begins."""
        if self._is_random:
            return self._start + step * _RANDOM_STRIDE
        if not self._needs_table:
            return self._start + step * self._n
        # One step at a time, always: the beginnings do not depend on the order of the calls.
        if step - len(self._table) > _MOST_STEPS_AHEAD:
            fail("step", f"at most {len(self._table) + _MOST_STEPS_AHEAD}", str(step),
                 "A step's beginning is found by way of those before it: load the state_dict of a "
                 "step nearby.")  # fmt: skip
        while len(self._table) <= step:
            last = len(self._table) - 1
            self._add(last + 1, self._sample(self._table[last], last).next_start)
        return self._table[step]

    def _add(self, step: int, first: int) -> None:
        """Keep where a step begins, once, whatever other threads do."""
        with _ADDING:
            if len(self._table) == step:
                self._table.append(first)

    def _sample(self, at: int, step: int) -> Points:
        options: dict[str, Any] = {"seed": self._seed, "dtype": self._dtype, "device": self._device}
        if isinstance(self._shape, Family):
            return self._shape.sample(self._n, at, self.method, step=step, **options)
        points: Points = self._shape.sample(self._n, at, self.method, **options)
        return points

    def plot(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """A picture of a step's points: :func:`colloc.sampling.plot`.

        Args:
            path: where to write it; None: only return the matplotlib Figure.
            options: step, axes, title.
        """
        from colloc.sampling.plot import plot

        return plot(self, path, **options)

    # ---- state ------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        """What a state must have been saved with, besides seed and measure."""
        return {
            "method": self.method,
            "n": self._n,
            "start": self._start,
            "dtype": str(self._dtype).removeprefix("torch."),
            "shape": _name(self._shape),
        }

    def state_dict(self) -> dict[str, Any]:
        """The settings, the seed and the table of the steps' beginnings, (steps,) int64."""
        return {
            **self._settings(),
            "measure": float(self._shape.measure),
            "seed": self._seed,
            "table": torch.tensor(self._table, dtype=torch.int64, device="cpu"),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the table of a sampler with the same settings, and the seed that it drew.

        Raises:
            ValueError: a state of another method, n, start, dtype, shape or seed, or none.
        """
        fix = "Load a state into a sampler made with the same arguments."
        if not isinstance(state, Mapping):
            fail_type("state", "what state_dict returned", describe(state))
        for name in (*self._settings(), "measure", "seed", "table"):
            if name not in state:
                fail("state", "what state_dict returned", f"one without {name!r}", fix)
        for name, value in self._settings().items():
            if state[name] != value:
                fail(f"state[{name!r}]", repr(value), repr(state[name]), fix)
        measure, other = float(self._shape.measure), check_float("measure", state["measure"])
        if not math.isclose(other, measure, rel_tol=1e-9):
            fail("state['measure']", f"{measure!r}", f"{other!r}", fix)
        if not self._has_own_seed and state["seed"] != self._seed:
            fail("state['seed']", repr(self._seed), repr(state["seed"]), fix)
        table = state["table"]
        right = isinstance(table, Tensor) and table.dtype == torch.int64 and table.ndim == 1
        values = table.tolist() if right else []
        if not values or values[0] != self._start or values != sorted(set(values)):
            fail("state['table']", "rising int64 indices from start on", describe(table), fix)
        self._table = values
        if self._has_own_seed:
            self._seed = check_int("state['seed']", state["seed"], -(2**63), 2**63 - 1)
            self._has_own_seed = False

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._shape!r}, n={self._n}, start={self._start}, "
            f"seed={self._seed})"
        )


def process(n: int, rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process's number and how many there are.

    Args:
        n: points to share out.
        rank, world_size: None: those of torch.distributed, where it has been initialised, else
            0 and 1.

    Raises:
        ValueError, TypeError: one of them without the other, numbers out of range, or fewer
            points than processes.
    """
    if (rank is None) != (world_size is None):
        missing, other = ("rank", "world_size") if rank is None else ("world_size", "rank")
        fail(missing, f"a number, since {other} is one", "None", "Give both, or none.")
    if rank is None or world_size is None:
        if not (distributed.is_available() and distributed.is_initialized()):
            return 0, 1
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
    world_size = check_int("world_size", world_size, minimum=1)
    rank = check_int("rank", rank, minimum=0, maximum=world_size - 1)
    if n < world_size:
        fail("n", f"at least a point for each of {world_size} processes", str(n))
    return rank, world_size


def share_of(points: Points, rank: int, world_size: int) -> Points:
    """The points r, r + R, ... of a step, which stand for an R-th of what all of them do."""
    if world_size == 1:
        return points
    whole = float(points.measure.double().sum()) if points.whole is None else points.whole
    return replace(points[rank::world_size], whole=whole / world_size)


def _sampled(shape: Any, parameters: Any, groups: int | None, n: int) -> Any:
    """What is to be sampled, over its parameters."""
    known = isinstance(shape, (Shape, Boundary, PointCloud))
    if known or (isinstance(shape, Sampled) and not isinstance(shape, type)):
        if groups is not None:
            fail("groups", "None, since shape is no function", str(groups))
        return shape if parameters is None else ParameterDomain(shape, parameters)
    if not callable(shape) or isinstance(shape, type):
        wanted = "a shape, a boundary, a point cloud, or a function from parameters to a shape"
        fail_type("shape", wanted, describe(shape))
    if parameters is None:
        fail("parameters", "ranges by name, since shape is a function", "None")
    groups = min(16, n) if groups is None else check_int("groups", groups, 1, n)
    return Family(shape, parameters, groups)


def _takes_all(shape: Any) -> bool:
    """Whether n points of a shape use n raw points."""
    accepts: bool = getattr(shape, "_accepts_all", False) or getattr(shape, "_takes_all", False)
    return accepts


def _name(shape: Any) -> str:
    """A shape in words that are the same in another process."""
    if type(shape).__repr__ is object.__repr__:  # would show an address
        return f"{type(shape).__module__}.{type(shape).__qualname__}"
    return repr(shape)
