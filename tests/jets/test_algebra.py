"""The operators of jets against nested autograd of the combined function."""

from __future__ import annotations

import itertools
import operator

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.jets import ORDERS, Jet

F64 = torch.float64
orders = pytest.mark.parametrize("order", ORDERS, ids=str)
#: inputs and wrt: one to three derivatives, of all inputs or of some, in any order
SHAPES = [(1, None), (2, None), (3, None), (2, (1,)), (3, (2, 0)), (3, (1,))]
shapes = pytest.mark.parametrize("d,wrt", SHAPES)


def network(d, m, seed=0):
    torch.manual_seed(seed)
    return cc.nn.MLP(d, m, 6, 2, "tanh", dtype=F64)


def points(n, d):
    return 2 * torch.rand(n, d, dtype=F64, generator=torch.Generator().manual_seed(7)) - 1


def phi(x):
    """A factor with one output, different from 0."""
    return 2 + torch.sin(x.sum(1, keepdim=True)) + x[:, :1] ** 3 / 4


def assert_same(found, expected, tolerance=1e-10):
    assert (found.order, found.wrt, found.inputs) == (expected.order, expected.wrt, expected.inputs)
    torch.testing.assert_close(
        found.components, expected.components, rtol=tolerance, atol=tolerance
    )


BINARY = (operator.add, operator.sub, operator.mul, operator.truediv)


def check_two_jets(order, d, wrt, m, k):
    x, left, right = points(5, d), network(d, m), network(d, k, seed=1)
    a = cc.jet(left, x, order, wrt)
    b = cc.jet(lambda x: 2 + right(x), x, order, wrt)
    for combine in BINARY:
        expected = cc.jet(lambda x, f=combine: f(left(x), 2 + right(x)), x, order, wrt)
        assert_same(combine(a, b), expected)


@orders
@shapes
def test_two_jets(order, d, wrt):
    check_two_jets(order, d, wrt, 1, 2)


@orders
@pytest.mark.parametrize("m,k", [(1, 1), (2, 2), (2, 1)])
def test_numbers_of_outputs(order, m, k):
    check_two_jets(order, 2, None, m, k)


@orders
@shapes
def test_a_power_of_two_jets(order, d, wrt):
    x, net = points(4, d), network(d, 2)
    found = cc.jet(phi, x, order, wrt) ** cc.jet(net, x, order, wrt)
    assert_same(found, cc.jet(lambda x: phi(x) ** net(x), x, order, wrt))


NUMBERS = [2, -0.5, np.float64(1.5), np.float32(0.5), np.int64(3), torch.tensor(0.7, dtype=F64),
           torch.tensor(0.7), torch.tensor(2)]  # fmt: skip


@orders
@pytest.mark.parametrize("number", NUMBERS, ids=lambda c: type(c).__name__)
def test_numbers_on_both_sides(order, number):
    x = points(5, 2)
    a = cc.jet(phi, x, order)
    plain = number.double() if isinstance(number, torch.Tensor) else float(number)
    for f in BINARY:
        assert_same(f(a, number), cc.jet(lambda x, f=f: f(phi(x), plain), x, order))
        assert_same(f(number, a), cc.jet(lambda x, f=f: f(plain, phi(x)), x, order))
    assert_same(a**number, cc.jet(lambda x: phi(x) ** plain, x, order))
    if plain > 0:
        assert_same(number**a, cc.jet(lambda x: plain ** phi(x), x, order))


@orders
def test_signs(order):
    x, net = points(6, 2), network(2, 2)
    a = cc.jet(net, x, order)
    assert (a.value < 0).any() and (a.value > 0).any()
    assert_same(-a, cc.jet(lambda x: -net(x), x, order))
    assert_same(+a, a)
    assert_same(abs(a), cc.jet(lambda x: net(x).abs(), x, order))


EXPONENTS = [-3, -1, 0, 1, 2, 3, 4, 5, 2.0, 0.5, -1.5, 2.5]


@orders
@pytest.mark.parametrize(
    "d,exponent", [*((2, p) for p in EXPONENTS), (1, 3), (1, 0.5), (3, 3), (3, 0.5)]
)
def test_powers(order, d, exponent):
    x = points(5, d)
    assert_same(
        cc.jet(phi, x, order) ** exponent, cc.jet(lambda x: phi(x) ** exponent, x, order), 1e-9
    )
    if exponent == int(exponent):
        negative = cc.jet(lambda x: -phi(x), x, order)
        expected = cc.jet(lambda x: (-phi(x)) ** exponent, x, order)
        assert_same(negative**exponent, expected, 1e-9)


@orders
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4])
def test_integer_powers_at_a_base_of_zero(order, exponent, as_tensor):
    x = torch.zeros(3, 2, dtype=F64)
    p = torch.tensor(float(exponent), dtype=F64) if as_tensor else exponent

    def base(x):
        return x[:, :1] + 2 * x[:, 1:]

    found = cc.jet(base, x, order) ** p
    products = {
        0: lambda z: torch.ones_like(z),
        1: lambda z: z,
        2: lambda z: z * z,
        3: lambda z: z * z * z,
        4: lambda z: z * z * z * z,
    }
    assert_same(found, cc.jet(lambda x: products[exponent](base(x)), x, order))
    if order == 2 and exponent == 2:
        assert found.d(0, 0).eq(2).all() and found.d(0, 1).eq(4).all()


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_gradients_of_powers_at_zero_are_finite(exponent):
    x = torch.zeros(3, 1, dtype=F64)
    shift = torch.zeros((), dtype=F64, requires_grad=True)
    jet = (cc.jets.coordinate(x, 0, 3) + shift) ** exponent
    (slope,) = torch.autograd.grad(jet.components.sum(), shift)
    # d/dz of z^p + p z^(p-1) + p (p-1) z^(p-2) + p (p-1) (p-2) z^(p-3), per point
    assert slope == 3 * {0: 0, 1: 1, 2: 2, 3: 6}[exponent]


@pytest.mark.parametrize("start", [0.0, 1.0, 2.0, 1.5])
def test_a_trainable_exponent(start):
    # by differences: autograd of torch.pow itself loses the gradient where p is an integer
    jet = cc.jet(phi, points(5, 2), 3)

    def loss(p):
        return (jet ** torch.tensor(p, dtype=F64)).components.square().sum()

    p = torch.tensor(start, dtype=F64, requires_grad=True)
    (found,) = torch.autograd.grad((jet**p).components.square().sum(), p)
    expected = (loss(start + 1e-5) - loss(start - 1e-5)) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@orders
@pytest.mark.parametrize("d,wrt", [(1, None), (2, None), (3, (2, 0))])
def test_gradients(order, d, wrt):
    net, other, x = network(d, 2), network(d, 2, seed=1), points(4, d).requires_grad_()
    c = torch.tensor(0.3, dtype=F64, requires_grad=True)

    def formula(u, v, f):
        return c * f * u - v / f + (u * v) ** 2 / (2.5 + v) + 1.1**u

    def gradients(jet):
        wanted = (*net.parameters(), *other.parameters(), c, x)
        return torch.autograd.grad(jet.components.square().sum(), wanted)

    parts = [cc.jet(f, x, order, wrt) for f in (net, other, phi)]
    whole = cc.jet(lambda x: formula(net(x), other(x), phi(x)), x, order, wrt)
    assert_same(formula(*parts), whole)
    for found, expected in zip(gradients(formula(*parts)), gradients(whole), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d,wrt", [(1, None), (2, None), (3, None), (3, (2, 0))])
@pytest.mark.parametrize("first,second", list(itertools.product(ORDERS, ORDERS)), ids=str)
def test_mixed_orders(d, wrt, first, second):
    x, net = points(4, d), network(d, 2)
    a, b = cc.jet(phi, x, first, wrt), cc.jet(net, x, second, wrt)
    smaller = min(first, second, key=ORDERS.index)
    for f in BINARY:
        found = f(b, a)
        assert_same(found, cc.jet(lambda x, f=f: f(net(x), phi(x)), x, smaller, wrt))
    assert_same(cc.jets.cat([a, b])[:, 1:], cc.jet(net, x, smaller, wrt))
    if first == smaller:
        assert_same(b.truncate(first), cc.jet(net, x, first, wrt))
    else:
        with pytest.raises(ValueError, match=rf"order: expected .*Ask for .*order={first!r}"):
            b.truncate(first)


def test_the_laplacian_of_a_product():
    x = points(6, 2)
    f, u = cc.jet(phi, x, "laplacian"), cc.jet(network(2, 1), x, 2)
    expected = f.value * u.laplacian + 2 * (f.grad * u.grad).sum(-1) + u.value * f.laplacian
    torch.testing.assert_close((f * u).laplacian, expected)


def test_a_quotient_by_small_numbers_does_not_overflow():
    x = torch.ones(2, 1)
    small = 1e-12 * cc.jets.coordinate(x, 0, 3)
    found = (small / small).components  # 1 / z^4 would overflow
    torch.testing.assert_close(found, torch.tensor([1.0, 0, 0, 0])[:, None, None].expand(4, 2, 1))


@orders
def test_no_points(order):
    x = points(0, 2)
    a, b = cc.jet(phi, x, order), cc.jet(network(2, 3), x, order)
    for found in (a * b, b / a, a + b, 2 - b, 1 / b, b**2, b**0.5, a**b, abs(b)):
        assert found.value.shape[0] == 0 and found.layout == a.layout
    assert cc.jets.cat([a, b]).value.shape == (0, 4)


def test_detach_and_to():
    x = points(3, 2)
    a = cc.jet(network(2, 1), x, 2)
    assert a.components.requires_grad and not a.detach().components.requires_grad
    assert_same(a.detach(), a)
    single = a.to(torch.float32)
    assert single.value.dtype == torch.float32 and single.order == 2 and single.components.grad_fn
    assert (single * cc.jets.coordinate(x.float(), 0, 2)).value.dtype == torch.float32
    assert a.to("meta").value.is_meta and a.to(device="cpu", dtype=F64).value.dtype == F64
    with pytest.raises(TypeError, match=r"jet\.to: expected a floating dtype"):
        a.to(torch.int64)


def test_dtypes_of_coefficients_do_not_spread():
    a = cc.jet(phi, points(3, 2), 2).to(torch.float32)
    c = torch.tensor(2.0, dtype=F64)
    for found in (a * c, c * a, a + c, a / c, c / a, a**c, c**a, a - np.float64(2)):
        assert found.components.dtype == torch.float32


def test_unsigned_coefficients():
    a = cc.jet(phi, points(3, 2), 2)
    assert_same(a - torch.tensor(2, dtype=torch.uint8), a - 2)
    assert_same(a ** torch.tensor(1, dtype=torch.uint8), a)


def test_without_gradients():
    x, net = points(3, 2), network(2, 1)
    with torch.inference_mode():
        a = cc.jet(net, x, 2)
        assert not (a * a + 1).components.requires_grad


@pytest.mark.parametrize("order,backend", [("laplacian", "aot_eager"), (3, "eager")])
def test_under_compile(order, backend):
    """One graph. cc.jet by autograd is a break in it, so jets come from outside."""
    x, c = points(6, 2), torch.tensor(0.7, dtype=F64, requires_grad=True)
    u = cc.jet(phi, x, order).detach()
    components = cc.jet(network(2, 2), x, order).components.detach().requires_grad_()

    def combined(u, components, x, c):
        v = Jet(components, order, None, 2)
        w = c * u * v + cc.jets.sin(v) / u - (c - v) ** 2 + (u - c) * 2.0 + u / c + c / u + c**u
        jets = [w, u, cc.jets.coordinate(x, 0, order), cc.jets.constant(c, u)]
        return cc.jets.cat(jets).truncate(1 if order == "laplacian" else "grad_laplacian")

    torch._dynamo.reset()
    compiled = torch.compile(combined, fullgraph=True, backend=backend)
    expected, found = (f(u, components, x, c) for f in (combined, compiled))
    assert_same(found, expected)
    losses = [jet.components.square().mean() for jet in (found, expected)]
    gradients = [torch.autograd.grad(loss, (components, c)) for loss in losses]
    for g, h in zip(*gradients, strict=True):
        torch.testing.assert_close(g, h)


def test_many_inputs():
    x = points(2, 10)
    for order in (2, "grad_laplacian"):
        found = cc.jet(phi, x, order) * cc.jet(phi, x, order)
        assert_same(found, cc.jet(lambda x: phi(x) ** 2, x, order))


X = torch.zeros(3, 2, dtype=F64)
U = cc.jets.coordinate(X, 0, 2)
OTHER_WRT = cc.jets.coordinate(X, 0, 2, wrt=(1, 0))
TWO, THREE = cc.jets.cat([U, U]), cc.jets.cat([U, U, U])


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: U * OTHER_WRT, r"jet \* jet: expected jets of equal wrt, got \(0, 1\) and \(1, 0"),
        (lambda: U + cc.jets.coordinate(X[:2], 0, 2), "equally many points, got 3 and 2"),
        (lambda: U + cc.jets.coordinate(X[:1], 0, 2), "equally many points, got 3 and 1"),
        (lambda: U - cc.jets.coordinate(X[:, :1], 0, 2), "equally many inputs, got 2 and 1"),
        (lambda: U / U.to(torch.float32), r"equal dtype.*Convert one with jet\.to\(torch\.float64"),
        (lambda: U / U.to("meta"), r"on one device.*Move one with jet\.to\('cpu'\)"),
        (lambda: TWO * THREE, r"equal numbers of outputs, or one output, got 2 and 3"),
        (lambda: U * X[:, :1], r"jet \* other: .*cc\.jets\.constant\(tensor, like=jet\)"),
        (lambda: X[:, :1] * U, r"jet \* other: .*cc\.jet\(function, x, order\)"),
        (lambda: torch.ones(1) - U, r"other - jet: expected a jet, a number or a 0-dim"),
        (lambda: U ** torch.ones(1), r"jet \*\* other: expected a jet, a number or a 0-dim"),
        (lambda: torch.ones(1) / U, "other / jet: expected a jet, a number or a 0-dim"),
        (lambda: U + torch.tensor(True), r"jet \+ other: expected a real number"),
        (lambda: U + torch.tensor(1j), r"jet \+ other: expected a real number"),
        (lambda: U * float("nan"), r"jet \* other: expected a finite number"),
        (lambda: np.float64("inf") - U, "other - jet: expected a finite number"),
        (lambda: U ** float("inf"), r"jet \*\* other: expected a finite number"),
        (lambda: U / 0, "jet / other: expected a number other than 0"),
        (lambda: (-2.0) ** U, r"other \*\* jet: expected a base > 0"),
        (lambda: U + "1", "unsupported operand"),
        (lambda: True * U, "unsupported operand"),
        (lambda: U - None, "unsupported operand"),
        (lambda: 1j * U, "unsupported operand"),
        (lambda: U / [1.0], "unsupported operand"),
        (lambda: np.ones(3) * U, "unsupported operand"),
        (lambda: U * np.ones((3, 1)), "does not support ufuncs"),
        (lambda: torch.sin(U), "torch.sin|no implementation found"),
        (lambda: U.truncate(3), r"order: expected one up to the jet's own, 2, got 3\. Ask for"),
        (lambda: U.truncate("all"), "order: expected one of 0, 1, 'laplacian'"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("order", [1, "laplacian", 2, "grad_laplacian", 3])
def test_derivative_of_a_jet(order, n):
    torch.manual_seed(0)
    net = cc.nn.MLP(n, 2, hidden_features=8, hidden_layers=2, dtype=torch.float64)
    x = torch.randn(5, n, dtype=torch.float64)
    u = cc.jet(net, x, order=order)
    full = cc.jet(net, x, order=3)
    for i in range(n):
        found = u.differentiate(i)
        torch.testing.assert_close(found.value, full.d(i))
        if found.order != 0:
            torch.testing.assert_close(found.grad, full.hess[:, :, i])
        if found.layout.has_laplacian:
            torch.testing.assert_close(found.laplacian, full.grad_laplacian[:, :, i])
        if found.order == 2:
            torch.testing.assert_close(found.hess, full.third[:, :, i])


def test_derivative_of_a_jet_refuses():
    net = cc.nn.MLP(2, 1, hidden_features=8, hidden_layers=2)
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match="order"):
        cc.jet(net, x, order=0).differentiate(0)
    with pytest.raises(ValueError, match="wrt"):
        cc.jet(net, x, order=2, wrt=(1,)).differentiate(0)
