"""Fields with an enrichment: further functions of the points beside the network."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin
from torch import nn

F64 = torch.float64


class Singular(nn.Module):
    """0 on y = 0."""

    def __init__(self, outputs=1):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.7, dtype=F64))
        self.outputs = outputs

    def forward(self, x):
        radius = (x.square().sum(1, keepdim=True) + 1e-30).sqrt()
        angle = torch.atan2(x[:, 1:], x[:, :1])
        value = self.factor * radius**1.5 * torch.sin(0.5 * angle) * torch.cos(angle)
        return torch.cat([value] * self.outputs, dim=1)


def make(conditions, outputs=1, enriched=True):
    torch.manual_seed(1)
    net = cc.nn.MLP(2, outputs, hidden_features=8, hidden_layers=2, dtype=F64)
    return Ansatz(net, conditions, enrichment=Singular(outputs) if enriched else None)


SHAPE = cc.geometry.Rectangle((0, 0), (2, 1), names=("bottom", "right", "top", "left"))
WALLS = SHAPE.boundary
MIXED = [
    Dirichlet(WALLS["bottom"], lambda x: x[:, :1]),
    Robin(WALLS["right"], 2.0, lambda x: x[:, 1:]),
    Neumann(WALLS["top"], -0.3),
]


def test_conditions_hold():
    field = make(MIXED)
    for condition in MIXED:
        points = condition.part.sample(60, start=1, dtype=F64)
        u = cc.jet(field, points.x, 1, piece=points.piece)
        if isinstance(condition, Dirichlet):
            assert torch.equal(u.value, condition.g.at(points.x))
            continue
        slope = (u.grad[:, 0] * points.normal).sum(1, keepdim=True)
        rest = slope + condition.c.at(points.x) * u.value - condition.h.at(points.x)
        assert rest.abs().max() < 1e-11


def test_it_counts_and_is_trained():
    x = SHAPE.sample(20, start=1, dtype=F64).x
    field, plain = make(MIXED), make(MIXED, enriched=False)
    assert (field(x) - plain(x)).abs().max() > 0.01
    field(x).sum().backward()
    assert field.enrichment.factor.grad.abs() > 0.01
    # Dirichlet conditions alone, and outputs without a condition: it is simply added.
    alone = [Dirichlet(WALLS["bottom"], 1.0, components=1)]
    field, plain = make(alone, 2), make(alone, 2, enriched=False)
    torch.testing.assert_close(field(x) - plain(x), field.enrichment(x))


@pytest.mark.parametrize("order", [1, "laplacian", 2])
def test_jets_against_nested_autograd(order):
    field = make(MIXED)
    x = SHAPE.sample(12, start=1, dtype=F64).x
    found = cc.jet(field, x, order)
    at = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(field(at).sum(), at, create_graph=order != 1)
    torch.testing.assert_close(found.grad[:, 0], grad, rtol=1e-10, atol=1e-10)
    if order != 1:
        rows = [torch.autograd.grad(grad[:, k].sum(), at, retain_graph=True)[0] for k in (0, 1)]
        laplacian = rows[0][:, :1] + rows[1][:, 1:]
        torch.testing.assert_close(found.laplacian, laplacian, rtol=1e-9, atol=1e-9)


def test_errors():
    with pytest.raises(TypeError, match="enrichment: expected a module or callable"):
        Ansatz(cc.nn.MLP(2, 1), MIXED, enrichment=3.0)
    field = Ansatz(cc.nn.MLP(2, 1, dtype=F64), MIXED, enrichment=Singular(2))
    with pytest.raises(ValueError, match=r"enrichment\(x\): expected a tensor of shape \(3, 1\)"):
        field(torch.rand(3, 2, dtype=F64))
