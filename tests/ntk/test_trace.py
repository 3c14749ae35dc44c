"""Traces and diagonals of the neural tangent kernel against Jacobians row by row."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from ntk.networks import F64, NETWORKS, mlp, unknown_twice
from reference.ntk import jacobian
from torch import nn

RESIDUALS = {
    "value": (lambda u, x: u.value, 0),
    "gradient": (lambda u, x: u.grad[:, 0], 1),
    "laplacian": (lambda u, x: u.laplacian + u.value**2 - x[:, :1], "laplacian"),
    "hessian": (lambda u, x: torch.cat((u.d(0, 1), u.d(0, 0) * u.value), 1), 2),
}


def points(count=7):
    return torch.rand(count, 2, **F64) * 2 - 1


def expected(field, x, residual, order, parameters=None):
    wanted = list(field.parameters() if parameters is None else parameters)
    j = jacobian(residual(cc.jet(field, x, order), x), wanted)
    return j, j.square().sum(1)


@pytest.mark.filterwarnings("ignore:colloc.jet. no kernel")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", RESIDUALS)
def test_diagonal_equals_the_jacobian(name, kind):
    torch.manual_seed(0)
    net, x = NETWORKS[name](), points()
    residual, order = RESIDUALS[kind]
    _, squares = expected(net, x, residual, order)
    found = cc.ntk.diagonal(net, x, residual, order)
    assert found.dtype == torch.float64 and not found.requires_grad
    torch.testing.assert_close(found.reshape(-1), squares, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(
        cc.ntk.trace(net, x, residual, order), squares.sum(), rtol=1e-10, atol=1e-14
    )


def test_every_instruction_set_and_both_ways(capability, monkeypatch):
    """The op for whole perceptrons, and layer by layer."""
    from colloc.ntk import _rows

    torch.manual_seed(0)
    x = points(300)
    for name in ("plain", "global", "neuron", "stan", "scale, no bias"):
        net = NETWORKS[name]()
        for residual, order in (RESIDUALS["value"], RESIDUALS["hessian"]):
            found = cc.ntk.diagonal(net, x, residual, order)
            monkeypatch.setattr(_rows, "squares", lambda *arguments: None)
            by_layers = cc.ntk.diagonal(net, x, residual, order)
            monkeypatch.undo()
            torch.testing.assert_close(found, by_layers, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("small", [0, 2])
@pytest.mark.parametrize("name", ["plain", "weight norm, slopes", "modified", "two networks"])
def test_gram_equals_the_jacobian(name, small, monkeypatch):
    """By products of rows, and by gradients that are written out."""
    from colloc.ntk import _pieces

    monkeypatch.setattr(_pieces, "_SMALL", small)
    torch.manual_seed(0)
    net, x, x2 = NETWORKS[name](), points(), points(3)
    (one, order), (two, order2) = RESIDUALS["hessian"], RESIDUALS["laplacian"]
    j, _ = expected(net, x, one, order)
    j2, _ = expected(net, x2, two, order2)
    found = cc.ntk.gram(net, x, one, order)
    torch.testing.assert_close(found, j @ j.t(), rtol=1e-10, atol=1e-12)
    crossed = cc.ntk.gram(net, x, one, order, x2=x2, residual2=two, order2=order2)
    torch.testing.assert_close(crossed, j @ j2.t(), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:colloc.jet. no kernel")
def test_gram_of_an_unknown_module():
    torch.manual_seed(0)
    net, x = NETWORKS["unknown"](), points()
    residual, order = RESIDUALS["laplacian"]
    j, _ = expected(net, x, residual, order)
    torch.testing.assert_close(cc.ntk.gram(net, x, residual, order), j @ j.t(), rtol=1e-10, atol=0)


def test_a_system_through_an_ansatz_on_its_boundary():
    torch.manual_seed(0)
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    net = mlp(outputs=1, kind="tanh")
    robin = cc.boundary.Robin(square.boundary, 2.0, lambda x: x[:, :1])
    field = cc.boundary.Ansatz(net, [robin])
    wall, inside = square.boundary.sample(9, **F64), square.sample(9, **F64)

    def flux(u, x):
        return torch.cat((u.value, (u.grad[:, 0] * wall.normal).sum(1, keepdim=True)), 1)

    for x, residual, order in (
        (wall.x, flux, 1),
        (inside.x, lambda u, x: u.laplacian * u.value, "laplacian"),
    ):
        _, squares = expected(field, x, residual, order)
        found = cc.ntk.diagonal(field, x, residual, order)
        torch.testing.assert_close(found.reshape(-1), squares, rtol=1e-9, atol=1e-13)


def test_navier_stokes_rows():
    torch.manual_seed(0)
    net, x = mlp(outputs=3, adaptive=True), points()
    equation = cc.pde.navier_stokes(0.01)
    _, squares = expected(net, x, equation, equation.order)
    found = cc.ntk.diagonal(net, x, equation, equation.order)
    assert found.shape == (7, 3)
    torch.testing.assert_close(found.reshape(-1), squares, rtol=1e-10, atol=1e-14)


def test_only_the_parameters_that_are_asked_for():
    torch.manual_seed(0)
    net, x = NETWORKS["layer"](), points()
    residual, order = RESIDUALS["laplacian"]
    for chosen in ([net[0].weight], [net[1].a, net[2].bias], [net[4].weight, net[4].bias]):
        _, squares = expected(net, x, residual, order, chosen)
        found = cc.ntk.trace(net, x, residual, order, parameters=iter(chosen))
        torch.testing.assert_close(found, squares.sum(), rtol=1e-10, atol=1e-14)
    net[0].requires_grad_(False)
    free = [p for p in net.parameters() if p.requires_grad]
    _, squares = expected(net, x, residual, order, free)
    torch.testing.assert_close(cc.ntk.trace(net, x, residual, order), squares.sum())
    net.requires_grad_(False)
    assert cc.ntk.trace(net, x, residual, order) == 0.0


def test_terms_are_scaled_as_their_losses():
    torch.manual_seed(0)
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    net = mlp(adaptive=True)
    inside, edge = square.sample(8, **F64), square.boundary.sample(8, **F64)
    flux = cc.pde.integral(edge, 2.0)
    terms = [
        cc.Term("laplacian", net, inside, lambda u, x: u.laplacian, weight=cc.pde.distance_weight),
        cc.Term("system", net, inside, lambda u, x: u.grad[:, 0] * u.value, 1, weight=3.0),
        cc.Term("plain", net, inside.x, lambda u, x: u.value, 0),
        cc.Term("flux", net, edge, lambda u, x: u.value, 0, reduce=flux),
    ]
    for term in terms:
        # The loss is a sum of squares c r^2: its Gauss-Newton trace is half its Hessian's
        # where r = 0, here by scaled rows.
        rows = term()
        scale = (term.shares(rows) / rows.shape[1]).sqrt()
        torch.testing.assert_close((scale * rows).square().sum(), term.loss())
        j = jacobian(scale * rows, list(net.parameters()))
        torch.testing.assert_close(cc.ntk.term_trace(term), j.square().sum(), rtol=1e-10, atol=0)


def test_stretches_of_points_add_up(monkeypatch):
    from colloc.ntk import _one_by_one, _rows

    torch.manual_seed(0)
    x = points(11)
    residual, order = RESIDUALS["hessian"]
    for name in ("global", "modified"):
        net = NETWORKS[name]()
        whole = cc.ntk.diagonal(net, x, residual, order)
        monkeypatch.setitem(_rows._CHUNK, "cpu", 6 * 16 * 3)
        torch.testing.assert_close(cc.ntk.diagonal(net, x, residual, order), whole)
        monkeypatch.undo()
    monkeypatch.setitem(_one_by_one._CHUNK, "cpu", 80)
    net = NETWORKS["plain"]()
    wanted = {id(p): p for p in net.parameters()}
    found = _one_by_one.jacobians(net, x, residual, order, wanted)
    squares = torch.cat([part.square().sum(2) for part in found])
    torch.testing.assert_close(squares, cc.ntk.diagonal(net, x, residual, order))


def test_float32_and_no_points():
    torch.manual_seed(0)
    net, x = NETWORKS["global"](), points()
    residual, order = RESIDUALS["laplacian"]
    wide = cc.ntk.trace(net, x, residual, order)
    narrow = cc.ntk.trace(net.float(), x.float(), residual, order)
    assert narrow.dtype == torch.float64 and math.isclose(wide, narrow, rel_tol=1e-5)
    assert cc.ntk.trace(net, x[:0].float(), residual, order) == 0.0
    assert cc.ntk.gram(net, x[:0].float(), residual, order).shape == (0, 0)


def test_inside_no_grad_and_autocast():
    torch.manual_seed(0)
    net, x = NETWORKS["weight norm"](), points()
    residual, order = RESIDUALS["laplacian"]
    known = cc.ntk.trace(net, x, residual, order)
    with torch.no_grad():
        assert cc.ntk.trace(net, x, residual, order) == known
    with torch.inference_mode():
        assert cc.ntk.trace(net, x + 0, residual, order) == known
        assert cc.ntk.gram(net, x + 0, residual, order).trace().isclose(known)
    with torch.autocast("cpu", torch.bfloat16):
        assert cc.ntk.trace(net, x, residual, order) == known
    assert all(p.grad is None for p in net.parameters())


def test_residuals_of_the_jet_alone():
    net, x = NETWORKS["plain"](), points()
    two = cc.ntk.trace(net, x, lambda u, x: u.laplacian)
    assert cc.ntk.trace(net, x, lambda u: u.laplacian) == two
    assert cc.ntk.trace(net, x, lambda u: u.laplacian[:, 0]) == two


def test_a_parameter_beside_the_network():
    """A field that scales its network by a parameter of its own goes by torch.func."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.factor = mlp(), nn.Parameter(torch.tensor(1.5, **F64))

        def field_jet(self, x, order, wrt, piece=None):
            return cc.jet(self.net, x, order, wrt) * self.factor

        def forward(self, x):
            return self.net(x) * self.factor

    torch.manual_seed(0)
    field, x = Scaled(), points()
    residual, order = RESIDUALS["laplacian"]
    _, squares = expected(field, x, residual, order)
    torch.testing.assert_close(cc.ntk.trace(field, x, residual, order), squares.sum())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"field": lambda x: x}, TypeError, "field: expected an nn.Module"),
        ({"x": torch.zeros(3, dtype=torch.float64)}, ValueError, "x: expected"),
        ({"residual": 3}, TypeError, "residual: expected a callable"),
        ({"residual": lambda u, x: u.laplacian.sum()}, ValueError, r"shape \(7,\) or \(7, q\)"),
        ({"residual": lambda u, x: 1.0}, TypeError, "floating tensor"),
        ({"order": 4}, ValueError, "order: expected one of"),
        ({"parameters": [torch.zeros(3)]}, ValueError, r"parameters\[0\]"),
        ({"parameters": torch.zeros(3)}, TypeError, "parameters"),
        ({"parameters": ["0.weight"]}, TypeError, r"parameters\[0\]"),
    ],
)
def test_wrong_arguments(change, error, text):
    arguments = {
        "field": NETWORKS["plain"](), "x": points(), "residual": lambda u, x: u.laplacian,
        "order": "laplacian", "parameters": None,
    } | change  # fmt: skip
    with pytest.raises(error, match=text):
        cc.ntk.trace(**arguments)


def test_hooks_of_parameters_change_nothing():
    torch.manual_seed(0)
    net, x = NETWORKS["weight norm"](), points()
    residual, order = RESIDUALS["laplacian"]
    known = cc.ntk.trace(net, x, residual, order)
    for parameter in net.parameters():
        parameter.register_hook(lambda g: 3 * g)
    torch.testing.assert_close(cc.ntk.trace(net, x, residual, order), known)


def test_options_of_a_residual_keep_their_defaults():
    net, x = NETWORKS["plain"](), points()
    known = cc.ntk.trace(net, x, lambda u: 2.0 * u.laplacian)
    assert cc.ntk.trace(net, x, lambda u, k=2.0: k * u.laplacian) == known
    assert cc.ntk.trace(net, x, lambda u, x=None: (2.0 + 0 * x[:, :1]) * u.laplacian) == known


def test_no_columns_and_low_precision():
    net, x = NETWORKS["plain"](), points()
    assert cc.ntk.diagonal(net, x, lambda u: u.value[:, :0], 0).shape == (7, 0)
    assert cc.ntk.trace(net, x, lambda u: u.value[:, :0], 0) == 0.0
    for call in (cc.ntk.trace, cc.ntk.gram):
        with pytest.raises(ValueError, match="x: expected points in float32 or float64"):
            call(net.bfloat16(), x.bfloat16(), lambda u: u.value, 0)


@pytest.mark.filterwarnings("ignore:colloc.jet. no kernel")
def test_torch_func_leaves_the_network_as_it_was():
    net, x = unknown_twice(), points()
    before = dict(net.named_parameters(remove_duplicate=False))
    cc.ntk.trace(net, x, lambda u: u.laplacian)
    after = dict(net.named_parameters(remove_duplicate=False))
    assert before.keys() == after.keys()
    for name, parameter in before.items():
        assert after[name] is parameter and type(parameter) is nn.Parameter


def test_the_residuals_own_order():
    net, x = mlp(), points()
    heat = cc.pde.heat(0.1)
    assert heat.order == 2
    known = cc.ntk.trace(net, x, heat, 2)
    assert cc.ntk.trace(net, x, heat) == known
    assert cc.ntk.gram(net, x, heat).trace().isclose(known)


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("hard", [False, True])
def test_layers_without_bias(missing, hard):
    torch.manual_seed(0)
    sizes = (2, 3, 3, 1)
    layers = [nn.Linear(sizes[k], sizes[k + 1], bias=k not in missing) for k in range(3)]
    net = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.SiLU(), layers[2]).double()
    field = net
    if hard:
        square = cc.geometry.Rectangle((-3, -3), (3, 3))
        field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(square.boundary, 0.0)])
    x = torch.randn(5, 2, dtype=torch.float64)
    for residual, order in ((lambda u: u.value, 0), (lambda u: u.laplacian, "laplacian")):
        found = cc.ntk.diagonal(field, x, residual, order)[:, 0]
        expected = cc.ntk.gram(field, x, residual, order).diagonal()
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        rows = []
        for point in x:
            value = residual(cc.jet(field, point[None], order)).sum()
            gradients = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
            rows.append(sum(g.square().sum() for g in gradients if g is not None))
        torch.testing.assert_close(found, torch.stack(rows), rtol=1e-10, atol=1e-12)


def test_modules_without_a_rule_empty_and_frozen():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            return torch.cos(self.a(x))

    field, x = Own(), torch.randn(4, 2)
    assert cc.ntk.gram(field, x[:0], lambda u: u.value[:, :1], 0).shape == (0, 0)
    frozen = field.requires_grad_(False)
    assert float(cc.ntk.trace(frozen, x, lambda u: u.value, 0)) == 0.0
    assert cc.ntk.diagonal(frozen, x, lambda u: u.value, 0).shape == (4, 3)
    assert torch.equal(cc.ntk.gram(frozen, x, lambda u: u.value, 0), torch.zeros(12, 12))
