"""Which modules run on the kernels, and what happens to the others."""

from __future__ import annotations

import warnings

import colloc as cc
import pytest
import torch
from colloc.jets.autograd import autograd_components
from colloc.jets.layout import ORDERS
from reference.compare import compare, network
from torch import nn

F64 = torch.float64


def test_unsupported_modules_warn_once():
    class Odd(nn.Module):
        def forward(self, x):
            return x.pow(3)

    net = nn.Sequential(nn.Linear(2, 4), Odd(), nn.Linear(4, 1)).double()
    x = torch.randn(3, 2, dtype=F64)
    with pytest.warns(UserWarning, match="no kernel for Odd in Sequential"):
        cc.jet(net, x, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cc.jet(net, x, 2).components
    torch.testing.assert_close(found, autograd_components(net, x, 2, (0, 1)))


def test_hooks_of_modules_are_not_passed_by():
    net, x = network(2, 1), torch.randn(3, 2, dtype=F64)
    net[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.warns(UserWarning, match="hooks"):
        found = cc.jet(net, x, 1).components
    torch.testing.assert_close(found, autograd_components(net, x, 1, (0, 1)))


def test_a_module_with_a_rule_of_its_own():
    class Twice(nn.Module):
        def forward(self, z):
            return 2 * torch.sin(z)

        def forward_jet(self, jet):
            return 2 * cc.jets.sin(jet)

    net = nn.Sequential(nn.Linear(2, 4), Twice(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    for order in ORDERS:
        compare(net.double(), torch.randn(3, 2, dtype=F64), order)


def test_parametrised_weights():
    net = network(2, 1)
    torch.nn.utils.parametrizations.weight_norm(net[2])
    for order in (1, "laplacian", 3):
        compare(net, torch.randn(3, 2, dtype=F64), order)


class OtherForward(cc.nn.ModifiedMLP):
    def forward(self, x):
        return super().forward(x) * x[:, :1]


class OtherCall(nn.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


class OtherActivation(cc.nn.AdaptiveActivation):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize("kind", ["forward", "call", "activation", "global hook", "wrapper"])
def test_what_is_inherited_does_not_stand_for_another_forward(kind):
    torch.manual_seed(0)
    net: nn.Module = network(2, 1, 6, 1)
    if kind == "forward":
        net = OtherForward(2, 1, 8, 2, dtype=F64)
    elif kind == "call":
        net = nn.Sequential(OtherCall(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    elif kind == "activation":
        net = nn.Sequential(nn.Linear(2, 4), OtherActivation("tanh"), nn.Linear(4, 1)).double()
    elif kind == "wrapper":
        net = torch.compile(net, backend="eager")
        net.register_forward_hook(lambda module, inputs, output: 3 * output)
    handle = None
    if kind == "global hook":
        handle = torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: 2 * o)
    x = torch.randn(3, 2, dtype=F64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.testing.assert_close(cc.jet(net, x, 1).value, net(x))
    finally:
        if handle is not None:
            handle.remove()


def test_a_compiled_network():
    net, x = network(2, 1), torch.randn(4, 2, dtype=F64)
    found = cc.jet(torch.compile(net, backend="eager"), x, 2).components
    assert torch.equal(found, cc.jet(net, x, 2).components)


@pytest.mark.parametrize("layers", [60, 70])
def test_very_deep_networks(layers):
    modules = [m for _ in range(layers) for m in (nn.Linear(2, 2), nn.Tanh())]
    net = nn.Sequential(*modules, nn.Linear(2, 1)).double()
    compare(net, torch.randn(3, 2, dtype=F64), 1)


def test_wrong_points():
    net = cc.nn.MLP(2, 1, 4, 1)
    with pytest.raises(ValueError, match=r"x: expected the dtype of the network, .*float32.*"):
        cc.jet(net, torch.zeros(3, 2, dtype=F64))
    with pytest.raises(ValueError, match="x: expected points with 2 inputs"):
        cc.jet(net, torch.zeros(3, 3))


def test_parts_that_do_not_fit():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="jet: expected 3 outputs"):
        cc.jet(nn.Linear(3, 1), x)
    net = nn.Sequential(nn.Linear(2, 1), cc.nn.AdaptiveActivation("tanh", features=8))
    with pytest.raises(ValueError, match="slope: expected one value or 1"):
        cc.jet(net, x)
