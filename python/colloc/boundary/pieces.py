"""From parts of boundaries to the pieces that they are made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry.boundary import Boundary
from colloc.geometry.curves import Arc, Circle, Line, Piece, Segment

#: Pieces of less than this size leave single precision in the powers that distances take.
_SMALLEST_SINGLE = 1e-9


def pieces_of(name: str, part: Any) -> tuple[Piece, ...]:
    """The pieces of a boundary, of a part of one, of a list of those, or a piece itself."""
    if isinstance(part, Piece):
        return (part,)
    pieces = getattr(part, "pieces", None)
    if isinstance(pieces, tuple) and pieces and all(isinstance(p, Piece) for p in pieces):
        return pieces
    if isinstance(part, Boundary):
        fix = "For intervals and solids use cc.boundary.solid_distance."
        fail_type(name, "a boundary of the plane or a part of one", repr(part), fix)
    wanted = "a boundary, a named part of one, or pieces (Segment, Arc, Circle, Line)"
    if isinstance(part, (list, tuple)):
        if not part:
            fail(name, wanted, "an empty list")
        if all(isinstance(one, Piece) for one in part):
            return tuple(part)
        return tuple(piece for one in part for piece in pieces_of(name, one))
    if hasattr(part, "boundary"):
        fail_type(name, wanted, describe(part), "Give its .boundary.")
    fail_type(name, wanted, describe(part))


def table(pieces: tuple[Piece, ...], device: torch.device) -> Tensor:
    """The pieces as the op reads them, (P, 19) float64; checked once.

    Raises:
        ValueError: two pieces overlap along a length.
    """
    found = _table(pieces, device)
    if not torch.compiler.is_compiling() and found.is_inference():
        found = found.clone()  # autograd cannot save what was made in inference mode
    return found


@functools.lru_cache(maxsize=256)
def _table(pieces: tuple[Piece, ...], device: torch.device) -> Tensor:
    for k, one in enumerate(pieces):
        for other in pieces[:k]:
            if overlap(one, other):
                fail(
                    "pieces",
                    "pieces that meet in points only",
                    f"{other} and {one}, which overlap along a length",
                    "phi would not be normalised there. Give each stretch once.",
                )
    return torch.tensor([p.numbers for p in pieces], dtype=torch.float64, device=device)


@functools.lru_cache(maxsize=256)
def _smallest(pieces: tuple[Piece, ...]) -> float:
    return min(piece.numbers[-1] for piece in pieces)


def check_precision(x: Tensor, pieces: tuple[Piece, ...]) -> None:
    """Refuse pieces that are too small for the dtype of the points."""
    if x.dtype is torch.float32 and _smallest(pieces) < _SMALLEST_SINGLE:
        fail(
            "x",
            f"float64 where a piece is smaller than {_SMALLEST_SINGLE:g}",
            f"float32 and a piece of size {_smallest(pieces):.2g}",
        )


def flat(parts: Sequence[Any]) -> list[Any]:
    """Parts, where some are lists of parts, one after the other."""
    found: list[Any] = []
    for part in parts:
        found += flat(part) if isinstance(part, (list, tuple)) else [part]
    return found


class Numbering:
    """From the number of the piece that a point lies on to its place among chosen pieces.

    Numbers count in the boundary that all parts belong to, as ``boundary.sample`` gives them;
    parts without a common boundary are counted one after the other.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        parts = flat(parts)
        owners = [getattr(part, "boundary", part) for part in parts]
        first = owners[0] if owners else None
        shared = first is not None and all(
            owner is first or _same(owner, first) for owner in owners
        )
        whole = getattr(first, "pieces", None)
        if shared and isinstance(whole, tuple):
            self.pieces: tuple[Piece, ...] = whole
        else:
            self.pieces = tuple(p for part in parts for p in pieces_of("part", part))

    def local(self, piece: Tensor | None, chosen: Sequence[Piece]) -> Tensor | None:
        """Numbers (N,) among all pieces as numbers among the chosen ones, -1 for others."""
        if piece is None:
            return None
        return _places(self.pieces, tuple(chosen), piece.device)[piece.clamp(min=-1)]

    def check(self, piece: Any, x: Tensor) -> Tensor | None:
        """``piece`` if it is None or a number of a piece for each point."""
        if piece is None:
            return None
        wanted = f"None or an int64 tensor of shape ({x.shape[0]},), a piece's number a point"
        if not isinstance(piece, Tensor) or piece.dtype != torch.int64:
            fail_type("piece", wanted, describe(piece))
        if piece.shape != (x.shape[0],):
            fail("piece", wanted, piece)
        if piece.device != x.device:
            fail("piece", f"a tensor on the device of x, {x.device}", str(piece.device))
        if piece.device.type == "cpu" and piece.numel() and not torch.compiler.is_compiling():
            least, largest = (int(one) for one in piece.aminmax())
            if largest >= len(self.pieces):
                fail("piece", f"numbers below {len(self.pieces)}, the pieces' count", f"{largest}")
            if least < -1:
                fail("piece", "numbers of pieces, or -1 for none", f"{least}")
        return piece


@functools.lru_cache(maxsize=256)
def _places(pieces: tuple[Piece, ...], chosen: tuple[Piece, ...], device: torch.device) -> Tensor:
    """Of each piece its place among the chosen ones, or -1; -1 behind them for none. Kept: on a
    GPU it is a copy from the host, which a captured step may not have."""
    places = {one: k for k, one in enumerate(chosen)}
    listed = [places.get(one, -1) for one in pieces]
    return torch.tensor([*listed, -1], dtype=torch.int64, device=device)


def _same(one: Any, other: Any) -> bool:
    pieces = getattr(one, "pieces", None)
    return pieces is not None and pieces == getattr(other, "pieces", None)


def diameter(pieces: Sequence[Piece]) -> float:
    """The diagonal of the box around the finite pieces; 1 where there is none."""
    boxes = [piece.bounds for piece in pieces if not isinstance(piece, Line)]
    if not boxes:
        return 1.0
    low = [min(box[0][i] for box in boxes) for i in (0, 1)]
    high = [max(box[1][i] for box in boxes) for i in (0, 1)]
    return math.dist(low, high)


def overlap(one: Piece, other: Piece) -> bool:
    """Whether two pieces share more than points."""
    if isinstance(one, (Segment, Line)) and isinstance(other, (Segment, Line)):
        return _straight_overlap(one, other)
    if isinstance(one, (Arc, Circle)) and isinstance(other, (Arc, Circle)):
        return _round_overlap(one, other)
    return False


def _straight_overlap(one: Segment | Line, other: Segment | Line) -> bool:
    if isinstance(one, Line) and not isinstance(other, Line):
        one, other = other, one
    e, p = other.direction, other.p1
    size = max(math.dist(one.p1, one.p2), math.dist(other.p1, other.p2))
    near = 1e-9 * min(math.dist(one.p1, one.p2), math.dist(other.p1, other.p2))
    near += 1e-15 * (size + max(map(abs, (*one.p1, *one.p2, *other.p1, *other.p2))))
    along = []
    for q in (one.p1, one.p2):
        d = (q[0] - p[0], q[1] - p[1])
        if abs(d[0] * e[1] - d[1] * e[0]) > near:
            return False
        along.append(d[0] * e[0] + d[1] * e[1])
    if isinstance(other, Line):
        return True
    return min(max(along), other.length) - max(min(along), 0.0) > 2 * near


def _round_overlap(one: Arc | Circle, other: Arc | Circle) -> bool:
    near = 1e-9 * min(one.length, other.length)
    near += 1e-15 * max(map(abs, (*one.center, *other.center, one.radius, other.radius)))
    if math.dist(one.center, other.center) + abs(one.radius - other.radius) > near:
        return False
    arcs = [(p.start, p.angle) if isinstance(p, Arc) else (0.0, 2 * math.pi) for p in (one, other)]
    (start, angle), (first, turn) = arcs
    offset = (first - start) % (2 * math.pi)
    margin = 2 * near / one.radius + 1e-12
    return offset < angle - margin or offset + turn > 2 * math.pi + margin
