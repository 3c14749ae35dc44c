"""FourierFeatures, ModifiedMLP, Residual and weight normalisation: values, jets, wrong input."""

from __future__ import annotations

import math
import warnings

import colloc as cc
import pytest
import torch
from colloc.jets.autograd import autograd_components
from colloc.jets.layout import ORDERS
from torch import nn

F64 = torch.float64


def networks():
    torch.manual_seed(3)
    yield nn.Sequential(cc.nn.FourierFeatures(2, 5, scale=0.4, dtype=F64),
                        cc.nn.MLP(10, 2, 6, 2, "tanh", "neuron", dtype=F64))  # fmt: skip
    for kind, adaptive in (("tanh", False), ("silu", "layer"), ("stan", "global")):
        yield cc.nn.ModifiedMLP(2, 2, 6, 3, kind, adaptive, dtype=F64)
    block = nn.Sequential(nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 6), nn.Tanh())
    yield nn.Sequential(nn.Linear(2, 6), nn.Tanh(), cc.nn.Residual(block), nn.Linear(6, 2)).double()
    yield cc.nn.MLP(2, 2, 6, 2, "sin", "layer", weight_norm=True, dtype=F64)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("net", networks(), ids=lambda net: type(net).__name__)
def test_jets_by_the_kernels(net, order):
    x = torch.randn(5, 2, dtype=F64)
    parameters = [p for p in net.parameters() if p.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none falls back to autograd
        found = cc.jet(net, x, order).components
    expected = autograd_components(net, x, order, (0, 1))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    ours = torch.autograd.grad(found.square().sum(), parameters)
    theirs = torch.autograd.grad(expected.square().sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_they_compile():
    net = next(networks())
    x = torch.randn(5, 2, dtype=F64)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss(x):
        return cc.jet(net, x, "laplacian").laplacian.square().mean()

    torch.testing.assert_close(loss(x), cc.jet(net, x, "laplacian").laplacian.square().mean())


def test_fourier_features():
    features = cc.nn.FourierFeatures(3, 1000, scale=2.0, seed=7, dtype=F64)
    assert torch.equal(features.frequencies, cc.nn.FourierFeatures(3, 1000, 2.0, 7, dtype=F64)
                       .frequencies)  # fmt: skip
    assert abs(features.frequencies.std().item() - 2.0) < 0.1
    x = torch.randn(4, 3, dtype=F64)
    phase = 2 * math.pi * x @ features.frequencies.t()
    torch.testing.assert_close(features(x), torch.cat((phase.cos(), phase.sin()), 1))
    assert features.out_features == 2000 and not list(features.parameters())
    assert "frequencies" in features.state_dict()


def test_modified_mlp_is_its_formula():
    net = cc.nn.ModifiedMLP(2, 1, 4, 2, "tanh", dtype=F64)
    x = torch.randn(3, 2, dtype=F64)
    u, v = net.encode_u(x), net.encode_v(x)
    z = net.layers[1](net.layers[0](x))
    torch.testing.assert_close(net(x), net.out((1 - z) * u + z * v))


def test_weight_norm_keeps_the_function():
    torch.manual_seed(0)
    plain = cc.nn.MLP(2, 1, 6, 2, "tanh", dtype=F64)
    torch.manual_seed(0)
    normed = cc.nn.MLP(2, 1, 6, 2, "tanh", weight_norm=True, dtype=F64)
    x = torch.randn(3, 2, dtype=F64)
    torch.testing.assert_close(normed(x), plain(x))
    assert "0.parametrizations.weight.original0" in normed.state_dict()


def test_first_slopes():
    for adaptive in ("global", "layer", "neuron"):
        net = cc.nn.MLP(2, 1, 4, 2, "sin", adaptive, slope=3.0)
        slopes = [p for name, p in net.named_parameters() if name.endswith(".a")]
        assert slopes and all((p == 3.0).all() for p in slopes)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.nn.FourierFeatures(0, 4), "in_features: expected an integer >= 1"),
        (lambda: cc.nn.FourierFeatures(2, 4, scale=0.0), "scale"),
        (lambda: cc.nn.FourierFeatures(2, 4, seed=-1), "seed"),
        (lambda: cc.nn.ModifiedMLP(2, 1, 4, 0), "hidden_layers"),
        (lambda: cc.nn.ModifiedMLP(2, 1, 4, 1, "relu"), "activation"),
        (lambda: cc.nn.Residual(lambda z: z), "module: expected an nn.Module"),
        (lambda: cc.nn.MLP(2, 1, 4, 1, slope=2.0), "slope: expected 1.0 where there are no"),
        (lambda: cc.nn.MLP(2, 1, 4, 1, adaptive="layer", slope=0.0), "slope"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
