"""Unions, differences and intersections of shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NoReturn, TypeVar

from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry._piece import Pair
from colloc.geometry._trimming import trimmed
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.geometry.plane import PlaneShape
from colloc.geometry.shape import Shape

_Value = TypeVar("_Value")


class Combination(Shape):
    """``a | b``, ``a - b`` or ``a & b``, of any number of shapes; made by these operators.

    Nothing is computed before it is asked for.
    """

    def __init__(self, op: str, left: Shape, right: Shape) -> None:
        self._op = op
        # a | b | c is one union of three, a - b - c takes b and c away at once.
        first = left._operands if isinstance(left, Combination) and left._op == op else (left,)
        rest: tuple[Shape, ...] = (right,)
        if op != "-" and isinstance(right, Combination) and right._op == op:
            rest = right._operands
        self._operands: tuple[Shape, ...] = (*first, *rest)

    @property
    def operands(self) -> tuple[Shape, ...]:
        """The shapes that are combined; of a difference the first one and those taken away."""
        return self._operands

    @cached_property
    def _leaves(self) -> tuple[Shape, ...]:
        """The shapes that are no combinations, each once."""
        found: dict[int, Shape] = {}
        for operand in self._operands:
            below = operand._leaves if isinstance(operand, Combination) else (operand,)
            found.update((id(leaf), leaf) for leaf in below)
        return tuple(found.values())

    def _evaluate(
        self,
        values: Sequence[_Value],
        either: Callable[[_Value, _Value], _Value],
        both: Callable[[_Value, _Value], _Value],
        opposite: Callable[[_Value], _Value],
    ) -> _Value:
        """The combination of one value for each leaf."""
        of = {id(leaf): value for leaf, value in zip(self._leaves, values, strict=True)}

        def value(shape: Shape) -> _Value:
            if not isinstance(shape, Combination):
                return of[id(shape)]
            first, *rest = (value(operand) for operand in shape._operands)
            for other in rest:
                if shape._op == "|":
                    first = either(first, other)
                else:
                    first = both(first, opposite(other) if shape._op == "-" else other)
            return first

        return value(self)

    def _decide(self, inside: Sequence[Tensor]) -> Tensor:
        """Whether points are in the combination, from whether they are in each leaf; (N,) bool."""
        return self._evaluate(
            inside, lambda a, b: a | b, lambda a, b: a & b, lambda a: a.logical_not()
        )

    def _refuse_empty(self) -> NoReturn:
        fail("shape", "a combination with points in it", f"{self!r}, which is empty")

    def __repr__(self) -> str:
        shown = (f"({s!r})" if isinstance(s, Combination) else repr(s) for s in self._operands)
        return f" {self._op} ".join(shown)


class PlaneCombination(Combination, PlaneShape):
    """A combination in the plane; its boundary is made of trimmed pieces of its operands'.

    The pieces keep their names, and come in chains, each leading to the next. A name that several
    operands have is that of all their pieces: ``(outer - notch).boundary["left"]``, both being
    rectangles, is the left wall of the one and the left one of the other. Give operands names of
    their own, ``Rectangle(lower, upper, names="notch")``. Pieces of several
    operands that coincide are taken from the first of them. Curves nearer to each other than
    1e-12 times the extent of all operands, plus 16 roundings of the largest coordinate or
    radius, count as touching or coinciding there.
    """

    @cached_property
    def _found(self) -> PieceBoundary | None:
        boundaries = [leaf.boundary for leaf in self._leaves]
        pieces, labels = trimmed(
            [b for b in boundaries if isinstance(b, PieceBoundary)], self._decide
        )
        return PieceBoundary(pieces, labels) if pieces else None

    @property
    def is_empty(self) -> bool:
        """Whether no area is left."""
        return self._found is None

    @property
    def boundary(self) -> PieceBoundary:
        """The trimmed pieces.

        Raises:
            ValueError: the combination is empty, or curves almost meet in a way that float64
                does not resolve.
        """
        if self._found is None:
            self._refuse_empty()
        return self._found

    @cached_property
    def measure(self) -> float:  # type: ignore[override]
        """The area, exactly, by Green's theorem; 0 if it is empty."""
        if self._found is None:
            return 0.0
        return PlaneShape.measure.fget(self)  # type: ignore[attr-defined, no-any-return]

    @cached_property
    def bounds(self) -> tuple[Pair, Pair]:  # type: ignore[override]
        """Lower and upper corner of the smallest axis-aligned box around the shape."""
        return self.boundary.bounds


def combined(op: str, left: Shape, right: Shape) -> Shape:
    """``left op right``.

    Raises:
        TypeError: an operand is no shape, or one that cannot be combined.
        ValueError: shapes of different dimensions.
    """
    for side, shape in (("left", left), ("right", right)):
        if not isinstance(shape, Shape):
            fail_type(side, f"a shape on both sides of {op}", describe(shape))
    if left.dim != right.dim:
        fail(
            "right",
            f"a shape in {left.dim} dimensions like {left!r}",
            f"{right!r}, in {right.dim} dimensions",
        )
    made_of_pieces = [
        isinstance(shape, PlaneCombination)
        or (not isinstance(shape, Combination) and isinstance(shape.boundary, PieceBoundary))
        for shape in (left, right)
    ]
    if all(made_of_pieces):
        return PlaneCombination(op, left, right)
    from colloc.geometry.solid import SolidCombination, is_solid

    if is_solid(left) and is_solid(right):
        return SolidCombination(op, left, right)
    fail_type("shapes", "shapes of the plane with boundaries of pieces, or solids such as Box and "
              "Ball", f"{left!r} {op} {right!r}")  # fmt: skip
