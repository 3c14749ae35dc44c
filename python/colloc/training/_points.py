"""New points for the terms at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry import Points
from colloc.pde import Term
from colloc.sampling.ahead import FEWEST, Block

_TENSORS = ("x", "normal", "measure", "distance", "piece", "values")
#: Steps whose points are made at once, and the bytes that it may take, about, for all terms.
_STEPS, _MEMORY = 64, 2**26


@dataclass
class _Drawn:
    """What a sampler has made beforehand."""

    sampler: Any
    seed: Any
    block: Block | None  # None: it makes single steps only
    next: int  # the step whose points are given next


class NewPoints:
    """Gives each term its points of a step, those of samplers that can in blocks of steps.

    A sampler whose class has a method ``points_ahead`` (see :class:`colloc.sampling.Sampler`) is
    asked for many steps at once: the calls that make a step's points take longer than the work.
    Each step's are given once, and are the bits that a call of the sampler returns.

    Args:
        terms: the problem.
        fixed: whether the points stay where they lie in memory, as a graph needs them.
    """

    def __init__(self, terms: Sequence[Term], fixed: bool) -> None:
        self.terms, self.fixed = terms, fixed
        self._drawn: dict[str, _Drawn] = {}

    def place(
        self, samplers: Mapping[str, Callable[[int], Any]], step: int, left: int, begins: bool
    ) -> bool:
        """Points of a step for the terms that have a sampler; whether some lie in other memory
        than before, so that a captured graph would not read them.

        Args:
            samplers: by the names of terms.
            step: of the run.
            left: how many steps of the stage will need points, this one among them.
            begins: whether a stage begins.
        """
        if begins:
            self.forget()
        moved = False
        for term in self.terms:
            sampler = samplers.get(term.name)
            if sampler is None:
                continue
            block = self._block(term.name, sampler, step, left, _MEMORY // len(samplers))
            points = sampler(step) if block is None else block.points(step, own=not self.fixed)
            moved = place(term, points, self.fixed) or moved
        return moved

    def forget(self) -> None:
        """Leave what was made beforehand: a sampler's state has changed."""
        self._drawn.clear()

    def _block(self, name: str, sampler: Any, step: int, left: int, memory: int) -> Block | None:
        """That which has the step; None where the sampler is to be called."""
        # Of the class: one that hands on attributes of another sampler has a call of its own.
        ahead = getattr(type(sampler), "points_ahead", None)
        if not callable(ahead):
            return None
        drawn, seed = self._drawn.get(name), getattr(sampler, "seed", None)
        if drawn is not None and drawn.sampler is sampler and _same(drawn.seed, seed):
            block = drawn.block
            if block is None:
                return None
            if step == drawn.next < block.first + len(block):
                drawn.next += 1
                return block
        if left < FEWEST:
            return None
        block = ahead(sampler, step, min(left, _STEPS), memory)
        self._drawn[name] = _Drawn(sampler, seed, block, step + 1)
        return block


def _same(seed: Any, other: Any) -> bool:
    return seed is other or (isinstance(seed, int) and isinstance(other, int) and seed == other)


def place(term: Term, points: Any, fixed: bool) -> bool:
    """Give a term its points of this step; whether they lie in other memory than before.

    Args:
        term: whose points.
        points: a sample, or a tensor (N, d).
        fixed: into the memory of the points that it has, if their number is the same.

    Raises:
        TypeError, ValueError: they are no points, or of a kind that has no fixed memory.
    """
    if not fixed:
        _assign(term, points)
        return True
    old = term.points
    if isinstance(old, Points) and isinstance(points, Points) and _alike(old, points):
        _copy_columns(old, points)
        return False
    if (
        isinstance(old, Tensor)
        and isinstance(points, Tensor)
        and (old.shape, old.dtype, old.device) == (points.shape, points.dtype, points.device)
    ):
        if old is not points:
            old.copy_(points.detach())
        return False
    # The first of their kind: in memory of their own, which the next ones are copied to.
    own = _own(points, f"points of term {term.name!r}")
    _assign(term, own)
    if term.x.shape[0] == 0:  # torch.compile would hide the loss's own message
        fail(f"sampler[{term.name!r}]", "at least one point", "none")
    return True


def _assign(term: Term, points: Any) -> None:
    try:
        term.points = points
    except (TypeError, ValueError) as error:
        raise type(error)(f"sampler[{term.name!r}]: {error}") from error


def _copy_columns(old: Points, new: Points) -> None:
    """Write new points over old ones, those of a dtype in one call."""
    mine: list[Tensor] = []
    theirs: list[Tensor] = []
    for name in _TENSORS:
        to, values = getattr(old, name), getattr(new, name)
        if to is None or to is values:
            continue
        if to.dtype == values.dtype == old.x.dtype:
            mine.append(to)
            theirs.append(values)
        else:
            to.copy_(values)
    if mine:
        torch._foreach_copy_(mine, theirs)


def own_points(terms: Sequence[Term]) -> None:
    """Give each term a copy of its points: they are written over, and may be another's, too."""
    for term in terms:
        term.points = _own(term.points, f"points of term {term.name!r}")


def _own(points: Any, name: str) -> Points | Tensor:
    if isinstance(points, Points):
        return replace(points.clone(), next_start=0)
    if not isinstance(points, Tensor):
        wanted = "a sample of colloc.geometry or a tensor (N, d), with compile or graph"
        fail_type(name, wanted, describe(points))
    return points.detach().clone()


def _alike(old: Points, new: Points) -> bool:
    """Whether new points fit into the memory of the old ones."""
    if old.x.shape != new.x.shape or old.x.dtype != new.x.dtype or old.x.device != new.x.device:
        return False
    for name in _TENSORS:
        one, other = getattr(old, name), getattr(new, name)
        if (None if one is None else one.shape) != (None if other is None else other.shape):
            return False
    if old.whole is None or new.whole is None:
        return old.whole is new.whole
    # What shares of one shape stand for differs by rounding from step to step.
    return abs(old.whole - new.whole) <= 1e-9 * abs(old.whole)
