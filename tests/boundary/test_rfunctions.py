"""R-functions of jets and tensors."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.boundary.rfunctions import conjunction, disjunction, equivalence, negation
from colloc.jets import ORDERS, coordinate

F64 = torch.float64
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "rfunctions.npz")
FAMILIES = {
    "alpha0": {"alpha": 0.0},
    "alpha0.5": {"alpha": 0.5},
    "alpha1": {"alpha": 1.0},
    "0s1": {"s": 1},
    "0s2": {"s": 2},
    "p2": {"p": 2},
    "p4": {"p": 4},
}
#: Those with formulas of their own, and further parameters.
MORE = {
    **{name: FAMILIES[name] for name in ("alpha0", "alpha0.5", "alpha1", "0s1", "p4")},
    "alpha-0.7": {"alpha": -0.7},
    "0s3": {"s": 3},
}
OPS = {"conj": conjunction, "disj": disjunction}
EVERY = {
    **{f"{o}_{k}": partial(OPS[o], **family) for o, (k, family) in product(OPS, MORE.items())},
    **{f"equivalence_{m}": partial(equivalence, m=m) for m in (1, 2, 3)},
}
every = pytest.mark.parametrize("name", EVERY)


def values(n=400):
    """Pairs of both signs and of very different sizes."""
    generator = torch.Generator().manual_seed(1)
    size = 10 ** (3 * torch.rand(n, 2, dtype=F64, generator=generator) - 2)
    return size * (1 - 2 * torch.randint(0, 2, (n, 2), generator=generator))


def fields(x):
    """Two functions of three inputs whose zeros are no planes."""
    return (
        torch.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:],
        x[:, 1:2] ** 2 - 0.4 + 0.5 * x[:, :1] * x[:, 2:],
    )


def jets(x, order, wrt=None):
    return tuple(cc.jet(lambda at, k=k: fields(at)[k], x, order, wrt) for k in (0, 1))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_golden_values(op, family):
    a, b = torch.from_numpy(GOLDEN["ab"]).unbind(1)
    wanted = torch.from_numpy(GOLDEN[f"{op}_{family}"])
    torch.testing.assert_close(OPS[op](a, b, **FAMILIES[family]), wanted, rtol=1e-13, atol=1e-13)


def test_default_family():
    a, b = values().unbind(1)
    for op in OPS.values():
        for same in ({"alpha": 0}, {"s": 0}, {"p": 2}):
            assert torch.equal(op(a, b), op(a, b, **same))


@every
def test_jets_are_those_of_nested_autograd(name):
    x = 2 * torch.rand(60, 3, dtype=F64) - 1
    for order, wrt in ((3, None), ("grad_laplacian", (2, 0)), (2, (1,))):
        found = EVERY[name](*jets(x, order, wrt))
        wanted = cc.jet(lambda at: EVERY[name](*fields(at)), x, order, wrt)
        assert found.order == order
        torch.testing.assert_close(found.components, wanted.components, rtol=1e-9, atol=1e-9)


@every
def test_every_order_is_a_part_of_the_highest(name):
    x = torch.rand(9, 3, dtype=F64)
    whole = EVERY[name](*jets(x, 3))
    for order in ORDERS:
        found = EVERY[name](*jets(x, order))
        torch.testing.assert_close(found.components, whole.truncate(order).components)


@every
def test_tensors_and_jets_have_the_same_values(name):
    a, b = values().T.unsqueeze(2)
    as_jets = [coordinate(torch.cat((a, b), 1), k, 2) for k in (0, 1)]
    torch.testing.assert_close(EVERY[name](*as_jets).value, EVERY[name](a, b), rtol=0, atol=0)
    torch.testing.assert_close(EVERY[name](b, a), EVERY[name](a, b))


@pytest.mark.parametrize("family", MORE)
def test_signs_and_duality(family):
    a, b = values().unbind(1)
    both, either = conjunction(a, b, **MORE[family]), disjunction(a, b, **MORE[family])
    assert torch.equal(both > 0, (a > 0) & (b > 0))
    assert torch.equal(either > 0, (a > 0) | (b > 0))
    opposite = negation(conjunction(negation(a), negation(b), **MORE[family]))
    torch.testing.assert_close(either, opposite, rtol=1e-14, atol=0)


@pytest.mark.parametrize("family", [k for k in MORE if "s" not in k])
def test_nothing_cancels_where_one_field_is_small(family):
    """Next to a = 0 the conjunction of a and b > 0 is a, to all digits."""
    a = torch.tensor([1e-30, -1e-30, 3e-200, -2e-17], dtype=F64)
    b = torch.full_like(a, 0.7)
    for one in (conjunction(a, b, **MORE[family]), -disjunction(-a, -b, **MORE[family])):
        torch.testing.assert_close(one, a, rtol=1e-14, atol=0)
    torch.testing.assert_close(equivalence(a, b), a, rtol=1e-14, atol=0)


@pytest.mark.parametrize("family", [k for k in MORE if "s" not in k])
def test_normalised(family):
    """On a = 0 < b the slope is that of a; R_p and the equivalence keep more."""
    x = torch.rand(20, 2, dtype=F64) + 0.1
    x[:, 0] = 0
    a, b = coordinate(x, 0, 3), coordinate(x, 1, 3)
    for found in (conjunction(a, b, **MORE[family]), -disjunction(-a, -b, **MORE[family])):
        torch.testing.assert_close(found.grad, a.grad, rtol=0, atol=1e-15)
    p = MORE[family].get("p", 0)
    found = conjunction(a, b, **MORE[family])
    if p > 2:
        assert not found.hess.any() and not found.third.any()
    for m in (2, 3):
        found = equivalence(a, b, m=m)
        assert torch.equal(found.grad, a.grad) and not found.hess.any()
        assert bool(found.third.any()) == (m == 2)


def test_smoothness_of_s():
    """R_0^s has s continuous derivatives at a = b = 0, all 0."""
    turn = torch.linspace(0, 2 * torch.pi, 40, dtype=F64)
    for s in (1, 2, 3):
        sizes = []
        for radius in (1e-3, 1e-5):
            x = radius * torch.stack((turn.cos(), turn.sin()), 1)
            found = conjunction(coordinate(x, 0, 3), coordinate(x, 1, 3), s=s)
            degrees = (found.grad, found.hess, found.third)
            sizes.append([float(d.abs().max()) for d in degrees])
        for degree, (far, near) in enumerate(zip(*sizes, strict=True), 1):
            assert near / far == pytest.approx(10 ** (-2 * (s + 1 - degree)), rel=1e-3)


@every
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_corner(name, dtype):
    """At and next to a = b = 0 all is finite, and the slopes are the limits along a = b > 0."""
    near = [0.0, 1e-40, -1e-40, 1e-30, 1e-12, -1e-12, 1e-8]
    x = torch.tensor(list(product(near, near)), dtype=dtype, requires_grad=True)
    found = EVERY[name](coordinate(x, 0, 3), coordinate(x, 1, 3))
    assert bool(found.components.isfinite().all())
    found.components.sum().backward()
    # a true derivative of the third ones grows like 1 / size^3: it may leave float32
    sound = x.detach().abs().amax(1) == 0
    assert not bool(x.grad.isnan().any()) and bool(x.grad[sound].isfinite().all())
    assert found.value[0] == 0
    along = torch.full((1, 2), 1e-3, dtype=F64)
    limit = EVERY[name](coordinate(along, 0, 1), coordinate(along, 1, 1))
    wanted = limit.grad if "s" not in name.split("_")[1] else torch.zeros_like(limit.grad)
    torch.testing.assert_close(found.grad[:1], wanted.to(dtype), rtol=1e-6, atol=1e-12)
    assert not found.hess[0].any() and not found.third[0].any()


def test_kink_of_alpha_one():
    x = torch.tensor([[0.3, 0.3], [0.3, 0.4]], dtype=F64)
    found = conjunction(coordinate(x, 0, 2), coordinate(x, 1, 2), alpha=1)
    assert found.grad[:, 0].tolist() == [[0.5, 0.5], [1, 0]]


@every
def test_gradients(name):
    x = (2 * torch.rand(4, 3, dtype=F64) - 1).requires_grad_()

    def components(at):
        a, b = fields(at)
        return EVERY[name](*jets(at, 1)).components, EVERY[name](a, b)

    assert torch.autograd.gradcheck(components, (x,))


@every
def test_float32(name):
    x = torch.rand(200, 3, dtype=F64) + 0.2
    wanted = EVERY[name](*jets(x, 2)).components
    found = EVERY[name](*jets(x.float(), 2)).components
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_several_fields_and_outputs():
    a, b, c = torch.rand(3, 5, 1, dtype=F64)
    assert torch.equal(conjunction(a, b, c), conjunction(conjunction(a, b), c))
    torch.testing.assert_close(equivalence(a, b, c), (a**-2 + b**-2 + c**-2) ** -0.5)
    torch.testing.assert_close(equivalence(c, a, b, m=3), (a**-3 + b**-3 + c**-3) ** (-1 / 3))
    assert torch.equal(disjunction(a), a)
    x = torch.rand(5, 2, dtype=F64)
    one, two = coordinate(x, 0, 2), coordinate(x, 1, "laplacian")
    found = disjunction(cc.jets.cat([one, two]), two)
    assert found.order == "laplacian" and found.value.shape == (5, 2)
    torch.testing.assert_close(found[:, 0].components, disjunction(one, two).components)
    assert conjunction(one[:, 0], two).value.shape == (5, 1)


def test_compiles():
    x = torch.rand(7, 2, dtype=F64)

    def function(at):
        return conjunction(coordinate(at, 0, 2), coordinate(at, 1, 2), p=4).components

    torch.testing.assert_close(torch.compile(function, fullgraph=True, backend="eager")(x),
                               function(x))  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, j: conjunction(), TypeError, "conjunction: expected jets"),
        (lambda a, j: conjunction(a, j), TypeError, "not both"),
        (lambda a, j: disjunction(j, 1.0), TypeError, "disjunction"),
        (lambda a, j: equivalence(a.long(), a.long()), TypeError, "floating"),
        (lambda a, j: negation(1.0), TypeError, "negation"),
        (lambda a, j: conjunction(a, a[:, 0]), ValueError, "one shape"),
        (lambda a, j: conjunction(a, a.float()), ValueError, "one dtype"),
        (lambda a, j: conjunction(a, a, s=1, p=2), ValueError, "at most one of alpha, s and p"),
        (lambda a, j: conjunction(a, a, alpha=-1), ValueError, "alpha"),
        (lambda a, j: conjunction(a, a, alpha=1.1), ValueError, "alpha"),
        (lambda a, j: conjunction(a, a, s=-1), ValueError, "s: expected"),
        (lambda a, j: conjunction(a, a, s=0.5), TypeError, "s: expected"),
        (lambda a, j: conjunction(a, a, p=3), ValueError, "even"),
        (lambda a, j: equivalence(a, a, m=0), ValueError, "m: expected"),
        (lambda a, j: conjunction(j, coordinate(a, 0, 1, (1,))), ValueError, "equal wrt"),
    ],
)
def test_wrong_arguments(call, error, message):
    a = torch.rand(3, 2, dtype=F64)
    with pytest.raises(error, match=message):
        call(a, coordinate(a, 0, 1))
