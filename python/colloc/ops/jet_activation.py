"""Jets through an activation: ``colloc::jet_activation``, its backward and its tangent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_choice, check_int, fail, fail_type
from colloc.ops._registration import formula_needed, one_by_one
from colloc.ops.adaptive_activation import KINDS

#: Orders of a jet as the ops name them, the smallest first.
JET_ORDERS = ("0", "1", "laplacian", "2", "grad_laplacian", "3")
#: The most inputs that the kernels differentiate by.
MAX_JET_INPUTS = 4
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def jet_size(order: str, n: int) -> int:
    """K, how many components a jet of ``order`` in ``n`` differentiated inputs has."""
    hessian = n * (n + 1) // 2
    if n == 1:
        order = {"laplacian": "2", "grad_laplacian": "3"}.get(order, order)
    return {
        "0": 1,
        "1": 1 + n,
        "laplacian": 2 + n,
        "2": 1 + n + hessian,
        "grad_laplacian": 1 + n + hessian + n,
        "3": 1 + n + hessian + n * (n + 1) * (n + 2) // 6,
    }[order]


def jet_activation(
    y: Tensor, kind: str, order: int | str, n: int, beta: Tensor | None = None
) -> Tensor:
    """The jet of f(y) from that of y, f one of the activations; elementwise in points and neurons.

    By Faa di Bruno's formula, with f1, f2, f3 the derivatives of f at the value:

        h = f(y),  h_i = f1 y_i,  h_ij = f1 y_ij + f2 y_i y_j,  lap h = f1 lap y + f2 |grad y|^2,
        d_k lap h = f1 d_k lap y + f2 (y_k lap y + 2 sum_i y_ik y_i) + f3 y_k |grad y|^2,
        h_ijk = f1 y_ijk + f2 (y_ij y_k + y_ik y_j + y_jk y_i) + f3 y_i y_j y_k.

    Once differentiable, in y and beta. (:func:`colloc.jet` uses it and adds what this raw form
    lacks: forward mode, ``torch.func`` and second derivatives by the weights.)

    Source: the Taylor-mode rule of Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 13.

    Args:
        y: (N, K, W) on the CPU or a GPU, K = ``jet_size(order, n)`` components in the order of
            :class:`colloc.jets.layout.Layout`; float32, float64, or float16 and bfloat16, of
            which h has the dtype and all between is computed in float32.
        kind: one of ``colloc.ops.KINDS``.
        order: 0, 1, "laplacian", 2, "grad_laplacian" or 3.
        n: how many inputs are differentiated by, 1 to 4.
        beta: (W,) for kind "stan" alone, of the dtype of y, or float32 for 16 bits.

    Returns:
        (N, K, W).

    Raises:
        ValueError, TypeError: an unknown kind or order, n out of range, y of another shape.
        RuntimeError: a beta that is missing or not wanted, of another shape, dtype or device; a
            second derivative; forward mode or a ``torch.func`` transform.

    Example:
        >>> y = torch.randn(100, 4, 64)  # value, two first derivatives, Laplacian
        >>> h = cc.ops.jet_activation(y, "tanh", "laplacian", 2)
    """
    if not isinstance(y, Tensor) or y.dtype not in _DTYPES:
        fail_type("y", "a float32, float64, float16 or bfloat16 tensor", y)
    check_choice("kind", kind, KINDS)
    if isinstance(order, bool) or str(order) not in JET_ORDERS:
        fail("order", f"one of {', '.join(JET_ORDERS)}", order)
    check_int("n", n, minimum=1, maximum=MAX_JET_INPUTS)
    size = jet_size(str(order), n)
    if y.ndim != 3 or y.shape[1] != size:
        fail("y", f"a tensor of shape (N, {size}, W) for order {order!r} in {n} inputs", y)
    if torch.compiler.is_compiling():
        return forward(y, None, None, beta, kind, str(order), n)
    if formula_needed(y.device) or torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            "jet_activation: expected plain reverse-mode autograd on a CPU or GPU, got forward "
            f"mode, torch.func, or {y.device}. Use colloc.jet, or colloc.jets.compose on a jet."
        )
    return _JetActivation.apply(y, beta, kind, str(order), n)


class _JetActivation(torch.autograd.Function):
    """Once differentiable, and loud about it."""

    # torch types both as (ctx, *args): naming the arguments is what mypy minds.
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, y: Tensor, beta: Tensor | None, kind: str, order: str, n: int
    ) -> Tensor:
        ctx.save_for_backward(y, beta)
        ctx.rest = (kind, order, n)
        return forward(y, None, None, beta, kind, order, n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph=True: the gradients would lack their graph
            raise RuntimeError(
                "jet_activation: expected one differentiation, got create_graph=True. Use "
                "colloc.jet, whose gradients can be differentiated again."
            )
        y, beta = ctx.saved_tensors
        by_y, _, by_beta = backward(grad, y, None, None, beta, *ctx.rest)
        need_y, need_beta = ctx.needs_input_grad[:2]
        return by_y if need_y else None, by_beta.sum(0) if need_beta else None, None, None, None


# ---- fake tensors -------------------------------------------------------------------------


def _full(y: Tensor, columns: Tensor | None, order: str, n: int) -> Tensor:
    like = y if columns is None else columns
    return like.new_empty((y.shape[0], jet_size(order, n), y.shape[-1]))


@torch.library.register_fake("colloc::jet_activation")
def _forward_fake(
    y: Tensor,
    columns: Tensor | None,
    bias: Tensor | None,
    beta: Tensor | None,
    kind: str,
    order: str,
    n: int,
) -> Tensor:
    return _full(y, columns, order, n)


@torch.library.register_fake("colloc::jet_activation_backward")
def _backward_fake(
    grad: Tensor,
    y: Tensor,
    columns: Tensor | None,
    bias: Tensor | None,
    beta: Tensor | None,
    kind: str,
    order: str,
    n: int,
) -> tuple[Tensor, Tensor, Tensor]:
    by_beta = y.new_empty(0) if beta is None else beta.new_empty((y.shape[0], y.shape[-1]))
    return _full(y, columns, order, n), _full(y, columns, order, n), by_beta


@torch.library.register_fake("colloc::jet_activation_tangent")
def _tangent_fake(
    v: Tensor,
    y: Tensor,
    columns: Tensor | None,
    bias: Tensor | None,
    beta: Tensor | None,
    kind: str,
    order: str,
    n: int,
) -> Tensor:
    return v.new_empty(v.shape)


# ---- autograd -----------------------------------------------------------------------------


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    y, columns, bias, beta, ctx.kind, ctx.order, ctx.n = inputs
    ctx.present = [t is not None for t in (columns, bias, beta)]
    ctx.save_for_backward(y, *(t for t in (columns, bias, beta) if t is not None))


def _gradients(ctx: Any, grad: Tensor) -> Any:
    y, *rest = ctx.saved_tensors
    columns, bias, beta = (rest.pop(0) if there else None for there in ctx.present)
    by_y, _, by_beta = backward(grad, y, columns, bias, beta, ctx.kind, ctx.order, ctx.n)
    need_y, need_columns, need_bias, need_beta = ctx.needs_input_grad[:4]
    value = by_y if columns is None else by_y[:, 0].to(y.dtype)
    wide = torch.float32 if by_y.dtype.itemsize == 2 else by_y.dtype
    return (
        value if need_y else None,
        by_y[:, 1 : 1 + ctx.n].sum(0, dtype=wide) if need_columns and ctx.order != "0" else None,
        by_y[:, 0].sum(0, dtype=wide) if need_bias else None,
        by_beta.sum(0) if need_beta else None,
        None,
        None,
        None,
    )


torch.library.register_autograd("colloc::jet_activation", _gradients, setup_context=_setup)


# ---- vmap ---------------------------------------------------------------------------------


forward = torch.ops.colloc.jet_activation.default
backward = torch.ops.colloc.jet_activation_backward.default
tangent = torch.ops.colloc.jet_activation_tangent.default
for _op, _name in (
    (forward, "jet_activation"),
    (backward, "jet_activation_backward"),
    (tangent, "jet_activation_tangent"),
):
    torch.library.register_vmap(f"colloc::{_name}", one_by_one(_op))

__all__ = ["JET_ORDERS", "MAX_JET_INPUTS", "jet_activation", "jet_size"]
