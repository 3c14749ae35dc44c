"""Jets of wide perceptrons under autocast: 16 bits between the layers, sums in float32."""

from __future__ import annotations

import copy

import colloc as cc
import pytest
import torch
from colloc.ops import _mlp_jet_mixed as mixed
from colloc.ops import mlp_jet
from torch import nn

LOW = {"bf16": torch.bfloat16, "f16": torch.float16}
low = pytest.mark.parametrize("dtype", LOW.values(), ids=LOW)


@pytest.fixture(autouse=True)
def _any_cpu(monkeypatch):
    """As on a processor that multiplies both, from width 16 on."""
    monkeypatch.setitem(mixed.DTYPES, "cpu", tuple(LOW.values()))
    monkeypatch.setitem(mixed.NARROWEST, "cpu", 16)


@pytest.fixture
def taken(monkeypatch):
    """The dtypes in which networks are evaluated."""
    seen, forward = [], mlp_jet.forward

    def spy(net, kept_points, low=None):
        seen.append(low)
        return forward(net, kept_points, low)

    monkeypatch.setattr(mlp_jet, "forward", spy)
    return seen


def network(**options):
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 3, 32, 3, **{"activation": "tanh", **options})
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def exact(net, x, order, plan):
    """Jets and gradients in float64."""
    net = copy.deepcopy(net).double()
    x = x.detach().double().requires_grad_()
    components = cc.jet(net, x, order).components
    wanted = [x, *(p for p in net.parameters() if p.requires_grad)]
    total = (components * plan.double()).sum()
    found = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return components.detach(), found


def lowered(net, x, order, plan, dtype):
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype):
        components = cc.jet(net, x, order).components
    wanted = [x, *(p for p in net.parameters() if p.requires_grad)]
    total = (components.float() * plan).sum()
    found = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return components.detach(), found


@low
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("options", [
    {}, {"activation": "stan"}, {"activation": "sin", "adaptive": "neuron"}, {"weight_norm": True},
], ids=["plain", "stan", "slopes", "weight-norm"])  # fmt: skip
def test_values_and_gradients(taken, options, order, dtype):
    net, x = network(**options), torch.rand(300, 2)
    plan = torch.randn_like(cc.jet(net, x, order).components)
    taken.clear()
    components, gradients = lowered(net, x, order, plan, dtype)
    assert taken == [dtype] and components.dtype == dtype
    expected, theirs = exact(net, x, order, plan)
    bar = 10 * torch.finfo(dtype).eps
    assert relative(components, expected) < bar
    for one, other in zip(gradients, theirs, strict=True):
        assert one.dtype == torch.float32
        if other.norm() > 0:
            assert relative(one, other) < 2 * bar


@low
def test_points_and_first_values_are_not_rounded(dtype):
    # sin(100 x): points near 1 in bfloat16 are 0.004 apart, values near 100 are 0.5
    net = cc.nn.MLP(1, 1, 16, 1, "sin")
    first, last = (module for module in net.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        first.weight[0], last.weight[0, 0] = 100.0, 1.0
    x = torch.linspace(0.9, 1.0, 400)[:, None]
    with torch.autocast("cpu", dtype):
        found = cc.jet(net, x, 0).value
    expected = torch.sin(100 * x.double())
    assert (found - expected).abs().max() < 2 * torch.finfo(dtype).eps
    assert (net.to(dtype)(x.to(dtype)) - expected).abs().max() > 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("points", [0, 1, 300])
@pytest.mark.parametrize("budget", [0, 20000, 1 << 30])
def test_memory_budget_and_chunks(points, budget, monkeypatch):
    from colloc.ops import _mlp_jet_layers as layers

    monkeypatch.setitem(layers._CHUNK, "cpu", 32 * 3 * 70)
    net, x = network(), torch.rand(points, 2)
    plan = torch.randn(3, points, 3)
    reference = lowered(net, x, 1, plan, torch.bfloat16)
    before = cc.jets.set_memory_budget(budget)
    try:
        found = lowered(net, x, 1, plan, torch.bfloat16)
    finally:
        cc.jets.set_memory_budget(before)
    assert torch.equal(found[0], reference[0])
    for one, other in zip(found[1], reference[1], strict=True):
        assert torch.equal(one, other)


def test_half_the_memory_is_kept():
    net, x = network(), torch.rand(64, 2)

    def kept():
        node = cc.jet(net, x, 1).components.grad_fn.next_functions[0][0]
        return node.saved_tensors[1]

    wide = kept()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = kept()
    assert narrow.dtype == torch.bfloat16 and narrow.nbytes < 0.6 * wide.nbytes


def test_what_stays_in_float32(taken):
    x = torch.rand(20, 2)
    cases = [
        (network(), x, "laplacian"),  # second derivatives
        (network().double(), x.double(), 1),  # as autocast has it
        (cc.nn.MLP(2, 1, 8, 2), x, 1),  # narrow: as fast
        (cc.nn.MLP(2, 1, 17, 2), x, 1),  # rows that no pairs fill
    ]
    for net, points, order in cases:
        with torch.autocast("cpu", torch.bfloat16):
            jet = cc.jet(net, points, order)
        assert taken.pop() is None
        expected = cc.jet(net, points, order).components
        taken.clear()
        assert torch.equal(jet.components, expected.to(jet.components.dtype))


def test_only_what_is_wanted(monkeypatch):
    net, x = network(), torch.rand(20, 2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cc.jet(net, x, 1).components.float().square().sum()
    full = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
    for parameter, expected in zip(net.parameters(), full, strict=True):
        if parameter.requires_grad:
            found = torch.autograd.grad(loss, parameter, retain_graph=True)[0]
            assert torch.equal(found, expected)


def test_second_gradients_are_those_of_float32():
    net, x = network(), torch.rand(8, 2)

    def gradient(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total = cc.jet(net, x, 1).grad.float().square().sum()
        weights = [p for p in net.parameters() if p.requires_grad]
        first = torch.autograd.grad(total, weights, create_graph=True, allow_unused=True)
        return torch.autograd.grad(first[0].square().sum(), weights[0])[0]

    assert relative(gradient(True), gradient(False).double()) < 0.1


def test_compiled(taken):
    net, x = network(), torch.rand(40, 2)
    weights = [p for p in net.parameters() if p.requires_grad]

    def loss(x):
        with torch.autocast("cpu", torch.bfloat16):
            return cc.jet(net, x, 1).components.float().square().mean()

    expected = torch.autograd.grad(loss(x), weights)
    torch.compiler.reset()
    graphs = []

    def backend(graph, example):
        graphs.append(str(graph.graph))
        return graph

    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend=backend)(x), weights)
    assert "mlp_jet_layers" in graphs[0]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    torch.compiler.reset()
    found = torch.autograd.grad(torch.compile(loss, fullgraph=True)(x), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_opcheck():
    net, x = network(activation="stan"), torch.rand(6, 2)
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    betas = [torch.randn(32) for _ in linear[:-1]]
    tensors = [[m.weight.detach() for m in linear], [m.bias.detach() for m in linear], betas]
    tracked = [[t.clone().requires_grad_() for t in part] for part in tensors]
    kinds = [cc.ops.KINDS.index("stan")] * 3
    rest = (kinds, "1", [0, 1])
    op = torch.ops.colloc.mlp_jet_layers.default
    # Nothing kept: the first layer's float32, read as 16 bits, would be compared as numbers.
    torch.library.opcheck(op, (x.clone().requires_grad_(), *tracked, *rest, 0, torch.bfloat16))
    out, kept = op(x, *tensors, *rest, 6, torch.bfloat16)
    backward = torch.ops.colloc.mlp_jet_layers_backward.default
    torch.library.opcheck(backward, (out, kept, x, *tensors, *rest, 31, torch.bfloat16))


@low
def test_training_with_a_term(dtype):
    """A first-order form and a scaler: the loss falls as it does in float32."""
    losses = {}
    for name, enabled in (("low", True), ("float32", False)):
        torch.manual_seed(0)
        net = cc.nn.MLP(2, 3, 32, 3, "tanh")
        square = cc.geometry.Rectangle((0, 0), (1, 1))
        term = cc.Term("inside", net, square.sample(128), cc.pde.helmholtz(
            1.0, lambda x: torch.ones_like(x[:, :1]), first_order=True), order=1)  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled and dtype == torch.float16)
        for _ in range(60):
            with torch.autocast("cpu", dtype, enabled=enabled):
                loss = term.loss()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        losses[name] = term.loss().item()
    assert losses["low"] < 1.3 * losses["float32"] + 1e-3
