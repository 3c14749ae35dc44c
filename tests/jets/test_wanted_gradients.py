"""The backward of a jet computes what torch.autograd.grad is asked for, and no other layer."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.ops import mlp_jet

F64 = torch.float64


@pytest.fixture
def masks(monkeypatch):
    """The masks that the backward op gets: bit 0 is x, bit 1 + l layer l."""
    seen = []
    backward = mlp_jet.backward

    def spy(net, grad, kept, mask, low):
        seen.append(mask)
        return backward(net, grad, kept, mask, low)

    monkeypatch.setattr(mlp_jet, "backward", spy)
    return seen


@pytest.mark.parametrize("adaptive", [False, "global", "neuron"])
@pytest.mark.parametrize("weight_norm", [False, True])
def test_layers_and_points(path, masks, adaptive, weight_norm):
    net = cc.nn.MLP(2, 1, 8, 3, "tanh", adaptive, weight_norm=weight_norm, dtype=F64)
    x = torch.randn(20, 2, dtype=F64, requires_grad=True)
    inputs = {**dict(net.named_parameters()), "x": x}
    loss = cc.jet(net, x, "laplacian").laplacian.square().mean()
    full = torch.autograd.grad(loss, list(inputs.values()), retain_graph=True, allow_unused=True)
    assert masks == [0b11111]
    for (name, tensor), expected in zip(inputs.items(), full, strict=True):
        masks.clear()
        (found,) = torch.autograd.grad(loss, tensor, retain_graph=True, allow_unused=True)
        if found is None:
            assert expected is None  # the last bias
        else:
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
        layer = 1 if name == "x" else 2 << (int(name.split(".")[0]) // 2)
        shared = adaptive == "global" and name == "1.a"
        assert masks == [0b1110 if shared else layer], name
    masks.clear()
    loss.backward(inputs=[inputs["6.bias"]], retain_graph=True)
    loss.backward()
    assert masks == [0b10000, 0b11111]
    for tensor, expected in zip(inputs.values(), full, strict=True):
        if expected is not None and tensor is not inputs["6.bias"]:
            torch.testing.assert_close(tensor.grad, expected)


def test_several_and_tensors_that_are_no_leaves(path, masks):
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 6, dtype=F64), torch.nn.Tanh(), torch.nn.Linear(6, 1, dtype=F64)
    )
    leaf = torch.randn(6, 2, dtype=F64, requires_grad=True)
    weight = 2 * leaf
    x = torch.randn(9, 2, dtype=F64)

    del net[0].weight
    net[0].weight = weight
    loss = cc.jet(net, x, 1).components.square().sum()
    full = torch.autograd.grad(loss, [weight, net[2].weight, net[0].bias], retain_graph=True)
    masks.clear()
    pair = torch.autograd.grad(loss, [net[2].weight, weight], retain_graph=True)
    (by_leaf,) = torch.autograd.grad(loss, [leaf], retain_graph=True)
    (last,) = torch.autograd.grad(loss, [net[2].weight], retain_graph=True)
    assert masks == [0b110, 0b010, 0b100]
    torch.testing.assert_close(pair[1], full[0])
    torch.testing.assert_close(pair[0], full[1])
    torch.testing.assert_close(by_leaf, 2 * full[0])
    torch.testing.assert_close(last, full[1])
