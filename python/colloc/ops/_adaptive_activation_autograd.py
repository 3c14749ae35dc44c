"""Fake tensors, autograd and vmap of the ops behind ``colloc.ops.adaptive_activation``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import concrete
from colloc.ops._activation_formula import activation_formula
from colloc.ops._registration import DifferentiableOp, formula_needed

#: The family is closed under differentiation up to this derivative.
MAX_ORDER = 4

_MASK_X, _MASK_A, _MASK_BETA = 1, 2, 4


def activation(
    x: Tensor, a: Tensor, beta: Tensor | None, kind: str, scale: float, order: int
) -> Tensor:
    """The op, or the plain formula where the op cannot be used."""
    if formula_needed(x.device):
        _refuse_nonfinite("a", a)
        _refuse_nonfinite("beta", beta)
        return activation_formula(scale * a * x, kind, beta, order=order)
    return _forward(x, a, beta, kind, scale, order)


def _refuse_nonfinite(name: str, value: Tensor | None) -> None:
    """What the kernels refuse, for the formula, where the values can be looked at."""
    if value is None or torch.compiler.is_compiling():
        return
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    if concrete(value) and not bool(torch.isfinite(value).all()):
        raise RuntimeError(f"{name}: expected finite values, got NaN or infinity.")


# ---- fake tensors -------------------------------------------------------------------------


@torch.library.register_fake("colloc::adaptive_activation")
def _forward_fake(
    x: Tensor, a: Tensor, beta: Tensor | None, kind: str, scale: float, order: int
) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("colloc::adaptive_activation_backward")
def _backward_fake(
    grad: Tensor,
    x: Tensor,
    a: Tensor,
    beta: Tensor | None,
    kind: str,
    scale: float,
    order: int,
    mask: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        x.new_empty(x.shape if mask & _MASK_X else (0,)),
        x.new_empty(a.shape if mask & _MASK_A else (0,)),
        x.new_empty(beta.shape if beta is not None and mask & _MASK_BETA else (0,)),
    )


# ---- autograd -----------------------------------------------------------------------------


def _past_the_family(order: int) -> RuntimeError:
    return RuntimeError(
        f"adaptive_activation: the backward needs derivative {order} of the activation, and the "
        f"family ends at derivative {MAX_ORDER}. Differentiate fewer times, or use the plain "
        "torch formula colloc.ops.activation_formula under autograd."
    )


def _gradients(
    grad: Tensor,
    x: Tensor,
    a: Tensor,
    beta: Tensor | None,
    kind: str,
    scale: float,
    order: int,
    mask: int,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The three gradients; None for those not in the mask."""
    if order + 1 > MAX_ORDER:
        raise _past_the_family(order + 1)
    if formula_needed(x.device):
        found = _backward_formula(grad, x, a, beta, kind, scale, order)
    else:
        found = _backward(grad, x, a, beta, kind, scale, order, mask)
    wanted = (mask & _MASK_X, mask & _MASK_A, mask & _MASK_BETA)
    return tuple(g if w else None for g, w in zip(found, wanted, strict=True))  # type: ignore[return-value]


def _sum_to(value: Tensor, parameter: Tensor) -> Tensor:
    """Sum over points (and neurons) to the shape of a slope or beta."""
    if parameter.numel() == 1 and (parameter.ndim == 0 or value.ndim == 0 or value.shape[-1] != 1):
        return value.sum().reshape(parameter.shape)
    return value.reshape(-1, value.shape[-1] if value.ndim else 1).sum(0).reshape(parameter.shape)


def _backward_formula(
    grad: Tensor, x: Tensor, a: Tensor, beta: Tensor | None, kind: str, scale: float, order: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The backward op in plain torch."""
    t = scale * a * x
    inner = grad * activation_formula(t, kind, beta, order=order + 1)
    by_beta = None
    if beta is not None:
        by_beta = _sum_to(grad * _beta_derivative(t, order), beta)
    return scale * a * inner, _sum_to(scale * x * inner, a), by_beta


def _beta_derivative(t: Tensor, order: int) -> Tensor:
    """d/dbeta of the order-th derivative of Stan: that of t tanh t."""
    h = activation_formula(t, "tanh", order=order)
    if order == 0:
        return t * h
    return t * h + order * activation_formula(t, "tanh", order=order - 1)


def _save(ctx: Any, x: Tensor, a: Tensor, beta: Tensor | None, *rest: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.has_beta = beta is not None
    ctx.save_for_backward(x, a, *(() if beta is None else (beta,)))
    ctx.kind, ctx.scale, ctx.order = rest


def _restore(saved: tuple[Tensor, ...], has_beta: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    return saved[0], saved[1], saved[2] if has_beta else None


def _forward_setup(ctx: Any, inputs: Any, output: Any) -> None:
    _save(ctx, *inputs)


def _forward_backward(ctx: Any, grad: Tensor | None) -> Any:
    """dL/dx, dL/da, dL/dbeta of y = f^(k)(n a x)."""
    if grad is None:
        return None, None, None, None, None, None
    x, a, beta = _restore(ctx.saved_tensors, ctx.has_beta)
    need = ctx.needs_input_grad
    mask = _MASK_X * need[0] + _MASK_A * need[1] + _MASK_BETA * (beta is not None and need[2])
    found = _gradients(grad, x, a, beta, ctx.kind, ctx.scale, ctx.order, int(mask))
    return (*found, None, None, None)


def _backward_setup(ctx: Any, inputs: Any, output: Any) -> None:
    grad, x, a, beta, kind, scale, order, mask = inputs
    ctx.set_materialize_grads(False)
    ctx.has_beta = beta is not None
    ctx.save_for_backward(grad, x, a, *(() if beta is None else (beta,)))
    ctx.kind, ctx.scale, ctx.order, ctx.mask = kind, scale, order, mask


def _add(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _backward_backward(ctx: Any, vx: Tensor | None, va: Tensor | None, vb: Tensor | None) -> Any:
    """Differentiates the backward.

    With w = n (a vx + x va), the tangent of t = n a x, the sum vx gx + va ga + vb gb is
    sum g (w F' + vb dF/dbeta), F = f^(k)(t): its gradients are the op and its backward again,
    one order up, plus the terms in which w itself depends on x and a.
    """
    grad, x, a, *rest = ctx.saved_tensors
    beta = rest[0] if ctx.has_beta else None
    kind, scale, order = ctx.kind, ctx.scale, ctx.order
    if not ctx.mask & _MASK_X:
        vx = None
    if not ctx.mask & _MASK_A:
        va = None
    if not ctx.mask & _MASK_BETA:
        vb = None
    if vx is None and va is None and vb is None:
        return None, None, None, None, None, None, None, None

    need_grad, need_x, need_a, need_beta = ctx.needs_input_grad[:4]
    mask = _MASK_X * need_x + _MASK_A * need_a + _MASK_BETA * (beta is not None and need_beta)
    by_grad = by_x = by_a = by_beta = None
    if vx is not None or va is not None:
        # Each product with a large tensor is a pass over memory: the scale goes to the small
        # ones, vx g is shared, and what nobody asks for is left out.
        across = vx * grad if vx is not None and mask else None
        slope = scale * a
        if need_grad or (va is not None and need_x) or (vx is not None and need_a):
            first = activation(x, a, beta, kind, scale, order + 1)
        if need_grad:
            w = _add(None if vx is None else slope * vx, None if va is None else scale * va * x)
            assert w is not None
            by_grad = w * first
        if mask:
            gw = _add(
                None if across is None else slope * across,
                None if va is None else scale * va * x * grad,
            )
            assert gw is not None
            by_x, by_a, by_beta = _gradients(gw, x, a, beta, kind, scale, order + 1, int(mask))
            if va is not None and need_x:
                by_x = _add(by_x, scale * va * grad * first)
            if across is not None and need_a:
                by_a = _add(by_a, scale * _sum_to(across * first, a))
    if vb is not None and beta is not None:
        # dF/dbeta = F(beta = 1) - F(beta = 0) does not depend on beta
        one, zero = torch.ones_like(beta), torch.zeros_like(beta)
        partial = activation(x, a, one, kind, scale, order) - activation(
            x, a, zero, kind, scale, order
        )
        if need_grad:
            by_grad = _add(by_grad, vb * partial)
        weighted = vb * grad
        for sign, value in ((1.0, one), (-1.0, zero)):
            some = int(mask) & (_MASK_X | _MASK_A)
            if some:
                more_x, more_a, _ = _gradients(
                    sign * weighted, x, a, value, kind, scale, order, some
                )
                by_x, by_a = _add(by_x, more_x), _add(by_a, more_a)
    return by_grad, by_x, by_a, by_beta, None, None, None, None


# ---- vmap ---------------------------------------------------------------------------------


def _batch_first(value: Tensor, dim: int | None, size: int) -> Tensor:
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)


def _fold(value: Tensor, dim: int | None, size: int) -> Tensor:
    """A batch of (..., W) as (..., size W): the batch becomes more neurons."""
    value = _batch_first(value, dim, size)
    if value.ndim == 1:
        return value
    return value.movedim(0, -2).flatten(-2)


def _unfold(value: Tensor, size: int, scalar: bool) -> Tensor:
    if scalar:
        return value
    return value.unflatten(-1, (size, -1)).movedim(-2, 0)


def _fold_parameter(value: Tensor, dim: int | None, size: int, width: int) -> Tensor:
    """A batch of slopes, each () or (1,) or (W,), as (size W,)."""
    return _batch_first(value, dim, size).reshape(size, -1).expand(size, width).reshape(-1)


def _widths(x: Tensor, dim: int | None) -> tuple[int, bool]:
    """The last size of one example of x, and whether an example is a scalar."""
    ndim = x.ndim - (dim is not None)
    if ndim == 0:
        return 1, True
    sizes = [s for i, s in enumerate(x.shape) if dim is None or i != dim % x.ndim]
    return sizes[-1], False


def _forward_vmap(
    info: Any,
    in_dims: Any,
    x: Tensor,
    a: Tensor,
    beta: Tensor | None,
    kind: str,
    scale: float,
    order: int,
) -> Any:
    x_dim, a_dim, beta_dim = in_dims[:3]
    size = info.batch_size
    if a_dim is None and beta_dim is None:
        return _forward(x.movedim(x_dim, 0), a, beta, kind, scale, order), 0
    width, scalar = _widths(x, x_dim)
    b = None if beta is None else _fold_parameter(beta, beta_dim, size, width)
    y = _forward(
        _fold(x, x_dim, size), _fold_parameter(a, a_dim, size, width), b, kind, scale, order
    )
    return _unfold(y, size, scalar), 0


def _backward_vmap(
    info: Any,
    in_dims: Any,
    grad: Tensor,
    x: Tensor,
    a: Tensor,
    beta: Tensor | None,
    kind: str,
    scale: float,
    order: int,
    mask: int,
) -> Any:
    grad_dim, x_dim, a_dim, beta_dim = in_dims[:4]
    size = info.batch_size
    width, scalar = _widths(x, x_dim)
    b = None if beta is None else _fold_parameter(beta, beta_dim, size, width)
    by_x, by_a, by_beta = _backward(
        _fold(grad, grad_dim, size),
        _fold(x, x_dim, size),
        _fold_parameter(a, a_dim, size, width),
        b,
        kind,
        scale,
        order,
        mask,
    )

    def parameter(value: Tensor, like: Tensor | None, dim: int | None, bit: int) -> Tensor:
        if like is None or not mask & bit:
            return value.new_empty((size, 0))
        shape = like.shape if dim is None else like.movedim(dim, 0).shape[1:]
        value = value.reshape(size, width)
        if shape.numel() == 1:
            value = value.sum(-1)
        return value.reshape(size, *shape)

    folded_x = _unfold(by_x, size, scalar) if mask & _MASK_X else by_x.new_empty((size, 0))
    return (
        folded_x,
        parameter(by_a, a, a_dim, _MASK_A),
        parameter(by_beta, beta, beta_dim, _MASK_BETA),
    ), (0, 0, 0)


_forward = DifferentiableOp("adaptive_activation", _forward_setup, _forward_backward, _forward_vmap)
_backward = DifferentiableOp(
    "adaptive_activation_backward", _backward_setup, _backward_backward, _backward_vmap
)
