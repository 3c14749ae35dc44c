"""The boundary of a combination of plane shapes, made of trimmed pieces of their boundaries.

Every piece is cut where it meets pieces of the other shapes. Beside the middle of each part, a
little to its left and to its right, the shapes say whether the point is theirs, and the
combination of their answers whether it is in the result: a part of the boundary has the result on
one side only, and is reversed where that is the right. Pieces of several shapes that coincide need
no rules of their own; the first one is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from colloc._checks import fail
from colloc.geometry._chains import chains, is_balanced
from colloc.geometry._crossings import crossings
from colloc.geometry._piece import LARGEST, Piece
from colloc.geometry._tables import Tables
from colloc.geometry.circular import Arc, Circle
from colloc.geometry.piece_boundary import PieceBoundary

Labels = tuple[str, ...]
#: From what each shape says of points, (N,) bool, to what the combination says.
Decide = Callable[[Sequence[Tensor]], Tensor]

_EPS = sys.float_info.epsilon
#: Tried in turn until the pieces close: tolerances in units of the first.
_TOLERANCES = (1.0, 1e-2, 1e2, 1e4)


def trimmed(leaves: Sequence[PieceBoundary], decide: Decide) -> tuple[list[Piece], list[Labels]]:
    """The pieces of the combination, in chains, and their names.

    Curves nearer to each other than 1e-12 times the extent of all shapes, plus 16 roundings of
    the largest coordinate or radius, count as touching or coinciding there.

    Raises:
        ValueError: a shape is not much larger than that, or the pieces do not close.
    """
    extent, tolerance = _scale(leaves)
    if extent > LARGEST:
        fail("shapes", f"extents up to {LARGEST:g}", f"{extent:g}", "Choose other units.")
    for leaf in leaves:
        lower, upper = leaf.bounds
        size = max(high - low for low, high in zip(lower, upper, strict=True))
        if size < 1e3 * tolerance:
            fail(
                "shapes",
                f"extents of at least {1e3 * tolerance:g}, which float64 resolves among "
                f"shapes that together extend over {extent:g}",
                f"{size:g} of {leaf!r}",
                "Move the shapes nearer to the origin, or leave the small one out.",
            )
    fallback = None
    for factor in _TOLERANCES:
        pieces, labels, agrees = _trim(leaves, decide, factor * tolerance)
        if is_balanced(pieces, 24 * factor * tolerance):
            result = _in_chains(pieces, labels, 24 * factor * tolerance)
            if agrees:
                return result
            fallback = fallback or result
    if fallback is None:
        fail(
            "shapes",
            "boundaries whose crossings float64 resolves",
            "pieces that do not close",
            "Several curves almost meet in one point or almost coincide: move one a little.",
        )
    return fallback


def _scale(leaves: Sequence[PieceBoundary]) -> tuple[float, float]:
    """The extent of all shapes, and how near curves must be to count as touching."""
    corners = np.array([leaf.bounds for leaf in leaves]).reshape(-1, 2)
    extent = float((corners.max(0) - corners.min(0)).max())
    largest = float(np.abs(corners).max())
    for leaf in leaves:
        for piece in leaf.pieces:
            if isinstance(piece, (Arc, Circle)):
                largest = max(largest, piece.radius, *map(abs, piece.center))
    return extent, 1e-12 * extent + 16 * _EPS * largest


def _trim(
    leaves: Sequence[PieceBoundary], decide: Decide, tolerance: float
) -> tuple[list[Piece], list[Labels], bool]:
    """The parts that are kept, merged where they follow each other on one piece.

    Also whether the result has the right sides: its winding number agrees with the combination
    beside every part.
    """
    pieces = [piece for leaf in leaves for piece in leaf.pieces]
    labels = [names for leaf in leaves for names in leaf._labels]
    owner = [k for k, leaf in enumerate(leaves) for _ in leaf.pieces]
    cuts = _cuts(pieces, 4 * tolerance)
    parts = [_parts(p, at, 8 * tolerance) for p, at in zip(pieces, cuts, strict=True)]
    left, right = _beside(pieces, parts, tolerance)
    says = [leaf._tables.surrounds(torch.cat((left, right))) for leaf in leaves]
    wanted = decide(says)
    is_left, is_right = wanted.chunk(2)
    # Where an earlier shape's boundary passes between the two points, its part is the one kept.
    on = torch.stack([torch.logical_xor(*answer.chunk(2)) for answer in says])
    of = torch.tensor([k for k, part in zip(owner, parts, strict=True) for _ in part], device="cpu")
    earlier = torch.arange(len(leaves), device="cpu").unsqueeze(1) < of
    status = torch.where((on & earlier).any(dim=0), 0, is_left.int() - is_right.int()).tolist()

    kept: list[Piece] = []
    names: list[Labels] = []
    first = 0
    for piece, part, label in zip(pieces, parts, labels, strict=True):
        merged = _merged(piece, part, status[first : first + len(part)])
        kept += merged
        names += [label] * len(merged)
        first += len(part)
    if not kept:
        return kept, names, not bool(wanted.any())
    found = Tables(kept).surrounds(torch.cat((left, right)))
    return kept, names, torch.equal(found, wanted)


def _cuts(pieces: Sequence[Piece], tolerance: float) -> list[list[float]]:
    """For each piece the arc lengths at which it meets others.

    Those of its own shape too: where a boundary touches itself, no middle of a part may lie.
    """
    boxes = np.array([p.bounds for p in pieces])  # (P, 2, 2)
    cuts: list[list[float]] = [[] for _ in pieces]
    for k, piece in enumerate(pieces):
        apart = (boxes[:, 0] > boxes[k, 1] + tolerance) | (boxes[:, 1] < boxes[k, 0] - tolerance)
        for other in (k + 1 + np.flatnonzero(~apart[k + 1 :].any(axis=1))).tolist():
            for here, there in crossings(piece, pieces[other], tolerance):
                cuts[k].append(here)
                cuts[other].append(there)
    return cuts


def _parts(piece: Piece, cuts: list[float], shortest: float) -> list[tuple[float, float]]:
    """The parts between cuts, as arc lengths; those of a circle end with its first cut.

    Cuts nearer to each other than ``shortest`` are one.
    """
    length, closed = piece.length, piece.ends is None
    at = [] if closed else [0.0]
    for cut in sorted(cuts):
        if not at or cut - at[-1] > shortest:
            at.append(cut)
    if closed:
        if len(at) > 1 and at[0] + length - at[-1] <= shortest:
            at.pop()
        at = [*at, at[0] + length] if at else [0.0, length]
    else:
        if len(at) > 1 and length - at[-1] <= shortest:
            at.pop()
        at.append(length)
    return list(pairwise(at))


def _beside(
    pieces: Sequence[Piece], parts: Sequence[Sequence[tuple[float, float]]], distance: float
) -> tuple[Tensor, Tensor]:
    """Points left and right of the middle of every part, (K, 2) each."""
    left, right = [], []
    for piece, part in zip(pieces, parts, strict=True):
        middles = torch.tensor([(a + b) / 2 for a, b in part], dtype=torch.float64, device="cpu")
        x, outward = piece.at(middles)
        left.append(x - distance * outward)
        right.append(x + distance * outward)
    return torch.cat(left), torch.cat(right)


def _merged(
    piece: Piece, parts: Sequence[tuple[float, float]], status: Sequence[int]
) -> list[Piece]:
    """The kept parts of a piece, those that follow each other in one, reversed for -1."""
    if len(set(status)) == 1:  # all of it, as it is
        return [] if status[0] == 0 else [piece if status[0] > 0 else piece.reversed()]
    runs = [[a, b, s] for (a, b), s in zip(parts, status, strict=True)]
    if piece.ends is None:  # begin where the status changes
        turn = next(k for k in range(len(runs)) if status[k] != status[k - 1])
        runs = runs[turn:] + [[a + piece.length, b + piece.length, s] for a, b, s in runs[:turn]]
    merged = runs[:1]
    for run in runs[1:]:
        if run[2] == merged[-1][2]:
            merged[-1][1] = run[1]
        else:
            merged.append(run)
    found = []
    for a, b, s in merged:
        if s:
            turns = piece.length if piece.ends is None and a >= piece.length else 0.0
            part = piece.cut(a - turns, b - turns)
            found.append(part if s > 0 else part.reversed())
    return found


def _in_chains(
    pieces: list[Piece], labels: list[Labels], tolerance: float
) -> tuple[list[Piece], list[Labels]]:
    order = [k for chain in chains(pieces, tolerance) for k in chain]
    return [pieces[k] for k in order], [labels[k] for k in order]
