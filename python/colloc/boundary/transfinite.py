"""Weights of transfinite interpolation between parts of a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc import ops
from colloc._checks import check_points, describe, fail, fail_type
from colloc.boundary.pieces import Numbering, check_precision, pieces_of, table
from colloc.jets import Jet, Order, check_order
from colloc.jets.known import known_components
from colloc.ops.transfinite import check_mu


def transfinite(
    groups: Sequence[Any],
    x: Tensor,
    mu: int | Sequence[int] = 2,
    order: Order = 0,
    length: float = 1.0,
    *,
    m: int = 2,
    piece: Tensor | None = None,
) -> Tensor | Jet:
    """Interpolation weights of the groups:

        w_i = phi_i^-mu_i / sum_j phi_j^-mu_j,

    with phi_i the distance function of group i in units of ``length``. w_i is 1 on group i, 0 on
    the others; they sum to 1 to rounding at any scale, and g = sum_i w_i g_i takes the values
    g_i on the groups. At a joint of groups these share the weight, the derivatives are set to 0.
    Source: Sukumar and Srivastava, CMAME 389 (2022) 114333, equation 33; details in
    :func:`colloc.ops.transfinite`.

    Args:
        groups: M parts of a boundary, each as in :func:`colloc.boundary.distance`.
        x: points, (N, 2), float32 or float64.
        mu: whole exponents from 1 on, one for all or one for each group; derivatives of the
            weights below the order mu_i are 0 on group i.
        order: 0 for the values, or the order of a jet.
        length: unit of length, > 0; it cancels where all mu are equal.
        m: order of the R-equivalence within a group.
        piece: (N,) int64, the numbers of the pieces that points lie on, as
            ``points.piece`` of the common boundary's sample, -1 for none; for groups without a
            common boundary they count through all groups' pieces.

    Returns:
        (N, M) for order 0, else a jet with M outputs. Differentiable in x as long as no fourth
        derivative is needed.

    Raises:
        ValueError, TypeError: as for :func:`colloc.boundary.distance`; mu of another number.
    """
    if not isinstance(groups, (list, tuple)):
        fail_type("groups", "a list of parts of a boundary", describe(groups))
    if not groups:
        fail("groups", "at least one part of a boundary", "an empty list")
    listed = [pieces_of(f"groups[{k}]", group) for k, group in enumerate(groups)]
    numbering = Numbering(groups)
    x = check_points("x", x, 2)
    order = check_order(order)
    check_mu(mu, len(listed))
    for one in listed:
        check_precision(x, one)
    table(tuple(p for one in listed for p in one), x.device)  # refuses groups that overlap
    piece = numbering.check(piece, x)

    def evaluate(at: Tensor, wanted: Order) -> Tensor:
        phi = [
            ops.distance(at, table(one, at.device), m, wanted, numbering.local(piece, one))
            for one in listed
        ]
        return ops.transfinite(torch.stack(phi), mu, wanted, 2, length)

    components = known_components(evaluate, x, order)
    return components[0] if order == 0 else Jet(components, order, (0, 1), 2)
