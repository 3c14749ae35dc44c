"""Which way round lines are: the domain should be on their left."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torch import Tensor, finfo

from colloc.geometry.curves import Line, Piece

#: So many sets of points may lie on a line before nothing more is looked at.
_MOST = 16


class Facing:
    """Looks at the first points that lie off each line, and warns where all are on its right.

    Args:
        pieces: of which lines are looked at.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._lines = [piece for piece in pieces if isinstance(piece, Line)]
        self._looks = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to look at."""
        return not self._lines

    def look(self, x: Tensor) -> None:
        """Look at points (N, 2) on the CPU."""
        at = x.detach().double().numpy()  # by NumPy, which no tracer follows
        size = float(abs(at).max(initial=0.0))
        left = []
        for line in self._lines:
            (a, b), (p, q) = line.direction, line.p1
            offset = a * (at[:, 1] - q) - b * (at[:, 0] - p)
            near = 64 * finfo(x.dtype).eps * (size + abs(p) + abs(q))
            off = offset[abs(offset) > near]
            if not off.size:
                left.append(line)
            elif off.max() < 0:
                warnings.warn(
                    f"Ansatz: all points lie on the right of {line}, but its domain is on the "
                    "left: normals and slopes on it point the wrong way. Turn it around: "
                    f"Line({line.p2}, {line.p1}).",
                    stacklevel=6,
                )
        self._looks += 1
        self._lines = left if self._looks < _MOST else []
