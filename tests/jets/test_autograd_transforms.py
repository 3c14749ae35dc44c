"""Jets of plain functions inside transforms of torch.func: nested forward mode."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.jets.layout import ORDERS


def field(a, x):
    s, t = x[:, :1], x[:, 1:2]
    return torch.cat((torch.sin(a * s) * torch.exp(t), a * s * s * t + 2, torch.ones_like(s)), 1)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("wrt", [(0, 1), (1,), (1, 0)])
def test_jets_inside_grad_and_vmap(order, wrt):
    x = torch.randn(5, 3, dtype=torch.float64)

    def components(a, x):
        return cc.jet(lambda at: field(a, at), x, order, wrt).components

    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    expected = components(a, x)
    weights = torch.randn_like(expected)
    (slope,) = torch.autograd.grad((weights * expected).sum(), a)
    found = torch.func.grad(lambda a: (weights * components(a, x)).sum())(a.detach())
    torch.testing.assert_close(found, slope, rtol=1e-10, atol=1e-12)

    several = torch.tensor([0.7, -1.1], dtype=torch.float64)
    batched = torch.func.vmap(components, in_dims=(0, None))(several, x)
    torch.testing.assert_close(batched[0], expected.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(batched[1], components(several[1], x), rtol=1e-12, atol=1e-13)


def test_an_output_of_another_shape_is_refused_inside_too():
    def loss(a):
        return cc.jet(lambda x: a * x[:, 0], torch.randn(4, 2), 1).value.sum()

    with pytest.raises(ValueError, match="Return u"):
        torch.func.grad(loss)(torch.tensor(1.0))
