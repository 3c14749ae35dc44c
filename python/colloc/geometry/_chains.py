"""Which pieces follow each other, end to start."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from colloc.geometry._piece import Piece

_EPS = sys.float_info.epsilon


def chain_tolerance(pieces: Sequence[Piece]) -> float:
    """How far apart ends may be that count as one point.

    1e-9 times the extent of all pieces, plus 128 roundings of their largest coordinate.
    """
    corners = np.array([p.bounds for p in pieces if p.ends is not None]).reshape(-1, 2)
    if len(corners) == 0:
        return 0.0
    extent = float((corners.max(0) - corners.min(0)).max())
    return 1e-9 * extent + 128 * _EPS * float(np.abs(corners).max())


def vertices(pieces: Sequence[Piece], tolerance: float) -> list[tuple[int, int] | None]:
    """For each piece the numbers of the vertices that it runs from and to; None without ends.

    Ends belong to one vertex if a row of ends leads from one to the other by steps of at most
    the tolerance.
    """
    ends = [p.ends for p in pieces]
    points = np.array([point for pair in ends if pair for point in pair]).reshape(-1, 2)
    number = np.arange(len(points))
    order = np.lexsort((points[:, 1], points[:, 0])) if len(points) else number

    def root(k: int) -> int:
        while number[k] != k:
            number[k] = number[number[k]]
            k = int(number[k])
        return k

    for place, k in enumerate(order):
        for other in order[place + 1 :]:
            if points[other, 0] - points[k, 0] > tolerance:
                break
            if abs(points[other, 1] - points[k, 1]) <= tolerance:
                number[root(int(other))] = root(int(k))
    found = iter(range(len(points)))
    return [(root(next(found)), root(next(found))) if pair else None for pair in ends]


def is_balanced(pieces: Sequence[Piece], tolerance: float) -> bool:
    """Whether at every vertex as many pieces end as start: then all chains are closed."""
    balance: dict[int, int] = {}
    for pair, piece in zip(vertices(pieces, tolerance), pieces, strict=True):
        if pair is None:
            if piece.length == float("inf"):
                return False
        else:
            balance[pair[0]] = balance.get(pair[0], 0) + 1
            balance[pair[1]] = balance.get(pair[1], 0) - 1
    return not any(balance.values())


def chains(pieces: Sequence[Piece], tolerance: float) -> list[list[int]]:
    """The pieces in the order in which one leads to the next, as few and as long open chains as
    there are, and loops; every piece in one of them."""
    runs = vertices(pieces, tolerance)
    leaving: dict[int, list[int]] = {}
    surplus: dict[int, int] = {}
    for k, pair in enumerate(runs):
        if pair is not None:
            leaving.setdefault(pair[0], []).append(k)
            surplus[pair[0]] = surplus.get(pair[0], 0) + 1
            surplus[pair[1]] = surplus.get(pair[1], 0) - 1
    used = [False] * len(pieces)

    def walk(k: int, closing: bool) -> list[int]:
        chain, begin = [], runs[k]
        while True:
            chain.append(k)
            used[k] = True
            pair = runs[k]
            if pair is None or begin is None or (closing and pair[1] == begin[0]):
                return chain
            following = [j for j in leaving.get(pair[1], ()) if not used[j]]
            if not following:
                return chain
            k = following[0]

    found = []
    for k, pair in enumerate(runs):  # first the open chains, from where more start than end
        if pair is not None and not used[k] and surplus[pair[0]] > 0:
            surplus[pair[0]] -= 1
            found.append(walk(k, closing=False))
    found += [walk(k, closing=True) for k in range(len(pieces)) if not used[k]]
    return sorted(found, key=min)
