"""Interval, Rectangle and Box: points, measures, distances, boundaries, errors."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.geometry import Box, Interval, Points, Rectangle
from colloc.geometry.shape import Shape

F64 = torch.float64
SHAPES = [
    Interval(-2.0, 1.5),
    Rectangle((-1, 0.5), (2, 1.0)),
    Box((0, -1, 2), (1, 3, 2.5)),
]
METHODS = ("halton", "hammersley", "sobol", "uniform")
shapes = pytest.mark.parametrize("shape", SHAPES, ids=repr)
methods = pytest.mark.parametrize("method", METHODS)


@shapes
@methods
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("n", [0, 1, 2, 333])
def test_interior(shape, method, dtype, n):
    points = shape.sample(n, method=method, dtype=dtype)
    d = shape.dim
    assert points.x.shape == (n, d) and points.x.dtype == dtype and len(points) == n
    assert points.normal is None and points.piece is None and points.next_start == n
    assert points.measure.shape == points.distance.shape == (n, 1)
    assert points.measure.dtype == points.distance.dtype == dtype
    assert bool(shape.inside(points.x).all()) and bool((points.distance >= 0).all())
    assert torch.equal(points.distance, shape.distance(points.x))
    if n:
        total = points.measure.double().sum().item()
        assert math.isclose(total, shape.measure, rel_tol=1e-12 if dtype == F64 else 1e-6)


@shapes
@methods
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("n", [0, 1, 2, 333])
def test_boundary(shape, method, dtype, n):
    boundary = shape.boundary
    points = boundary.sample(n, method=method, dtype=dtype)
    d = shape.dim
    assert boundary.dim == d
    assert points.x.shape == points.normal.shape == (n, d)
    assert points.x.dtype == points.normal.dtype == points.measure.dtype == dtype
    assert points.measure.shape == points.distance.shape == (n, 1)
    assert points.piece.shape == (n,) and points.piece.dtype == torch.int64
    assert torch.equal(points.distance, torch.zeros(n, 1, dtype=dtype))
    assert points.next_start == n
    lower, upper = (torch.tensor(c, dtype=dtype) for c in shape.bounds)
    assert bool(((points.x >= lower) & (points.x <= upper)).all())
    # exactly on the wall that the piece names, and the normal points out of it
    names = {
        1: {0: (0, -1), 1: (0, 1)},
        2: {0: (1, -1), 1: (0, 1), 2: (1, 1), 3: (0, -1)},
        3: {k: (k // 2, 2 * (k % 2) - 1) for k in range(6)},
    }[d]
    assert len(boundary.piece_names) == len(names)
    for x, normal, piece in zip(points.x, points.normal, points.piece.tolist(), strict=True):
        axis, side = names[piece]
        assert x[axis] == (lower if side < 0 else upper)[axis]
        expected = torch.zeros(d, dtype=dtype)
        expected[axis] = side
        assert torch.equal(normal, expected)
    if n:
        total = points.measure.double().sum().item()
        assert math.isclose(total, boundary.measure, rel_tol=1e-12 if dtype == F64 else 1e-6)


def test_measures():
    assert Interval(-2, 1.5).measure == 3.5 and Interval(-2, 1.5).boundary.measure == 2
    assert (
        Rectangle((0, 0), (2, 3)).measure == 6 and Rectangle((0, 0), (2, 3)).boundary.measure == 10
    )
    box = Box((0, 0, 0), (1, 2, 3))
    assert box.measure == 6 and box.boundary.measure == 2 * (2 + 6 + 3)


@shapes
@pytest.mark.parametrize("method", ["halton", "sobol"])
@pytest.mark.parametrize("seed", [None, 3])
def test_batches_continue_the_sequence(shape, method, seed):
    for sampled in (shape, shape.boundary):
        whole = sampled.sample(300, 7, method, seed=seed, dtype=F64)
        first = sampled.sample(100, 7, method, seed=seed, dtype=F64)
        second = sampled.sample(200, first.next_start, method, seed=seed, dtype=F64)
        assert torch.equal(torch.cat([first.x, second.x]), whole.x)
        assert second.next_start == whole.next_start == 307
        if whole.piece is not None:
            assert torch.equal(torch.cat([first.piece, second.piece]), whole.piece)


@shapes
def test_hammersley_batches_cover_the_whole_shape_each(shape):
    for start in (0, 64):
        x = shape.sample(64, start, "hammersley", dtype=F64).x[:, 0]
        low, high = shape.bounds[0][0], shape.bounds[1][0]
        exact = low + (torch.arange(64, dtype=F64) + 0.5) / 64 * (high - low)
        torch.testing.assert_close(x.sort().values, exact)


def test_points_are_the_sequence_scaled():
    square = Rectangle((-1, -1), (1, 1))
    expected = 2 * cc.sampling.halton(50, 2, 10, dtype=F64) - 1
    assert torch.equal(square.sample(50, 10, dtype=F64).x, expected)


def test_rectangle_boundary_runs_counter_clockwise_by_arc_length():
    rectangle = Rectangle((0, 0), (3, 1))
    n = 800
    points = rectangle.boundary.sample(n, method="hammersley", dtype=F64)
    steps = (points.x[1:] - points.x[:-1]).abs().sum(1)
    assert (steps - 8 / n).abs().max() < 1e-12
    assert torch.equal(points.piece, points.piece.sort().values)
    a, b = points.x[:-1], points.x[1:]
    area = 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    assert abs(area - 3) < 0.02  # positive: counter-clockwise


@shapes
@methods
def test_boundary_points_are_spread_by_measure(shape, method):
    n = 6000
    points = shape.boundary.sample(n, method=method, seed=2, dtype=F64)
    extent = [h - low for low, h in zip(*shape.bounds, strict=True)]
    if shape.dim == 1:
        shares = [0.5, 0.5]
    elif shape.dim == 2:
        shares = [extent[k] / (2 * sum(extent)) for k in (0, 1, 0, 1)]
    else:
        a, b, c = extent
        shares = [s / shape.boundary.measure for s in (b * c, b * c, c * a, c * a, a * b, a * b)]
    counts = torch.bincount(points.piece, minlength=len(shares)) / n
    assert (counts - torch.tensor(shares)).abs().max() < (0.03 if method == "uniform" else 0.004)
    for k in range(len(shares)):
        on = points[points.piece == k].x
        for axis in range(shape.dim):
            column = on[:, axis]
            low, high = shape.bounds[0][axis], shape.bounds[1][axis]
            if column.min() == column.max():
                continue
            quarters = torch.histc((column - low) / (high - low), 4, 0, 1) / len(column)
            assert (quarters - 0.25).abs().max() < (0.1 if method == "uniform" else 0.03)


@pytest.mark.parametrize("n", [2, 3, 10, 11])
@pytest.mark.parametrize("start", [0, 1])
def test_interval_ends_in_turn(n, start):
    points = Interval(0, 1).boundary.sample(n, start)
    piece = (torch.arange(n) + start) % 2
    assert torch.equal(points.piece, piece)
    assert torch.equal(points.x[:, 0], piece.float())


@shapes
def test_signed_distance_against_brute_force(shape):
    generator = torch.Generator().manual_seed(0)
    lower, upper = (torch.tensor(c, dtype=F64) for c in shape.bounds)
    x = lower + (3 * torch.rand(400, shape.dim, generator=generator, dtype=F64) - 1) * (
        upper - lower
    )
    found = shape.distance(x)
    assert found.shape == (400, 1)
    # outside: to the nearest point of the box; inside: to the nearest face
    nearest = torch.minimum(torch.maximum(x, lower), upper)
    outside = torch.linalg.vector_norm(x - nearest, dim=1)
    inside = torch.minimum(x - lower, upper - x).amin(1)
    expected = torch.where(outside > 0, -outside, inside)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-14, atol=1e-14)
    assert torch.equal(shape.inside(x), outside == 0)
    wall = shape.boundary.sample(200, dtype=F64)
    assert shape.distance(wall.x).abs().max() == 0


def test_distance_far_away_neither_over_nor_underflows():
    square = Rectangle((0, 0), (1, 1))
    x = torch.tensor([[-1e30, -1e30], [-1e-30, -1e-30]])
    expected = torch.tensor([[-math.sqrt(2) * 1e30], [-math.sqrt(2) * 1e-30]])
    torch.testing.assert_close(square.distance(x), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("lower", [1e6, -1e6, 0.1, 1 / 3])
def test_rounding_never_leaves_the_shape(lower):
    shape = Rectangle((lower, lower), (lower + 1, lower + 1 / 7))
    x = shape.sample(20_000, dtype=torch.float32).x.double()
    low, high = (torch.tensor(c, dtype=F64) for c in shape.bounds)
    assert bool(((x >= low) & (x <= high)).all())


def test_a_shape_thinner_than_the_dtype_resolves_is_refused():
    thin = Rectangle((1e9, 0), (1e9 + 1, 1))
    with pytest.raises(ValueError, match=r"dtype: expected one that resolves .* torch.float64"):
        thin.sample(3, dtype=torch.float32)
    assert thin.sample(3, dtype=F64).x.shape == (3, 2)


class Disc(Shape):
    """A shape that rejects, to test the loop that later shapes use."""

    def __init__(self, radius=1.0):
        self.radius = radius

    dim = 2
    bounds = ((-1.0, -1.0), (1.0, 1.0))
    boundary = None

    @property
    def measure(self):
        return math.pi * max(self.radius, 1e-3) ** 2

    def distance(self, x):
        return self.radius - torch.linalg.vector_norm(x, dim=1, keepdim=True)


@pytest.mark.parametrize("n", [0, 1, 100, 5000])
def test_rejection_gives_exactly_n_and_continues(n):
    disc = Disc()
    raw = 2 * cc.sampling.halton(20_000, 2, 5, dtype=F64) - 1
    kept = raw[torch.linalg.vector_norm(raw, dim=1) <= 1]
    first = disc.sample(n, 5, dtype=F64)
    assert torch.equal(first.x, kept[:n])
    second = disc.sample(77, first.next_start, dtype=F64)
    assert torch.equal(second.x, kept[n : n + 77])
    if n:
        assert math.isclose(first.measure.sum().item(), math.pi, rel_tol=1e-12)


def test_an_empty_shape_is_refused_in_the_end():
    with pytest.raises(ValueError, match=r"sample: expected at least 0\.0001 of the raw points"):
        Disc(-1.0).sample(1)


def test_points_select_and_move():
    points = Rectangle((0, 0), (1, 1)).boundary.sample(40)
    bottom = points[points.piece == 0]
    assert isinstance(bottom, Points) and len(bottom) == 10 and bool((bottom.x[:, 1] == 0).all())
    assert len(points[3:7]) == 4 and len(points[[1, 2]]) == 2
    wide = points.to(dtype=F64)
    assert wide.x.dtype == wide.measure.dtype == F64 and wide.piece.dtype == torch.int64
    assert points.to("meta").x.device.type == "meta"
    assert repr(points) == "Points(40 boundary points in 2D, float32, cpu, next_start=40)"
    with pytest.raises(TypeError, match="For one point use points\\[3:3 \\+ 1\\]"):
        points[3]


def test_default_dtype_and_device_are_followed():
    before = torch.get_default_dtype()
    torch.set_default_dtype(F64)
    try:
        assert Interval(0, 1).sample(3).x.dtype == F64
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Interval(1, 1), r"upper\[0\]: expected a number > lower\[0\] = 1.0, got 1"),
        (lambda: Interval(2, 1), r"upper\[0\]: expected a number > lower\[0\]"),
        (lambda: Interval(float("nan"), 1), "lower: expected a finite number"),
        (lambda: Interval(0, float("inf")), "upper: expected a finite number"),
        (lambda: Interval((0,), 1), "lower: expected a number"),
        (lambda: Rectangle(0, 1), "lower: expected 2 numbers"),
        (lambda: Rectangle((0, 0, 0), (1, 1, 1)), "lower: expected 2 numbers"),
        (lambda: Rectangle((0, 0), (1, 0)), r"upper\[1\]: expected a number > lower\[1\]"),
        (lambda: Rectangle("ab", (1, 1)), "lower: expected 2 numbers"),
        (lambda: Rectangle((-1.7e308, 0), (1.7e308, 1)), r"upper\[0\]: expected a finite extent"),
        (lambda: Box((0, 0, 0), (1, 1)), "upper: expected 3 numbers"),
    ],
)
def test_degenerate_shapes_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@shapes
@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"n": -1}, "n: expected an integer >= 0, got -1"),
        ({"n": 2.0}, "n: expected an integer"),
        ({"n": True}, "n: expected an integer"),
        ({"n": 2, "start": -1}, "start: expected an integer >= 0"),
        ({"n": 2, "method": "grid"}, "method: expected one of 'halton', 'hammersley'"),
        ({"n": 2, "dtype": torch.float16}, "dtype: expected torch.float32 or torch.float64"),
    ],
)
def test_wrong_samples_are_refused(shape, arguments, message):
    for sampled in (shape, shape.boundary):
        with pytest.raises((ValueError, TypeError), match=message):
            sampled.sample(**arguments)


@shapes
def test_wrong_points_are_refused(shape):
    with pytest.raises(ValueError, match=r"x: expected a floating tensor of shape \(N, "):
        shape.distance(torch.zeros(3, shape.dim + 1))
    with pytest.raises(TypeError, match="x: expected a floating tensor"):
        shape.inside(torch.zeros(3, shape.dim, dtype=torch.int64))


def test_repr():
    assert repr(Interval(0, 1)) == "Interval(0, 1)"
    assert repr(Rectangle((-1, 0), (1, 2))) == "Rectangle((-1, 0), (1, 2))"
