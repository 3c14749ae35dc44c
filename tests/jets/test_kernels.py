"""Jets by the kernels, against nested autograd: every kind, order, number of inputs and slope."""

from __future__ import annotations

import copy
import itertools

import colloc as cc
import pytest
import torch
from colloc.jets.layout import ORDERS
from reference.compare import close, compare, network
from torch import nn

F64 = torch.float64
orders = pytest.mark.parametrize("order", ORDERS)


@pytest.mark.parametrize("kind", cc.ops.KINDS)
@orders
def test_every_kind_order_dimension_and_slope(kind, order):
    # Each dimension with another slope, shifted from kind to kind: with every kind and order
    # there are all dimensions and all slopes, and with every order all pairs of the two.
    slopes = (False, "global", "layer", "neuron")
    shift = cc.ops.KINDS.index(kind) + ORDERS.index(order)
    for d in (1, 2, 3, 4):
        net = network(d, 2, 5, 2, kind, slopes[(d + shift) % 4])
        compare(net, torch.randn(3, d, dtype=F64), order)


@orders
def test_both_paths(order, path):
    for d, m, kind in ((1, 1, "silu"), (2, 3, "stan"), (3, 2, "sin")):
        compare(network(d, m, 9, 3, kind, "neuron"), torch.randn(6, d, dtype=F64), order)


@pytest.mark.parametrize("points,width", list(itertools.product((0, 1, 31, 33), (1, 7, 100))))
def test_odd_sizes(points, width, path):
    net = network(2, 3, width, 2, "tanh", "layer")
    compare(net, torch.randn(points, 2, dtype=F64), "laplacian")


@pytest.mark.parametrize("points,width", [(0, 7), (1, 100), (31, 1), (33, 7)])
def test_odd_sizes_of_a_higher_order(points, width, path):
    net = network(2, 3, width, 2, "tanh", "layer")
    compare(net, torch.randn(points, 2, dtype=F64), "grad_laplacian")


@orders
def test_float32(order, path):
    for kind in ("tanh", "silu", "gelu"):
        net = network(2, 2, 64, 3, kind, "layer", dtype=torch.float32)
        x = torch.rand(50, 2)
        wide = copy.deepcopy(net).double()
        found = cc.jet(net, x, order).components
        expected = cc.jet(wide, x.double(), order).components
        assert found.dtype == torch.float32
        close(found.double(), expected, 1e-5)


@orders
def test_float32_gradients(order, path):
    net = network(2, 2, 64, 3, "tanh", dtype=torch.float32)
    wide, x = copy.deepcopy(net).double(), torch.rand(50, 2)
    cc.jet(net, x, order).components.square().sum().backward()
    cc.jet(wide, x.double(), order).components.square().sum().backward()
    for ours, theirs in zip(net.parameters(), wide.parameters(), strict=True):
        close(ours.grad.double(), theirs.grad, 1e-5)


@pytest.mark.parametrize("wrt", [(0,), (2, 0), (1, 2), (2, 1, 0)])
@orders
def test_some_inputs_alone(order, wrt, path):
    compare(network(3, 2), torch.randn(5, 3, dtype=F64), order, wrt)


# Third derivatives in six inputs would take nested autograd a minute.
@pytest.mark.parametrize("order", [0, 1, "laplacian", 2])
def test_more_inputs_than_the_kernels_have(order):
    compare(network(6, 1, 5, 1), torch.randn(2, 6, dtype=F64), order)


def test_without_bias_and_widths_that_differ(path):
    net = nn.Sequential(
        nn.Linear(2, 5, bias=False), nn.Tanh(), nn.Linear(5, 40), nn.SiLU(),
        nn.Sequential(nn.Linear(40, 3, bias=False), nn.GELU("tanh")), nn.Linear(3, 2, bias=False),
    ).double()  # fmt: skip
    for order in ORDERS:
        compare(net, torch.randn(7, 2, dtype=F64), order)


def test_points_of_any_strides(path):
    net = network(2, 1)
    base = torch.randn(12, 4, dtype=F64)
    for x in (base[::2, 1::2], base[:, :2].t()[:2, :2], base[:1, :2].expand(9, 2)):
        found = cc.jet(net, x, "laplacian").components
        assert torch.equal(found, cc.jet(net, x.contiguous(), "laplacian").components)


def test_a_layer_used_twice(path):
    shared = nn.Linear(6, 6, dtype=F64)
    net = nn.Sequential(
        nn.Linear(2, 6, dtype=F64), nn.Tanh(), shared, nn.SiLU(), shared, nn.Tanh(),
        nn.Linear(6, 1, dtype=F64),
    )  # fmt: skip
    compare(net, torch.randn(5, 2, dtype=F64), 2)


def test_frozen_layers(path):
    for frozen in ((0,), (2,), (4,), (0, 2), (2, 4), (0, 2, 4)):
        net, whole = network(2, 2), None
        whole = copy.deepcopy(net)
        for index in frozen:
            net[index].requires_grad_(False)
        x = torch.randn(5, 2, dtype=F64)
        jet = cc.jet(net, x, 2)
        if len(frozen) == 3:
            assert not jet.components.requires_grad
            continue
        jet.components.square().sum().backward()
        cc.jet(whole, x, 2).components.square().sum().backward()
        for index in (0, 2, 4):
            if index in frozen:
                assert net[index].weight.grad is None and net[index].bias.grad is None
            else:
                torch.testing.assert_close(net[index].weight.grad, whole[index].weight.grad)
    net = network(2, 1)
    net[0].weight.requires_grad_(False)  # its bias is still trained
    compare(net, torch.randn(4, 2, dtype=F64), "laplacian")


def test_hooks_of_parameters_run(path):
    net, seen = network(2, 1), []
    net[2].weight.register_hook(lambda grad: seen.append(grad.clone()) or 2 * grad)
    cc.jet(net, torch.randn(4, 2, dtype=F64), 2).hess.sum().backward()
    torch.testing.assert_close(net[2].weight.grad, 2 * seen[0])


def test_several_backwards_and_several_uses(path):
    net, x = network(2, 2), torch.randn(5, 2, dtype=F64)
    jet = cc.jet(net, x, 2)
    first = torch.autograd.grad(jet.hess.sum(), net[0].weight, retain_graph=True)[0]
    again = torch.autograd.grad(jet.hess.sum(), net[0].weight, retain_graph=True)[0]
    assert torch.equal(first, again)
    both = torch.autograd.grad(jet.hess.sum() + jet.value.sum(), net[0].weight)[0]
    value = torch.autograd.grad(cc.jet(net, x, 0).value.sum(), net[0].weight)[0]
    torch.testing.assert_close(both, first + value)


def test_every_capability(capability):
    for kind, order in itertools.product(("tanh", "sin", "stan"), ORDERS):
        compare(network(2, 2, 37, 2, kind), torch.randn(3, 2, dtype=F64), order)


@pytest.mark.parametrize("kind", ["tanh", "silu", "sigmoid", "softplus", "gelu"])
def test_saturation_and_large_slopes(kind):
    net = network(2, 1, 16, 2, kind, "layer", torch.float32)
    with torch.no_grad():
        for module in net:
            if hasattr(module, "a"):
                module.a.fill_(30.0)
    x = torch.rand(200, 2)
    found = cc.jet(net, x, 2).components
    expected = cc.jet(copy.deepcopy(net).double(), x.double(), 2).components
    assert torch.isfinite(found).all()
    # A slope of 30 in both layers magnifies the rounding of z by 900.
    close(found.double(), expected, 2e-3)


def test_large_arguments_of_sin():
    net = network(2, 1, 16, 1, "sin", dtype=F64)
    with torch.no_grad():
        net[0].weight.mul_(1e7)
    compare(net, torch.rand(5, 2, dtype=F64), 2, values=1e-6, slopes=1e-6)
