"""Fields whose jets are known in closed form: their derivatives by the points are further jets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.jets import algebra
from colloc.jets.layout import Order
from colloc.ops._registration import forward_mode_active

#: From points (N, d) and an order to components (K, N, m) by all inputs.
Evaluate = Callable[[Tensor, Order], Tensor]

#: The smallest order that holds the first derivatives of another one's components.
HIGHER: dict[Order, Order] = {0: 1, 1: 2, "laplacian": "grad_laplacian", 2: 3}


def raised(name: str, order: Order, why: str) -> Order:
    """The order that holds the derivatives of an ``order`` jet's components.

    Raises:
        ValueError: it would need fourth derivatives.
    """
    if order not in HIGHER:
        fail(name, f"an order up to 2 {why}", repr(order), "It would need fourth derivatives.")
    return HIGHER[order]


def known_components(evaluate: Evaluate, x: Tensor, order: Order) -> Tensor:
    """``evaluate(x, order)``, differentiable in ``x`` where it requires grad: by jets of a higher
    order, as long as no fourth derivative is needed."""
    if order == 0 and (forward_mode_active() or torch._C._are_functorch_transforms_active()):
        return evaluate(x, order)  # values are differentiable themselves, in every mode
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _Known.apply(x, evaluate, order)
        return result
    return evaluate(x, order)


class _Known(torch.autograd.Function):
    generate_vmap_rule = True

    # torch types these as (ctx, *args): naming the arguments is what mypy minds.
    @staticmethod
    def forward(x: Tensor, evaluate: Evaluate, order: Order) -> Tensor:  # type: ignore[override]
        return evaluate(x.detach(), order)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        del output
        x, ctx.evaluate, ctx.order = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        order = raised("order", ctx.order, "where x requires grad")
        higher = known_components(ctx.evaluate, x, order)
        form = algebra.known_layout(order, x.shape[1])
        slopes = []
        for axis in range(x.shape[1]):
            components, _ = algebra.derivative(higher, form, axis)
            slopes.append((grad * components).sum((0, 2)))
        return torch.stack(slopes, dim=1), None, None
