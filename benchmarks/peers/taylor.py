"""Losses by forward Taylor mode: values and derivatives go through the layers together.

All K components of a jet lie in one (K, N, W) tensor, so that a layer is one product
(K N, W) x (W, W). The Laplacian is propagated as such (collapsed: K = d + 2), and the first
layer, where the gradients are the same for all points and the second derivatives zero, is used
as what it is. The gradient by the weights is an ordinary backward.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def activation_derivatives(module: nn.Module, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sigma, sigma', sigma'' at y."""
    if isinstance(module, nn.Tanh):
        t = torch.tanh(y)
        slope = 1 - t * t
        return t, slope, -2 * t * slope
    if isinstance(module, nn.SiLU):
        s = torch.sigmoid(y)
        slope = s * (1 - s)
        return y * s, s + y * slope, slope * (2 + y * (1 - 2 * s))
    raise TypeError(f"module: expected Tanh or SiLU, got {type(module).__name__}.")


def third_derivative(module: nn.Module, y: Tensor) -> Tensor:
    """sigma''' at y."""
    if isinstance(module, nn.Tanh):
        t = torch.tanh(y)
        return (1 - t * t) * (6 * t * t - 2)
    if isinstance(module, nn.SiLU):
        s = torch.sigmoid(y)
        slope = s * (1 - s)
        return slope * (3 * (1 - 2 * s) + y * (1 - 6 * slope))
    raise TypeError(f"module: expected Tanh or SiLU, got {type(module).__name__}.")


def _layers(net: nn.Sequential) -> Iterator[tuple[nn.Module, nn.Linear]]:
    """The activations, each with the linear layer that follows it."""
    modules = list(net)
    yield from zip(modules[1::2], modules[2::2], strict=True)


def _linear(h: Tensor, linear: nn.Linear) -> Tensor:
    """(K, N, in) to (K, N, out) by one product; the bias is not added."""
    k, n, width = h.shape
    return (h.reshape(k * n, width) @ linear.weight.t()).view(k, n, -1)


def laplacian_jet(net: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value (N, m), gradient (d, N, m) and Laplacian (N, m)."""
    first, d = net[0], x.shape[1]
    value = torch.nn.functional.linear(x, first.weight, first.bias)
    grad, lap = first.weight.t().unsqueeze(1), None
    for module, linear in _layers(net):
        s0, s1, s2 = activation_derivatives(module, value)
        bent = s2 * grad.square().sum(0)
        if lap is not None:
            bent = bent + s1 * lap
        z = _linear(torch.cat([s0.unsqueeze(0), s1 * grad, bent.unsqueeze(0)]), linear)
        value, grad, lap = z[0] + linear.bias, z[1 : 1 + d], z[1 + d]
    assert lap is not None
    return value, grad, lap


def gradient_of_laplacian_jet(
    net: nn.Sequential, x: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value (N, m), gradient (d, N, m), Laplacian (N, m) and its gradient (d, N, m).

    The mixed second derivatives have to come along: K = 1 + d + d (d + 1) / 2 + d.
    """
    first, d = net[0], x.shape[1]
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    value = torch.nn.functional.linear(x, first.weight, first.bias)
    grad = list(first.weight.t().unsqueeze(1))
    second = {pair: torch.zeros_like(grad[0]) for pair in pairs}
    bulk = [torch.zeros_like(grad[0])] * d
    for module, linear in _layers(net):
        s0, s1, s2 = activation_derivatives(module, value)
        s3 = third_derivative(module, value)
        lap = sum(second[i, i] for i in range(d))
        square = sum(g * g for g in grad)
        parts = [s0, *(s1 * g for g in grad)]
        parts += [s1 * second[i, j] + s2 * grad[i] * grad[j] for i, j in pairs]
        for i in range(d):
            mixed = sum(grad[j] * second[min(i, j), max(i, j)] for j in range(d))
            parts.append(s1 * bulk[i] + s2 * (grad[i] * lap + 2 * mixed) + s3 * grad[i] * square)
        z = _linear(torch.stack(parts), linear)
        value, grad = z[0] + linear.bias, list(z[1 : 1 + d])
        second = dict(zip(pairs, z[1 + d : 1 + d + len(pairs)], strict=True))
        bulk = list(z[1 + d + len(pairs) :])
    lap = sum(second[i, i] for i in range(d))
    return value, torch.stack(grad), lap, torch.stack(bulk)


def helmholtz(net: nn.Sequential, x: Tensor, f: Tensor) -> Tensor:
    """Mean square of lap u + u - f."""
    u, _, lap = laplacian_jet(net, x)
    return (lap + u - f).square().mean()


def navier_stokes(net: nn.Sequential, x: Tensor, nu: Tensor) -> Tensor:
    """Mean squares of the steady momentum equations and of the continuity equation in 2D."""
    value, (by_x, by_y), lap = laplacian_jet(net, x)
    u, v = value[:, :1], value[:, 1:2]
    grad_p = torch.cat([by_x[:, 2:], by_y[:, 2:]], dim=1)
    momentum = u * by_x[:, :2] + v * by_y[:, :2] + grad_p - nu * lap[:, :2]
    continuity = by_x[:, 0] + by_y[:, 1]
    return (momentum.square().sum(1) + continuity.square()).mean()


def gradient_enhanced(net: nn.Sequential, x: Tensor, f: Tensor, grad_f: Tensor) -> Tensor:
    """Mean squares of r = lap u + u - f and of its derivatives."""
    u, grad, lap, bulk = gradient_of_laplacian_jet(net, x)
    by_x = (bulk + grad).squeeze(2).t() - grad_f
    return (lap + u - f).square().mean() + by_x.square().sum(1).mean()
