"""cc.boundary.Ansatz on intervals, solids, their faces and functions of one's own: conditions are
met by untrained networks, jets equal nested autograd, nothing is NaN, refusals."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle

import colloc as cc
import pytest
import torch
from boundary.domains import PLACES as ALL_PLACES
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin, conjunction, half_space
from colloc.boundary import solid_distance as phi
from colloc.geometry import Ball, Box, Disk, Interval, Rectangle
from colloc.jets.autograd import autograd_components

F64, F32 = torch.float64, torch.float32
PLACES = [ALL_PLACES[k] for k in (1, 3, 5)]
KINDS = ("interval", "box", "ball", "union", "bitten", "lens", "pipe")


@functools.lru_cache(maxsize=64)
def solid(kind, scale=1.0, shift=0.0):
    """A shape of about the size ``scale`` near (shift, ..., shift), and two parts of its boundary,
    the second None where faces alone are not known."""

    def at(*x):
        return tuple(shift + scale * v for v in x)

    box, ball = Box(at(-1, -0.6, 0), at(1, 0.8, 1.4)), Ball(at(0.2, 0, 0.5), 0.9 * scale)
    if kind == "interval":
        shape = Interval(*at(-0.4, 1.1))
        return shape, [shape.boundary["left"], shape.boundary["right"]]
    if kind == "box":
        return box, [box.boundary["x-", "x+", "y-"], box.boundary["y+", "z-", "z+"]]
    if kind == "bitten":
        shape = box - Ball(at(1, 0, 0.7), 0.5 * scale)
        return shape, [shape.boundary["sphere"], shape.boundary - "sphere"]
    if kind == "pipe":
        shape = box - Box(at(-2, -0.2, 0.3), at(2, 0.3, 0.9))
        return shape, [shape.boundary.part(range(6)), shape.boundary.part([8, 9, 10, 11])]
    if kind == "lens":
        shape = ball & Ball(at(0.9, 0.1, 0.4), 0.8 * scale)
        return shape, [shape.boundary.part(0), shape.boundary.part(1)]
    shape = {"ball": ball, "union": ball | Ball(at(0.9, 0.1, 0.4), 0.6 * scale)}[kind]
    return shape, [shape.boundary, None]


def network(dim, outputs, scale=1.0, shift=0.0, dtype=F64):
    """An untrained network of x in units of the domain."""
    net = cc.nn.MLP(dim, outputs, 10, 2, "tanh", dtype=dtype)
    with torch.no_grad():
        first = next(m for m in net.modules() if isinstance(m, torch.nn.Linear))
        first.bias.copy_(0.3 * torch.randn_like(first.bias))
        first.weight /= scale
        first.bias -= shift * first.weight.sum(1)
    return net


def smooth(scale=1.0, shift=0.0, k=1.0):
    """Data with values of the size 1, in any dimension."""

    def values(x):
        u = (x - shift) / scale
        return torch.sin(k * u[:, :1] + 0.4) + 0.5 * u.square().sum(1, keepdim=True)

    return values


def sampled(part, scale=1.0, count=120, dtype=F64):
    """Points of a part away from edges, near which the curvature of phi grows."""
    points = part.sample(count, method="uniform", seed=1, dtype=dtype)
    curvature = phi(part._parent[0], points.x.double(), 2).hess.abs().amax((1, 2, 3))
    kept = curvature * scale < 30
    assert 2 * kept.sum() > count
    return points.x[kept], points.normal[kept], points.piece[kept]


def residual(field, x, normal, piece, c, h):
    """du/dn + c u - h and what its terms add up to."""
    jet = cc.jet(field, x, 1, tuple(range(normal.shape[1])), piece=piece)
    slope = (jet.grad * normal.unsqueeze(1)).sum(2)
    size = jet.grad.abs().sum(2) + (c * jet.value).abs() + h.abs()
    return slope + c * jet.value - h, size.clamp(min=size.mean().item()) + 1e-30


# ---- conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_dirichlet(kind):
    for dtype, (scale, shift) in itertools.product((F64, F32), PLACES):
        shape, _ = solid(kind, scale, shift)
        points = shape.boundary.sample(150, method="uniform", seed=2, dtype=dtype)
        g = smooth(scale, shift)
        field = Ansatz(network(shape.dim, 1, scale, shift, dtype), [Dirichlet(shape.boundary, g)])
        exact = field(points.x, points.piece)
        assert torch.equal(exact, g(points.x).to(dtype))  # phi is 0 with the pieces' numbers
        rounding = 32 * torch.finfo(dtype).eps * (points.x.abs().max().item() + scale)
        tolerance = 1e-11 if dtype == F64 else 1e-5
        assert (field(points.x) - g(points.x)).abs().max() <= tolerance + rounding
        away = shape.sample(50, dtype=dtype).x
        assert (field(away) - g(away)).abs().max() > 1e-3 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_robin_and_neumann(kind):
    single = solid(kind)[0]
    x, normal, piece = sampled(single.boundary, dtype=F32)
    field = Ansatz(network(single.dim, 1, dtype=F32), [Neumann(single.boundary, 0.5)])
    zero = torch.zeros(len(x), 1)
    error, size = residual(field, x, normal, piece, zero, zero + 0.5)
    assert (error.abs() <= 1e-4 * size).all()
    for scale, shift in PLACES[::2]:
        shape, _ = solid(kind, scale, shift)
        x, normal, piece = sampled(shape.boundary, scale)
        net = network(shape.dim, 2, scale, shift)
        c, h = smooth(scale, shift, 0.7), smooth(scale, shift, 2.0)
        for outputs in (1, 2):  # N2 given or not
            field = Ansatz(net, [Robin(shape.boundary, c, h)], outputs=outputs)
            for ids in (piece, None):
                error, size = residual(field, x, normal, ids, c(x), h(x))
                assert (error.abs() <= 1e-8 * size).all(), (scale, shift)
        error, size = residual(Ansatz(net, [Neumann(shape.boundary, h)]), x, normal, piece,
                               0 * h(x), h(x))  # fmt: skip
        assert (error.abs() <= 1e-8 * size).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("ball", "union")])
def test_parts(kind):
    """Two Dirichlet parts, two Robin parts, and one of each."""
    for scale, shift in PLACES[::2]:
        shape, (one, two) = solid(kind, scale, shift)
        net = network(shape.dim, 2, scale, shift)
        g, c, h = (smooth(scale, shift, k) for k in (0.5, 1.0, 2.0))
        (x1, n1, id1), (x2, n2, id2) = sampled(one, scale), sampled(two, scale)
        values = Ansatz(net, [Dirichlet(one, g), Dirichlet(two, h)], outputs=1)
        slopes = Ansatz(net, [Robin(one, c, h), Robin(two, h, g)], outputs=1)
        mixed = Ansatz(net, [Robin(two, c, h), Dirichlet(one, g)], outputs=1)
        noise = 64 * 2.0**-52 * (abs(shift) / scale + 1)
        for with_ids in (True, False):
            ids1, ids2 = (id1, id2) if with_ids else (None, None)
            # Beside an edge weights are as sharp as 1 / distance.
            assert (values(x1, ids1) - g(x1)).abs().max() <= 1e-11 + 1e6 * noise**2
            assert (values(x2, ids2) - h(x2)).abs().max() <= 1e-11 + 1e6 * noise**2
            slack = 0 if with_ids else noise * 1e4 * max(1, scale)
            assert (mixed(x1, ids1) - g(x1)).abs().max() <= 1e-11 + slack
            for error, size in (
                residual(slopes, x1, n1, ids1, c(x1), h(x1)),
                residual(slopes, x2, n2, ids2, h(x2), g(x2)),
                residual(mixed, x2, n2, ids2, c(x2), h(x2)),
            ):
                assert (error.abs() <= 1e-8 * size).all(), (scale, shift, with_ids)


def test_each_component_has_its_own_conditions():
    shape, (one, two) = solid("box")
    net = network(3, 4)
    field = Ansatz(
        net,
        [
            Dirichlet(shape.boundary, torch.tensor([1.0, -2.0]), components=[2, 0]),
            Neumann(one, 0.3, components=1),
            Dirichlet(two, 0.25, components=1),
        ],
    )
    x, normal, piece = sampled(shape.boundary)
    jet = cc.jet(field, x, 1, piece=piece)
    assert (jet.value[:, 2] == 1).all() and (jet.value[:, 0] == -2).all()
    first = piece < 3
    assert (jet.value[~first, 1] - 0.25).abs().max() < 1e-11
    assert ((jet.grad[first, 1] * normal[first]).sum(1) - 0.3).abs().max() < 1e-8
    torch.testing.assert_close(jet.value[:, 3], net(x)[:, 3])  # free
    vector = Ansatz(net, [Dirichlet(shape.boundary, lambda x: x[:, [0, 1, 2, 0]] ** 2)])
    assert torch.equal(vector(x, piece), x[:, [0, 1, 2, 0]] ** 2)


def test_functions_of_ones_own():
    """A box cut off by a half-space: its slanted face and the rest."""
    box = solid("box")[0]
    plane = functools.partial(half_space, (0.5, 0, 0.7), (1.0, 0.0, 1.0))
    net, g = network(3, 1), smooth()
    flat = torch.rand(60, 3, dtype=F64) * torch.tensor([1.0, 1.0, 0.0], dtype=F64)
    x = torch.stack((0.3 + 0.4 * flat[:, 0], flat[:, 1] - 0.4, 0.9 - 0.4 * flat[:, 0]), 1)
    normal = torch.tensor([[0.5, 0.0, 0.5]], dtype=F64).expand(60, 3) * 2**0.5
    field = Ansatz(net, [Robin(plane, 0.5, g), Dirichlet(box.boundary, 1.0)])
    at_plane = torch.full((60,), 0)
    for ids in (at_plane, None):
        error, size = residual(field, x, normal, ids, torch.full((60, 1), 0.5, dtype=F64), g(x))
        assert (error.abs() <= 1e-8 * size).all()
    points = box.boundary.sample(60, dtype=F64)
    assert (field(points.x, points.piece + 1) - 1).abs().max() < 1e-12
    kept = plane(points.x).value[:, 0] >= 0
    whole = Ansatz(net, [Dirichlet(lambda *at: conjunction(phi(box, *at), plane(*at)), g)])
    assert (whole(x) - g(x)).abs().max() < 1e-12
    assert (whole(points.x) - g(points.x))[kept].abs().max() < 1e-12


# ---- jets ---------------------------------------------------------------------------------------


def cases(kind):
    shape, (one, two) = solid(kind)
    g, c, h = smooth(k=0.5), smooth(k=0.7), smooth(k=1.3)
    found = {
        "dirichlet": [Dirichlet(shape.boundary, g)],
        "robin": [Robin(shape.boundary, c, h)],
    }
    if two is not None:
        found["dirichlets"] = [Dirichlet(one, g), Dirichlet(two, 0.3)]
        found["robins"] = [Robin(one, 0.7, h), Neumann(two, 0.2)]
        found["mixed"] = [Dirichlet(one, g), Robin(two, c, h)]
    return found


@pytest.mark.parametrize("kind", ["interval", "box", "ball", "bitten"])
def test_jets_against_nested_autograd(kind):
    shape, _ = solid(kind)
    x = shape.sample(4, start=1, dtype=F64).x
    axes = tuple(range(shape.dim))
    for name, conditions in cases(kind).items():
        field = Ansatz(network(shape.dim, 2), conditions, outputs=1)
        for order in (0, "laplacian", 2) if name != "robins" else (1,):
            wanted = field(x)[None] if order == 0 else autograd_components(field, x, order, axes)
            found = cc.jet(field, x, order).components
            scale = max(1.0, wanted.abs().max().item())
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10 * scale, msg=name)


def test_parameters_beside_space():
    """The inputs (z, p, x, y), differentiated by some of them."""
    box, (one, two) = solid("box")

    def g(x):
        return x[:, 1:2] * x[:, 2:3] + 0.2

    space = (2, 3, 0)
    x = box.sample(6, dtype=F64).x
    x = torch.cat((x[:, 2:], torch.rand(6, 1, dtype=F64), x[:, :2]), 1)
    for conditions in (
        [Dirichlet(one, g), Dirichlet(two, 0.2)],
        [Dirichlet(one, g), Robin(two, g)],
    ):
        field = Ansatz(network(4, 1), conditions, space=space)
        sets = [(0, 2, 3), (3, 1, 0, 2)] + [(1,), (3, 0)] * isinstance(conditions[1], Dirichlet)
        for wrt in sets:
            order = 2 if 1 in wrt else "laplacian"
            wanted = autograd_components(field, x, order, wrt)
            found = cc.jet(field, x, order, wrt).components
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="wrt: expected the space's coordinates"):
        cc.jet(field, x, 1, (0, 2))


@pytest.mark.parametrize("dtype", [F64, F32], ids=["f64", "f32"])
def test_edges_corners_and_everywhere_else(dtype):
    steps = torch.tensor([-1.0, -0.6, 0.0, 0.8, 1.0, 1.4], dtype=dtype)
    grid = torch.cartesian_prod(steps, steps, steps)
    far = torch.cat([size * torch.randn(30, 3, dtype=dtype) for size in (1e-30, 1e-3, 10, 1e6)])
    for kind in ("box", "bitten", "pipe"):
        for name, conditions in cases(kind).items():
            field = Ansatz(network(3, 1, dtype=dtype), conditions)
            beside = grid + 10.0 ** torch.randint(-16, 0, (len(grid), 1)) * torch.randn_like(grid)
            x = torch.cat((grid, beside.to(dtype), far))
            for order in (0, 2):
                components = cc.jet(field, x, order).components
                assert components.isfinite().all(), (kind, name, order)
            gradients = torch.autograd.grad(components.mean(), list(field.net.parameters()))
            assert all(one.isfinite().all() for one in gradients)


def test_values_where_parts_meet():
    box = Box((0, 0, 0), (1, 1, 1))
    net = network(3, 1)
    walls = box.boundary
    field = Ansatz(net, [Dirichlet(walls["x-"], 1.0), Dirichlet(walls - "x-", 0.0)])
    edge = torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.0, 0.0], [0.0, 0.4, 0.3]], dtype=F64)
    assert torch.equal(field(edge)[:, 0], torch.tensor([0.5, 0.5, 1.0], dtype=F64))
    field = Ansatz(net, [Dirichlet(walls["x-"], 1.0), Neumann(walls - "x-", 0.0)])
    assert torch.equal(field(edge)[:, 0], torch.ones(3, dtype=F64))


# ---- the field as a module ----------------------------------------------------------------------


def test_points_that_move_are_noticed():
    calls = []

    def g(x):
        calls.append(len(x))
        return x[:, :1]

    shape, (one, two) = solid("box")
    net = network(3, 1)
    field = Ansatz(net, [Dirichlet(one, g), Neumann(two, 0.1)])
    x = shape.sample(5, dtype=F64).x
    first = cc.jet(field, x, 1).components
    evaluated = len(calls)
    assert torch.equal(cc.jet(field, x, 1).components, first) and len(calls) == evaluated
    x.mul_(0.5)
    fresh = Ansatz(net, [Dirichlet(one, g), Neumann(two, 0.1)])
    torch.testing.assert_close(cc.jet(field, x, 1).components, cc.jet(fresh, x, 1).components)
    assert not torch.equal(cc.jet(field, x, 1).components, first)
    for other in (copy.deepcopy(fresh), pickle.loads(pickle.dumps(Ansatz(net, [Dirichlet(one)])))):
        wanted = cc.jet(fresh if len(other.conditions) > 1 else Ansatz(net, [Dirichlet(one)]), x, 1)
        torch.testing.assert_close(cc.jet(other, x, 1).components, wanted.components)


def test_gradients_of_the_points():
    shape, (one, two) = solid("box")
    x = shape.sample(2, start=1, dtype=F64).x.requires_grad_()
    field = Ansatz(network(3, 1), [Dirichlet(one, 1.0), Robin(two, 1)])
    assert torch.autograd.gradcheck(lambda at: cc.jet(field, at, 1).components, x)


def test_training_in_a_ball():
    """-lap u = 6 in a ball with u = 1 on it: u = 1 + r^2 - |x|^2."""
    torch.manual_seed(0)
    ball = Ball((0, 0, 0), 0.8)
    field = Ansatz(cc.nn.MLP(3, 1, 16, 2, "tanh", dtype=F64), [Dirichlet(ball.boundary, 1.0)])
    x = ball.sample(200, dtype=F64).x
    exact = 1 + 0.64 - x.square().sum(1, keepdim=True)

    def error():
        return float(((field(x) - exact).norm() / (exact - 1).norm()).detach())

    before = error()
    optimizer = torch.optim.Adam(field.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (cc.jet(field, x, "laplacian").laplacian + 6).square().mean().backward()
        optimizer.step()
    assert before > 0.3 and error() < 0.05 * before


# ---- refusals -----------------------------------------------------------------------------------

BOX, LINE = Box((0, 0, 0), (1, 1, 1)), Interval(0, 1)
SQUARE, NET = Rectangle((0, 0), (1, 1)), torch.nn.Linear(3, 1).double()
WALL, X = Dirichlet(BOX.boundary["x-"]), torch.zeros(2, 3, dtype=F64)


def own(function):
    return Ansatz(NET, [Dirichlet(function)])(X)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dirichlet(BOX), TypeError, "Give its .boundary."),
        (lambda: Dirichlet(Ball), TypeError, "part: expected a boundary"),
        (lambda: Dirichlet((BOX | Ball((1, 1, 1), 0.5)).boundary["sphere"]), ValueError,
         "part: expected faces of operands that enclose"),
        (lambda: Ansatz(NET, [WALL, Dirichlet(SQUARE.boundary)]), ValueError,
         "conditions: expected parts in one space, got 3 dimensions in conditions[0] and 2"),
        (lambda: Ansatz(NET, [Dirichlet([LINE.boundary, Disk((0, 0), 1).boundary])]), ValueError,
         "conditions: expected parts in one space"),
        (lambda: Ansatz(NET, [WALL, Robin(BOX.boundary["x-", "y-"], 1)]), ValueError,
         "conditions: expected parts that meet in edges only"),
        (lambda: Ansatz(NET, [WALL], space=(0, 1)), ValueError, "space: expected three different"),
        (lambda: Ansatz(NET, [WALL], space=(0, 1, 1)), ValueError, "space: expected three"),
        (lambda: Ansatz(NET, [WALL], space=3), ValueError, "space: expected three different"),
        (lambda: Ansatz(NET, [WALL], time=3), ValueError, "time: expected None where no condition"),
        (lambda: Ansatz(NET, [WALL])(torch.zeros(2, 2)), ValueError,
         "x: expected points with inputs (0, 1, 2), the space's coordinates"),
        (lambda: Ansatz(NET, [WALL])(X, torch.tensor([0, 6])), ValueError,
         "piece: expected numbers below 6"),
        (lambda: own(lambda x, order, wrt: x[:, :1]), TypeError,
         "part(x, order, wrt): expected a jet of order 0"),
        (lambda: own(lambda x, order, wrt: phi(BOX, x, order, (0,))), ValueError,
         "Pass order and wrt on."),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error) as info:
        make()
    assert message in str(info.value)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu(kind):
    shape, _ = solid(kind)
    x = shape.sample(20, dtype=F64).x
    for conditions in cases(kind).values():
        field = Ansatz(network(shape.dim, 1), conditions)
        wanted = cc.jet(field, x, 2).components
        found = cc.jet(field.cuda(), x.cuda(), 2).components
        torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=1e-8, atol=1e-8)
