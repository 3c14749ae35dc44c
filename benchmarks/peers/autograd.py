"""Losses by nested ``torch.autograd.grad``, with no derivative that the residual does not need.

``x`` requires grad. Under ``torch.compile`` each is one graph, given
``torch._dynamo.config.trace_autograd_ops = True``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gradient(y: Tensor, x: Tensor) -> Tensor:
    """dy/dx of a field, one value a point: (N, d), with its graph."""
    (found,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    return found


def laplacian(grad: Tensor, x: Tensor) -> Tensor:
    """The sum of the second derivatives from the gradient (N, d): (N, 1)."""
    total = gradient(grad[:, :1], x)[:, :1]
    for i in range(1, x.shape[1]):
        total = total + gradient(grad[:, i : i + 1], x)[:, i : i + 1]
    return total


def helmholtz(net: nn.Module, x: Tensor, f: Tensor) -> Tensor:
    """Mean square of lap u + u - f."""
    u = net(x)
    return (laplacian(gradient(u, x), x) + u - f).square().mean()


def navier_stokes(net: nn.Module, x: Tensor, nu: Tensor) -> Tensor:
    """Mean squares of the steady momentum equations and of the continuity equation in 2D."""
    u, v, p = net(x).split(1, dim=1)
    grad_u, grad_v, grad_p = gradient(u, x), gradient(v, x), gradient(p, x)
    momentum_x = u * grad_u[:, :1] + v * grad_u[:, 1:] + grad_p[:, :1] - nu * laplacian(grad_u, x)
    momentum_y = u * grad_v[:, :1] + v * grad_v[:, 1:] + grad_p[:, 1:] - nu * laplacian(grad_v, x)
    continuity = grad_u[:, :1] + grad_v[:, 1:]
    return (momentum_x.square() + momentum_y.square() + continuity.square()).mean()


def gradient_enhanced(net: nn.Module, x: Tensor, f: Tensor, grad_f: Tensor) -> Tensor:
    """Mean squares of r = lap u + u - f and of its derivatives, differentiated once as a whole."""
    u = net(x)
    r = laplacian(gradient(u, x), x) + u
    return (r - f).square().mean() + (gradient(r, x) - grad_f).square().sum(1).mean()
