"""Pieces as tables of numbers: the distances of many points to many pieces at once, and on which
side of closed pieces points lie. The formulas are those of :mod:`colloc.ops`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from colloc import ops
from colloc.geometry._chains import chain_tolerance, is_balanced, vertices
from colloc.geometry._piece import Piece
from colloc.ops._registration import has_kernel
from colloc.ops._signed_distance_formula import (
    CIRCULAR_COLUMNS,
    STRAIGHT_COLUMNS,
    nearest_formula,
    signed_distance_formula,
    surrounds_formula,
)
from colloc.ops.signed_distance import CIRCULAR_NUMBERS, STRAIGHT_NUMBERS

_Rows = list[tuple[float, ...]]
#: The tables of straight and of circular pieces.
_Pair = tuple[Tensor, Tensor]


class Tables:
    """A list of pieces, ready to be compared with points."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = tuple(pieces)
        rows = [piece._row for piece in pieces]
        self._straight = [row for row in rows if len(row) == STRAIGHT_COLUMNS]
        self._circular = [row for row in rows if len(row) == CIRCULAR_COLUMNS]
        points = [p for piece in pieces if math.isfinite(piece.length) for p in piece.bounds]
        self._size = max([max(q) - min(q) for q in zip(*points, strict=True)] if points else [1.0])

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The distance to the nearest piece and what side of it points lie on.

        Args:
            x: points (N, 2).

        Returns:
            distance (N, 1) >= 0; the same with a sign, (N, 1), positive on the domain's side
            of the nearest piece; whether the foot of the perpendicular lies within the piece,
            (N, 1): only there the sign means something.
        """
        return nearest_formula(x, *self._short(x))

    def surrounds(self, x: Tensor) -> Tensor:
        """Whether closed pieces run counter-clockwise around points: (N, 2) to (N,) bool.

        By angles, so that pieces may miss each other by more than rounding. On the pieces
        themselves rounding decides.
        """
        return surrounds_formula(x, *self._short(x))

    def signed_distance(self, x: Tensor) -> Tensor:
        """The distance of points (N, 2) to closed pieces, (N, 1), negative outside.

        Nearer to a piece than rounding, the sign and the derivative are those of the piece: which
        side a rounded point is on does not decide.
        """
        if not (has_kernel(x.device) and x.dtype in (torch.float32, torch.float64)
                and self._closed):  # fmt: skip
            return signed_distance_formula(x, *self._short(x), self._size)
        # Tensors that are none outside of where they are made are not kept.
        passing = torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter)
        make = _made if passing else _kept
        return ops.signed_distance(x, *make(self, x.device), self._size)

    def _short(self, x: Tensor) -> _Pair:
        """The tables as the plain formulas read them, in the dtype of x."""
        return (
            x.new_tensor(self._straight).reshape(-1, STRAIGHT_COLUMNS),
            x.new_tensor(self._circular).reshape(-1, CIRCULAR_COLUMNS),
        )

    @functools.cached_property
    def _closed(self) -> bool:
        """Whether the pieces chain into loops."""
        return is_balanced(self._pieces, chain_tolerance(self._pieces))

    @functools.cached_property
    def _rows(self) -> tuple[_Rows, _Rows]:
        """The rows that the op reads: ends that meet are the same numbers."""
        ends = [end for piece in self._pieces for end in piece.ends or ()]
        joints = vertices(self._pieces, chain_tolerance(self._pieces))
        straight: _Rows = []
        circular: _Rows = []
        for piece, joint in zip(self._pieces, joints, strict=True):
            row = piece._row
            first, last = (ends[joint[0]], ends[joint[1]]) if joint else (row[-2:], row[-2:])
            if len(row) == STRAIGHT_COLUMNS:
                straight.append((*row, *first, *last))
                continue
            half, side = row[7:9]
            if side < 0:  # the other way round
                first, last = last, first
            turned = (math.cos(half), math.sin(half)) if math.isfinite(half) else (-1.0, 0.0)
            circular.append((*row, *first, *last, *turned))
        return straight, circular


def _made(tables: Tables, device: torch.device) -> _Pair:
    """The tables of the op, (S, 12) and (C, 19) float64."""
    straight, circular = (
        torch.tensor(rows, dtype=torch.float64, device=device).reshape(-1, numbers)
        for rows, numbers in zip(tables._rows, (STRAIGHT_NUMBERS, CIRCULAR_NUMBERS), strict=True)
    )
    return straight, circular


@functools.lru_cache(maxsize=256)
def _kept(tables: Tables, device: torch.device) -> _Pair:
    """The same, once for each device: on a GPU every tensor made of numbers is a transfer."""
    with torch.inference_mode(False):  # for use outside of that too
        return _made(tables, device)
