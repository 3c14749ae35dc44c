"""Shapes over a stretch of time."""

from __future__ import annotations

import math

import pytest
import torch
from colloc.geometry import (
    Ball,
    Box,
    Channel,
    Disk,
    Interval,
    ParameterDomain,
    Rectangle,
    TimeDomain,
)

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform")


def ring():
    return (Channel((-6.732, -1), (6.732, 1)) | Disk((0, 0), 2)) - Disk((0, 0), 1, name="hole")


SHAPES = {
    "interval": Interval(-1, 2),
    "rectangle": Rectangle((0, 0), (2, 1)),
    "disk": Disk((0, 0), 1),
    "ring": ring(),
    "box": Box((0, 0, 0), (1, 2, 3)),
    "bitten": Box((0, 0, 0), (1, 2, 3)) - Ball((1, 1, 1), 0.5),
}
names = pytest.mark.parametrize("name", SHAPES)
methods = pytest.mark.parametrize("method", METHODS)


@names
@methods
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_interior(name, method, dtype):
    shape = SHAPES[name]
    domain = TimeDomain(shape, 0.1, 0.7)
    assert domain.dim == shape.dim + 1 and domain.shape is shape and domain.times == (0.1, 0.7)
    assert domain.measure == pytest.approx(0.6 * shape.measure)
    points = domain.sample(600, 3, method, seed=1, dtype=dtype)
    assert points.x.shape == (600, domain.dim) and points.x.dtype == dtype
    assert bool(domain.inside(points.x).all()) and bool(shape.inside(points.x[:, :-1]).all())
    t = points.x[:, -1].double()
    assert t.min() >= 0.1 and t.max() <= 0.7
    assert t.mean() == pytest.approx(0.4, abs=0.05 if method == "uniform" else 0.01)
    assert torch.equal(points.distance, shape.distance(points.x[:, :-1]))
    assert points.measure.double().sum() == pytest.approx(domain.measure, rel=1e-5)
    late = points.x.clone()
    late[:, -1] = 0.75
    assert not domain.inside(late).any()


@names
@methods
def test_boundary(name, method):
    shape = SHAPES[name]
    domain = TimeDomain(shape, 1, 3)
    boundary = domain.boundary
    walls = shape.boundary
    assert boundary.piece_names == (*walls.piece_names, "initial") and boundary.dim == domain.dim
    assert boundary.measure == pytest.approx(2 * walls.measure + shape.measure)
    n, last = 2000, len(walls)
    points = boundary.sample(n, 1, method, seed=1, dtype=F64)
    assert points.x.shape == points.normal.shape == (n, domain.dim)
    assert points.measure.sum() == pytest.approx(boundary.measure)
    initial = points[points.piece == last]
    assert (initial.x[:, -1] == 1).all() and bool(shape.inside(initial.x[:, :-1]).all())
    down = torch.zeros(domain.dim, dtype=F64)
    down[-1] = -1
    assert (initial.normal == down).all()
    assert len(initial) / n == pytest.approx(shape.measure / boundary.measure, abs=0.03)
    lateral = points[points.piece < last]
    assert shape.distance(lateral.x[:, :-1]).abs().max() < 1e-14
    assert (lateral.normal[:, -1] == 0).all()
    assert (lateral.normal.norm(dim=1) - 1).abs().max() < 1e-14
    # over the walls as large as they are, and at all times on each of them
    areas = torch.tensor([boundary[k].measure for k in range(last)])
    counts = lateral.piece.bincount(minlength=last)
    shares = areas / boundary.measure
    assert (counts / n - shares).abs().max() < (0.05 if method == "uniform" else 0.02)
    for k in range(last):
        t = lateral.x[lateral.piece == k, -1]
        if len(t) > 100:
            quarters = torch.histc(t, 4, 1, 3) / len(t)
            assert (quarters - 0.25).abs().max() < (0.12 if method == "uniform" else 0.06)


@names
@pytest.mark.parametrize("method", ["halton", "sobol"])
def test_batches_continue_the_sequence(name, method):
    domain = TimeDomain(SHAPES[name], 0, 1)
    for sampled in (domain, domain.boundary, domain.initial, domain.lateral):
        whole = sampled.sample(300, 7, method, seed=2, dtype=F64)
        first = sampled.sample(100, 7, method, seed=2, dtype=F64)
        second = sampled.sample(200, first.next_start, method, seed=2, dtype=F64)
        assert torch.equal(torch.cat([first.x, second.x]), whole.x)
        assert second.next_start == whole.next_start
        assert len(whole.x.unique(dim=0)) == 300


@names
@methods
def test_initial_and_lateral(name, method):
    shape = SHAPES[name]
    domain = TimeDomain(shape, -1, 1)
    initial, lateral = domain.initial, domain.lateral
    assert initial.measure == pytest.approx(shape.measure)
    assert lateral.measure == pytest.approx(2 * shape.boundary.measure)
    points = initial.sample(500, method=method, seed=1, dtype=F64)
    assert (points.x[:, -1] == -1).all() and set(points.piece.tolist()) == {len(shape.boundary)}
    assert bool(shape.inside(points.x[:, :-1]).all())
    spread = shape.sample(4000, dtype=F64).x.mean(0)
    size = shape.bounds[1][0] - shape.bounds[0][0]
    assert (points.x[:, 0].mean() - spread[0]).abs() < size * (
        0.06 if method == "uniform" else 0.02
    )
    points = lateral.sample(500, method=method, seed=1, dtype=F64)
    assert points.piece.max() < len(shape.boundary)
    assert points.x[:, -1].mean().abs() < (0.15 if method == "uniform" else 0.05)
    assert lateral.indices == tuple(range(len(shape.boundary)))


def test_names_and_parts():
    boundary = TimeDomain(ring(), 0, 1).boundary
    assert boundary["walls"].indices == (0, 2, 4, 6)
    inlet = boundary["inlet"].sample(30)
    assert (inlet.x[:, 0] == -6.732).all() and inlet.x[:, 2].unique().numel() == 30
    assert boundary[lambda x: x[:, 2] == 0].piece_names == ("initial",)
    assert (boundary - "initial").measure == pytest.approx(ring().boundary.measure)
    assert boundary.named(data=["initial", "inlet"])["data"].indices == (7, 9)
    domain = TimeDomain(Interval(0, 1), 0, 2)
    assert (domain.boundary["left"] | domain.initial).piece_names == ("left", "initial")
    # a piece of the shape that has the name already
    twice = TimeDomain(Disk((0, 0), 1, name="initial"), 0, 1)
    assert twice.initial.indices == (1,) and twice.boundary["initial"].indices == (0, 1)
    assert repr(domain) == "TimeDomain(Interval(0, 1), 0, 2)"


def test_measures():
    domain = TimeDomain(Disk((0, 0), 2), 0, 3)
    assert domain.measure == pytest.approx(12 * math.pi)
    assert domain.bounds == ((-2, -2, 0), (2, 2, 3))
    assert domain.lateral.measure == pytest.approx(12 * math.pi)
    assert TimeDomain(Interval(0, 1), 0, 3).boundary.measure == 2 * 3 + 1


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: TimeDomain(3, 0, 1), "shape: expected a shape without time"),
        (
            lambda: TimeDomain(TimeDomain(Interval(0, 1), 0, 1), 0, 1),
            "shape: expected a shape without time",
        ),
        (lambda: TimeDomain(Interval(0, 1), 1, 1), "stop: expected a number > start = 1.0"),
        (lambda: TimeDomain(Interval(0, 1), 0, math.inf), "stop: expected a finite number"),
        (lambda: TimeDomain(Interval(0, 1), -1.7e308, 1.7e308), "stop: expected a number > start"),
        (lambda: TimeDomain(Interval(0, 1), "0", 1), "start: expected a number"),
        (lambda: TimeDomain(Interval(0, 1), 1e9, 1e9 + 1).sample(3), "dtype: expected one that"),
        (
            lambda: TimeDomain(Disk((0, 0), 1) & Disk((5, 0), 1), 0, 1).sample(3),
            "which is empty",
        ),
        (
            lambda: TimeDomain(Interval(0, 1), 0, 1).distance(torch.zeros(3, 1)),
            r"x: expected .* shape \(N, 2\)",
        ),
    ],
)
def test_wrong_domains_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_parameters_go_around_time():
    square = Rectangle((0, 0), (1, 1))
    with pytest.raises(TypeError, match=r"without time and parameters, .* ParameterDomain\(Time"):
        TimeDomain(ParameterDomain(square, {"k": (1, 2)}), 0, 1)
    both = ParameterDomain(TimeDomain(square, 0, 1), {"k": (1, 2)})
    assert both.sample(5).x.shape == (5, 4)
