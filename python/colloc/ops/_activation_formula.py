"""The activation functions and their derivatives in plain torch.

Used where the op can't be: under forward-mode differentiation, and on devices without kernels.
Smooth expressions throughout, so that they can be differentiated any number of times.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _tanh(t: Tensor, order: int) -> Tensor:
    h = torch.tanh(t)
    if order == 0:
        return h
    # 1 - h^2 without its cancellation where tanh saturates
    s = 4 * torch.sigmoid(2 * t) * torch.sigmoid(-2 * t)
    if order == 1:
        return s
    if order == 2:
        return -2 * h * s
    if order == 3:
        return s * (4 * h * h - 2 * s)
    return h * s * (16 * s - 8 * h * h)


def _sigmoid(t: Tensor, order: int) -> Tensor:
    y = torch.sigmoid(t)
    if order == 0:
        return y
    h, s = 2 * y - 1, y * torch.sigmoid(-t)  # 1 - y cancels where y is near 1
    if order == 1:
        return s
    if order == 2:
        return -h * s
    if order == 3:
        return s * (h * h - 2 * s)
    return h * s * (8 * s - h * h)


def _sin(t: Tensor, order: int) -> Tensor:
    value = torch.sin(t) if order % 2 == 0 else torch.cos(t)
    return -value if order % 4 >= 2 else value


def _times_argument(g: Callable[[Tensor, int], Tensor], t: Tensor, order: int) -> Tensor:
    """The derivatives of t g(t)."""
    value = t * g(t, order)
    return value if order == 0 else value + order * g(t, order - 1)


def _bounded(t: Tensor) -> Tensor:
    """t where GELU is not yet its asymptote to the last bit: beyond, powers could overflow."""
    return t.clamp(-40.0, 40.0)


def _gelu(t: Tensor, order: int) -> Tensor:
    if order == 0:
        return t * (0.5 * torch.erfc(-_bounded(t) / math.sqrt(2)))
    t = _bounded(t)
    if order == 1:
        value = 0.5 * torch.erfc(-t / math.sqrt(2))
    density = torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
    if order == 1:
        return value + t * density
    t2 = t * t
    if order == 2:
        return density * (2 - t2)
    if order == 3:
        return density * t * (t2 - 4)
    return density * (-4 + t2 * (7 - t2))


def _inner_sigmoid(t: Tensor, order: int) -> Tensor:
    """Derivatives of sigmoid(v(t)), v = 2 sqrt(2/pi) (t + 0.044715 t^3), by Faa di Bruno."""
    c, cubic = 2 * math.sqrt(2 / math.pi), 0.044715
    t = _bounded(t)
    v = c * t * (1 + cubic * t * t)
    if order == 0:
        return _sigmoid(v, 0)
    v1, v2, v3 = c * (1 + 3 * cubic * t * t), 6 * c * cubic * t, 6 * c * cubic
    s = [_sigmoid(v, k) for k in range(order + 1)]
    if order == 1:
        return s[1] * v1
    if order == 2:
        return s[2] * v1**2 + s[1] * v2
    if order == 3:
        return s[3] * v1**3 + 3 * s[2] * v1 * v2 + s[1] * v3
    return s[4] * v1**4 + 6 * s[3] * v1**2 * v2 + s[2] * (3 * v2**2 + 4 * v1 * v3)


def activation_formula(
    t: Tensor, kind: str, beta: Tensor | None = None, *, order: int = 0
) -> Tensor:
    """f^(order)(t) of ``colloc.ops.adaptive_activation``, in plain torch operations.

    Args:
        t: any floating tensor.
        kind: one of ``colloc.ops.KINDS``.
        beta: for "stan", broadcast against t.
        order: 0 to 4.
    """
    if kind == "tanh":
        return _tanh(t, order)
    if kind == "sin":
        return _sin(t, order)
    if kind == "silu":
        return _times_argument(_sigmoid, t, order)
    if kind == "gelu":
        return _gelu(t, order)
    if kind == "gelu_tanh":
        return _times_argument(_inner_sigmoid, t if order == 0 else _bounded(t), order)
    if kind == "sigmoid":
        return _sigmoid(t, order)
    if kind == "softplus":
        if order > 0:
            return _sigmoid(t, order - 1)
        return torch.nn.functional.softplus(t, threshold=40.0)
    if kind == "identity":
        if order == 0:
            return t
        return torch.ones_like(t) if order == 1 else torch.zeros_like(t)
    if kind == "stan":
        assert beta is not None
        return _tanh(t, order) + beta * _times_argument(_tanh, t, order)
    raise ValueError(f"kind: expected a known activation, got {kind!r}.")
