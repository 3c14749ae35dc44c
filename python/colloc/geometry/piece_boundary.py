"""Boundaries made of plane curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry._chains import chain_tolerance, chains, is_balanced
from colloc.geometry._piece import Pair, Piece
from colloc.geometry._sampling import inner_bounds, rounded_inwards, split
from colloc.geometry._tables import Tables
from colloc.geometry.boundary import Boundary, Laid, Part
from colloc.geometry.straight import Segment

#: One name, or a piece's own name followed by those of the groups that it belongs to.
Labels = str | Sequence[str]


class PieceBoundary(Boundary):
    """Pieces of curves in the plane, oriented with the domain on their left.

    Sampled by arc length in the order of the pieces: one coordinate of the raw sequence runs
    over all of them, so that low discrepancy is kept.

    Args:
        pieces: segments, arcs, circles; lines too, but then there is nothing to sample.
        names: one for all, or one for each piece, repeats allowed; a tuple gives the names of
            groups after the piece's own. None: "piece0", "piece1", ...

    Raises:
        ValueError, TypeError: no pieces, something else among them, another number of names.
    """

    def __init__(
        self, pieces: Sequence[Piece], names: str | Sequence[Labels] | None = None
    ) -> None:
        if isinstance(pieces, Piece):
            pieces = (pieces,)
        if not isinstance(pieces, Sequence) or not all(isinstance(p, Piece) for p in pieces):
            fail_type("pieces", "a list of Segment, Arc, Circle or Line", describe(pieces))
        if not pieces:
            fail("pieces", "at least one piece", "none")
        self._pieces = tuple(pieces)
        self._labels = checked_labels("names", names, len(pieces), "piece")
        self._lengths = tuple(piece.length for piece in self._pieces)
        self._tables = Tables(self._pieces)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The curves; ``piece`` of sampled points counts in this tuple."""
        return self._pieces

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Lower and upper corner of the smallest axis-aligned box around the pieces."""
        lower, upper = zip(*(piece.bounds for piece in self._pieces), strict=True)
        return (
            (min(p[0] for p in lower), min(p[1] for p in lower)),
            (max(p[0] for p in upper), max(p[1] for p in upper)),
        )

    @property
    def is_closed(self) -> bool:
        """Whether the pieces chain into closed loops: at every vertex as many end as start.

        Ends count as one vertex up to 1e-9 times the extent of the pieces plus 128 roundings
        of their largest coordinate.
        """
        return is_balanced(self._pieces, chain_tolerance(self._pieces))

    def chains(self) -> tuple[Part, ...]:
        """The parts in which each piece leads to the next: loops and open chains."""
        found = chains(self._pieces, chain_tolerance(self._pieces))
        return tuple(Part(self, chain) for chain in found)

    def _select_piece(self, which: Piece, name: str) -> Iterable[int]:
        found = [k for k, piece in enumerate(self._pieces) if piece == which]
        if not found:
            fail(name, "one of the pieces of this boundary", repr(which))
        return found

    @property
    def _sizes(self) -> tuple[float, ...]:
        return self._lengths

    @property
    def _middles(self) -> Tensor:
        return torch.tensor(
            [piece.middle for piece in self._pieces], dtype=torch.float64, device="cpu"
        )

    @property
    def _geometry(self) -> object:
        return self._pieces

    @property
    def _parameters(self) -> int:
        return 1

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start
        pieces = [self._pieces[k] for k in among]
        if not all(math.isfinite(piece.length) for piece in pieces):
            fail("sample", "pieces of finite length", f"{self!r} with a Line", "Use segments.")
        for low, high in zip(*self.bounds, strict=True):
            if low < high:
                inner_bounds(low, high, dtype)  # refuses what the dtype cannot resolve
        number, share = split(unit[:, 0], [piece.length for piece in pieces])
        segments = [piece if isinstance(piece, Segment) else None for piece in pieces]
        x, normal = _lay_on_segments(segments, number, share, dtype)
        for k, piece in enumerate(pieces):
            if segments[k] is None:
                on_piece, outward = piece.at(share * piece.length)
                here = (number == k).unsqueeze(1)
                x = torch.where(here, on_piece.to(dtype), x)
                normal = torch.where(here, outward.to(dtype), normal)
        numbers = torch.tensor(list(among), dtype=torch.int64, device=unit.device)
        return Laid(x, normal, numbers[number])


def _lay_on_segments(
    segments: Sequence[Segment | None], number: Tensor, share: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Points and normals (n, 2) at shares of the segments' lengths; zeros where there is None.

    Coordinates that do not change along a segment stay exactly what they are, the others within
    the segment's.
    """
    nowhere = ((0.0, 0.0), (0.0, 0.0))
    ends = torch.tensor(
        [segment.ends if segment else nowhere for segment in segments],
        dtype=torch.float64,
        device=share.device,
    )
    low, high = ends.amin(dim=1), ends.amax(dim=1)
    first, last = rounded_inwards(low, high, dtype)
    flat = first >= last  # along an axis, or next to it
    first = torch.where(flat, -math.inf, first)[number]
    last = torch.where(flat, math.inf, last)[number]
    backwards = (ends[:, 0] > ends[:, 1])[number]
    low, high, share = low[number], high[number], share.unsqueeze(1)
    along = torch.where(backwards, 1.0 - share, share)
    x = torch.minimum(low + along * (high - low), high).to(dtype)
    directions = [segment.direction if segment else (0.0, 0.0) for segment in segments]
    outward = [(e[1], -e[0] + 0.0) for e in directions]
    normals = torch.tensor(outward, dtype=dtype, device=share.device)
    return torch.minimum(torch.maximum(x, first), last), normals[number]


def checked_labels(
    name: str, names: str | Sequence[Labels] | None, count: int, default: str
) -> tuple[tuple[str, ...], ...]:
    """The names of each piece as a tuple; one string names all, None numbers them."""
    if names is None:
        return tuple((f"{default}{k}",) for k in range(count))
    if isinstance(names, str):
        names = [names] * count
    wanted = f"a name, or {count} names"
    if isinstance(names, bytes) or not isinstance(names, Sequence):
        fail_type(name, wanted, describe(names))
    if len(names) != count:
        fail(name, wanted, f"{len(names)}: {describe(list(names))}")
    found = []
    for k, one in enumerate(names):
        labels = (one,) if isinstance(one, str) else tuple(one) if _is_tuple(one) else ()
        if not labels or not all(isinstance(label, str) and label for label in labels):
            fail_type(f"{name}[{k}]", "a name, or a tuple of names", describe(one))
        found.append(tuple(dict.fromkeys(labels)))
    return tuple(found)


def _is_tuple(value: object) -> bool:
    return isinstance(value, (list, tuple))
