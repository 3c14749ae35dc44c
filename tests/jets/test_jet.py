"""cc.jet: values, gradients to weights and points, gradient modes, selection, errors."""

from __future__ import annotations

import functools
import gc
import itertools
import math
import weakref

import colloc as cc
import pytest
import torch
from colloc.jets import ORDERS
from colloc.jets.autograd import autograd_components, traced_components
from reference.jets import contents
from torch import nn

F64 = torch.float64
ATTRIBUTES = ("value", "grad", "laplacian", "hess", "grad_laplacian", "third")
orders = pytest.mark.parametrize("order", ORDERS, ids=str)


def network(d, m, activation="tanh", adaptive="neuron"):
    return cc.nn.MLP(d, m, 7, 2, activation, adaptive, dtype=F64)


def points(n, d):
    return 2 * torch.rand(n, d, dtype=F64) - 1


@orders
@pytest.mark.parametrize("d,m", [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_against_torch_func(order, d, m):
    net, x = network(d, m), points(5, d)
    wrts = [tuple(range(d))]
    if d > 1:
        wrts += [(d - 1,), (d - 1, 0)]
    for wrt in wrts:
        jet = cc.jet(net, x, order, wrt=None if wrt == tuple(range(d)) else wrt)
        expected = contents(net, x, order, wrt)
        for name, value in expected.items():
            found = getattr(jet, name)
            assert found.shape == value.shape, name
            torch.testing.assert_close(found, value, rtol=1e-11, atol=1e-11)
        # in one input the Laplacian is the Hessian, and its gradient the third derivative
        for name in set(ATTRIBUTES) - set(expected):
            if len(wrt) == 1 and (name, order) in (
                ("hess", "laplacian"),
                ("third", "grad_laplacian"),
            ):
                continue
            with pytest.raises(ValueError, match=rf"jet\.{name}: expected a jet of order"):
                getattr(jet, name)


def test_closed_form():
    def field(x):
        a, b, c = x[:, 0], x[:, 1], x[:, 2]
        return torch.stack([a**3 * b**2 + c, torch.sin(a) * torch.exp(b) * c], dim=1)

    x = points(9, 3)
    a, b, _ = x.T
    jet = cc.jet(field, x, 3)
    for found, value in (
        (jet.d(0)[:, 0], 3 * a**2 * b**2),
        (jet.d(0, 1)[:, 0], 6 * a**2 * b),
        (jet.d(1, 0, 0)[:, 0], 12 * a * b),
        (jet.d(2)[:, 0], torch.ones_like(a)),
        (jet.d(2, 2)[:, 0], torch.zeros_like(a)),
        (jet.d(0, 1, 2)[:, 1], torch.cos(a) * torch.exp(b)),
        (jet.laplacian[:, 0], 6 * a * b**2 + 2 * a**3),
        (jet.laplacian[:, 1], torch.zeros_like(a)),
        (jet.grad_laplacian[:, 0, 0], 6 * b**2 + 6 * a**2),
        (jet.third[:, 0, 0, 0, 0], 6 * b**2),
        (jet.hess[:, 1, 0, 2], torch.cos(a) * torch.exp(b)),
    ):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(jet.hess, jet.hess.transpose(2, 3), rtol=0, atol=0)


@orders
def test_one_backward_reaches_the_weights(order):
    net, x = network(2, 2), points(4, 2)
    jet = cc.jet(net, x, order)
    names = [name for name in contents(net, x, order, (0, 1))]
    loss = sum(getattr(jet, name).square().sum() for name in names)
    found = torch.autograd.grad(loss, tuple(net.parameters()))
    expected_loss = sum(v.square().sum() for v in contents(net, x, order, (0, 1)).values())
    expected = torch.autograd.grad(expected_loss, tuple(net.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@orders
def test_gradient_to_the_points(order):
    net, x = network(2, 1, "sin"), points(4, 2).requires_grad_()
    jet = cc.jet(net, x, order)
    last = {0: "value", 1: "grad", "laplacian": "laplacian", 2: "hess"}.get(order, "grad_laplacian")
    (found,) = torch.autograd.grad(getattr(jet, last).square().sum(), x)
    (expected,) = torch.autograd.grad(contents(net, x, order, (0, 1))[last].square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@orders
def test_the_users_points_are_left_alone(order):
    x = points(3, 2)
    before = x.clone()
    cc.jet(network(2, 1), x, order)
    assert not x.requires_grad and x.grad is None and torch.equal(x, before)


@orders
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(order, mode):
    net, x = network(2, 2), points(4, 2)
    tracked = cc.jet(net, x, order)
    with mode():
        jet = cc.jet(net, x, order)
        inside = points(4, 2)
        cc.jet(net, inside, order)
    assert not jet.components.requires_grad
    torch.testing.assert_close(jet.components, tracked.components.detach(), rtol=0, atol=0)
    again = cc.jet(net, inside, order)  # points made in inference mode, used outside it
    assert again.value.shape == (4, 2)


@orders
def test_networks_that_do_not_depend_on_their_inputs(order):
    fields = (
        (lambda x: torch.ones(len(x), 2, dtype=F64), 0),
        (lambda x: 3 * x[:, :1] - 1, 1),
        (lambda x: x[:, :1].detach() ** 2, 0),
        (lambda x: x[:, 1:] ** 2, 2),
        (nn.Linear(2, 1, dtype=F64), 1),
    )
    x = points(3, 2)
    for field, degree in fields:
        jet = cc.jet(field, x, order)
        assert torch.isfinite(jet.components).all()
        if jet.layout.has_laplacian:
            expected = 2.0 if degree == 2 else 0.0
            assert torch.equal(jet.laplacian, torch.full_like(jet.laplacian, expected))
        if jet.layout.has_grad_laplacian:
            assert torch.equal(jet.grad_laplacian, torch.zeros_like(jet.grad_laplacian))


@orders
@pytest.mark.parametrize("n", [0, 1])
def test_few_points(order, n):
    jet = cc.jet(network(3, 2), points(n, 3), order)
    assert jet.value.shape == (n, 2)
    for name, value in contents(network(3, 2), points(1, 3), order, (0, 1, 2)).items():
        assert getattr(jet, name).shape == (n, *value.shape[1:])


def test_float32():
    net = cc.nn.MLP(2, 1, 32, 3, "tanh")
    x = torch.rand(50, 2)
    jet = cc.jet(net, x, "laplacian")
    wide = cc.jet(net.double(), x.double(), "laplacian")
    assert jet.value.dtype == torch.float32
    torch.testing.assert_close(jet.laplacian.double(), wide.laplacian, rtol=1e-4, atol=1e-5)


def test_any_module_and_any_graph():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 8, dtype=F64), nn.Linear(8, 8, dtype=F64)
            self.c = nn.Linear(8, 1, dtype=F64)

        def forward(self, x):
            h = torch.nn.functional.softplus(self.a(x))
            return self.c(h + torch.tanh(self.b(h)) * x.norm(dim=1, keepdim=True))

    net, x = Residual(), points(6, 2)
    expected = contents(net, x, 3, (0, 1))
    jet = cc.jet(net, x, 3)
    torch.testing.assert_close(jet.third, expected["third"], rtol=1e-10, atol=1e-10)


def test_helmholtz_of_the_exact_solution():
    def u(x):
        return torch.sin(math.pi * x[:, :1]) * torch.sin(4 * math.pi * x[:, 1:])

    x = points(100, 2)
    residual = cc.pde.helmholtz(1.0, lambda x: (1 - 17 * math.pi**2) * u(x))
    assert residual(cc.jet(u, x, "laplacian"), x).abs().max() < 1e-11


def test_selecting_outputs():
    net, x = network(2, 4), points(5, 2)
    jet = cc.jet(net, x, 2)
    for key, outputs in ((1, [1]), (-1, [3]), (slice(1, 3), [1, 2]), (slice(0, 4, 2), [0, 2]),
                         ([3, 0], [3, 0])):  # fmt: skip
        part = jet[:, key]
        for name in ("value", "grad", "hess", "laplacian"):
            assert torch.equal(getattr(part, name), getattr(jet, name)[:, outputs])
    for key in (0, (slice(0, 2), 0), (slice(None), 4), (slice(None), slice(2, 2))):
        with pytest.raises((ValueError, TypeError), match="jet"):
            jet[key]


def test_wrt_keeps_original_indices():
    net, x = network(3, 1), points(4, 3)
    full, part = cc.jet(net, x, 2), cc.jet(net, x, 2, wrt=(2, 0))
    for key in ((2,), (0,), (0, 2), (2, 2)):
        torch.testing.assert_close(part.d(*key), full.d(*key))
    torch.testing.assert_close(part.laplacian, full.d(0, 0) + full.d(2, 2))
    with pytest.raises(ValueError, match=r"d: expected inputs among wrt = \(2, 0\), got 1"):
        part.d(1)


def test_under_compile_and_after_it():
    net, x = cc.nn.MLP(2, 1, 8, 1, "tanh", dtype=F64), points(6, 2)

    @torch.compile(backend="aot_eager")
    def loss(x):
        return cc.jet(net, x, "laplacian").laplacian.square().mean()

    expected = cc.jet(net, x, "laplacian").laplacian.square().mean()
    torch.testing.assert_close(loss(x), expected)


def two_outputs(x):
    return torch.cat([torch.sin(x[:, :1] * x[:, 1:2]), torch.exp(x[:, 1:2]) * x[:, 2:]], dim=1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wrt", [(0, 1, 2), (2, 1), (1,)])
def test_the_form_for_the_compiler(order, wrt):
    x = points(5, 3)
    for function in (two_outputs, lambda x: torch.ones_like(x[:, :1])):
        found = traced_components(function, x, order, wrt)
        torch.testing.assert_close(found, autograd_components(function, x, order, wrt))


def test_plain_functions_compile_as_one_graph():
    x, factor = points(5, 2), torch.tensor(0.7, dtype=F64, requires_grad=True)

    def loss(x):
        u = cc.jet(lambda at: torch.sin(factor * at[:, :1]) * at[:, 1:], x, 3, (0,))
        return u.third.square().mean() + u.value.mean()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), loss(x))
    (found,), (wanted,) = (torch.autograd.grad(f(x), factor) for f in (compiled, loss))
    torch.testing.assert_close(found, wanted)


def test_functions_that_the_compiler_cannot_follow():
    def broken(x):
        torch._dynamo.graph_break()
        return torch.sin(x[:, :1] * x[:, 1:])

    def loss(x):
        return cc.jet(broken, x, 1, (0,)).grad.square().mean()

    x = points(5, 2)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(loss, backend="aot_eager")(x), loss(x))


X = torch.zeros(3, 2, dtype=F64)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.jet(3, X), "net: expected a module or callable"),
        (lambda: cc.jet(network(2, 1), [[0.0, 0.0]]), "x: expected a floating tensor"),
        (lambda: cc.jet(network(2, 1), X[0]), r"x: expected .* Give one point as x\[None, :\]"),
        (lambda: cc.jet(network(2, 1), X.long()), "x: expected a floating tensor"),
        (lambda: cc.jet(network(2, 1), X[:, :0]), "at least one input"),
        (lambda: cc.jet(network(2, 1), X, 4), "order: expected one of 0, 1, 'laplacian'"),
        (lambda: cc.jet(network(2, 1), X, "hessian"), "order: expected one of"),
        (lambda: cc.jet(network(2, 1), X, True), "order: expected one of"),
        (lambda: cc.jet(network(2, 1), X, 1, wrt=()), "wrt: expected at least one"),
        (lambda: cc.jet(network(2, 1), X, 1, wrt=(0, 0)), "wrt: expected different"),
        (lambda: cc.jet(network(2, 1), X, 1, wrt=(2,)), "wrt: expected different"),
        (lambda: cc.jet(network(2, 1), X, 1, wrt=1), r"Give one input as wrt=\(1,\)"),
        (lambda: cc.jet(lambda x: x[:, 0], X), r"net\(x\): expected .* Return u\[:, None\]"),
        (
            lambda: cc.jet(lambda x: x[:2], X),
            r"net\(x\): expected a floating tensor of shape \(3, m\)",
        ),
        (lambda: cc.jet(lambda x: (x,), X), r"net\(x\): expected a floating tensor"),
        (lambda: cc.jet(network(2, 1), X, 1).d(), "d: expected one, two or three"),
        (lambda: cc.jet(network(2, 1), X, 1).d(0, 1), r"jet\.d\(0, 1\): expected a jet of order 2"),
        (lambda: cc.jet(network(2, 1), X, 1).d(2), "d: expected an integer <= 1"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_every_derivative_of_a_product_of_sines(d):
    # u = prod_i sin(w_i x_i + i), each derivative shifts one phase by pi / 2
    w = torch.arange(1, d + 1, dtype=F64) * 0.7
    phase = torch.arange(d, dtype=F64)

    def expected(x, axes):
        times = torch.tensor([axes.count(i) for i in range(d)], dtype=F64)
        factors = w**times * torch.sin(w * x + phase + times * math.pi / 2)
        return factors.prod(dim=1, keepdim=True)

    def field(x):  # no torch.prod: its derivatives divide by the factors, which may be near 0
        factors = torch.sin(w * x + phase)
        return functools.reduce(torch.mul, [factors[:, i : i + 1] for i in range(d)])

    x = points(7, d)
    jet = cc.jet(field, x, 3)
    for degree in (1, 2, 3):
        for axes in itertools.product(range(d), repeat=degree):
            torch.testing.assert_close(jet.d(*axes), expected(x, axes), rtol=0, atol=1e-12)
    torch.testing.assert_close(jet.laplacian, -w.square().sum() * jet.value, rtol=0, atol=1e-12)


@orders
def test_a_frozen_network_keeps_no_graph(order):
    net, x = network(2, 1).requires_grad_(False), points(4, 2)
    assert not cc.jet(net, x, order).components.requires_grad
    assert cc.jet(net, x.clone().requires_grad_(), order).components.requires_grad
    scale = torch.tensor(2.0, dtype=F64, requires_grad=True)  # trained, but no module's
    jet = cc.jet(lambda x: scale * net(x), x, order)
    (found,) = torch.autograd.grad(jet.components.sum(), scale)
    torch.testing.assert_close(found, cc.jet(net, x, order).components.sum())
    bias = torch.zeros(4, 1, dtype=F64, requires_grad=True)  # the output itself is the leaf
    assert cc.jet(lambda x: bias, x, order).components.requires_grad


@orders
def test_memory_is_freed_without_the_garbage_collector(order):
    net, x = network(2, 1), points(4, 2)
    gc.collect()
    gc.disable()
    try:
        cc.jet(net, x, order).components.sum().backward()
        with torch.no_grad():
            held = []
            field = lambda x: (held.append(weakref.ref(x)), net(x))[1]  # noqa: E731
            cc.jet(field, x, order)
            if order != 0:
                assert held[0]() is None
    finally:
        gc.enable()
