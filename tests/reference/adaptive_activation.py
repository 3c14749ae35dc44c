"""Activation functions by torch's own, derivatives by nested autograd, and by mpmath."""

from __future__ import annotations

import mpmath
import torch
import torch.nn.functional as F


def base(kind, t, beta=None):
    """f(t) by torch's own functions."""
    if kind == "tanh":
        return torch.tanh(t)
    if kind == "sin":
        return torch.sin(t)
    if kind == "silu":
        return t * torch.sigmoid(t)
    if kind == "gelu":
        return t * 0.5 * (1 + torch.erf(t / 2**0.5))
    if kind == "gelu_tanh":
        return 0.5 * t * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (t + 0.044715 * t**3)))
    if kind == "sigmoid":
        return torch.sigmoid(t)
    if kind == "softplus":
        return F.softplus(t, threshold=100.0)
    if kind == "identity":
        return t * 1.0
    if kind == "stan":
        return torch.tanh(t) + beta * t * torch.tanh(t)
    raise AssertionError(kind)


def derivative(kind, t, order, beta=None):
    """f^(order)(t), elementwise, by nested autograd (float64, moderate t)."""
    t = t if t.requires_grad else t.detach().requires_grad_()
    y = base(kind, t, beta)
    for _ in range(order):
        if not y.requires_grad:
            return torch.zeros_like(t)
        (y,) = torch.autograd.grad(
            y.sum(), t, create_graph=True, allow_unused=True, materialize_grads=True
        )
    return y


def activation(x, a, kind, scale=1.0, beta=None, order=0):
    """The op in plain torch, differentiable in everything."""
    t = scale * a * x
    return derivative(kind, t, order, beta) if order else base(kind, t, beta)


MPMATH = {
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "silu": lambda t: t / (1 + mpmath.exp(-t)),
    "gelu": lambda t: t * mpmath.erfc(-t / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda t: t
    / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (t + mpmath.mpf("0.044715") * t**3))),
    "sigmoid": lambda t: 1 / (1 + mpmath.exp(-t)),
    "softplus": lambda t: mpmath.log1p(mpmath.exp(t)),
    "identity": lambda t: t,
    "stan": lambda t: mpmath.tanh(t) * (1 + mpmath.mpf("0.75") * t),
}


def derivative_mpmath(kind, t, order):
    """f^(order)(t) with 60 digits; for Stan beta = 0.75."""
    with mpmath.workdps(60):
        return float(mpmath.diff(MPMATH[kind], mpmath.mpf(t), order))
