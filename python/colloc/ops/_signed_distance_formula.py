"""The signed distance to plane pieces in plain torch, for what the op cannot do: forward mode,
second derivatives, other dtypes, pieces that do not close.

Points stand in rows (N, 1), pieces in columns (P,), so that every formula is written once: with a
column for each piece to find the nearest, with a row's own piece to differentiate. The tables are
those of the op, :func:`colloc.ops.signed_distance`, of which the first columns are read, the ends
that are the same numbers where pieces meet are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from colloc.ops._registration import plain_formulas_wanted

#: Points times pieces that are looked at in one go: what a processor's cache holds, and more on
#: other devices.
_BLOCK, _LARGE_BLOCK = 2**17, 2**21
#: The columns of a table that are read here.
STRAIGHT_COLUMNS, CIRCULAR_COLUMNS = 8, 13

#: From points and pieces to the offset, whether the foot is within, and the distance to the ends.
_Place = Callable[..., tuple[Tensor, Tensor, Tensor]]


def nearest_formula(x: Tensor, straight: Tensor, circular: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distance to the nearest piece and what side of it points lie on.

    Args:
        x: points (N, 2).
        straight, circular: tables of pieces, (S, 8 or more) and (C, 13 or more), one of them
            with a row.

    Returns:
        distance (N, 1) >= 0; the same with a sign, (N, 1), positive on the domain's side of the
        nearest piece; whether the foot of the perpendicular lies within the piece, (N, 1): only
        there the sign means something.
    """
    results = []
    for table, place in _families(x, straight, circular):
        offset, within, beyond = place(x, table[_index(x, table, place)])
        offset, within, beyond = (v.unsqueeze(1) for v in (offset, within, beyond))
        # No abs(): on the piece its derivative would be 0.
        distance = torch.where(within, torch.where(offset >= 0, offset, -offset), beyond)
        results.append((distance, torch.where(within, offset, beyond), within))
    first, *rest = results
    for other in rest:
        closer = other[0] < first[0]
        first = tuple(torch.where(closer, b, a) for a, b in zip(first, other, strict=True))  # type: ignore[assignment]
    return first


def surrounds_formula(x: Tensor, straight: Tensor, circular: Tensor) -> Tensor:
    """Whether closed pieces run counter-clockwise around points: (N, 2) to (N,) bool.

    The angle by which the direction to a point on the pieces turns is 2 pi there, 0 outside.
    On the pieces themselves rounding decides.
    """
    with torch.no_grad():
        total = x.new_zeros(x.shape[0])
        for table, place in _families(x, straight, circular):
            angles = _by_segments if place is _on_straight else _by_arcs
            total = total + torch.cat([angles(part, table) for part in _parts(x, table)])
        return total > math.pi


def signed_distance_formula(x: Tensor, straight: Tensor, circular: Tensor, size: float) -> Tensor:
    """The distance of points (N, 2) to closed pieces, (N, 1), negative outside.

    Nearer to a piece than rounding, the sign and the derivative are those of the piece: which
    side a rounded point is on does not decide.
    """
    distance, offset, within = nearest_formula(x, straight, circular)
    inside = surrounds_formula(x.detach(), straight, circular).unsqueeze(1)
    close = _close(x, size, distance, within)
    return torch.where(close, offset, torch.where(inside, distance, -distance))


def slope_formula(x: Tensor, straight: Tensor, circular: Tensor, size: float) -> Tensor:
    """The derivative (N, 2) of the signed distance by x, itself differentiable to any order."""
    at = x.detach()
    distance, offset, within = (v.detach() for v in nearest_formula(at, straight, circular))
    inside = surrounds_formula(at, straight, circular).unsqueeze(1)
    close = _close(at, size, distance, within)
    slope = at
    least = torch.full_like(distance, math.inf)
    for table, place in _families(x, straight, circular):
        rows = table[_index(x, table, place)]
        own, on, beyond = (v.unsqueeze(1) for v in place(at, rows))
        away = torch.where(on, own.abs(), beyond)
        found = (_along_straight if place is _on_straight else _along_circular)(x, rows, on)
        # The first of those as near, as in nearest_formula.
        slope = torch.where(away < least, found, slope)
        least = torch.minimum(away, least)
    # The offset grows along `slope`, its absolute value the other way where it is negative.
    grows = torch.where(within & (offset < 0), ~inside, inside)
    return torch.where(close | grows, slope, -slope)


def _families(x: Tensor, straight: Tensor, circular: Tensor) -> Iterator[tuple[Tensor, _Place]]:
    """The tables that have rows, in the dtype of x, each with its formula."""
    if straight.shape[0] > 0:
        yield straight[:, :STRAIGHT_COLUMNS].to(x.dtype), _on_straight
    if circular.shape[0] > 0:
        yield circular[:, :CIRCULAR_COLUMNS].to(x.dtype), _on_circular


def _close(x: Tensor, size: float, distance: Tensor, within: Tensor) -> Tensor:
    """Where rounding could have put a point on either side of its nearest piece, (N, 1)."""
    across, up = x.detach().abs().unbind(1)  # a sum along rows of two is slow
    scale = (across + up + size).unsqueeze(1)
    return within & (distance <= 8 * torch.finfo(x.dtype).eps * scale)


def _parts(x: Tensor, table: Tensor) -> Iterator[Tensor]:
    if plain_formulas_wanted():  # how many parts there are would be fixed in an exported graph
        return iter((x.detach(),))
    block = _BLOCK if x.device.type == "cpu" else _LARGE_BLOCK
    return iter(x.detach().split(max(block // table.shape[0], 1)))


def _index(x: Tensor, table: Tensor, place: _Place) -> Tensor:
    """The rows of the nearest pieces, (N,)."""

    def nearest(part: Tensor) -> Tensor:
        offset, within, beyond = place(part.unsqueeze(1), table, _plain_length)
        return torch.where(within, offset.abs(), beyond).argmin(dim=1)

    with torch.no_grad():
        return torch.cat([nearest(part) for part in _parts(x, table)])


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


def _unit(dx: Tensor, dy: Tensor) -> Tensor:
    """(dx, dy) over its length, (N, 2); 0 where that is 0."""
    square = dx * dx + dy * dy
    some = square > 0
    scale = torch.where(some, 1.0, 0.0) / torch.where(some, square, 1.0).sqrt()
    return torch.stack((scale * dx, scale * dy), dim=1)


def _along_straight(x: Tensor, rows: Tensor, within: Tensor) -> Tensor:
    """The direction in which the offset grows, or the distance to the end; rows (N, 8)."""
    p1x, p1y, p2x, p2y, ex, ey = rows.unbind(-1)[:6]
    dx, dy = x[:, 0] - p1x, x[:, 1] - p1y
    before = (ex * dx + ey * dy).detach() < 0
    beyond = _unit(torch.where(before, dx, x[:, 0] - p2x), torch.where(before, dy, x[:, 1] - p2y))
    return torch.where(within, torch.stack((-ey, ex), dim=1), beyond)


def _along_circular(x: Tensor, rows: Tensor, within: Tensor) -> Tensor:
    """As :func:`_along_straight`, rows (N, 13); (x - c) / r = u + d / r."""
    _, _, ax, ay, ux, uy, r, _, side, p1x, p1y, p2x, p2y = rows.unbind(-1)
    dx, dy = x[:, 0] - ax, x[:, 1] - ay
    outward = _unit(ux + dx / r, uy + dy / r)
    first = (ux * dy - uy * dx).detach() < 0
    beyond = _unit(x[:, 0] - torch.where(first, p1x, p2x), x[:, 1] - torch.where(first, p1y, p2y))
    return torch.where(within, -side.unsqueeze(1) * outward, beyond)


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
