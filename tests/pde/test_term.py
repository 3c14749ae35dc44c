"""cc.Term and cc.pde.helmholtz."""

from __future__ import annotations

import math
import warnings

import colloc as cc
import pytest
import torch

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((0, 0), (1, 2))


def field(x):
    return x[:, :1] ** 2 + 3 * x[:, 1:]


def term(**changes):
    arguments = {
        "name": "t",
        "field": field,
        "points": SQUARE.sample(8, dtype=F64),
        "residual": lambda u, x: u.value - x[:, 1:],
        "order": 0,
    }
    return cc.Term(**{**arguments, **changes})


def test_rows_and_loss_by_hand():
    points = SQUARE.sample(8, dtype=F64)
    x = points.x
    rows = x[:, :1] ** 2 + 2 * x[:, 1:]
    torch.testing.assert_close(term()(), rows)
    torch.testing.assert_close(term().loss(), rows.square().mean())
    torch.testing.assert_close(term(points=x).loss(), rows.square().mean())
    torch.testing.assert_close(term(weight=3.0).loss(), 3 * rows.square().mean())
    w = torch.rand(8, 1, dtype=F64)
    torch.testing.assert_close(term(weight=w).loss(), (w * rows**2).mean())
    found = term(weight=lambda p: p.distance).loss()
    torch.testing.assert_close(found, (points.distance * rows**2).mean())


def test_loss_is_weighted_by_area():
    points = SQUARE.sample(8, dtype=F64)
    measure = torch.rand(8, 1, dtype=F64)

    class Sample:
        x = points.x

    Sample.measure = measure
    rows = points.x[:, :1] ** 2 + 2 * points.x[:, 1:]
    expected = (measure * rows**2).sum() / measure.sum()
    torch.testing.assert_close(term(points=Sample()).loss(), expected)


def test_several_columns_are_averaged():
    several = term(residual=lambda u, x: torch.cat([u.value, 2 * u.value, x], 1))
    rows = several()
    assert rows.shape == (8, 4)
    torch.testing.assert_close(several.loss(), rows.square().mean())


def test_loss_estimates_the_mean_over_the_domain():
    # mean of (x^2)^2 over [0, 1] is 1/5
    found = term(points=SQUARE.sample(20_000, dtype=F64), residual=lambda u, x: x[:, :1] ** 2)
    assert found.loss().item() == pytest.approx(0.2, rel=1e-3)


def test_reduce_gives_integral_rows():
    # flux of u = 1 through the wall of a 1 x 2 rectangle, which should be 5: it is 6
    wall = SQUARE.boundary.sample(60, dtype=F64)
    flux = cc.Term(
        "flux",
        lambda x: torch.ones(len(x), 1, dtype=F64),
        wall,
        lambda u, x: u.value,
        order=0,
        weight=2.0,
        reduce=lambda rows: (wall.measure * rows).sum(0, keepdim=True) - 5.0,
    )
    torch.testing.assert_close(flux(), torch.ones(1, 1, dtype=F64))
    torch.testing.assert_close(flux.loss(), torch.tensor(2.0, dtype=F64))


@pytest.mark.parametrize(
    ("residual", "order"),
    [
        (cc.pde.poisson(1.0), "laplacian"),
        (cc.pde.poisson(1.0, first_order=True), 1),
        (cc.pde.gradient_enhanced(cc.pde.poisson(1.0)), "grad_laplacian"),
        (lambda u, x: u.laplacian, "laplacian"),
    ],
)
def test_the_order_is_the_residuals_own(residual, order):
    points = SQUARE.sample(8, dtype=F64)
    assert cc.Term("t", field, points, residual).order == order
    assert cc.Term("t", field, points, residual, None).order == order
    assert cc.Term("t", field, points, residual, 3).order == 3
    assert cc.Term("t", field, points, residual, "laplacian").order == "laplacian"


def test_an_order_that_means_something_else_is_refused():
    def residual(u, x):
        return u.value

    residual.order = 17
    with pytest.raises(ValueError, match=r"residual\.order: expected None or .* give the term an"):
        term(residual=residual, order=None)
    assert term(residual=residual, order=0)().shape == (8, 1)


def test_points_can_be_assigned():
    moving = term()
    moving.points = SQUARE.sample(5, 8, dtype=F64)
    assert moving().shape == (5, 1)
    with pytest.raises(TypeError, match="points: expected a sample with x"):
        moving.points = [[0.0, 0.0]]
    assert moving().shape == (5, 1)


def test_gradients_reach_the_weights():
    net = cc.nn.MLP(2, 1, 8, 2, "tanh", True, dtype=F64)
    inside = cc.Term("i", net, SQUARE.sample(16, dtype=F64), cc.pde.helmholtz(2.0))
    inside.loss().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in net.named_parameters()
               if n != "4.bias")  # fmt: skip


def test_a_square_of_rows_from_broadcasting_is_refused():
    for n in (2, 8, 100):
        wrong = term(points=SQUARE.sample(n, dtype=F64), residual=lambda u, x: u.value - x[:, 1])
        with pytest.raises(ValueError, match="were broadcast"):
            wrong()
    # as many true columns as points are fine
    fine = term(points=SQUARE.sample(2, dtype=F64), residual=lambda u, x: x)
    assert fine().shape == (2, 2)


def outputs(m):
    return lambda x: torch.cat([x[:, :1] ** (k + 1) + x[:, 1:] for k in range(m)], 1)


@pytest.mark.parametrize("n", [2, 4, 40])
def test_outputs_as_many_as_points(n):
    points = SQUARE.sample(n, dtype=F64)
    assert term(field=outputs(n), points=points, residual=lambda u, x: u.value)().shape == (n, n)
    with pytest.raises(ValueError, match="were broadcast"):
        term(field=outputs(n), points=points, residual=lambda u, x: u.value - x[:, 0])()
    # data of the points, which no other number of points fits
    data = torch.rand(n, n, dtype=F64)
    kept = term(field=outputs(n), points=points, residual=lambda u, x: u.value - data)
    assert kept().shape == (n, n)


def test_many_equations_pass_with_a_warning():
    def equations(u, x):
        return u.value * torch.arange(40, dtype=F64)

    many = term(points=SQUARE.sample(40, dtype=F64), residual=equations)
    with pytest.warns(UserWarning, match="as many columns as points"):
        assert many().shape == (40, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many()


def test_the_second_evaluation_is_made_once():
    calls = []

    def residual(u, x):
        calls.append(len(x))
        return torch.cat([u.value] * 4, 1)

    four = term(points=SQUARE.sample(4, dtype=F64), residual=residual)
    for _ in range(3):
        four()
    assert calls == [4, 5, 4, 4]


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_tensor_weights_are_checked_as_numbers_are(bad):
    weight = torch.ones(8, 1, dtype=F64)
    weight[3] = bad
    with pytest.raises(ValueError, match="weight: expected finite numbers >= 0"):
        term(weight=weight)
    with pytest.raises(ValueError, match=r"weight\(points\) of term 't': expected finite numbers"):
        term(weight=lambda p: weight).loss()


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"name": ""}, "name: expected a string that is not empty"),
        ({"name": 3}, "name: expected a string"),
        ({"field": 3}, "field: expected a module or callable"),
        ({"residual": 3}, "residual: expected a callable"),
        ({"reduce": 3}, "reduce: expected None or a callable"),
        ({"order": "x"}, "order: expected one of"),
        ({"weight": -1.0}, "weight: expected a number >= 0"),
        ({"weight": math.nan}, "weight: expected a finite number"),
        ({"weight": "heavy"}, "weight: expected a number"),
        ({"points": torch.zeros(3)}, "points: expected a floating tensor"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        term(**changes)


@pytest.mark.parametrize(
    "changes,message",
    [
        (
            {"residual": lambda u, x: x[:, 0]},
            "residual of term 't': expected .* Keep the last axis",
        ),
        ({"residual": lambda u, x: 1.0}, "residual of term 't': expected a floating tensor"),
        ({"residual": lambda u, x: x[:3]}, r"residual of term 't': expected .*\(8, q\)"),
        ({"weight": torch.ones(8, dtype=F64)}, r"weight of term 't': expected .*\(8, 1\)"),
        ({"weight": lambda p: 1.0}, r"weight\(points\) of term 't'"),
        ({"reduce": lambda rows: rows.sum(0)}, "Sum with keepdim=True"),
        ({"points": SQUARE.sample(0, dtype=F64)}, "points: expected at least one point"),
        ({"residual": lambda u, x: u.laplacian}, r"Ask for cc.jet\(net, x, order='laplacian'\)"),
    ],
)
def test_wrong_results(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        term(**changes).loss()


def test_weight_can_be_assigned():
    changed = term()
    before = changed.loss()
    changed.weight = 2
    torch.testing.assert_close(changed.loss(), 2 * before)
    with pytest.raises(ValueError, match="weight: expected a number >= 0"):
        changed.weight = -1
    torch.testing.assert_close(changed.loss(), 2 * before)


def test_residual_with_data_of_its_own():
    data = torch.ones(2, 2, dtype=F64)
    fits = term(points=SQUARE.sample(2, dtype=F64), residual=lambda u, x: x - data)
    assert fits().shape == (2, 2)


def test_measures_are_checked():
    class Sample:
        x = torch.zeros(2, 2)
        measure = torch.tensor([[1.0], [-1.0]])

    with pytest.raises(ValueError, match=r"points\.measure: expected finite shares >= 0"):
        term(points=Sample())


# ---- helmholtz ----------------------------------------------------------------------------


def test_residual_by_hand():
    x = torch.rand(6, 2, dtype=F64)
    jet = cc.jet(field, x, "laplacian")
    lap, u = torch.full((6, 1), 2.0, dtype=F64), field(x)
    for k, source, expected in (
        (1.0, None, lap + u),
        (3, 0.5, lap + 9 * u - 0.5),
        (2.0, lambda x: x[:, :1], lap + 4 * u - x[:, :1]),
    ):
        torch.testing.assert_close(cc.pde.helmholtz(k, source)(jet, x), expected)
    assert cc.pde.helmholtz().order == "laplacian"


def test_a_trainable_wave_number():
    k = torch.tensor(2.0, dtype=F64, requires_grad=True)
    x = torch.rand(6, 2, dtype=F64)
    cc.pde.helmholtz(k)(cc.jet(field, x, "laplacian"), x).sum().backward()
    torch.testing.assert_close(k.grad, (4 * field(x)).sum())


def test_a_trainable_source():
    source = torch.tensor(2.0, dtype=F64, requires_grad=True)
    x = torch.rand(6, 2, dtype=F64)
    cc.pde.helmholtz(1.0, source)(cc.jet(field, x, "laplacian"), x).sum().backward()
    assert source.grad.item() == -6.0


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda x: cc.pde.helmholtz(torch.tensor(math.nan)), "k: expected a finite number"),
        (lambda x: cc.pde.helmholtz(1.0, torch.tensor(math.inf)), "source: expected a finite"),
        (lambda x: cc.pde.helmholtz(1.0, torch.ones(3)), "source: expected a number or a floating"),
        (lambda x: cc.pde.helmholtz(math.inf), "k: expected a finite number"),
        (lambda x: cc.pde.helmholtz("k"), "k: expected a number"),
        (lambda x: cc.pde.helmholtz(torch.ones(3)), "k: expected a number or a floating tensor"),
        (lambda x: cc.pde.helmholtz(1.0, "f"), "source: expected a number"),
        (lambda x: cc.pde.helmholtz()(x, x), "jet: expected a Jet"),
        (
            lambda x: cc.pde.helmholtz(1.0, lambda x: x[:, 0])(cc.jet(field, x, "laplacian"), x),
            r"source\(x\): expected .* Keep the last axis",
        ),
        (
            lambda x: cc.pde.helmholtz(1.0, lambda x: x)(cc.jet(field, x, "laplacian"), x),
            r"source\(x\): expected a tensor of shape \(4, 1\)",
        ),
        (
            lambda x: cc.pde.helmholtz()(cc.jet(field, x, 1), x),
            r"jet\.laplacian: expected a jet of order 'laplacian'",
        ),
    ],
)
def test_helmholtz_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(torch.rand(4, 2, dtype=F64))
