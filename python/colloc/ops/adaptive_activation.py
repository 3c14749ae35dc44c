"""Adaptive activation functions: ops ``colloc::adaptive_activation`` and its backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float, check_int, describe, fail, fail_type
from colloc.ops._adaptive_activation_autograd import MAX_ORDER, activation

#: Kinds of activation, in the order of math::Kind (csrc/math/activation.h).
KINDS = ("tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "identity", "stan")


def adaptive_activation(
    x: Tensor,
    a: Tensor | float,
    kind: str,
    scale: float = 1.0,
    beta: Tensor | None = None,
    *,
    order: int = 0,
) -> Tensor:
    """sigma(n a x), an activation with a trainable slope; elementwise.

    With t = n a x: y = f(t) for the base function f named by ``kind``,

        tanh, sin, sigmoid, identity
        silu       t sigmoid(t)
        gelu       t Phi(t), Phi the normal distribution (exact, by erf)
        gelu_tanh  t (1 + tanh(sqrt(2/pi) (t + 0.044715 t^3))) / 2
        softplus   log(1 + exp(t))
        stan       tanh(t) + beta t tanh(t)

    or its ``order``-th derivative f^(order)(t). Differentiable in x, a and beta, also under
    nested autograd (``create_graph=True``) and ``torch.func``: the backward of order k is the
    op of order k + 1. The family ends at the 4th derivative; going past it raises.

    In forward mode (``jvp``, ``jacfwd``, dual numbers), and inside ``torch.compile`` under any
    ``torch.func`` transform, the plain torch formula runs in place of the kernels: the same
    values, not their speed. Of a *compiled* function called on dual numbers the backend decides,
    as for every function of torch: "eager" and "aot_eager" keep the tangent where nothing
    requires grad; "inductor" **drops it silently or raises**. Enter the dual level, or call
    ``jvp``, inside the compiled function.

    Sources: Jagtap, Kawaguchi and Karniadakis, Journal of Computational Physics 404 (2020); per
    layer and per neuron: Jagtap et al., Proceedings of the Royal Society A 476 (2020); Stan:
    Gnanasambandam et al., arXiv 2204.12589.

    Args:
        x: (..., W) float32 or float64, any strides. float16 and bfloat16 are computed in
            float32 and rounded back.
        a: slope: a number, a tensor of shape () or (1,) (one slope for all), or (W,) (one for
            every neuron). Same dtype and device as x (float32 for half precision x).
        kind: one of ``colloc.ops.KINDS``.
        scale: the fixed factor n, finite.
        beta: for "stan" alone: shape (), (1,) or (W,), like ``a``.
        order: which derivative of f, 0 to 4.

    Returns:
        Tensor of the shape and dtype of x.

    Raises:
        ValueError: unknown kind, a shape that would broadcast, an order past 4, a beta that is
            missing or not wanted, mixed dtypes or devices.
        TypeError: an argument of the wrong type.
        RuntimeError: a slope or beta that is NaN or infinite (checked on the CPU), or a
            derivative past the 4th in the backward.

    Example:
        >>> x, a = torch.randn(8, 64), torch.ones(64, requires_grad=True)
        >>> y = cc.ops.adaptive_activation(x, a, "tanh")
    """
    a = _checked(x, a, kind, scale, beta, order)
    if x.ndim == 0:  # parameters of shape (1,) would give t, and derivatives, that shape
        a = a.reshape(())
        beta = None if beta is None else beta.reshape(())
    if x.dtype in (torch.float16, torch.bfloat16):
        wide = None if beta is None else beta.float()
        return adaptive_activation(x.float(), a.float(), kind, scale, wide, order=order).to(x.dtype)
    return activation(x, a, beta, kind, float(scale), order)


def _checked(x: Any, a: Any, kind: Any, scale: Any, beta: Any, order: Any) -> Tensor:
    """Check every argument; ``a`` as a tensor."""
    if not isinstance(x, Tensor):
        fail_type("x", "a floating tensor", describe(x))
    if x.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        fail_type("x", "a tensor of float32, float64, float16 or bfloat16", x)
    if x.layout != torch.strided:
        fail("x", "a dense tensor", f"one of layout {x.layout}", "Use x.to_dense().")
    check_choice("kind", kind, KINDS)
    check_int("order", order, minimum=0, maximum=MAX_ORDER)
    n = check_float("scale", scale)
    if not isinstance(a, Tensor):
        wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        slope, largest = check_float("a", a), torch.finfo(wide).max
        if not (-largest <= slope <= largest and -largest <= n * slope <= largest):
            fail("a", f"a slope that {wide} holds, and scale * a too", f"{slope} (scale {n})")
        a = torch.full((), slope, dtype=wide, device=x.device)
    _check_parameter("a", a, x)
    if kind == "stan":
        if beta is None:
            fail("beta", "a tensor for kind 'stan'", "None", "Pass e.g. torch.ones(()).")
        if not isinstance(beta, Tensor):
            fail_type("beta", "a tensor", describe(beta))
        _check_parameter("beta", beta, x)
    elif beta is not None:
        fail("beta", f"None for kind {kind!r}", beta, "Only 'stan' has a beta.")
    return a


def _check_parameter(name: str, value: Tensor, x: Tensor) -> None:
    if value.layout != torch.strided:
        fail(name, "a dense tensor", f"one of layout {value.layout}", f"Use {name}.to_dense().")
    width = x.shape[-1] if x.ndim else 1
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != 1 and value.shape[0] != width):
        fail(
            name,
            f"shape (), (1,) or ({width},), the last size of x {tuple(x.shape)}",
            value,
            "One slope for all, or one for every neuron.",
        )
    half = x.dtype in (torch.float16, torch.bfloat16)
    if value.dtype != x.dtype and not (half and value.dtype == torch.float32):
        fail(name, f"the dtype of x, {x.dtype}", str(value.dtype), f"Use {name}.to(x.dtype).")
    if value.device != x.device:
        fail(name, f"the device of x, {x.device}", str(value.device), f"Use {name}.to(x.device).")
