"""cc.nn.MLP and cc.nn.AdaptiveActivation."""

from __future__ import annotations

import copy
import io
import math

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.ops import ACTIVATIONS
from torch import nn

PLAIN = {
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(threshold=40),
    "identity": nn.Identity(),
}


def sequential(activation):
    return nn.Sequential(
        nn.Linear(2, 16), activation, nn.Linear(16, 16), copy.copy(activation), nn.Linear(16, 3)
    )


@pytest.mark.parametrize("kind", PLAIN)
def test_loads_a_plain_checkpoint(kind):
    plain = sequential(PLAIN[kind])
    net = cc.nn.MLP(2, 3, 16, 2, kind)
    assert list(net.state_dict()) == list(plain.state_dict())
    net.load_state_dict(plain.state_dict())
    x = torch.randn(10, 2)
    assert torch.equal(net(x), plain(x))


@pytest.mark.parametrize("adaptive", [True, "global", "layer", "neuron"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_adaptive_starts_as_the_plain_network(kind, adaptive):
    torch.manual_seed(1)
    plain = cc.nn.MLP(2, 3, 16, 3, kind, dtype=torch.float64)
    net = cc.nn.MLP(2, 3, 16, 3, kind, adaptive, dtype=torch.float64)
    # (a plain "stan" has constant slopes of its own beside its betas)
    weights = {name: value for name, value in plain.state_dict().items() if name[-2:] != ".a"}
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith(".a") for name in missing)
    x = torch.randn(10, 2, dtype=torch.float64)
    torch.testing.assert_close(net(x), plain(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "adaptive,slopes", [(False, 0), (True, 1), ("global", 1), ("layer", 3), ("neuron", 48)]
)
def test_number_of_slopes(adaptive, slopes):
    plain = sum(p.numel() for p in cc.nn.MLP(2, 1, 16, 3, "tanh").parameters())
    net = cc.nn.MLP(2, 1, 16, 3, "tanh", adaptive)
    assert sum(p.numel() for p in net.parameters()) == plain + slopes
    net(torch.randn(5, 2)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("adaptive", [False, "global", "layer", "neuron"])
def test_stan_always_has_its_beta(adaptive):
    net = cc.nn.MLP(2, 1, 16, 2, "stan", adaptive)
    betas = [p for name, p in net.named_parameters() if name.endswith("beta")]
    assert [tuple(b.shape) for b in betas] == [(16,), (16,)]
    net(torch.randn(5, 2)).sum().backward()
    assert all(b.grad.abs().sum() > 0 for b in betas)


@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_a_global_slope_stays_one_slope(kind):
    net = cc.nn.MLP(2, 1, 8, 3, kind, "global")
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(net), torch.load(buffer, weights_only=False)):
        slopes = {id(m.a) for m in other if isinstance(m, cc.nn.AdaptiveActivation)}
        assert len(slopes) == 1
        names = [name for name, _ in other.named_parameters() if name.endswith(".a")]
        assert len(names) == 1


def test_glorot_weights_and_zero_biases():
    net = cc.nn.MLP(100, 50, 200, 2, "tanh")
    for layer in net:
        if isinstance(layer, nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert layer.weight.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert not layer.bias.any()


def test_defaults_slices_and_repr():
    net = cc.nn.MLP(2, 1)
    assert len(net) == 13 and net[0].out_features == 512 and isinstance(net[1], nn.SiLU)
    assert isinstance(net[:4], nn.Sequential) and len(net[:4]) == 4
    assert "hidden_features=512" in repr(net)
    assert (
        cc.nn.MLP(2, 1, 4, 1, dtype=torch.float64)(torch.zeros(1, 2).double()).dtype
        == torch.float64
    )


def test_under_autocast_and_compile():
    net = cc.nn.MLP(2, 1, 16, 2, "tanh", "neuron")
    x = torch.randn(8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"in_features": 0}, "in_features: expected an integer >= 1, got 0"),
        ({"out_features": -1}, "out_features: expected"),
        ({"hidden_features": 2.5}, "hidden_features: expected an integer"),
        ({"hidden_layers": 0}, "hidden_layers: expected an integer >= 1"),
        ({"activation": "relu"}, "activation: expected one of 'tanh', 'sin'"),
        ({"adaptive": "all"}, "adaptive: expected False, True, 'global'"),
        ({"adaptive": 1}, "adaptive: expected"),
        ({"dtype": torch.float16}, "dtype: expected torch.float32 or torch.float64"),
        ({"device": "nowhere"}, "device: expected None or a torch device"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.nn.MLP(**{"in_features": 2, "out_features": 1, **arguments})


def test_adaptive_activation_module():
    module = cc.nn.AdaptiveActivation("tanh", scale=5.0)
    assert module.a.shape == () and module.a.item() == pytest.approx(0.2)
    x = torch.randn(3, 4)
    torch.testing.assert_close(module(x), torch.tanh(x))
    assert cc.nn.AdaptiveActivation("stan", features=4).beta.shape == (4,)
    assert list(cc.nn.AdaptiveActivation("sin").state_dict()) == ["a"]
    assert repr(cc.nn.AdaptiveActivation("sin", 2.0, 3)) == (
        "AdaptiveActivation('sin', scale=2, features=3)"
    )
    for arguments in (("relu",), ("tanh", 0.0), ("tanh", -1.0), ("tanh", 1.0, 0)):
        with pytest.raises(ValueError, match=r"kind|scale|features"):
            cc.nn.AdaptiveActivation(*arguments)


def test_sizes_may_be_numpy_integers():
    net = cc.nn.MLP(np.int64(2), np.int64(1), np.int64(8), np.int64(3))
    assert [m.out_features for m in net if isinstance(m, nn.Linear)] == [8, 8, 8, 1]
