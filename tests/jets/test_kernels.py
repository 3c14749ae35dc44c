"""Jets by the kernels, against nested autograd: every kind, order, number of inputs and slope."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import warnings
from pathlib import Path

import colloc as cc
import pytest
import torch
from colloc.jets.autograd import autograd_components
from colloc.jets.layout import ORDERS
from colloc.ops import mlp_jet
from torch import nn

F64 = torch.float64
orders = pytest.mark.parametrize("order", ORDERS)


@pytest.fixture(params=["tiled", "layers"])
def path(request, monkeypatch):
    """Both ops that evaluate a multilayer perceptron."""
    if request.param == "layers":
        monkeypatch.setattr(mlp_jet, "WIDEST_TILED", 0)
    elif not torch.ops.colloc.has_tiled_mlp_jet():
        pytest.skip("torch's BLAS was not found")
    return request.param


def network(d=2, m=1, width=7, layers=2, kind="tanh", adaptive=False, dtype=F64):
    net = cc.nn.MLP(d, m, width, layers, kind, adaptive, dtype=dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                spread = 0.3 if name.endswith(("bias", ".a", "beta")) else 0.05
                parameter.add_(spread * torch.randn_like(parameter))
    return net


def close(found, expected, tolerance):
    """Relative to the largest entry: some components are sums of large terms that cancel."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(scale, 1e-3))


def gradients(components, inputs, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(components.shape, generator=generator, dtype=components.dtype)
    return torch.autograd.grad((components * weight).sum(), inputs, allow_unused=True)


def compare(net, x, order, wrt=None, values=1e-12, slopes=1e-10):
    """cc.jet against nested autograd: components, gradients to every parameter and to x."""
    wrt = tuple(range(x.shape[1])) if wrt is None else wrt
    x = x.clone().requires_grad_()
    inputs = [x, *(p for p in net.parameters() if p.requires_grad)]
    found = cc.jet(net, x, order, wrt).components
    expected = autograd_components(net, x, order, wrt)
    close(found, expected, values)
    pairs = zip(gradients(found, inputs), gradients(expected, inputs), strict=True)
    for ours, theirs in pairs:
        if theirs is None:
            assert ours is None or ours.abs().max() == 0
        else:
            close(ours, theirs, slopes)


@pytest.mark.parametrize("kind", cc.ops.KINDS)
@orders
def test_every_kind_order_dimension_and_slope(kind, order):
    for d, adaptive in itertools.product((1, 2, 3, 4), (False, "global", "layer", "neuron")):
        if order == 3 and d == 4 and adaptive in ("global", "layer"):
            continue
        net = network(d, 2, 5, 2, kind, adaptive)
        compare(net, torch.randn(3, d, dtype=F64), order)


@orders
def test_both_paths(order, path):
    for d, m, kind in ((1, 1, "silu"), (2, 3, "stan"), (3, 2, "sin")):
        compare(network(d, m, 9, 3, kind, "neuron"), torch.randn(6, d, dtype=F64), order)


@pytest.mark.parametrize("points,width", list(itertools.product((0, 1, 31, 33), (1, 7, 100))))
def test_odd_sizes(points, width, path):
    net = network(2, 3, width, 2, "tanh", "layer")
    compare(net, torch.randn(points, 2, dtype=F64), "laplacian")
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


@orders
def test_more_inputs_than_the_kernels_have(order):
    if order in (3, "grad_laplacian"):
        pytest.skip("slow by nested autograd")
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


def test_derivatives_by_the_points_once_more(path):
    net, x = network(2, 1, kind="sin"), torch.randn(4, 2, dtype=F64, requires_grad=True)
    laplacian = cc.jet(net, x, "laplacian").laplacian
    (found,) = torch.autograd.grad(laplacian.sum(), x, create_graph=True)
    torch.testing.assert_close(found, cc.jet(net, x, "grad_laplacian").grad_laplacian[:, 0])
    (again,) = torch.autograd.grad(found.sum(), x)  # a fourth derivative
    assert torch.isfinite(again).all() and again.abs().max() > 0


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


@pytest.mark.parametrize("order", ["laplacian", "grad_laplacian"])
def test_recomputing_gives_the_same_bits(order, path):
    net, x = network(2, 2, 32, 3, "silu"), torch.randn(300, 2, dtype=F64)
    results = []
    per_point = 8 * (32 + 2 * 32 * (4 if order == "laplacian" else 8))
    for budget in (1 << 30, 100 * per_point, 0):
        before = cc.jets.set_memory_budget(budget)
        try:
            jet = cc.jet(net, x, order)
            found = torch.autograd.grad(jet.components.square().sum(), list(net.parameters()))
            results.append((jet.components, *found))
        finally:
            cc.jets.set_memory_budget(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_same_bits_every_time(path):
    net, x = network(2, 1, 48, 3, "tanh", "neuron", torch.float32), torch.rand(1000, 2)

    def step():
        loss = cc.jet(net, x, "laplacian").laplacian.square().mean()
        return torch.autograd.grad(loss, list(net.parameters()))

    first = step()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, step(), strict=True))


def test_no_graph_no_memory(path):
    net, x = network(2, 1), torch.randn(5, 2, dtype=F64)
    with torch.no_grad():
        assert not cc.jet(net, x, 2).components.requires_grad
    with torch.inference_mode():
        assert cc.jet(net, x, 2).components.is_inference()


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


def test_wrong_points():
    net = cc.nn.MLP(2, 1, 4, 1)
    with pytest.raises(ValueError, match=r"x: expected the dtype of the network, .*float32.*"):
        cc.jet(net, torch.zeros(3, 2, dtype=F64))
    with pytest.raises(ValueError, match="x: expected points with 2 inputs"):
        cc.jet(net, torch.zeros(3, 3))


def test_memory_budget():
    before = cc.jets.set_memory_budget(123)
    assert cc.jets.set_memory_budget(before) == 123
    with pytest.raises(ValueError, match="size"):
        cc.jets.set_memory_budget(-1)
    with pytest.raises(ValueError, match="device"):
        cc.jets.set_memory_budget(1, "tpu")


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


def test_a_network_in_bfloat16():
    net, x = network(2, 1, 32, 3, "tanh", dtype=torch.float32), torch.rand(64, 2)
    expected = cc.jet(net, x, "laplacian").components
    narrow = copy.deepcopy(net).bfloat16()
    jet = cc.jet(narrow, x.bfloat16(), "laplacian")
    assert jet.components.dtype == torch.bfloat16
    close(jet.components.float(), expected, 5e-2)
    jet.laplacian.float().square().sum().backward()
    assert narrow[0].weight.grad.dtype == torch.bfloat16


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


def test_nothing_is_kept_without_gradients(path, monkeypatch):
    seen, forward = [], mlp_jet.forward
    monkeypatch.setattr(
        mlp_jet, "forward", lambda net, kept: seen.append(kept) or forward(net, kept)
    )
    net, x = network(2, 1), torch.randn(4, 2, dtype=F64)
    with torch.no_grad():
        cc.jet(net, x, 2)
    cc.jet(net, x, 2)
    assert seen == [0, 4]


def test_parts_that_do_not_fit():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="jet: expected 3 outputs"):
        cc.jet(nn.Linear(3, 1), x)
    net = nn.Sequential(nn.Linear(2, 1), cc.nn.AdaptiveActivation("tanh", features=8))
    with pytest.raises(ValueError, match="slope: expected one value or 1"):
        cc.jet(net, x)


def test_memory_is_used_again_and_released():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    net, x = network(2, 1, 128, 4, "tanh", dtype=torch.float32), torch.rand(8000, 2)

    def step():
        jet = cc.jet(net, x, "laplacian")
        kept = jet.components.grad_fn.next_functions[0][0].saved_tensors[1]
        jet.laplacian.square().mean().backward()
        return kept.data_ptr()

    first = step()
    assert step() == first  # the same memory, given back after the backward
    before = resident()
    cc.jets.release_memory()
    assert before - resident() > 30 << 20
    both = [cc.jet(net, x, "laplacian") for _ in range(2)]  # two at a time do not share it
    gradients = [torch.autograd.grad(jet.laplacian.sum(), net[0].weight)[0] for jet in both]
    assert torch.equal(*gradients)
