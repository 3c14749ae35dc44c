"""Approximate distance functions of plane pieces: op ``colloc::distance``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, check_points, fail, fail_type
from colloc.ops._distance_formula import distance_formula
from colloc.ops._registration import (
    DifferentiableOp,
    check_device,
    formula_needed,
    jet_formulas,
    plain_formulas_wanted,
)

#: Numbers that describe a piece: the fields of Piece in csrc/math/distance.h.
PIECE_NUMBERS = 19
#: The largest order m of an R-equivalence.
MAX_M = 64

_SIZES = {"0": 1, "1": 3, "laplacian": 4, "2": 6, "grad_laplacian": 8, "3": 10}
# The order that holds the first derivatives of another order's components, and for each input
# the components that are those derivatives.
_NEXT = {
    "0": ("1", ([1], [2])),
    "1": ("2", ([1, 3, 4], [2, 4, 5])),
    "laplacian": ("grad_laplacian", ([1, 3, 4, 6], [2, 4, 5, 7])),
    "2": ("3", ([1, 3, 4, 6, 7, 8], [2, 4, 5, 7, 8, 9])),
}


@torch.library.register_fake("colloc::distance")
def _fake(
    x: Tensor, pieces: Tensor, piece: Tensor | None, m: int, length: float, order: str
) -> Tensor:
    return x.new_empty((_SIZES[order], x.shape[0]))


def _setup(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, pieces, piece, ctx.m, ctx.length, ctx.order = inputs
    ctx.save_for_backward(x, pieces, piece)


def _slopes(ctx: Any) -> tuple[Tensor, Tensor]:
    """The derivatives by both inputs, (K, N) each."""
    x, pieces, piece = ctx.saved_tensors
    if ctx.order not in _NEXT:
        raise RuntimeError(
            f"distance: expected an order below 'grad_laplacian' where x requires grad, got "
            f"{ctx.order!r}: its derivatives by x would be of the fourth order. Detach x, or ask "
            "for a lower order."
        )
    order, picked = _NEXT[ctx.order]
    jet = _op(x, pieces, piece, ctx.m, ctx.length, order)
    first, second = (torch.stack([jet[c] for c in components]) for components in picked)
    return first, second


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    by_x = torch.stack([(grad * slope).sum(0) for slope in _slopes(ctx)], dim=1)
    return by_x, None, None, None, None, None


def _vmap(info: Any, in_dims: Any, x: Tensor, pieces: Tensor, piece: Any, *rest: Any) -> Any:
    x_dim, pieces_dim, piece_dim = in_dims[:3]
    if pieces_dim is not None:
        raise RuntimeError("distance: expected the same pieces for the whole batch of vmap.")
    x = x.movedim(x_dim, 0) if x_dim is not None else x.expand(info.batch_size, *x.shape)
    if piece is not None:
        piece = (
            piece.movedim(piece_dim, 0)
            if piece_dim is not None
            else piece.expand(info.batch_size, *piece.shape)
        ).reshape(-1)
    jet = _op(x.reshape(-1, 2), pieces, piece, *rest)
    return jet.unflatten(1, (info.batch_size, x.shape[1])), 1


_op = DifferentiableOp("distance", _setup, _backward, _vmap)


def distance(
    x: Tensor,
    pieces: Tensor,
    m: int = 2,
    order: int | str = 0,
    piece: Tensor | None = None,
    length: float = 1.0,
) -> Tensor:
    """The distance function of plane pieces and its derivatives.

    Of a piece, the curve f = 0 trimmed by t >= 0:

        Phi = sqrt(t^2 + f^4 / length^2),  phi = sqrt(f^2 + ((Phi - t) / 2)^2),

    of an untrimmed one phi = abs(f), of several the R-equivalence of order m

        phi = (sum_i phi_i^-m)^(-1/m).

    phi is 0 on the pieces, positive elsewhere, and normalised: the derivative along the inner
    normal is 1 on a piece away from its ends, the 2nd to the m-th are 0 for straight ones. On a
    piece the derivatives are the limits from its inner side. At a joint of pieces phi has a
    corner: there the derivatives are finite, the limit along phi_1 = phi_2 without the part that
    is infinite. No term cancels near the pieces or their ends; float32 is computed in double
    from order 2 on. Source: Sukumar and Srivastava, CMAME 389 (2022) 114333, equations 19-28.

    Differentiable in x and under ``torch.func`` as long as no fourth derivative of phi is
    needed; at order 0 also in forward mode, by a plain torch formula. Most users want
    :func:`colloc.boundary.distance`.

    Args:
        x: points, (N, 2), float32 or float64.
        pieces: (P, 19) float64 on the device of x, a row ``Piece.numbers`` for each piece:
            ``torch.tensor([p.numbers for p in boundary.pieces], dtype=torch.float64)``.
        m: order of the R-equivalence, 1 to 64.
        order: 0, 1, "laplacian", 2, "grad_laplacian" or 3.
        piece: (N,) int64, the number of the piece that a point is known to lie on, -1 for none.
            Without it, a point counts as lying on a piece if abs(f) is not above the rounding of
            coordinates, 8 eps (abs(x) + size of the piece).
        length: the unit of length that phi is made in, 1 in the source; 1e-15 to 1e15 in float32,
            1e-35 to 1e35 in float64.

    Returns:
        Components (K, N) in the order of a jet: phi; its derivatives by x_0, x_1; then the
        Laplacian, or the second derivatives 00, 01, 11 and the two of the Laplacian, or the
        third ones 000, 001, 011, 111.

    Raises:
        ValueError, TypeError: an argument of another kind, shape, dtype or device.
        RuntimeError: a device without kernels, or a derivative of the fourth order.
    """
    check_points("x", x, 2)
    if x.dtype not in (torch.float32, torch.float64):
        fail("x", "float32 or float64", x)
    check_device("x", x.device)
    if not isinstance(pieces, Tensor):
        fail_type("pieces", f"a float64 tensor (P, {PIECE_NUMBERS})", pieces)
    if pieces.dtype != torch.float64 or pieces.ndim != 2 or pieces.shape[1] != PIECE_NUMBERS:
        fail("pieces", f"a float64 tensor (P, {PIECE_NUMBERS}), Piece.numbers of each", pieces)
    if pieces.shape[0] == 0:
        fail("pieces", "at least one piece", pieces)
    m = check_int("m", m, minimum=1, maximum=MAX_M)
    if str(order) not in _SIZES or isinstance(order, bool):
        fail("order", f"one of {', '.join(_SIZES)}", order)
    length = check_float("length", length, positive=True)
    most = 1e15 if x.dtype == torch.float32 else 1e35
    if not 1 / most <= length <= most:
        fail("length", f"a number from {1 / most:g} to {most:g} for {x.dtype}", f"{length:g}")
    if piece is not None:
        if not isinstance(piece, Tensor) or piece.dtype != torch.int64:
            fail_type("piece", "None or an int64 tensor (N,)", piece)
        if piece.shape != (x.shape[0],):
            fail("piece", f"shape ({x.shape[0]},), one number a point", piece)
    for name, tensor in (("pieces", pieces), ("piece", piece)):
        if tensor is not None and tensor.device != x.device:
            fail(name, f"a tensor on the device of x, {x.device}", str(tensor.device))
    if formula_needed(x.device):
        if str(order) != "0" and plain_formulas_wanted():
            return jet_formulas["distance"](x, pieces, piece, m, length**-2, order)
        if str(order) != "0":
            raise RuntimeError(
                f"distance: expected order 0 in forward mode (jvp, jacfwd, dual numbers), and "
                f"under torch.func inside torch.compile, got {order!r}. Ask for the order that "
                "holds the derivatives you need, outside of the transform, or use reverse mode."
            )
        return distance_formula(x, pieces, piece, m, length**-2).unsqueeze(0)
    return _op(x, pieces, piece, m, length, str(order))
