"""cc.boundary.Ansatz in time: walls for all times together with initial values."""

from __future__ import annotations

import math
import warnings

import colloc as cc
import pytest
import torch
from boundary.domains import domain
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin, distance, solid_distance
from colloc.geometry import Ball, Box, Disk, Interval, Rectangle, TimeDomain
from colloc.jets.autograd import autograd_components

F64, F32 = torch.float64, torch.float32
KINDS = ("interval", "disk", "difference", "bitten")
#: Unit and shift of space, unit of time, first time.
PLACES = ((1.0, 0.0, 1.0, 0.0), (1e-3, 0.02, 1e3, -5e2), (1e3, -3e3, 1e-3, 0.1))


def cylinder(kind, scale=1.0, shift=0.0, duration=1.0, start=0.0):
    """A shape of about the size ``scale`` from ``start`` on."""
    if kind in ("interval", "box", "bitten"):
        low, high = (
            tuple(shift + scale * v for v in corner) for corner in ((-1, -0.6, 0), (1, 0.8, 1.4))
        )
        shape = Interval(low[0], high[0]) if kind == "interval" else Box(low, high)
        if kind == "bitten":
            shape = shape - Ball(high, 0.7 * scale)
    else:
        shape = domain(kind, scale, shift)
    return TimeDomain(shape, start, start + duration)


def network(cylinder, outputs=1, dtype=F64):
    """An untrained network of (x, t) in units of the domain."""
    (low, high), dim = torch.tensor(cylinder.bounds, dtype=F64), cylinder.dim
    net = cc.nn.MLP(dim, outputs, 10, 2, "tanh", dtype=dtype)
    with torch.no_grad():
        first = next(m for m in net.modules() if isinstance(m, torch.nn.Linear))
        first.weight *= 2 / (high - low)
        first.bias.copy_(0.3 * torch.randn(10) - first.weight.double() @ (low + high) / 2)
    return net


def smooth(cylinder, k=1.0):
    """Data of space and time with values of the size 1."""
    low, high = torch.tensor(cylinder.bounds, dtype=F64)

    def values(x):
        u = (x - low.to(x)) / (high - low).to(x)
        return torch.sin(k * u[:, :1] - u[:, -1:]) + u.square().sum(1, keepdim=True)

    return values


def sampled(part, whole, dtype=F64, count=100):
    """Points of a part away from edges, near which the curvature of phi grows."""
    points = part.sample(count, method="uniform", seed=1, dtype=dtype)
    walls, (low, high) = whole.shape.boundary, torch.tensor(whole.bounds, dtype=F64)
    x, size = points.x.double(), (high - low)[:-1].max()
    on = x[:, :-1].contiguous()
    plane = hasattr(walls, "pieces")
    phi = distance(walls, on, order=2) if plane else solid_distance(walls, on, 2)
    away = phi.hess.abs().amax((1, 2, 3)) * size < 50
    later = (x[:, -1] - low[-1]) / (high - low)[-1] > 0.02
    kept = torch.where(points.normal[:, -1] == 0, away & later, phi.value[:, 0] > 0.02 * size)
    assert 3 * kept.sum() > count
    return points.x[kept], points.normal[kept], points.piece[kept]


def residual(field, x, normal, piece, c, h):
    """du/dn + c u - h and what its terms add up to."""
    jet = cc.jet(field, x, 1, piece=piece)
    slope = (jet.grad * normal.unsqueeze(1)).sum(2)
    size = jet.grad[:, :, :-1].abs().sum(2) + (c * jet.value).abs() + h.abs()
    return slope + c * jet.value - h, size.clamp(min=size.mean().item())


@pytest.mark.parametrize("dtype", [F64, F32], ids=["f64", "f32"])
@pytest.mark.parametrize("kind", KINDS)
def test_dirichlet_walls_and_initial_values(kind, dtype):
    for place in PLACES if dtype == F64 else PLACES[:1]:
        whole = cylinder(kind, *place)
        g, start = smooth(whole), smooth(whole, 2.0)
        net = network(whole, dtype=dtype)
        tolerance = 1e-11 if dtype == F64 else 1e-5
        with pytest.warns(UserWarning, match="of a wall and of the initial time"):
            field = Ansatz(net, [Dirichlet(whole.lateral, g), Dirichlet(whole.initial, start)])
        for part, data in ((whole.lateral, g), (whole.initial, start)):
            x, _, piece = sampled(part, whole, dtype)
            assert (field(x, piece) - data(x)).abs().max() <= tolerance
            rounding = 64 * torch.finfo(dtype).eps * (abs(place[1]) + place[0])
            assert (field(x) - data(x)).abs().max() <= tolerance + rounding
        # One function on both at once: every point, where they meet too.
        field = Ansatz(net, [Dirichlet(whole.boundary, g)])
        points = whole.boundary.sample(100, method="uniform", seed=5, dtype=dtype)
        assert torch.equal(field(points.x, points.piece), g(points.x))


@pytest.mark.parametrize("kind", KINDS)
def test_robin_walls_and_initial_values(kind):
    for place in PLACES[1:]:
        whole = cylinder(kind, *place)
        start, c, h = (smooth(whole, k) for k in (0.5, 1.0, 2.0))
        for second in (False, True):  # N2 given or not
            conditions = [Robin(whole.lateral, c, h), Dirichlet(whole.initial, start)]
            field = Ansatz(network(whole, 1 + second), conditions, outputs=1)
            x, normal, piece = sampled(whole.lateral, whole)
            for ids in (piece, None):
                error, size = residual(field, x, normal, ids, c(x), h(x))
                assert (error.abs() <= 1e-8 * size).all(), place
            x, _, piece = sampled(whole.initial, whole)
            assert (field(x, piece) - start(x)).abs().max() <= 1e-11 * max(1, place[0])
            assert (field(x) - start(x)).abs().max() <= 1e-11 * max(1, place[0])


@pytest.mark.parametrize("kind", ["interval", "difference", "box"])
def test_all_kinds_at_once(kind):
    """Values on the first wall, slopes on the others, initial values."""
    for place in PLACES[1:]:
        whole = cylinder(kind, *place)
        one = whole.boundary.part(0)
        rest = whole.lateral - one
        g, c, h = (smooth(whole, k) for k in (0.5, 1.0, 2.0))
        conditions = [
            Dirichlet(one, g),
            Robin(rest, c, h),
            Dirichlet(whole.initial, lambda x, g=g: g(x)),
        ]
        field = Ansatz(network(whole), conditions)
        for part in (one, whole.initial):
            x, _, piece = sampled(part, whole)
            assert (field(x, piece) - g(x)).abs().max() <= 1e-11 * max(1, place[0])
        x, normal, piece = sampled(rest, whole)
        error, size = residual(field, x, normal, piece, c(x), h(x))
        assert (error.abs() <= 1e-8 * size).all(), place


def test_walls_alone_are_those_of_the_plane():
    """The distance does not depend on time; numbers of pieces are the same."""
    for kind in ("disk", "difference"):
        whole = cylinder(kind)
        walls, net = whole.shape.boundary, network(whole)
        x = torch.cat((whole.sample(20, dtype=F64).x, whole.lateral.sample(20, dtype=F64).x))
        ids = torch.cat((torch.full((20,), -1), whole.lateral.sample(20, dtype=F64).piece))
        for made in (lambda part: [Dirichlet(part, 2.0)], lambda part: [Robin(part, 1.0, 0.3)]):
            field, plane = Ansatz(net, made(whole.lateral)), Ansatz(net, made(walls))
            assert field.time is None
            for order, wrt in ((0, None), (2, None), ("laplacian", (0, 1)), (1, (2, 1, 0))):
                for piece in (None, ids):
                    found = cc.jet(field, x, order, wrt, piece=piece).components
                    wanted = cc.jet(plane, x, order, wrt, piece=piece).components
                    assert torch.equal(found, wanted)
        # walls of the plane beside an initial value: counted as in the cylinder
        one = Ansatz(net, [Dirichlet(walls, 1.0), Dirichlet(whole.initial, 1.0)])
        two = Ansatz(net, [Dirichlet(whole.lateral, 1.0), Dirichlet(whole.initial, 1.0)])
        points = whole.boundary.sample(50, dtype=F64)
        assert torch.equal(one(points.x, points.piece), two(points.x, points.piece))
        assert (one(points.x, points.piece) == 1).all()


def test_a_rectangle_in_one_coordinate_and_time():
    """Native in the plane: the initial time is the lower side."""
    walls = Rectangle((-1, 0), (1, 0.5)).boundary
    net = cc.nn.MLP(2, 1, 10, 2, "tanh", dtype=F64)

    def start(x):
        return 1 - x[:, :1] ** 2

    field = Ansatz(net, [Dirichlet(walls["left", "right"]), Dirichlet(walls["bottom"], start)])
    mixed = Ansatz(net, [Neumann(walls["left", "right"], 0.3), Dirichlet(walls["bottom"], start)])
    for part in (walls["left", "right"], walls["bottom"]):
        points = part.sample(40, start=1, dtype=F64)
        for ids in (points.piece, None):
            if part.names == ("bottom",):
                assert (field(points.x, ids) - start(points.x)).abs().max() < 1e-12
                assert (mixed(points.x, ids) - start(points.x)).abs().max() < 1e-12
            else:
                assert field(points.x, ids).abs().max() < 1e-12
                slope = cc.jet(mixed, points.x, 1, piece=ids).grad[:, 0, 0] * points.normal[:, 0]
                assert (slope - 0.3).abs().max() < 1e-8


# ---- jets ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Ansatz. the Dirichlet values")
@pytest.mark.parametrize("kind", ["interval", "difference", "bitten"])
def test_jets_against_nested_autograd(kind):
    whole = cylinder(kind)
    d, g = whole.dim, smooth(whole)
    x = whole.sample(4, start=1, dtype=F64).x
    net = network(whole)
    for walls in (Dirichlet(whole.lateral, 0.3), Robin(whole.lateral, g, 0.2)):
        field = Ansatz(net, [walls, Dirichlet(whole.initial, g)])
        every = tuple(range(d))
        for order, wrt in ((0, every), ("laplacian", every[:-1]), (2, every)):
            wanted = field(x)[None] if order == 0 else autograd_components(field, x, order, wrt)
            found = cc.jet(field, x, order, wrt).components
            size = max(1.0, wanted.abs().max().item())
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10 * size)


def test_inputs_in_any_order():
    """The inputs (t, y, p, x) instead of (x, y, t)."""
    whole = cylinder("difference")
    x, net = whole.sample(5, start=1, dtype=F64).x, network(whole)
    more = torch.stack((x[:, 2], x[:, 1], torch.rand(5, dtype=F64), x[:, 0]), 1)

    def conditions(x_at, t_at):
        return [
            Neumann(whole.lateral, lambda x: x[:, x_at : x_at + 1] * x[:, t_at : t_at + 1]),
            Dirichlet(whole.initial, lambda x: x[:, x_at : x_at + 1] ** 2),
        ]

    field = Ansatz(net, conditions(0, 2))
    turned = Ansatz(lambda x: net(x[:, [3, 1, 0]]), conditions(3, 0), space=(3, 1))
    assert turned.time == 0 and field.time == 2
    wanted = cc.jet(field, x, 2).components
    torch.testing.assert_close(cc.jet(turned, more, 2, (3, 1, 0)).components, wanted)
    wanted = cc.jet(field, x, "laplacian", (0, 1)).laplacian
    torch.testing.assert_close(cc.jet(turned, more, "laplacian", (3, 1)).laplacian, wanted)


@pytest.mark.filterwarnings("ignore:Ansatz. the Dirichlet values")
@pytest.mark.parametrize("dtype", [F64, F32], ids=["f64", "f32"])
def test_finite_everywhere(dtype):
    for whole, corner in ((cylinder("difference"), None), (cylinder("box"), (-1, -0.6, 0))):
        ends = [corner] if corner else [e for p in whole.shape.boundary.pieces for e in p.ends]
        at = torch.tensor(ends, dtype=dtype)
        joints = torch.cat((at, torch.zeros(len(at), 1, dtype=dtype)), 1)
        later = joints + torch.eye(whole.dim, dtype=dtype)[-1]
        beside = joints + 10.0 ** torch.randint(-16, 0, (len(at), 1)) * torch.randn_like(joints)
        far = torch.cat([size * torch.randn(20, whole.dim, dtype=dtype) for size in (1e-3, 1, 1e6)])
        x = torch.cat((joints, later, beside.to(dtype), far))
        net = network(whole, dtype=dtype)
        for walls in (Dirichlet(whole.lateral, 1.0), Neumann(whole.lateral, 0.3)):
            field = Ansatz(net, [walls, Dirichlet(whole.initial, 2.0)])
            for order in (0, 2):
                components = cc.jet(field, x, order).components
                assert components.isfinite().all()
            expected = 1.5 if type(walls) is Dirichlet else 2.0
            assert (field(joints) - expected).abs().max() < 1e-6


def test_initial_slopes():
    """du/dt at the first time: the normal is -t."""
    whole = cylinder("disk", 1.0, 0.0, 4.0, 0.5)
    field = Ansatz(network(whole), [Neumann(whole.initial, 0.7), Dirichlet(whole.lateral, 1.0)])
    x, _, piece = sampled(whole.initial, whole)
    assert (cc.jet(field, x, 1, piece=piece).d(2) + 0.7).abs().max() < 1e-8
    x, _, piece = sampled(whole.lateral, whole)
    assert (field(x, piece) - 1).abs().max() < 1e-11
    with pytest.raises(ValueError, match=r"coordinates .0, 1. and 2, the time, in it"):
        cc.jet(field, x, 1, (0, 1))


def test_points_that_move_are_noticed():
    whole = cylinder("disk")
    conditions = [Dirichlet(whole.lateral, 0.0), Dirichlet(whole.initial, smooth(whole))]
    with pytest.warns(UserWarning, match="differ where they meet"):
        field = Ansatz(network(whole), conditions)
    x = whole.sample(5, dtype=F64).x
    first = cc.jet(field, x, 2).components
    assert torch.equal(first, cc.jet(field, x, 2).components)
    x[:, 2] += 0.1
    assert not torch.equal(first, cc.jet(field, x, 2).components)
    torch.testing.assert_close(
        cc.jet(field, x, 2).components, cc.jet(field, x.clone(), 2).components
    )


def test_compiled_and_transformed():
    whole = cylinder("interval")
    field = Ansatz(network(whole), [Dirichlet(whole.boundary.without("left"), 0.5)])
    x = whole.sample(4, start=1, dtype=F64).x

    def loss(at):
        return cc.jet(field, at, 1).grad.square().mean()

    parameters = [p for p in field.parameters() if p.requires_grad]
    wanted = torch.autograd.grad(loss(x), parameters)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    found = torch.autograd.grad(compiled(x), parameters)
    for one_of, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one_of, other)
    weights = {k: p.detach() for k, p in field.named_parameters()}

    def value(values, at):
        return torch.func.functional_call(field, values, (at[None],)).sum()

    per_point = torch.func.vmap(torch.func.grad(value), (None, 0))(weights, x)
    for name, one_of in per_point.items():
        parameter = field.get_parameter(name)
        for k in range(4):
            (slope,) = torch.autograd.grad(field(x[k : k + 1]).sum(), parameter)
            torch.testing.assert_close(one_of[k], slope)


def test_values_that_agree_or_are_not_compared_give_no_warning():
    whole = cylinder("difference")
    net = network(whole, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = smooth(whole)
        Ansatz(net, [Dirichlet(whole.lateral, g), Dirichlet(whole.initial, lambda x: g(x))])
        Ansatz(net, [Dirichlet(whole.lateral, 1.0, 0), Dirichlet(whole.initial, 0.0, 1)])
        needs_more = [Dirichlet(whole.lateral, lambda x: x[:, 5:6]), Dirichlet(whole.initial, 1.0)]
        Ansatz(net, needs_more)


def test_training_of_the_heat_equation():
    """u_t = lap u / 10 in a square, from sin sin, 0 on its walls."""
    torch.manual_seed(0)
    whole = TimeDomain(Rectangle((0, 0), (1, 1)), 0, 1)

    def start(x):
        return torch.sin(math.pi * x[:, :1]) * torch.sin(math.pi * x[:, 1:2])

    net = cc.nn.MLP(3, 1, 24, 2, "tanh", dtype=F64)
    conditions = [Dirichlet(whole.lateral, 0.0), Dirichlet(whole.initial, start)]
    field = Ansatz(net, conditions, m=1, mu=1)
    x = whole.sample(400, start=1, dtype=F64).x
    term = cc.Term("heat", field, x, cc.pde.heat(0.1), order=2)
    other = whole.sample(500, start=5001, dtype=F64).x
    exact = start(other) * torch.exp(-0.2 * math.pi**2 * other[:, 2:])

    def error():
        return float(((field(other) - exact).norm() / exact.norm()).detach())

    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=100, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = term.loss()
        loss.backward()
        return loss

    before = error()
    optimizer.step(closure)
    assert before > 0.3 and error() < 0.03


# ---- refusals -----------------------------------------------------------------------------------

DISK = TimeDomain(Disk((0, 0), 1), 0, 1)
NET = torch.nn.Linear(3, 1).double()
START = Dirichlet(DISK.initial, 1.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dirichlet(DISK), TypeError, "Give its .boundary."),
        (lambda: Ansatz(NET, [START, START]), ValueError, "expected parts that meet in edges only"),
        (lambda: Ansatz(NET, [START, Neumann(DISK.boundary)]), ValueError, "parts that meet in"),
        (lambda: Ansatz(NET, [START, Dirichlet(Interval(0, 1).boundary)]), ValueError,
         "conditions: expected parts in one space, got 2 dimensions"),
        (lambda: Ansatz(NET, [START], time=1), ValueError, "time: expected another input than (0,"),
        (lambda: Ansatz(NET, [START], time=-1), ValueError, "time: expected an integer >= 0"),
        (lambda: Ansatz(NET, [START], time=2.0), TypeError, "time: expected an integer"),
        (lambda: Ansatz(NET, [START])(torch.zeros(2, 2)), ValueError,
         "x: expected points with inputs (0, 1), the plane's coordinates, and 2, the time"),
        (lambda: Ansatz(NET, [START])(torch.zeros(2, 3).double(), torch.tensor([0, 2])), ValueError,
         "piece: expected numbers below 2"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error) as info:
        make()
    assert message in str(info.value)
