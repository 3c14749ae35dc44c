"""cc.jet against nested autograd: components, and gradients to the parameters and points."""

from __future__ import annotations

import colloc as cc
import torch
from colloc.jets.autograd import autograd_components

F64 = torch.float64


def network(d=2, m=1, width=7, layers=2, kind="tanh", adaptive=False, dtype=F64):
    net = cc.nn.MLP(d, m, width, layers, kind, adaptive, dtype=dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                spread = 0.3 if name.endswith(("bias", ".a", "beta")) else 0.05
                parameter.add_(spread * torch.randn_like(parameter))
    return net


def close(found, expected, tolerance):
    """Relative to the largest entry: some components are sums of large terms that cancel."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(scale, 1e-3))


def gradients(components, inputs, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(components.shape, generator=generator, dtype=components.dtype)
    return torch.autograd.grad((components * weight).sum(), inputs, allow_unused=True)


def compare(net, x, order, wrt=None, values=1e-12, slopes=1e-10):
    """cc.jet against nested autograd: components, gradients to every parameter and to x."""
    wrt = tuple(range(x.shape[1])) if wrt is None else wrt
    x = x.clone().requires_grad_()
    inputs = [x, *(p for p in net.parameters() if p.requires_grad)]
    found = cc.jet(net, x, order, wrt).components
    expected = autograd_components(net, x, order, wrt)
    close(found, expected, values)
    pairs = zip(gradients(found, inputs), gradients(expected, inputs), strict=True)
    for ours, theirs in pairs:
        if theirs is None:
            assert ours is None or ours.abs().max() == 0
        else:
            close(ours, theirs, slopes)
