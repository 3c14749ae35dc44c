"""Ball, and unions, differences and intersections of solids."""

from __future__ import annotations

import functools
import math
import operator

import colloc as cc
import pytest
import torch
from colloc.geometry import Ball, Box, Rectangle

F64 = torch.float64


def heat_sink():
    """A channel around a base with three fins; the sink stands on the bottom."""
    side = ("side", "walls")
    channel = Box(
        (-1.5, -0.5, -0.5),
        (2, 0.5, 0.5),
        names=["inlet", "outlet", ("bottom", "walls"), ("top", "walls"), side, side],
    )
    blocks = [
        Box((-0.5, -0.5, -0.3), (0.3, -0.4, 0.3), "sink"),
        *(Box((-0.5, -0.5, z), (0.3, 0.1, z + 0.1), "sink") for z in (-0.3, -0.05, 0.2)),
    ]
    return channel - functools.reduce(operator.or_, blocks)


def bitten():
    """A box without half a ball, on its face x+."""
    return Box((0, 0, 0), (2, 2, 2)) - Ball((2, 1, 1), 0.5)


def lens(d):
    """The volume that two unit balls at a distance d have in common."""
    return math.pi * (4 + d) * (2 - d) ** 2 / 12


UNIT = Box((0, 0, 0), (1, 1, 1))
SOLIDS = {
    # shape, volume, surface area
    "heat sink": (heat_sink(), 3.5 - 0.8 * (0.06 + 3 * 0.05), 16 + 3.46 - 0.48),
    "bitten": (bitten(), 8 - math.pi / 12, 24 - math.pi / 4 + math.pi / 2),
    "side by side": (UNIT | Box((1, 0, 0), (2, 1, 1)), 2, 10),
    "seam": (Box((0, 0, 0), (2, 1, 1)) - UNIT | UNIT, 2, 10),
    "apart": (UNIT | Box((3, 3, 3), (4, 4, 4)), 2, 12),
    "corner off": (Box((0, 0, 0), (2, 2, 2)) - UNIT, 7, 24),
    "same": (UNIT & UNIT, 1, 6),
    "lens": (Ball((0, 0, 0), 1) & Ball((1, 0, 0), 1), lens(1), 2 * math.pi),
    "two balls": (
        Ball((0, 0, 0), 1) | Ball((1, 0, 0), 1),
        8 / 3 * math.pi - lens(1),
        8 * math.pi - 2 * math.pi,
    ),
    "shell": (Ball((1, 2, 3), 1) - Ball((1, 2, 3), 0.5), 7 / 6 * math.pi, 5 * math.pi),
}
solids = pytest.mark.parametrize("name", SOLIDS)


@solids
def test_volumes_and_areas(name):
    solid, volume, area = SOLIDS[name]
    boxes = not any(isinstance(leaf, Ball) for leaf in solid._leaves)
    lower, upper = solid.bounds
    box = math.prod(high - low for low, high in zip(lower, upper, strict=True))
    faces = sum(leaf.boundary.measure for leaf in solid._leaves)
    assert solid.measure == pytest.approx(volume, abs=1e-14 if boxes else 2e-4 * box)
    assert solid.boundary.measure == pytest.approx(area, abs=1e-13 if boxes else 5e-4 * faces)
    assert not solid.is_empty and solid.dim == solid.boundary.dim == 3


@solids
@pytest.mark.parametrize("method", ["halton", "hammersley", "sobol", "uniform"])
def test_interior_points(name, method):
    solid = SOLIDS[name][0]
    points = solid.sample(500, 2, method, seed=1, dtype=F64)
    assert points.x.shape == (500, 3) and bool(solid.inside(points.x).all())
    inside = [leaf.inside(points.x) for leaf in solid._leaves]
    assert bool(solid._decide(inside).all())
    assert points.measure.sum() == pytest.approx(solid.measure)
    if method != "hammersley":
        first = solid.sample(200, 2, method, seed=1, dtype=F64)
        second = solid.sample(300, first.next_start, method, seed=1, dtype=F64)
        if method != "uniform":
            assert torch.equal(torch.cat([first.x, second.x]), points.x)


@solids
@pytest.mark.parametrize("method", ["halton", "hammersley", "sobol", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_surface_points(name, method, dtype):
    solid = SOLIDS[name][0]
    boundary = solid.boundary
    n = 1000
    points = boundary.sample(n, 4, method, seed=1, dtype=dtype)
    assert points.x.shape == points.normal.shape == (n, 3) and points.x.dtype == dtype
    assert points.measure.double().sum() == pytest.approx(boundary.measure, rel=1e-5)
    x, normal = points.x.double(), points.normal.double()
    assert solid.distance(x).abs().max() < 8 * torch.finfo(dtype).eps
    step = 1e-5  # away from edges; the fewest points lie nearer to one than that
    assert solid.inside(x - step * normal).double().mean() > 0.998
    assert solid.inside(x + step * normal).double().mean() < 0.002
    # as many on each piece as its area says
    areas = torch.tensor([boundary[k].measure for k in range(len(boundary))])
    counts = points.piece.bincount(minlength=len(boundary)) / n
    assert (counts - areas / boundary.measure).abs().max() < (0.06 if method == "uniform" else 0.02)
    assert len(x.unique(dim=0)) == n
    if method in ("halton", "sobol"):
        first = boundary.sample(300, 4, method, seed=1, dtype=dtype)
        second = boundary.sample(700, first.next_start, method, seed=1, dtype=dtype)
        assert torch.equal(torch.cat([first.x, second.x]), points.x)
        assert second.next_start == points.next_start


@solids
def test_distance_is_a_bound_with_the_right_sign(name):
    solid = SOLIDS[name][0]
    surface = solid.boundary.sample(8000, dtype=F64).x
    lower, upper = (torch.tensor(c, dtype=F64) for c in solid.bounds)
    x = lower + (upper - lower) * (1.4 * torch.rand(400, 3, dtype=F64) - 0.2)
    x.requires_grad_()
    found = solid.distance(x)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert gradient.isfinite().all()
    nearest = torch.cdist(x.detach(), surface).amin(1)  # a little too far
    assert (found[:, 0].abs() <= nearest + 1e-9).all()
    inside = solid._decide([leaf.inside(x) for leaf in solid._leaves])
    assert torch.equal(found[:, 0] > 0, inside)
    near = nearest < 0.05
    assert (found[:, 0].abs() - nearest)[near].abs().max() < 0.15


def test_parts_of_the_heat_sink():
    boundary = heat_sink().boundary
    assert boundary.names == ("inlet", "outlet", "bottom", "walls", "top", "side", "sink")
    assert boundary["inlet"].measure == 1 and boundary["walls"].measure == pytest.approx(14 - 0.48)
    assert boundary["sink"].measure == pytest.approx(3.46, rel=1e-14)
    bottom = boundary["bottom"].sample(300)
    assert (bottom.x[:, 1] == -0.5).all() and (bottom.normal[:, 1] == -1).all()
    under = (bottom.x[:, 0] > -0.5) & (bottom.x[:, 0] < 0.3) & (bottom.x[:, 2].abs() < 0.3)
    assert not under.any()
    sink = boundary["sink"].sample(400, dtype=F64)
    assert not ((sink.x[:, 1] == -0.5) & (sink.normal[:, 1] != 0)).any()
    # out of the fluid is into the sink
    top = sink.x[:, 1] == 0.1
    assert top.sum() > 10 and (sink.normal[top] == torch.tensor([0, -1, 0])).all()
    assert boundary["inlet", "sink"].sample(50).piece.max() > 5
    hidden = (UNIT | Box((1, 0, 0), (2, 1, 1))).boundary[1]  # the face between
    assert hidden.measure == 0
    with pytest.raises(ValueError, match="sample: expected a part with area on the surface"):
        hidden.sample(3)


def test_a_sphere_is_sampled_evenly_by_area():
    ball = Ball((1, -2, 3), 2, name="shell")
    assert ball.measure == pytest.approx(32 / 3 * math.pi)
    assert ball.boundary.measure == pytest.approx(16 * math.pi)
    assert ball.boundary.piece_names == ("shell",) and ball.bounds == ((-1, -4, 1), (3, 0, 5))
    for method in ("halton", "hammersley", "sobol", "uniform"):
        n = 4000
        points = ball.boundary.sample(n, method=method, seed=1, dtype=F64)
        d = (points.x - torch.tensor(ball.center)) / 2
        assert torch.equal(points.piece, torch.zeros(n, dtype=torch.int64))
        torch.testing.assert_close(d, points.normal)
        assert (d.norm(dim=1) - 1).abs().max() < 1e-15
        # all moments of order 1 and 2: 0 and 1/3
        tolerance = 0.03 if method == "uniform" else 0.004
        assert d.mean(0).abs().max() < tolerance
        second = d.T @ d / n - torch.eye(3, dtype=F64) / 3
        assert second.abs().max() < tolerance
    x = torch.tensor([[1, -2, 3], [1, -2, 5], [1, -2, 7]], dtype=F64, requires_grad=True)
    distance = ball.distance(x)
    assert distance[:, 0].tolist() == [2, 0, -2]
    (gradient,) = torch.autograd.grad(distance.sum(), x)
    assert gradient.tolist() == [[0, 0, 0], [0, 0, -1], [0, 0, -1]]
    points = ball.sample(3000, dtype=torch.float32)
    assert (
        points.distance.min() >= 0 and (points.x.mean(0) - torch.tensor([1.0, -2, 3])).norm() < 0.03
    )
    assert ball.boundary.sample(9, dtype=torch.float32).x.dtype == torch.float32
    assert repr(ball) == "Ball((1, -2, 3), 2)"


@pytest.mark.parametrize("scale,shift", [(1e-3, 0.0), (1e-3, 1e4), (1e3, 0.0), (1e3, 1e4)])
def test_scales_and_shifts(scale, shift):
    def box(low, high):
        return Box(*(tuple(scale * (shift + v) for v in corner) for corner in (low, high)))

    ell = box((0, 0, 0), (2, 2, 2)) - box((0, 0, 0), (1, 1, 1))
    assert ell.measure == pytest.approx(7 * scale**3, rel=1e-10)
    assert ell.boundary.measure == pytest.approx(24 * scale**2, rel=1e-10)
    points = ell.boundary.sample(200, dtype=F64)
    assert ell.distance(points.x).abs().max() < 1e-15 * scale * (4 + shift)


def test_empty_solids_say_so():
    apart = UNIT & Box((3, 3, 3), (4, 4, 4))
    gone = UNIT - Box((-1, -1, -1), (2, 2, 2))
    touching = UNIT & Box((1, 0, 0), (2, 1, 1))
    for empty in (apart, gone, touching):
        assert empty.measure == 0 and empty.is_empty
        for use in (lambda e: e.sample(3), lambda e: e.boundary, lambda e: e.bounds):
            with pytest.raises(ValueError, match=r"shape: .* which is empty"):
                use(empty)
        assert (empty | UNIT).measure == 1 and (UNIT - empty).measure == 1
        assert (empty & UNIT).is_empty and (empty - UNIT).is_empty


@pytest.mark.parametrize(
    "make,error,message",
    [
        (lambda: Ball((0, 0), 1), ValueError, "center: expected 3 numbers"),
        (lambda: Ball(0, 1), TypeError, "center: expected 3 numbers"),
        (lambda: Ball((0, 0, 0), 0), ValueError, "radius: expected a number > 0"),
        (lambda: Ball((0, 0, 0), 1e99), ValueError, "radius: expected a number from"),
        (lambda: Ball((1e20, 0, 0), 1), ValueError, "radius: expected a number that counts"),
        (lambda: Ball((0, 0, 0), 1, name=""), TypeError, r"name\[0\]: expected a name"),
        (lambda: Ball((1e9, 0, 0), 1).boundary.sample(2), ValueError, "dtype: expected one that"),
        (lambda: Box((0, 0, 0), (1, 1, 1), names=["a"]), ValueError, "names: .* 6 names, got 1"),
        (
            lambda: UNIT | Rectangle((0, 0), (1, 1)),
            ValueError,
            "right: .* in 3 dimensions like Box",
        ),
        (lambda: UNIT & None, TypeError, "right: expected a shape on both sides of &, got None"),
        (lambda: UNIT.boundary.chains(), AttributeError, "chains"),
    ],
)
def test_wrong_solids_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_under_another_default_device():
    expected = bitten().boundary.sample(20)
    with torch.device("meta"):
        solid = bitten()
        points = solid.boundary.sample(20, device="cpu")
        assert torch.equal(points.x, expected.x)
        plane = Rectangle((0, 0), (1, 1)) - cc.geometry.Disk((0, 0), 0.5)
        assert plane.measure == pytest.approx(1 - math.pi / 16)
        assert plane.sample(5, device="cpu").x.device.type == "cpu"
        assert plane.boundary.sample(5).x.device.type == "meta"
