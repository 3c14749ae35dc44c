"""Boundaries of numbered, named pieces, and parts of them."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float_dtype, check_int, describe, fail, fail_type
from colloc.geometry._chains import chain_tolerance, chains, is_balanced
from colloc.geometry._piece import Piece
from colloc.geometry._sampling import Columns, Laid, accept, shares, unit_points
from colloc.geometry._whole_line import whole_line
from colloc.geometry.points import Points
from colloc.geometry.straight import Line
from colloc.ops.sequences import METHODS

_Boundary = TypeVar("_Boundary", bound="Boundary")

#: What names pieces: a name, a number, a test of their midpoints, a part, pieces, or several.
Which = Any


class Boundary(ABC):
    """The boundary of a shape: numbered, named pieces.

    ``boundary["inlet"]`` is the :class:`Part` of that name, ``boundary["inlet", "outlet"]`` that
    of both, ``boundary - "inlet"`` everything else. ``boundary.named(...)`` gives names.
    """

    #: The names of each piece: first its own, then those of groups that it belongs to.
    _labels: tuple[tuple[str, ...], ...]
    #: colloc.boundary.plot, which sets this: distance functions stand above shapes.
    _plot: ClassVar[Callable[..., Any]]

    def plot(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """A picture of the pieces, of phi and of its gradient, in the plane alone:
        :func:`colloc.boundary.plot`.

        Args:
            path: where to write it; None: only return the matplotlib Figure.
            options: m, resolution, title.
        """
        return self._plot(path, **options)

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates d of its points."""

    @property
    def measure(self) -> float:
        """Length or area; in one dimension the number of end points."""
        return float(sum(self._sizes))

    @property
    def line(self) -> Line:
        """The whole line of a straight part, ``boundary["left"].line``, the domain on its left.

        Raises:
            ValueError: the part is not one straight line, or the line crosses the domain.
        """
        return whole_line(self)

    @property
    def piece_names(self) -> tuple[str, ...]:
        """Names of the pieces; a point's ``piece`` is the position in this tuple."""
        return tuple(labels[0] for labels in self._labels)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that parts can be asked for by, those of groups too."""
        return tuple(dict.fromkeys(name for labels in self._labels for name in labels))

    @property
    @abstractmethod
    def _sizes(self) -> tuple[float, ...]:
        """The measure of each piece."""

    @property
    def _raw_sizes(self) -> tuple[float, ...]:
        """The measure of what each piece is taken from."""
        return self._sizes

    @property
    def _takes_all(self) -> bool:
        """Whether every raw point is taken."""
        return True

    @property
    @abstractmethod
    def _middles(self) -> Tensor:
        """A point in the middle of each piece, (P, d) float64."""

    @property
    @abstractmethod
    def _geometry(self) -> object:
        """What two boundaries with the same pieces have equal."""

    @property
    @abstractmethod
    def _parameters(self) -> int:
        """How many coordinates of a raw sequence place a point."""

    @abstractmethod
    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        """Raw points (n, parameters) laid on the pieces ``among``, spread by their raw sizes.

        ``start`` is the first one's index in the sequence, None where they are not consecutive.
        """

    def sample(
        self,
        n: int,
        start: int = 0,
        method: str = "halton",
        *,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Points:
        """n points spread evenly over the whole boundary.

        Args, errors: as for :meth:`Shape.sample`.

        Points of float32 lie on the wall as float32 rounds it.

        Returns:
            Points: x (n, d), outward unit normal (n, d), measure (n, 1) summing to the
            boundary's, distance (n, 1) of zeros, piece (n,).
        """
        n = check_int("n", n, minimum=0)
        start = check_int("start", start, minimum=0)
        check_choice("method", method, tuple(METHODS))
        dtype = check_float_dtype("dtype", dtype)
        measure, raw = self.measure, sum(self._raw_sizes)
        among = range(len(self))

        def draw(at: int, count: int) -> tuple[Columns, Tensor | None]:
            unit = unit_points(method, count, self._parameters, at, seed, device)
            laid = self._lay(unit, at, dtype, among)
            return laid[:3], laid.taken

        if self._takes_all:
            (x, normal, piece), next_start = draw(start, n)[0], start + n
        else:
            per_point = max(1.0, raw / measure) if measure > 0 else float("inf")
            columns, next_start = accept(n, start, method, per_point, draw, repr(self))
            x, normal, piece = columns
        return Points(
            x=x,
            normal=normal,
            measure=shares(measure, n, dtype, x.device),
            distance=torch.zeros((n, 1), dtype=dtype, device=x.device),
            piece=piece,
            next_start=next_start,
        )

    # ---- parts ------------------------------------------------------------------------------

    def part(self, *which: Which) -> Part:
        """The part made of the pieces that any of the arguments names.

        Args:
            which: names of pieces or groups; numbers of pieces; functions that take the pieces'
                midpoints, (P, d) float64, and return (P,) bool, e.g. ``lambda x: x[:, 0] < -6``;
                parts of this boundary; pieces; lists of such.

        Raises:
            ValueError: an unknown name (the message lists the names), a number out of range, a
                part of another boundary, or no piece at all.
            TypeError: anything else.
        """
        return Part(self, self._indices(which))

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._labels)

    def __iter__(self) -> Iterator[Part]:
        """Each piece as a part."""
        return (self.part(k) for k in range(len(self)))

    def __getitem__(self, which: Which) -> Part:
        return self.part(*(which if isinstance(which, tuple) else (which,)))

    def without(self, *which: Which) -> Part:
        """Everything but the pieces that any of the arguments names; as for :meth:`part`."""
        left_out = {k for one in which for k in self._select(one, "part")}
        return self.part([k for k in range(len(self)) if k not in left_out])

    def __sub__(self, other: Which) -> Part:
        return self.without(other)

    def __or__(self, other: Which) -> Part:
        return self.part(range(len(self)), other)

    def named(self: _Boundary, **parts: Which) -> _Boundary:
        """The same boundary with names for parts.

        Afterwards each name given stands for exactly the pieces given, and is the piece name of
        those; names that were there before still find their other pieces. A piece that has lost
        its only name is called "unnamed".

            boundary.named(inlet=lambda x: x[:, 0] < -6, walls=["bottom", "top"])

        Args:
            parts: for each name what :meth:`part` takes.

        Raises:
            ValueError, TypeError: as for :meth:`part`.
        """
        chosen = {name: set(self._indices((which,), name)) for name, which in parts.items()}
        result = copy.copy(self)
        result._labels = tuple(
            (
                *(name for name, pieces in chosen.items() if k in pieces),
                *(name for name in labels if name not in chosen),
            )
            or ("unnamed",)
            for k, labels in enumerate(self._labels)
        )
        return result

    def _indices(self, which: Iterable[Which], name: str = "part") -> tuple[int, ...]:
        """Numbers of the pieces named, in order."""
        found: set[int] = set()
        for one in which:
            found.update(self._select(one, name))
        if not found:
            fail(name, f"at least one of the pieces {self._listed()}", "none")
        return tuple(sorted(found))

    def _select(self, which: Which, name: str) -> Iterable[int]:
        count = len(self._labels)
        if isinstance(which, str):
            found = [k for k, labels in enumerate(self._labels) if which in labels]
            if not found:
                fail(name, f"one of the names {self._listed()}", repr(which))
            return found
        if isinstance(which, Boundary):
            parent, numbers = which._parent
            if parent is not self and parent._geometry != self._geometry:
                fail(name, "a part of this boundary", repr(which), "Parts of one can be combined.")
            return numbers
        if isinstance(which, Piece):
            return self._select_piece(which, name)
        if callable(which):
            return self._select_by_test(which, name)
        if isinstance(which, (list, tuple, range, set, frozenset)):
            return [k for one in which for k in self._select(one, name)]
        if isinstance(which, slice):
            return range(count)[which]
        try:
            return [check_int(name, which, minimum=0, maximum=count - 1)]
        except TypeError:
            fail_type(name, "names, numbers of pieces, or a function of midpoints", describe(which))

    def _select_piece(self, which: Piece, name: str) -> Iterable[int]:
        fail(name, f"a name of {self._listed()}", repr(which))

    def _select_by_test(self, test: Callable[[Tensor], Any], name: str) -> Iterable[int]:
        count = len(self._labels)
        mask = test(self._middles)
        if not (isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == (count,)):
            fail(
                name,
                f"a function that returns a bool tensor of shape ({count},) for midpoints (P, d)",
                describe(mask),
                "For example lambda x: x[:, 0] < -6.",
            )
        return [k for k, yes in enumerate(mask.tolist()) if yes]

    @property
    def _parent(self) -> tuple[Boundary, tuple[int, ...]]:
        """The boundary that this is a part of, and the numbers of its pieces there."""
        return self, tuple(range(len(self)))

    def _listed(self) -> str:
        return ", ".join(repr(name) for name in self.names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._listed()})"


class Part(Boundary):
    """Some pieces of a boundary, with the names and the numbers that they have there.

    Made by ``boundary["name"]``, :meth:`Boundary.part` and :meth:`Boundary.without`; parts of
    the same boundary are joined by ``|``, where numbers count in the whole boundary, and taken
    away by ``-``. ``sample`` gives points whose ``piece`` counts in :attr:`boundary`, not among
    the part's own ``piece_names``.
    """

    def __init__(self, boundary: Boundary, indices: Sequence[int]) -> None:
        if not indices:
            fail("part", "at least one piece", f"none of {boundary._listed()}")
        self._boundary = boundary
        self._numbers = tuple(indices)
        self._labels = tuple(boundary._labels[k] for k in indices)

    @property
    def boundary(self) -> Boundary:
        """The whole boundary."""
        return self._boundary

    @property
    def indices(self) -> tuple[int, ...]:
        """Numbers of the pieces in the whole boundary."""
        return self._numbers

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The curves; only in two dimensions."""
        if not hasattr(self._boundary, "pieces"):
            raise AttributeError(
                f"pieces: expected a part of a boundary made of plane curves, got {self!r}."
            )
        pieces: tuple[Piece, ...] = self._boundary.pieces
        return tuple(pieces[k] for k in self._numbers)

    @property
    def dim(self) -> int:
        """Number of coordinates d of its points."""
        return self._boundary.dim

    @property
    def is_closed(self) -> bool:
        """Whether the pieces chain into closed loops; see ``PieceBoundary.is_closed``."""
        return is_balanced(self.pieces, chain_tolerance(self.pieces))

    def chains(self) -> tuple[Part, ...]:
        """The parts in which each piece leads to the next; see ``PieceBoundary.chains``."""
        found = chains(self.pieces, chain_tolerance(self.pieces))
        return tuple(Part(self._boundary, [self._numbers[k] for k in chain]) for chain in found)

    def part(self, *which: Which) -> Part:
        """The pieces of this part that any of the arguments names.

        Numbers count in this part; otherwise as for :meth:`Boundary.part`.
        """
        return Part(self._boundary, [self._numbers[k] for k in self._indices(which)])

    def __or__(self, other: Which) -> Part:
        return self._boundary.part(self, other)

    def _select(self, which: Which, name: str) -> Iterable[int]:
        if isinstance(which, Boundary):  # its numbers count in the whole boundary
            numbers = set(self._boundary._select(which, name))
            return [k for k, number in enumerate(self._numbers) if number in numbers]
        return super()._select(which, name)

    def _select_piece(self, which: Piece, name: str) -> Iterable[int]:
        numbers = set(self._boundary._select_piece(which, name))
        return [k for k, number in enumerate(self._numbers) if number in numbers]

    @property
    def _parent(self) -> tuple[Boundary, tuple[int, ...]]:
        return self._boundary, self._numbers

    @property
    def _sizes(self) -> tuple[float, ...]:
        sizes = self._boundary._sizes
        return tuple(sizes[k] for k in self._numbers)

    @property
    def _raw_sizes(self) -> tuple[float, ...]:
        sizes = self._boundary._raw_sizes
        return tuple(sizes[k] for k in self._numbers)

    @property
    def _takes_all(self) -> bool:
        return self._boundary._takes_all

    @property
    def _middles(self) -> Tensor:
        return self._boundary._middles[list(self._numbers)]

    @property
    def _geometry(self) -> object:
        return self._boundary._geometry, self._numbers

    @property
    def _parameters(self) -> int:
        return self._boundary._parameters

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        return self._boundary._lay(unit, start, dtype, [self._numbers[k] for k in among])

    def __repr__(self) -> str:
        return f"Part({', '.join(repr(name) for name in self.piece_names)} of {self._boundary!r})"
