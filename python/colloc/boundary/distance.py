"""Approximate distance functions of boundaries."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from colloc import ops
from colloc._checks import check_points
from colloc.boundary.pieces import Numbering, check_precision, pieces_of, table
from colloc.jets import Jet, Order, check_order


def distance(
    pieces: Any,
    x: Tensor,
    m: int = 2,
    order: Order = 0,
    piece: Tensor | None = None,
    length: float = 1.0,
) -> Tensor | Jet:
    """phi >= 0, an approximate distance that is smooth away from the pieces: 0 on them, with the
    slope 1 along their inner normals.

    One piece is the curve f = 0 trimmed by t >= 0, several are joined by R-equivalence:

        phi_i = sqrt(f^2 + (sqrt(t^2 + f^4 / length^2) - t)^2 / 4),
        phi = (sum_i phi_i^-m)^(-1/m).

    The derivatives on a piece are the limits from its inner side; at a joint, where phi has a
    corner, they are finite (see :func:`colloc.ops.distance`, which computes all this in one
    pass). Source: Sukumar and Srivastava, CMAME 389 (2022) 114333.

    Args:
        pieces: a boundary, a part of one, a piece, or a list of those.
        x: points, (N, 2), float32 or float64.
        m: order of the R-equivalence, 1 to 64: the derivatives along the normal from the second
            to the m-th are 0 on straight pieces.
        order: 0 for the values, or the order of a jet.
        piece: (N,) int64, the numbers of the pieces that boundary points lie on, as
            ``points.piece`` of the boundary's sample; -1 for none. On that piece phi is exactly
            0. Without it a point counts as lying on a piece if it does so to rounding.
        length: the unit of length, > 0. 1 in the source, where the shape of phi far from the
            pieces depends on the unit; the size of the domain makes it independent.

    Returns:
        (N, 1) for order 0, else a :class:`colloc.jets.Jet` with one output. Differentiable in x
        as long as no fourth derivative is needed.

    Raises:
        ValueError, TypeError: no pieces, pieces that overlap along a length, m < 1, points of
            another shape, an unknown order.
    """
    found = pieces_of("pieces", pieces)
    x = check_points("x", x, 2)
    order = check_order(order)
    check_precision(x, found)
    local = None
    if piece is not None:
        numbering = Numbering([pieces])
        local = numbering.local(numbering.check(piece, x), found)
    components = ops.distance(x, table(found, x.device), m, order, local, length).unsqueeze(2)
    return components[0] if order == 0 else Jet(components, order, (0, 1), 2)
