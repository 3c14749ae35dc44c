"""Plain derivatives by nested autograd, and fields to try equations on."""

from __future__ import annotations

import colloc as cc
import torch
from torch import nn

F64 = torch.float64


def d(y, x, *inputs):
    """The derivative of each column of ``y`` (N, q) by the inputs, one after the other."""
    for i in inputs:
        columns = [
            torch.autograd.grad(column.sum(), x, create_graph=True, allow_unused=True)[0]
            if column.requires_grad
            else None
            for column in y.unbind(1)
        ]
        y = torch.stack([torch.zeros_like(x[:, 0]) if c is None else c[:, i] for c in columns], 1)
    return y


def lap(y, x, space):
    return sum(d(y, x, i, i) for i in space)


def points(dim, n=7):
    return torch.rand(n, dim, dtype=F64).requires_grad_()


def network(dim, outputs=1):
    return cc.nn.MLP(dim, outputs, 8, 2, "tanh", dtype=F64)


class Consistent(nn.Module):
    """The outputs of a network, then the derivatives of the first ``fields`` of them."""

    def __init__(self, net, fields, space):
        super().__init__()
        self.net, self.fields, self.space = net, fields, space

    def forward(self, x):
        values = self.net(x)
        slopes = [d(values[:, i : i + 1], x, s) for i in range(self.fields) for s in self.space]
        return torch.cat([values, *slopes], 1)


def close(found, expected, atol=1e-10):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=atol)
