"""Pieces as columns of tensors: the distances of many points to many pieces at once, and on which
side of closed pieces points lie.

Points stand in rows (N, 1), pieces in columns (P,), so that every formula is written once: with a
column for each piece to find the nearest, with a row's own piece to differentiate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from colloc.geometry._piece import Piece

#: Points times pieces that are looked at in one go: what a processor's cache holds, and more on
#: other devices.
_BLOCK, _LARGE_BLOCK = 2**17, 2**21
#: Lengths of the rows of segments and lines, and of circles and arcs.
_STRAIGHT, _CIRCULAR = 8, 13


class Tables:
    """A list of pieces, ready to be compared with points."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        rows = [piece._row for piece in pieces]
        self._straight = [row for row in rows if len(row) == _STRAIGHT]
        self._circular = [row for row in rows if len(row) == _CIRCULAR]
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
        results = []
        for rows, place in ((self._straight, _on_straight), (self._circular, _on_circular)):
            if rows:
                table = x.new_tensor(rows)
                index = torch.cat([_nearest(part, table, place) for part in _parts(x, table)])
                offset, within, beyond = place(x, table[index])
                offset, within, beyond = (v.unsqueeze(1) for v in (offset, within, beyond))
                # No abs(): on the piece its derivative would be 0.
                distance = torch.where(within, torch.where(offset >= 0, offset, -offset), beyond)
                results.append((distance, torch.where(within, offset, beyond), within))
        first, *rest = results
        for other in rest:
            closer = other[0] < first[0]
            first = tuple(torch.where(closer, b, a) for a, b in zip(first, other, strict=True))  # type: ignore[assignment]
        return first

    def surrounds(self, x: Tensor) -> Tensor:
        """Whether closed pieces run counter-clockwise around points: (N, 2) to (N,) bool.

        The angle by which the direction to a point on the pieces turns is 2 pi there, 0 outside.
        On the pieces themselves rounding decides.
        """
        with torch.no_grad():
            total = x.new_zeros(x.shape[0])
            for rows, angles in ((self._straight, _by_segments), (self._circular, _by_arcs)):
                if rows:
                    table = x.new_tensor(rows)
                    total = total + torch.cat([angles(part, table) for part in _parts(x, table)])
            return total > math.pi

    def signed_distance(self, x: Tensor) -> Tensor:
        """The distance of points (N, 2) to closed pieces, (N, 1), negative outside.

        Nearer to a piece than rounding, the sign and the derivative are those of the piece: which
        side a rounded point is on does not decide.
        """
        distance, offset, within = self.nearest(x)
        across, up = x.detach().abs().unbind(1)  # a sum along rows of two is slow
        size = (across + up + self._size).unsqueeze(1)
        close = within & (distance <= 8 * torch.finfo(x.dtype).eps * size)
        inside = self.surrounds(x.detach()).unsqueeze(1)
        return torch.where(close, offset, torch.where(inside, distance, -distance))


def _parts(x: Tensor, table: Tensor) -> Iterator[Tensor]:
    block = _BLOCK if x.device.type == "cpu" else _LARGE_BLOCK
    return iter(x.detach().split(max(block // table.shape[0], 1)))


def _nearest(x: Tensor, table: Tensor, place: object) -> Tensor:
    with torch.no_grad():
        offset, within, beyond = place(x.unsqueeze(1), table, _plain_length)  # type: ignore[operator]
        return torch.where(within, offset.abs(), beyond).argmin(dim=1)


def _length(dx: Tensor, dy: Tensor) -> Tensor:
    """sqrt(dx^2 + dy^2); its gradient at 0 is 0."""
    return torch.linalg.vector_norm(torch.stack((dx, dy), dim=-1), dim=-1)


def _plain_length(dx: Tensor, dy: Tensor) -> Tensor:
    """The same without its gradient, in half the time."""
    return (dx * dx + dy * dy).sqrt()


def _on_straight(
    x: Tensor, table: Tensor, length: Callable[[Tensor, Tensor], Tensor] = _length
) -> tuple[Tensor, Tensor, Tensor]:
    """Signed distance to the line, whether the foot is within the segment, distance to its ends.

    x (..., 2) and table (..., 8) are broadcast.
    """
    p1x, p1y, p2x, p2y, ex, ey, low, high = table.unbind(-1)
    dx, dy = x[..., 0] - p1x, x[..., 1] - p1y
    offset = ex * dy - ey * dx
    along = (ex * dx + ey * dy).detach()
    before = along < 0
    gap_x = torch.where(before, dx, x[..., 0] - p2x)
    gap_y = torch.where(before, dy, x[..., 1] - p2y)
    return offset, (along >= low) & (along <= high), length(gap_x, gap_y)


def _on_circular(
    x: Tensor, table: Tensor, length: Callable[[Tensor, Tensor], Tensor] = _length
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`_on_straight`, for circles and arcs; table (..., 13).

    Near the middle a = c + r u of an arc the distance comes from d = x - a, by
    |x - c|^2 / r^2 = 1 + q with q = (2 u . d + |d|^2 / r) / r: the centre may be far away.
    """
    cx, cy, ax, ay, ux, uy, r, half, side, p1x, p1y, p2x, p2y = table.unbind(-1)
    dx, dy = x[..., 0] - ax, x[..., 1] - ay
    out = ux * dx + uy * dy
    q = ((2 * out + (dx * dx + dy * dy) / r) / r).clamp(-0.5, 0.5)
    near = r * q / (1 + torch.sqrt(1 + q))
    far = length(x[..., 0] - cx, x[..., 1] - cy) - r
    offset = -side * torch.where(q.detach().abs() < 0.5, near, far)
    across = (ux * dy - uy * dx).detach()
    within = torch.atan2(across, r + out.detach()).abs() <= half
    first = across < 0  # nearer to the end where the arc starts, counter-clockwise
    gap_x = x[..., 0] - torch.where(first, p1x, p2x)
    gap_y = x[..., 1] - torch.where(first, p1y, p2y)
    return offset, within, length(gap_x, gap_y)


def _angle(x: Tensor, p1x: Tensor, p1y: Tensor, p2x: Tensor, p2y: Tensor) -> tuple[Tensor, Tensor]:
    """The angle from p1 to p2 as seen from x, in (-pi, pi], and whether x is right of p1 p2."""
    ax, ay = p1x - x[..., 0], p1y - x[..., 1]
    bx, by = p2x - x[..., 0], p2y - x[..., 1]
    cross = ax * by - ay * bx + 0.0  # + 0.0: no negative zero, which atan2 would turn into -pi
    return torch.atan2(cross, ax * bx + ay * by), cross < 0


def _by_segments(x: Tensor, table: Tensor) -> Tensor:
    """Sum over the segments of the angle that they turn around x, (N,)."""
    return _angle(x.unsqueeze(1), *table[:, :4].unbind(-1))[0].sum(dim=1)


def _by_arcs(x: Tensor, table: Tensor) -> Tensor:
    """Sum over the arcs: the chord's angle, and a full turn between the chord and the arc."""
    x = x.unsqueeze(1)
    half, side = table[:, 7], table[:, 8]
    within = side * _on_circular(x, table, _plain_length)[0] > 0
    full = torch.isinf(half)
    chord, right = _angle(x, *table[:, 9:].unbind(-1))
    turns = (within & (full | right)).to(x.dtype)
    return (side * (torch.where(full, 0.0, chord) + 2 * math.pi * turns)).sum(dim=1)
