"""The neural tangent kernel itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from colloc._checks import check_points
from colloc.jets import Order, jet
from colloc.jets.rules import Unsupported
from colloc.ntk._one_by_one import jacobians
from colloc.ntk._pieces import Pieces
from colloc.ntk._rows import (
    Rows,
    check_field,
    check_precision,
    order_of,
    ordinary,
    residual_call,
    wanted_parameters,
    whole_precision,
)


def gram(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order | None = None,
    *,
    x2: Tensor | None = None,
    residual2: Callable[..., Tensor] | None = None,
    order2: Order | None = None,
    parameters: Iterable[Tensor] | None = None,
) -> Tensor:
    """K = J J2^T, the neural tangent kernel between the rows of two residuals (or of one).

    J (N q, P) is the Jacobian of the residual's rows by the field's parameters; rows are
    flattened point by point: row i, column c is number ``i q + c``. As for
    :func:`colloc.ntk.trace` the Jacobian is not formed where the network is known: each layer
    adds ``<Zbar_i Zbar_j^T, H_i H_j^T>`` (:func:`colloc.ops.ntk_gram_block`). Where a layer has
    fewer weights than that has terms, its gradients are written out. The layers' jets of all
    points are held: about ``2 q N K sum(widths)`` numbers, and the result's.

    Args:
        field, x, residual, order, parameters: as of :func:`colloc.ntk.trace`.
        x2: the second set of points, (N2, d); None: x.
        residual2: the second residual; None: the first one.
        order2: the order of jet that it reads; None: that of the first residual where
            ``residual2`` is None, else as for ``order``.

    Returns:
        (N q, N2 q2), of the dtype of x, without grad.

    Raises:
        TypeError, ValueError, RuntimeError: as of :func:`colloc.ntk.trace`.
    """
    module, order = check_field(field), order_of(residual, order)
    check_precision(check_points("x", x))
    wanted = wanted_parameters(module, parameters)
    same = x2 is None and residual2 is None and order2 is None
    if order2 is None and residual2 is None:
        other_order = order
    else:
        other_order = order_of(residual if residual2 is None else residual2, order2)
    other_x = x if x2 is None else check_points("x2", x2)
    other_residual = residual if residual2 is None else residual2
    with whole_precision(x):
        try:
            one = _pieces(module, x, residual, order, wanted)
            other = one if same else _pieces(module, other_x, other_residual, other_order, wanted)
            return _products(one, other, x, other_x)
        except Unsupported:
            j1 = _jacobian(module, x, residual, order, wanted)
            if same:
                return j1 @ j1.t()
            return j1 @ _jacobian(module, other_x, other_residual, other_order, wanted).t()


def _products(one: list[Pieces], other: list[Pieces], x: Tensor, x2: Tensor) -> Tensor:
    found = x.new_zeros((x.shape[0], len(one), x2.shape[0], len(other)))
    if found.numel():
        for c, pieces in enumerate(one):
            for e, pieces2 in enumerate(other):
                if one is other and e < c:
                    found[:, c, :, e] = found[:, e, :, c].t()
                else:
                    found[:, c, :, e] = pieces.products(pieces2)
    return found.reshape(x.shape[0] * len(one), x2.shape[0] * len(other))


def _pieces(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order,
    wanted: dict[int, Tensor],
) -> list[Pieces]:
    x, call = ordinary(x), residual_call(residual)
    rows = Rows(lambda: call(jet(field, x, order), x), x, wanted)
    for part in rows.parts(rows.by_jets(), whole=True):
        return part.pieces
    return [Pieces(wanted)] * rows.columns  # no points


def _jacobian(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order,
    wanted: dict[int, Tensor],
) -> Tensor:
    parts = list(jacobians(field, x, residual_call(residual), order, wanted))
    if not parts:
        return x.new_zeros((0, sum(p.numel() for p in wanted.values())))
    return torch.cat(parts).flatten(0, 1)
