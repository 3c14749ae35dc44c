"""The slope-recovery term."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.balancing import slope_recovery


def test_values_and_gradient():
    net = cc.nn.MLP(2, 1, 4, 3, "tanh", "neuron", dtype=torch.float64)
    means = []
    for k, module in enumerate(net[1::2]):
        module.a.data.copy_(torch.linspace(0.5, 1.5 + k, 4))
        means.append(module.a.mean().item())
    found = slope_recovery(net)
    assert found.shape == () and found.item() == pytest.approx(3 / sum(map(math.exp, means)))
    found.backward()
    assert all((module.a.grad < 0).all() for module in net[1::2])  # descent makes them grow


@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_a_global_slope_counts_once(kind):
    net = cc.nn.MLP(2, 1, 4, 3, kind, "global")
    assert len([m for m in net.modules() if hasattr(m, "a")]) == (3 if kind == "stan" else 1)
    field = torch.nn.Sequential(net, torch.nn.Identity())
    net[1].a.data.fill_(2.0)
    assert slope_recovery(field).item() == pytest.approx(math.exp(-2.0), rel=1e-6)


def test_what_has_no_slopes():
    for net in (cc.nn.MLP(2, 1, 4, 2), cc.nn.MLP(2, 1, 4, 2, "stan")):
        with pytest.raises(ValueError, match="adaptive='layer'"):
            slope_recovery(net)
    with pytest.raises(TypeError, match="net: expected"):
        slope_recovery([])
