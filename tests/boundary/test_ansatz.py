"""cc.boundary.Ansatz as a field and a module: jets, inputs beside the plane's, data, what is kept,
transforms, refusals."""

from __future__ import annotations

import copy
import gc
import pickle

import colloc as cc
import pytest
import torch
from boundary.domains import network
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin
from colloc.jets.autograd import autograd_components

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))
LEFT, REST = SQUARE.boundary["left"], SQUARE.boundary - "left"


def polynomial(x):
    return x[:, :1] ** 2 - 0.5 * x[:, 1:2] + 0.2


CASES = {
    "dirichlet": lambda: [Dirichlet(SQUARE.boundary, polynomial)],
    "dirichlets": lambda: [Dirichlet(LEFT, polynomial), Dirichlet(REST, lambda x: polynomial(x))],
    "neumann": lambda: [Neumann(SQUARE.boundary, 0.3)],
    "robin": lambda: [Robin(LEFT, 0.7, polynomial), Robin(REST, polynomial, -0.2)],
    "mixed": lambda: [Dirichlet(LEFT, polynomial), Robin(REST, 0.4, polynomial)],
}


def inside(count, inputs=2):
    return 1.6 * torch.rand(count, inputs, dtype=F64) - 0.8


def close(found, expected, tolerance=1e-10):
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


# ---- jets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [False, True], ids=["N", "N and N2"])
@pytest.mark.parametrize("case", CASES)
def test_jets_against_nested_autograd(case, second):
    net = network(2 if second else 1, 1.0, 0.0)
    field = Ansatz(net, CASES[case](), outputs=1)
    x = inside(9)
    # A normal derivative uses one order up: phi's third derivatives are the last.
    orders = (0, "laplacian", 2, 3) if case.startswith("dirichlet") else (0, "laplacian", 2)
    for order in orders:
        found = cc.jet(field, x, order)
        expected = autograd_components(
            field, x, 2 if order in ("grad_laplacian", 3) else order, (0, 1)
        )
        given = found.truncate(2) if order in ("grad_laplacian", 3) else found
        if order == 0:
            close(found.value, field(x))
        close(given.components, expected.detach(), 1e-9)
    if case.startswith("dirichlet"):  # a third derivative by a difference of the second ones
        step = torch.tensor([1e-5, 0.0], dtype=F64)
        difference = (cc.jet(field, x + step, 2).hess - cc.jet(field, x - step, 2).hess) / 2e-5
        close(cc.jet(field, x, 3).third[..., 0], difference.detach(), 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_the_weights(case):
    net = network(1, 1.0, 0.0)
    field = Ansatz(net, CASES[case]())
    x = inside(8)
    parameters = list(net.parameters())

    def loss(components):
        factors = torch.linspace(-1, 2, components.numel(), dtype=F64).view(components.shape)
        return (components * factors).sum() + components.square().sum()

    parameters = [p for p in parameters if p.requires_grad]
    found = torch.autograd.grad(loss(cc.jet(field, x, "laplacian").components), parameters)
    expected = torch.autograd.grad(
        loss(autograd_components(field, x, "laplacian", (0, 1))), parameters
    )
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_the_points(case):
    field = Ansatz(network(1, 1.0, 0.0), CASES[case]())
    x = inside(2).requires_grad_()
    dirichlet = case.startswith("dirichlet")
    for order in (0, "laplacian", 2) if dirichlet else (0, 1):
        assert torch.autograd.gradcheck(lambda at, o=order: cc.jet(field, at, o).components, x)
    if not dirichlet:
        with pytest.raises((ValueError, RuntimeError), match="order: expected an order up to 2"):
            torch.autograd.grad(cc.jet(field, x, "laplacian").components.sum(), x)


def test_orders_that_would_need_fourth_derivatives_are_refused():
    field = Ansatz(network(1, 1.0, 0.0), CASES["neumann"]())
    for order in ("grad_laplacian", 3):
        with pytest.raises(ValueError, match="order: expected an order up to 2") as info:
            cc.jet(field, inside(3), order)
        assert "Neumann or Robin" in str(info.value) and "fourth" in str(info.value)


def test_a_network_that_is_a_function():
    field = Ansatz(lambda x: torch.sin(x[:, :1]) * x[:, 1:2], CASES["mixed"]())
    x = inside(6)
    close(
        cc.jet(field, x, "laplacian").components, autograd_components(field, x, "laplacian", (0, 1))
    )


# ---- other inputs -------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [(0, 1), (1, 2), (2, 0)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_time_and_parameters(case, space):
    def data(x):
        return x[:, space[0] : space[0] + 1] ** 2 - x[:, 3:4]

    conditions = {
        "dirichlet": [Dirichlet(SQUARE.boundary, data)],
        "dirichlets": [Dirichlet(LEFT, data), Dirichlet(REST, lambda x: data(x))],
        "neumann": [Neumann(SQUARE.boundary, data)],
        "robin": [Robin(LEFT, 0.7, data), Robin(REST, data, -0.2)],
        "mixed": [Dirichlet(LEFT, data), Robin(REST, 0.4, data)],
    }[case]
    net = network(1, 1.0, 0.0, inputs=4)
    field = Ansatz(net, conditions, space=space)
    x = inside(3, 4)
    other = next(i for i in range(3) if i not in space)
    sets = [None, space, (*space, other), (3, space[1], space[0])]
    if case.startswith("dirichlet"):
        sets += [(other,), (space[1],), (3, space[0])]
    for wrt in sets:
        for order in (1, "laplacian") if wrt is None else ("laplacian",):
            listed = tuple(range(4)) if wrt is None else wrt
            found = cc.jet(field, x, order, wrt).components
            close(found, autograd_components(field, x, order, listed).detach(), 1e-9)
    # on the boundary
    points = SQUARE.boundary.sample(40, seed=1, method="uniform", dtype=F64)
    x = torch.rand(40, 4, dtype=F64)
    x[:, list(space)] = points.x
    jet = cc.jet(field, x, 1, (*space, other), piece=points.piece)
    assert torch.isfinite(jet.components).all()
    if case == "dirichlet":
        assert (jet.value - data(x)).abs().max() < 1e-11
    if case == "neumann":
        slope = (jet.grad[:, 0, :2] * points.normal).sum(1, keepdim=True)
        assert (slope - data(x)).abs().max() < 1e-8


def test_a_normal_derivative_needs_both_coordinates():
    field = Ansatz(network(1, 1.0, 0.0), CASES["neumann"]())
    with pytest.raises(ValueError, match="wrt: expected the plane's coordinates"):
        cc.jet(field, inside(3), 1, (0,))


# ---- data ---------------------------------------------------------------------------------------


def test_trainable_data_gets_gradients():
    g = torch.nn.Parameter(torch.tensor(0.4, dtype=F64))
    c = torch.nn.Parameter(torch.tensor(0.3, dtype=F64))
    teacher = network(1, 1.0, 0.0)
    conditions = [Dirichlet(LEFT, g), Robin(REST, c, teacher)]
    field = Ansatz(network(1, 1.0, 0.0), conditions)
    names = dict(field.named_parameters())
    assert any(p is g for p in names.values()) and any(p is c for p in names.values())
    x = inside(7)
    inputs = [g, c, *(p for p in teacher.parameters() if p.requires_grad)]
    for _ in range(2):
        found = torch.autograd.grad(cc.jet(field, x, 1).components.square().sum(), inputs)
        expected = torch.autograd.grad(
            autograd_components(field, x, 1, (0, 1)).square().sum(), inputs
        )
        for one, other in zip(found, expected, strict=True):
            close(one, other, 1e-9)
            assert one.abs().max() > 0
        with torch.no_grad():
            g.add_(1.0)
    points = LEFT.sample(9, dtype=F64)
    close(field(points.x, points.piece).detach(), torch.full((9, 1), 2.4, dtype=F64), 1e-11)


def test_a_tensor_that_is_written_to():
    data = torch.tensor([1.0], dtype=F64)
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(SQUARE.boundary, data)])
    points = SQUARE.boundary.sample(5, dtype=F64)
    for value in (1.0, 3.0):
        data.fill_(value)
        assert (field(points.x, points.piece) == value).all()
    assert "conditions.0.g.data" in field.state_dict()


def test_a_function_of_a_trainable_tensor_gets_gradients():
    """A plain function may use parameters of its own."""
    a = torch.nn.Parameter(torch.tensor(0.7, dtype=F64))
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(SQUARE.boundary, lambda x: a * x[:, :1])])
    x = inside(5)
    for _ in range(2):
        jet = cc.jet(field, x, 1)
        expected = autograd_components(field, x, 1, (0, 1))
        close(jet.components, expected)
        (found,) = torch.autograd.grad(jet.components.square().sum(), a)
        (wanted,) = torch.autograd.grad(expected.square().sum(), a)
        close(found, wanted)
        with torch.no_grad():
            a.add_(1.0)


# ---- what is kept -------------------------------------------------------------------------------


def counted(calls):
    def g(x):
        calls.append(len(x))
        return polynomial(x)

    return g


def test_points_are_evaluated_once_and_changes_are_noticed():
    calls = []
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(SQUARE.boundary, counted(calls))])
    x = inside(6)
    first = cc.jet(field, x, 2).components
    evaluated = len(calls)
    assert evaluated > 0
    assert torch.equal(cc.jet(field, x, 2).components, first) and len(calls) == evaluated
    # In place: noticed.
    x.mul_(0.5)
    fresh = Ansatz(field.net, [Dirichlet(SQUARE.boundary, polynomial)])
    close(cc.jet(field, x, 2).components, cc.jet(fresh, x, 2).components)
    assert len(calls) > evaluated
    # Another tensor, maybe at the same address, another order, other inputs: noticed.
    for _ in range(4):
        y = inside(6)
        close(
            cc.jet(field, y, "laplacian").components,
            cc.jet(fresh, y.clone(), "laplacian").components,
        )
        close(field(y), fresh(y.clone()))
        close(cc.jet(field, y, 1, (1,)).components, cc.jet(fresh, y.clone(), 1, (1,)).components)
        del y
        gc.collect()


def test_pieces_that_are_written_to_are_noticed():
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(SQUARE.boundary, 0.0)])
    x = inside(3)
    ids = torch.tensor([-1, -1, -1])
    assert (field(x, ids) != 0).all()
    ids[1] = 2
    assert (field(x, ids)[:, 0] == 0).tolist() == [False, True, False]
    assert (field(x) != 0).all()


def test_what_is_kept_serves_training_after_inference():
    field = Ansatz(network(1, 1.0, 0.0), CASES["mixed"]())
    x = inside(5)
    with torch.inference_mode():
        expected = cc.jet(field, x, "laplacian").components.clone()
    with torch.no_grad():
        close(cc.jet(field, x, "laplacian").components, expected.clone())
    jet = cc.jet(field, x, "laplacian")
    jet.laplacian.square().sum().backward()
    close(jet.components.detach(), expected.clone())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in field.parameters())


def test_points_that_require_grad_later():
    field = Ansatz(network(1, 1.0, 0.0), CASES["mixed"]())
    x = inside(5)
    before = cc.jet(field, x, 1).components
    x.requires_grad_()
    jet = cc.jet(field, x, 1).components
    close(jet, before)
    (slope,) = torch.autograd.grad(jet[0].sum(), x)
    close(slope, jet[1:3, :, 0].T.detach(), 1e-9)


def test_copies_pickles_and_state():
    value = torch.nn.Parameter(torch.tensor(0.2, dtype=F64))
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(LEFT, value), Neumann(REST, 0.1)])
    x = inside(5)
    expected = cc.jet(field, x, 1).components
    for other in (copy.deepcopy(field), pickle.loads(pickle.dumps(field)), copy.copy(field)):
        close(cc.jet(other, x, 1).components, expected)
    other = copy.deepcopy(field)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    # the copy's data is its own, and what it uses
    points = LEFT.sample(4, dtype=F64)
    close(other(points.x, points.piece).detach(), torch.full((4, 1), 0.3, dtype=F64))
    close(cc.jet(field, x, 1).components, expected)
    other.load_state_dict(field.state_dict())
    close(cc.jet(other, x, 1).components, expected)
    single = copy.deepcopy(field).float()
    assert cc.jet(single, x.float(), 1).components.dtype == torch.float32
    close(cc.jet(single, x.float(), 1).components.double(), expected, 1e-4)


# ---- compiling and transforms -------------------------------------------------------------------


def test_compiled():
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(LEFT, 0.5), Robin(REST, 0.2, 0.1)])
    x = inside(6)
    parameters = [p for p in field.parameters() if p.requires_grad]

    def loss(at):
        u = cc.jet(field, at, "laplacian")
        return (u.laplacian + u.value).square().mean()

    expected = torch.autograd.grad(loss(x), parameters)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    close(compiled(x), loss(x))
    for one, other in zip(torch.autograd.grad(compiled(x), parameters), expected, strict=True):
        close(one, other)


def test_compiled_with_functions_as_data():
    field = Ansatz(
        network(1, 1.0, 0.0),
        [Dirichlet(LEFT, polynomial), Robin(REST, 0.2, lambda x: x.sin()[:, :1])],
    )
    x = inside(6)
    parameters = [p for p in field.parameters() if p.requires_grad]

    def loss(at):
        u = cc.jet(field, at, 1)
        return (u.grad.square().sum(2) + u.value).square().mean()

    expected = torch.autograd.grad(loss(x), parameters)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x), parameters)
    for one, other in zip(found, expected, strict=True):
        close(one, other)


@pytest.mark.parametrize("case", ["dirichlet", "mixed"])
def test_functional_transforms_of_the_weights(case):
    data = [Dirichlet(SQUARE.boundary, 0.5)] if case == "dirichlet" else CASES["mixed"]()
    field = Ansatz(network(1, 1.0, 0.0), data)
    x = inside(5)
    weights = {k: p.detach() for k, p in field.named_parameters()}

    names = [k for k, p in field.named_parameters() if p.requires_grad]
    expected = torch.autograd.grad(field(x).square().sum(), [field.get_parameter(k) for k in names])
    fresh = inside(5)
    for points in (x, fresh):  # kept before, or first seen inside a transform

        def loss(values, points=points):
            return torch.func.functional_call(field, values, (points,)).square().sum()

        found = torch.func.grad(loss)(weights)
        if points is x:
            for name, one in zip(names, expected, strict=True):
                close(found[name], one)
        again = torch.func.grad(loss)(weights)
        for name in names:
            close(again[name], found[name], 0)
        close(field(points), Ansatz(field.net, data)(points.clone()))
        torch.func.jvp(loss, (weights,), (weights,))
        close(field(points), Ansatz(field.net, data)(points.clone()))
    per_point = torch.func.vmap(
        lambda p: torch.func.grad(
            lambda w: torch.func.functional_call(field, w, (p[None],)).sum()
        )(weights)["net.layers.0.weight" if "net.layers.0.weight" in weights else names[0]]
    )(x)  # fmt: skip
    assert per_point.shape[0] == 5 and torch.isfinite(per_point).all()


def test_autocast():
    field = Ansatz(network(1, 1.0, 0.0, dtype=torch.float32), [Dirichlet(LEFT, 0.5), Neumann(REST)])
    x = inside(7).float()
    expected = field(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = field(x)
        value = cc.jet(Ansatz(field.net, [Dirichlet(LEFT, 0.5)]), x, 1)
    assert (found.float() - expected).abs().max() < 0.05
    assert torch.isfinite(value.components).all()


def test_counts():
    for conditions in CASES.values():
        field = Ansatz(network(1, 1.0, 0.0), conditions())
        x = inside(9)
        for count in (0, 1):
            jet = cc.jet(field, x[:count], 1)
            assert jet.value.shape == (count, 1)
            close(jet.components, cc.jet(field, x, 1).components[:, :count])
        turned = x.t().contiguous().t()
        close(cc.jet(field, turned, 1).components, cc.jet(field, x, 1).components)


def test_words():
    assert "left" in repr(Ansatz(network(1, 1.0, 0.0), CASES["mixed"]()))
