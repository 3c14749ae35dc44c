"""Distance functions of solids, intervals and an initial time."""

from __future__ import annotations

import warnings

import colloc as cc
import pytest
import torch
from colloc.boundary.rfunctions import conjunction
from colloc.boundary.solid import half_space, initial_distance, solid_distance
from colloc.geometry import Ball, Box, Disk, Interval, Rectangle, TimeDomain
from colloc.jets import ORDERS

F64 = torch.float64
BOX = Box((-1, 0, 2), (1, 3, 2.5))
BALL = Ball((0.5, -1, 2), 0.7)
CUBE = Box((0, 0, 0), (2, 2, 2))
BITTEN = CUBE - Ball((2, 1, 1), 0.5)
DUCT = CUBE - Box((-1, 0.5, 0.6), (3, 1.4, 1.3))
SHAPES = {
    "interval": Interval(-1, 3),
    "box": BOX,
    "ball": BALL,
    "bitten": BITTEN,
    "duct": DUCT,
    "balls": Ball((0, 0, 0), 1) | Ball((1, 0.2, 0), 0.8),
    "lens": Ball((0, 0, 0), 1) & Ball((1, 0.2, 0), 0.8) & Box((-1, -0.4, -2), (1, 2, 2)),
    "nested": (CUBE | Ball((2, 2, 2), 1)) - (Ball((0, 0, 0), 0.6) | Box((1, 1, -1), (1.5, 1.5, 4))),
}
PARTS = {
    "interval, right": SHAPES["interval"].boundary["right"],
    "box, one face": BOX.boundary["y+"],
    "box, opposite faces": BOX.boundary["x-", "x+"],
    "box, a corner": BOX.boundary["x-", "y+", "z-"],
    "box, five faces": BOX.boundary.without("z+"),
    "box, all": BOX.boundary.part(range(6)),
    "ball": BALL.boundary["sphere"],
    "bitten, its hole": BITTEN.boundary["sphere"],
    "bitten, two faces": BITTEN.boundary["x+", "z-"],
    "bitten, face and hole": BITTEN.boundary["x+", "sphere"],
    "duct, its walls": DUCT.boundary.part([8, 9, 10, 11]),
    "lens, one cap": SHAPES["lens"].boundary.part(0),
    "time, walls": TimeDomain(BOX, 1, 2).lateral,
    "time, start": TimeDomain(Interval(0, 2), 1, 2).initial,
    "time, both": TimeDomain(BITTEN, 1, 2).boundary.without("x+"),
}
ALL = {**{name: shape.boundary for name, shape in SHAPES.items()}, **PARTS}
every = pytest.mark.parametrize("name", ALL)


def box_around(shape, margin=0.0):
    """Corners; a combination's own would need its volume."""
    leaves = getattr(shape, "_leaves", (shape,))
    corners = torch.tensor([leaf.bounds for leaf in leaves], dtype=F64)
    return corners[:, 0].amin(0) - margin, corners[:, 1].amax(0) + margin


def interior(part, n):
    """Points inside of the shape that a boundary belongs to."""
    whole = part._parent[0]
    shape = next(
        getattr(whole, name)
        for name in ("_interval", "_box", "_ball", "_solid", "_domain")
        if hasattr(whole, name)
    )
    lower, upper = box_around(shape)
    x = lower + (upper - lower) * torch.rand(40 * n, shape.dim, dtype=F64)
    return x[shape.inside(x)][:n]


@every
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_on_the_boundary(name, dtype):
    """0, with the slope 1 along the inner normal, at points that no lattice chose."""
    on = ALL[name].sample(400, method="uniform", seed=3, dtype=dtype)
    phi = solid_distance(ALL[name], on.x, 3)
    assert phi.value.shape == (400, 1)
    # Next to an edge the slope of a rounded point is off by about eps / distance.
    value, slope = (1e-12, 1e-10) if dtype == F64 else (1e-6, 1e-3)
    assert float(phi.value.abs().max()) < value
    assert float((phi.grad[:, 0] + on.normal).norm(dim=1).max()) < slope
    assert float((phi.grad[:, 0].norm(dim=1) - 1).abs().max()) < slope
    assert bool(phi.components.isfinite().all())


@every
def test_positive_inside(name):
    x = interior(ALL[name], 500)
    phi = solid_distance(ALL[name], x, 0).value
    assert float(phi.min()) > 0
    assert float(phi.max()) < 1.02 * float((x.amax(0) - x.amin(0)).norm())


@pytest.mark.parametrize("name", SHAPES)
def test_negative_outside_of_a_whole_boundary(name):
    shape = SHAPES[name]
    lower, upper = box_around(shape, 0.5)
    x = lower + (upper - lower) * torch.rand(500, shape.dim, dtype=F64)
    assert torch.equal(solid_distance(shape, x).value[:, 0] > 0, shape.inside(x))


@every
def test_finite_differences(name):
    x = interior(ALL[name], 60)
    phi = solid_distance(ALL[name], x, 2)
    step = 1e-6
    sound = phi.hess.abs().amax((1, 2, 3)) < 50  # away from edges
    assert int(sound.sum()) > 40
    for i in range(x.shape[1]):
        shift = torch.zeros_like(x)
        shift[:, i] = step
        up, down = (solid_distance(ALL[name], x + s * shift, 1) for s in (1, -1))
        slope, curvature = (getattr(up, a) - getattr(down, a) for a in ("value", "grad"))
        kwargs = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close((slope / 2 / step)[sound], phi.grad[sound, :, i], **kwargs)
        found = (curvature / 2 / step)[sound]
        torch.testing.assert_close(found, phi.hess[sound, :, i], **kwargs)


@pytest.mark.parametrize("order", ORDERS)
def test_orders_wrt_and_space(order):
    x = interior(ALL["nested"], 20)
    whole = solid_distance(SHAPES["nested"], x, 3)
    found = solid_distance(SHAPES["nested"], x, order)
    torch.testing.assert_close(found.components, whole.truncate(order).components)
    if order == 0:
        return
    # the inputs (time, z, x, y), differentiated by y and time
    more = torch.cat((torch.rand(20, 1, dtype=F64), x[:, [2, 0, 1]]), 1)
    found = solid_distance(SHAPES["nested"], more, order, wrt=(3, 0), space=(2, 3, 1))
    assert torch.equal(found.value, whole.value)
    torch.testing.assert_close(found.d(3), whole.d(1))
    assert not found.d(0).any()
    if order != 1:
        torch.testing.assert_close(found.laplacian, whole.d(1, 1))


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_edges_and_corners(dtype):
    """Finite, with no NaN in what follows from them."""
    steps = torch.tensor([0.0, 0.5, 1.0], dtype=dtype)
    x = torch.cartesian_prod(steps, steps, steps).requires_grad_()
    cube = Box((0, 0, 0), (1, 1, 1))
    for part in (cube, cube.boundary["x-", "y-", "z-"], cube - Ball((0, 0, 0), 0.5)):
        phi = solid_distance(part, x, 3)
        assert bool(phi.components.isfinite().all())
        (slope,) = torch.autograd.grad(phi.components.sum(), x)
        assert bool(slope.isfinite().all())
    on = solid_distance(cube, x).value[:, 0] == 0
    inner = ((x > 0) & (x < 1)).all(dim=1)
    assert torch.equal(on, ~inner)


@pytest.mark.parametrize("name", ["box", "bitten", "bitten, face and hole", "time, both"])
def test_differentiable_in_the_points(name):
    x = interior(ALL[name], 2).requires_grad_()

    def function(at):
        return solid_distance(ALL[name], at, 2).components

    assert torch.autograd.gradcheck(function, (x,), atol=1e-4, rtol=1e-4)


def test_exact_dirichlet_field_in_space():
    """g + phi N equals nested autograd of itself, and g on the boundary."""
    net = cc.nn.MLP(3, 2, hidden_features=12, hidden_layers=2, activation="tanh").double()

    def g(at):
        return torch.sin(at[:, :1]) * at[:, 1:2] + at[:, 2:]

    def field(at):
        return g(at) + solid_distance(BITTEN, at).value * net(at)

    x = interior(ALL["bitten"], 40)
    u = cc.jet(g, x, "laplacian") + solid_distance(BITTEN, x, "laplacian") * cc.jet(
        net, x, "laplacian"
    )
    wanted = cc.jet(field, x, "laplacian")
    torch.testing.assert_close(u.components, wanted.components, rtol=1e-9, atol=1e-9)
    parameters = list(net.parameters())
    found = torch.autograd.grad(u.laplacian.square().mean(), parameters)
    truth = torch.autograd.grad(wanted.laplacian.square().mean(), parameters)
    torch.testing.assert_close(found, truth, rtol=1e-8, atol=1e-8)
    on = BITTEN.boundary.sample(200, method="uniform", seed=1, dtype=F64).x
    torch.testing.assert_close(field(on), g(on).expand(-1, 2), rtol=0, atol=1e-12)
    assert float((u.value - g(x)).detach().abs().max()) > 1e-3


def test_half_space_and_initial_time():
    x = torch.rand(30, 4, dtype=F64)
    phi = half_space((0, 1, 0), (0, 3, 4), x, 1, space=(2, 0, 1))
    torch.testing.assert_close(phi.value[:, 0], 0.6 - 0.6 * x[:, 0] - 0.8 * x[:, 1])
    assert phi.grad.shape == (30, 1, 4)
    torch.testing.assert_close(phi.grad.norm(dim=2), torch.ones(30, 1, dtype=F64))
    cut = conjunction(solid_distance(CUBE, x), half_space((1, 1, 1), (1, 1, 1), x))
    assert torch.equal(cut.value[:, 0] > 0, x[:, :3].sum(1) < 3)
    t = initial_distance(0.25, x, 2)
    assert torch.equal(t.value[:, 0], x[:, 3] - 0.25)
    assert t.grad[:, 0].tolist() == [[0, 0, 0, 1]] * 30 and not t.hess.any()
    assert torch.equal(initial_distance(0.0, x, axis=1).value[:, 0], x[:, 1])


def test_coinciding_faces():
    cube = Box((0, 0, 0), (1, 1, 1))
    beside = Box((1, 0, 0), (2, 1, 1))
    x = torch.rand(5, 3, dtype=F64)
    with pytest.raises(ValueError, match="others touch from the other side"):
        solid_distance(cube | beside, x)
    flush = cube | Box((0.5, 0, 0), (2, 1, 1))
    with pytest.warns(UserWarning, match="coincide on the surface"):
        solid_distance(flush, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phi = solid_distance(flush, flush.boundary.sample(300, dtype=F64).x)  # told once
        solid_distance(cube | Box((3, 0, 0), (4, 1, 1)), x)
    assert not phi.value.any()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (SHAPES["balls"].boundary.part(0), "faces of operands that enclose"),
        (DUCT.boundary.part([8]), "faces of operands that enclose"),
        (SHAPES["nested"].boundary["x-"], "faces of operands that enclose"),
        (DUCT.boundary.part([6, 7]), "faces with area"),
    ],
)
def test_parts_that_are_not_supported(part, message):
    with pytest.raises(ValueError, match=message):
        solid_distance(part, torch.rand(3, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: solid_distance("box", x), TypeError, "part: expected an Interval"),
        (lambda x: solid_distance(Rectangle((0, 0), (1, 1)), x), TypeError, "boundary.distance"),
        (lambda x: solid_distance(Disk((0, 0), 1).boundary, x), TypeError, "boundary.distance"),
        (lambda x: solid_distance(BOX, x[:, :2]), ValueError, "at least 3 inputs"),
        (lambda x: solid_distance(BOX, x, 4), ValueError, "order"),
        (lambda x: solid_distance(BOX, x, 1, (3,)), ValueError, "wrt"),
        (lambda x: solid_distance(BOX, x, space=(0, 1)), ValueError, "3 different inputs"),
        (lambda x: solid_distance(BOX, x, space=2), TypeError, "space"),
        (lambda x: solid_distance(BOX, x, m=0), ValueError, "m: expected"),
        (lambda x: half_space((0, 0, 0), (0, 0, 0), x), ValueError, "other than 0"),
        (lambda x: half_space((0, 0), (0, 0, 1), x), ValueError, "point"),
        (lambda x: half_space((0, 0, 0, 0), (0, 0, 1, 1), x), ValueError, "at least 4"),
        (lambda x: half_space(0.0, 1.0, x), TypeError, "normal"),
        (lambda x: initial_distance(0.0, x, axis=3), ValueError, "axis"),
        (lambda x: initial_distance("now", x), TypeError, "start"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.rand(4, 3))


@pytest.mark.cuda
@every
def test_on_a_gpu(name):
    x = interior(ALL[name], 50)
    found = solid_distance(ALL[name], x.cuda(), 3).components
    wanted = solid_distance(ALL[name], x, 3).components
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-8, atol=1e-8)
