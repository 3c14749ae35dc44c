"""Which rows of a term are inf or NaN, looked for after a step that was not finite."""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import torch

from colloc.geometry import Points
from colloc.pde import Term
from colloc.training._state import random_state, set_random_state

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


class BadRows(NamedTuple):
    """Rows of a term that are not finite; as a string a sentence of them."""

    term: str
    bad: int
    """How many are not."""
    rows: int
    """How many there are."""
    point: tuple[float, ...]
    """The coordinates of the first."""
    unscrambled: bool
    """Whether the points are of a sampler or a shape's sample to which a seed can be given."""

    @property
    def some(self) -> bool:
        """Whether others are finite: it lies with the points, then, and not with the network."""
        return self.bad < self.rows

    def __str__(self) -> str:
        x = ", ".join(f"{value:.6g}" for value in self.point)
        if self.bad == 1:
            count, where = f"1 of {self.rows} rows is", f"at x = ({x})"
        else:
            count = f"{self.bad} of {self.rows} rows are" if self.some else "all rows are"
            where = f"the first at x = ({x})"
        return f"In term {self.term!r} {count} not finite, {where}."


def bad_rows(trainer: Trainer) -> list[BadRows]:
    """Those of the terms whose loss was not finite, by another evaluation at the parameters and
    points of the step, without gradients. Nothing is raised: what cannot be found is left out.

    In several processes nothing is looked for: a loss may be finite in another one, which would
    not take part in what a field or a sampler exchanges.
    """
    found: list[BadRows] = []
    if trainer.processes.count > 1:
        return found
    problem = trainer._steps.problem
    # Steps.labels
    terms = [term for term in trainer.terms if f"loss of term {term.name!r}," in problem]
    if not terms:
        return found
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = random_state()
        try:
            trainer._place(trainer.stage)  # a GPU's run has gone back: its points are to be placed
            with torch.no_grad(), trainer.precision.context():
                for term in terms:
                    one = _of_term(trainer, term)
                    if one is not None:
                        found.append(one)
        finally:
            set_random_state(kept)
    return found


def _of_term(trainer: Trainer, term: Term) -> BadRows | None:
    alone = copy.copy(term)
    alone.reduce = None  # integral rows have no point
    bad = ~torch.isfinite(alone()).all(dim=1)
    count = int(bad.sum())
    if count == 0:  # squares that are too large, a weight
        return None
    first = int(bad.to(torch.uint8).argmax())
    sampler = trainer.samplers.get(term.name)
    seeded = getattr(sampler, "seed", 0) is not None
    unscrambled = isinstance(term.points, Points) if sampler is None else not seeded
    return BadRows(term.name, count, bad.numel(), tuple(term.x[first].tolist()), unscrambled)
