"""What the rules that weigh a term's points share."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import check_int, concrete, describe, fail, fail_type
from colloc.balancing.base import keep_float64
from colloc.pde import Term


class Rows(NamedTuple):
    """A term's loss, row by row: ``loss = sum_i shares_i squares_i``."""

    squares: Tensor
    """The mean square of each row, (k, 1), with graph."""
    shares: Tensor
    """The term's weight times each row's share of the measure, (k, 1)."""


def rows_of(term: Any) -> Rows:
    """The rows of a term's loss, see :meth:`colloc.Term.loss`."""
    if not isinstance(term, Term):
        fail_type("term", "a colloc.Term", describe(term), "Not its loss: rows are weighed here.")
    if term.x.shape[0] == 0:
        fail("points", f"at least one point in term {term.name!r}", "none")
    squares = term().square().mean(dim=1, keepdim=True)
    return Rows(squares, term.shares(squares))


class PointRule(nn.Module):
    """Base of the rules that keep a weight for every row of a term.

    ``rule(term)`` takes the place of ``term.loss()``. The rows must be those of the same points
    in every call: on a CPU other points are refused, on a GPU they are not looked at.

    Args:
        n: the number of rows, >= 1.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = check_int("n", n, minimum=1)
        self._seen: Tensor | None = None

    def _rows(self, term: Any) -> Rows:
        rows = rows_of(term)
        if rows.squares.shape[0] != self.n:
            fail(
                "term",
                f"{self.n} rows, a weight for each",
                f"{rows.squares.shape[0]} in term {term.name!r}",
                f"Make the rule with n={rows.squares.shape[0]}.",
            )
        x = term.x
        if concrete(x) and x is not self._seen:
            if self._seen is not None and not torch.equal(x, self._seen):
                fail(
                    "term",
                    "the points of the calls before, for each has a weight of its own",
                    f"others in term {term.name!r}",
                    "Keep the points, or make a new rule when they change.",
                )
            self._seen = x
        return rows

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._seen = None
        return keep_float64(self, lambda: super(PointRule, self)._apply(fn, recurse))
