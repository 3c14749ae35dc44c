"""Elementary functions of jets against nested autograd of torch's; constants, coordinates, cat."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.jets import ORDERS, Jet
from torch import Tensor

F64 = torch.float64
orders = pytest.mark.parametrize("order", ORDERS, ids=str)

#: name: torch's function, and the interval to try it on
FUNCTIONS = {
    "sin": (torch.sin, -3, 3),
    "cos": (torch.cos, -3, 3),
    "tan": (torch.tan, -1, 1),
    "sinh": (torch.sinh, -2, 2),
    "cosh": (torch.cosh, -2, 2),
    "tanh": (torch.tanh, -3, 3),
    "exp": (torch.exp, -2, 2),
    "expm1": (torch.expm1, -2, 2),
    "log": (torch.log, 0.3, 3),
    "log1p": (torch.log1p, -0.6, 2),
    "sqrt": (torch.sqrt, 0.3, 3),
    "square": (torch.square, -2, 2),
    "reciprocal": (torch.reciprocal, 0.4, 2),
    "absolute": (torch.abs, -2, 2),
    "atan": (torch.atan, -3, 3),
    "sigmoid": (torch.sigmoid, -4, 4),
    "softplus": (lambda z: torch.nn.functional.softplus(z, threshold=40.0), -4, 4),
    "erf": (torch.erf, -2, 2),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


def network(d, m):
    torch.manual_seed(0)
    return cc.nn.MLP(d, m, 6, 2, "tanh", dtype=F64)


def points(n, d):
    return 2 * torch.rand(n, d, dtype=F64, generator=torch.Generator().manual_seed(7)) - 1


def assert_same(found, expected, tolerance=1e-10):
    assert (found.order, found.wrt, found.inputs) == (expected.order, expected.wrt, expected.inputs)
    torch.testing.assert_close(
        found.components, expected.components, rtol=tolerance, atol=tolerance
    )


def within(net, low, high):
    """A field whose values lie between the two."""
    return lambda x: low + (high - low) * torch.sigmoid(2 * net(x))


@orders
@functions
def test_against_autograd(name, order):
    of_torch, low, high = FUNCTIONS[name]
    of_jets = getattr(cc.jets, name)
    # A function gives its derivatives; what follows from them in more inputs is common to all.
    shapes = ((1, None), (2, None), (3, None), (3, (2, 0)))
    for d, wrt in shapes if name in ("sin", "tan") else shapes[1:2]:
        x, z = points(6, d), within(network(d, 2), low, high)
        found = of_jets(cc.jet(z, x, order, wrt))
        assert_same(found, cc.jet(lambda x, z=z: of_torch(z(x)), x, order, wrt))


@functions
def test_of_a_tensor(name):
    of_torch, low, high = FUNCTIONS[name]
    z = low + (high - low) * torch.rand(4, 3, dtype=F64)
    torch.testing.assert_close(getattr(cc.jets, name)(z), of_torch(z), rtol=0, atol=0)
    with pytest.raises(TypeError, match="jet: expected a jet or a tensor, got 1"):
        getattr(cc.jets, name)(1.0)


@orders
@functions
def test_gradients_to_the_weights(name, order):
    of_torch, low, high = FUNCTIONS[name]
    net, x = network(2, 1), points(4, 2)
    z = within(net, low, high)
    jets = (
        getattr(cc.jets, name)(cc.jet(z, x, order)),
        cc.jet(lambda x: of_torch(z(x)), x, order),
    )
    found, expected = (
        torch.autograd.grad(jet.components.square().sum(), tuple(net.parameters())) for jet in jets
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@functions
def test_no_points(name):
    jet = cc.jet(network(2, 3), points(0, 2), 3)
    assert getattr(cc.jets, name)(jet).value.shape == (0, 3)


def slopes(function, at, dtype=torch.float32):
    """f, f', f'', f''' at a number: the jet of f(x) in one input."""
    jet = function(cc.jets.coordinate(torch.tensor([[at]], dtype=dtype), 0, 3))
    return jet.components.flatten().double()


@pytest.mark.parametrize("at", [-20.0, -9.0, 0.0, 9.0, 20.0])
def test_saturated(at):
    """Small derivatives keep their relative accuracy in float32."""
    decay = math.exp(-2 * abs(at))
    s, h = 4 * decay / (1 + decay) ** 2, math.tanh(at)
    expected = torch.tensor([h, s, -2 * h * s, s * (4 * h * h - 2 * s)], dtype=F64)
    torch.testing.assert_close(slopes(cc.jets.tanh, at), expected, rtol=2e-5, atol=0)
    half = torch.tensor([0.5 + 0.5 * math.tanh(at), s, -2 * h * s, s * (4 * h * h - 2 * s)])
    # sigmoid(2 x) = (1 + tanh(x)) / 2
    found = slopes(lambda x: cc.jets.sigmoid(2.0 * x), at)
    torch.testing.assert_close(found[1:], half[1:].double() / 2, rtol=2e-5, atol=0)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "atan", "erf"])
@pytest.mark.parametrize("at", [-3e19, -100.0, 100.0, 3e19])
def test_far_away(name, at):
    assert torch.isfinite(slopes(getattr(cc.jets, name), at)).all()


def test_outside_the_domain():
    assert slopes(cc.jets.log, -1.0)[0].isnan() and slopes(cc.jets.sqrt, -1.0)[0].isnan()
    assert slopes(cc.jets.log, 0.0)[0] == -math.inf and slopes(cc.jets.sqrt, 0.0)[1] == math.inf
    assert slopes(cc.jets.reciprocal, 0.0)[0] == math.inf


@orders
def test_power(order):
    x, z = points(4, 2), within(network(2, 2), 0.3, 2)
    for exponent in (2, -1.5, torch.tensor(1.3, dtype=F64)):
        found = cc.jets.power(cc.jet(z, x, order), exponent)
        assert_same(found, cc.jet(lambda x, p=exponent: z(x) ** p, x, order))
        assert torch.equal(cc.jets.power(z(x), exponent), z(x) ** exponent)
    with pytest.raises(TypeError, match="jet: expected a jet or a tensor"):
        cc.jets.power(3, 2)


def test_one_formula_for_both():
    def formula(x, y):
        return cc.jets.exp(-x * y) * cc.jets.sin(x) + cc.jets.power(y, 3) / 2

    x = points(5, 2)
    jets = [cc.jets.coordinate(x, i, "laplacian") for i in (0, 1)]
    expected = cc.jet(lambda x: formula(x[:, :1], x[:, 1:]), x, "laplacian")
    assert_same(formula(*jets), expected)


@orders
def test_compose(order):
    net, x = network(2, 2), points(4, 2)
    asked = []

    def derivatives(value, k):
        asked.append(k)
        assert value.shape == (4, 2)
        return (torch.sin(value), torch.cos(value), -torch.sin(value), -torch.cos(value))[k]

    found = cc.jets.compose(cc.jet(net, x, order), derivatives)
    assert_same(found, cc.jet(lambda x: torch.sin(net(x)), x, order))
    assert asked == list(range({0: 1, 1: 2, "laplacian": 3, 2: 3}.get(order, 4)))
    constants = cc.jets.compose(cc.jet(net, x, order), lambda v, k: (3 * v, 3, 0, 0.0)[k])
    assert_same(constants, cc.jet(lambda x: 3 * net(x), x, order))
    flat = cc.jets.compose(cc.jet(net, x, order), lambda v, k: (3, 0, 0, 0)[k])
    assert_same(flat, cc.jet(lambda x: torch.full((4, 2), 3.0, dtype=F64), x, order))
    value = net(x)
    assert torch.equal(cc.jets.compose(value, derivatives), torch.sin(value))
    assert cc.jets.compose(value, lambda v, k: 2).eq(2).all()


@orders
@pytest.mark.parametrize("wrt", [None, (1,), (2, 0)])
def test_coordinates(order, wrt):
    x = points(5, 3).requires_grad_()
    for i in range(3):
        found = cc.jets.coordinate(x, i, order, wrt)
        assert_same(found, cc.jet(lambda x, i=i: x[:, i : i + 1], x, order, wrt))
        (slope,) = torch.autograd.grad(found.components.sum(), x)
        assert torch.equal(slope, torch.eye(3, dtype=F64)[i].expand(5, 3))


@orders
def test_constants(order):
    like = cc.jet(network(2, 3), points(5, 2), order, wrt=(1, 0))
    size = like.layout.size
    for value, outputs in (
        (2, 1),
        (torch.tensor(2.0), 1),
        (torch.arange(3), 3),
        (torch.rand(5, 1, dtype=F64), 1),
        (torch.rand(5, 2, dtype=F64), 2),
    ):
        found = cc.jets.constant(value, like)
        assert (found.order, found.wrt, found.inputs) == (order, (1, 0), 2)
        assert found.components.dtype == F64 and found.components.shape == (size, 5, outputs)
        expected = torch.as_tensor(value, dtype=F64).expand(5, outputs)
        assert torch.equal(found.value, expected) and not found.components[1:].any()
    for shape in ((), (3,), (5, 3)):
        value = torch.ones(shape, dtype=F64, requires_grad=True)
        (slope,) = torch.autograd.grad((cc.jets.constant(value, like) * like).value.sum(), value)
        per = {(): like.value.sum(), (3,): like.value.sum(0), (5, 3): like.value}[shape]
        torch.testing.assert_close(slope, per)
    assert_same(cc.jets.constant(2, like) * like, 2 * like)


@orders
def test_cat(order):
    first, second, x = network(2, 2), network(2, 1), points(5, 2)
    found = cc.jets.cat([cc.jet(first, x, order), cc.jet(second, x, order)])
    assert_same(found, cc.jet(lambda x: torch.cat((first(x), second(x)), 1), x, order))
    lowest = cc.jets.cat((found, cc.jets.coordinate(x, 0, 0), found))
    assert lowest.order == 0 and lowest.value.shape == (5, 7)
    assert_same(cc.jets.cat([found]), found)


X = torch.zeros(3, 2, dtype=F64)
U = cc.jets.coordinate(X, 0, 2)
TWO = cc.jets.cat([U, U])


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.jets.constant(1.0, X), "like: expected a jet"),
        (lambda: cc.jets.constant(math.nan, U), "value: expected a finite number"),
        (lambda: cc.jets.constant(True, U), "value: expected a number"),
        (lambda: cc.jets.constant([1.0], U), "value: expected a number"),
        (lambda: cc.jets.constant(torch.tensor(1j), U), "value: expected real values"),
        (lambda: cc.jets.constant(torch.ones(3), U), r"Give one output's values as value\[:, None"),
        (lambda: cc.jets.constant(torch.ones(3), TWO), r"shape \(\), \(2,\) or \(3, m\)"),
        (lambda: cc.jets.constant(torch.ones(1, 2), TWO), r"shape \(\), \(2,\) or \(3, m\)"),
        (lambda: cc.jets.constant(torch.ones(3, 0), TWO), r"shape \(\), \(2,\) or \(3, m\)"),
        (lambda: cc.jets.coordinate(X, 2, 1), "i: expected an integer <= 1"),
        (lambda: cc.jets.coordinate(X, -1, 1), "i: expected an integer >= 0"),
        (lambda: cc.jets.coordinate(X, 0.0, 1), "i: expected an integer"),
        (lambda: cc.jets.coordinate(X[0], 0, 1), "x: expected a floating tensor"),
        (lambda: cc.jets.coordinate(X[:, :0], 0, 1), "x: expected points with at least one input"),
        (lambda: cc.jets.coordinate(X, 0, "all"), "order: expected one of"),
        (lambda: cc.jets.coordinate(X, 0, 1, wrt=()), "wrt: expected at least one"),
        (lambda: cc.jets.cat(U), "jets: expected a list or tuple of jets"),
        (lambda: cc.jets.cat([]), "jets: expected at least one jet"),
        (lambda: cc.jets.cat([U, X]), r"jets\[1\]: expected a jet"),
        (
            lambda: cc.jets.cat([U, U, cc.jets.coordinate(X, 0, 2, wrt=(0,))]),
            r"jets\[0\] and jets\[2\]: expected jets of equal wrt",
        ),
        (lambda: cc.jets.cat([U, cc.jets.coordinate(X[:1], 0, 2)]), "equally many points"),
        (lambda: cc.jets.compose(U, torch.ones(3)), "derivatives: expected a callable"),
        (lambda: cc.jets.compose(3, torch.sin), "jet: expected a jet or a tensor"),
        (lambda: cc.jets.compose(U, lambda v, k: None), r"derivatives\(value, 0\): expected a num"),
        (
            lambda: cc.jets.compose(U, lambda v, k: v if k < 2 else v[:1]),
            r"derivatives\(value, 2\): expected a torch.float64 tensor of shape \(3, 1\)",
        ),
        (
            lambda: cc.jets.compose(U, lambda v, k: v.float()),
            r"derivatives\(value, 0\): expected a torch.float64 tensor",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_everything_is_exported():
    for name in (*FUNCTIONS, "power", "compose", "constant", "coordinate", "cat"):
        assert name in cc.jets.__all__ and getattr(cc.jets, name).__doc__
    assert isinstance(U, Jet) and isinstance(U.value, Tensor)
