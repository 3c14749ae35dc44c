"""Jets by the kernels under everything torch does with a graph: second gradients, torch.func,
compile, autocast, copies."""

from __future__ import annotations

import copy
import io
import pickle

import colloc as cc
import pytest
import torch
from colloc.jets.autograd import autograd_components
from colloc.jets.layout import ORDERS
from reference.compare import close, network
from torch import nn

F64 = torch.float64
orders = pytest.mark.parametrize("order", ORDERS)


@orders
def test_gradients_of_gradients(order, path):
    # The reference's adaptive activation has four derivatives, one too few for the last orders.
    adaptive = False if order in ("grad_laplacian", 3) else "layer"
    net, x = network(2, 1, 5, 2, "sin", adaptive), torch.randn(3, 2, dtype=F64)
    results = []
    for evaluate in (lambda: cc.jet(net, x, order).components,
                     lambda: autograd_components(net, x, order, (0, 1))):  # fmt: skip
        parameters = list(net.parameters())
        first = torch.autograd.grad(evaluate().square().sum(), parameters, create_graph=True)
        norm = sum(g.square().sum() for g in first)
        results.append(torch.autograd.grad(norm, parameters))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs, 1e-9)


def test_a_layer_used_twice_with_a_graph_of_the_gradient(path):
    shared = nn.Linear(6, 6, dtype=F64)
    net = nn.Sequential(
        nn.Linear(2, 6, dtype=F64), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(),
        nn.Linear(6, 1, dtype=F64),
    )  # fmt: skip
    x = torch.randn(3, 2, dtype=F64)

    def gradient(create_graph):
        total = cc.jet(net, x, 2).components.square().sum()
        return torch.autograd.grad(total, shared.weight, create_graph=create_graph)[0]

    torch.testing.assert_close(gradient(True).detach(), gradient(False))


def test_derivatives_by_the_points_once_more(path):
    net, x = network(2, 1, kind="sin"), torch.randn(4, 2, dtype=F64, requires_grad=True)
    laplacian = cc.jet(net, x, "laplacian").laplacian
    (found,) = torch.autograd.grad(laplacian.sum(), x, create_graph=True)
    torch.testing.assert_close(found, cc.jet(net, x, "grad_laplacian").grad_laplacian[:, 0])
    (again,) = torch.autograd.grad(found.sum(), x)  # a fourth derivative
    assert torch.isfinite(again).all() and again.abs().max() > 0


def test_a_batch_of_gradients(path):
    net, x = network(2, 2, kind="stan"), torch.randn(4, 2, dtype=F64, requires_grad=True)
    components = cc.jet(net, x, "laplacian").components
    inputs = [x, *(p for p in net.parameters() if p.requires_grad)]
    batch = torch.randn(3, *components.shape, dtype=F64)
    found = torch.autograd.grad(components, inputs, batch, is_grads_batched=True, retain_graph=True)
    for i, one in enumerate(batch):
        expected = torch.autograd.grad(components, inputs, one, retain_graph=True)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[i], theirs)


def test_torch_func(path):
    net = network(2, 1, 5, 1, "tanh", "layer")
    x = torch.randn(4, 2, dtype=F64)
    values = dict(net.named_parameters())

    def loss(values, x):
        return torch.func.functional_call(Wrapped(net), prefixed(values), (x,)).square().sum()

    expected = torch.autograd.grad(
        autograd_components(net, x, "laplacian", (0, 1))[3].square().sum(), list(values.values())
    )
    found = torch.func.grad(loss)(values, x)
    for name, theirs in zip(values, expected, strict=True):
        close(found[name], theirs, 1e-10)
    direction = {k: torch.randn_like(v) for k, v in values.items()}
    _, slope = torch.func.jvp(lambda v: loss(v, x), (values,), (direction,))
    torch.testing.assert_close(
        slope, sum((direction[k] * found[k]).sum() for k in values), rtol=1e-9, atol=1e-9
    )
    single = torch.func.vmap(lambda point: torch.func.grad(loss)(values, point[None])["0.weight"])
    torch.testing.assert_close(single(x).sum(0), found["0.weight"])


class Wrapped(nn.Module):
    """The Laplacian of a network, as a module: for functional_call and DDP."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return cc.jet(self.net, x, "laplacian").laplacian


def prefixed(values):
    return {f"net.{name}": value for name, value in values.items()}


def test_functional_call(path):
    net, other = network(2, 1), network(2, 1)
    x = torch.randn(5, 2, dtype=F64)
    found = torch.func.functional_call(Wrapped(net), prefixed(dict(other.named_parameters())), (x,))
    assert torch.equal(found, cc.jet(other, x, "laplacian").laplacian)


def test_copies_pickles_and_checkpoints():
    net, x = network(2, 1, adaptive="layer"), torch.randn(5, 2, dtype=F64)
    expected = cc.jet(net, x, 2).components
    assert torch.equal(cc.jet(copy.deepcopy(net), x, 2).components, expected)
    assert torch.equal(cc.jet(pickle.loads(pickle.dumps(net)), x, 2).components, expected)
    plain = nn.Sequential(nn.Linear(2, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 1))
    plain = plain.double()
    ours = cc.nn.MLP(2, 1, 7, 2, "tanh", dtype=F64)
    buffer = io.BytesIO()
    torch.save(plain.state_dict(), buffer)
    buffer.seek(0)
    ours.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(cc.jet(ours, x, 2).components, cc.jet(plain, x, 2).components)


def test_a_complete_compiled_step(path):
    net = network(2, 1, 16, 2, "tanh", "layer")
    x = torch.randn(20, 2, dtype=F64)

    def loss(x):
        u = cc.jet(net, x, "laplacian")
        return (u.laplacian + u.value * u.grad[:, :, 0] - x[:, :1]).square().mean()

    expected = torch.autograd.grad(loss(x), list(net.parameters()))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x), list(net.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_inductor():
    net, x = network(2, 1, 16, 2), torch.randn(20, 2, dtype=F64)

    @torch.compile(fullgraph=True)
    def loss(x):
        return cc.jet(net, x, "laplacian").laplacian.square().mean()

    expected = torch.autograd.grad(cc.jet(net, x, "laplacian").laplacian.square().mean(),
                                   list(net.parameters()))  # fmt: skip
    found = torch.autograd.grad(loss(x), list(net.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_autocast(path):
    net, x = network(2, 1, 32, 3, "tanh", dtype=torch.float32), torch.rand(64, 2)
    expected = {order: cc.jet(net, x, order).components for order in ORDERS}
    for order in ORDERS:
        with torch.autocast("cpu", torch.bfloat16):
            jet = cc.jet(net, x, order)
            loss = jet.components.float().square().sum()
            found = torch.autograd.grad(loss, net[0].weight)[0]  # inside autocast, as some do
        plain = torch.autograd.grad(cc.jet(net, x, order).components.square().sum(), net[0].weight)
        if order in (0, 1):
            assert jet.components.dtype == torch.bfloat16
            close(jet.components.float(), expected[order], 3e-2)
            close(found, plain[0], 5e-2)
        else:
            assert jet.components.dtype == torch.float32
            assert torch.equal(jet.components, expected[order])
            torch.testing.assert_close(found, plain[0])


def test_autocast_of_a_residual_and_of_second_gradients():
    block = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    net, x = nn.Sequential(cc.nn.Residual(block), nn.Linear(2, 1)), torch.rand(8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(cc.jet(net, x, 1).components).all()
    net = network(2, 1, 16, 2, "tanh", dtype=torch.float32)

    def gradient():
        total = cc.jet(net, x, 2).hess.square().sum()
        return torch.autograd.grad(total, net[0].weight, create_graph=True)[0].detach()

    with torch.autocast("cpu", torch.bfloat16):
        lowered = gradient()
    torch.testing.assert_close(lowered, gradient())


def test_a_network_in_bfloat16():
    net, x = network(2, 1, 32, 3, "tanh", dtype=torch.float32), torch.rand(64, 2)
    expected = cc.jet(net, x, "laplacian").components
    narrow = copy.deepcopy(net).bfloat16()
    jet = cc.jet(narrow, x.bfloat16(), "laplacian")
    assert jet.components.dtype == torch.bfloat16
    close(jet.components.float(), expected, 5e-2)
    jet.laplacian.float().square().sum().backward()
    assert narrow[0].weight.grad.dtype == torch.bfloat16
