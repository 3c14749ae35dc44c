"""Where shapes and points reach their limits: gradients, infinities, rejection, dtypes."""

from __future__ import annotations

import math

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.geometry import Box, Interval, Rectangle
from colloc.geometry.shape import Shape

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform", "latin_hypercube")
SHAPES = [
    Interval(-2.0, 1.5),
    Rectangle((-1, 0.5), (2, 1.0)),
    Box((0, -1, 2), (1, 3, 2.5)),
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=repr)


class Disc(Shape):
    """Accepts a part of its bounding box; ``measure`` may mislead."""

    dim = 2
    bounds = ((-1.0, -1.0), (1.0, 1.0))
    boundary = None
    measure = 0.0

    def __init__(self, radius, measure):
        self.radius, self.measure = radius, measure

    def distance(self, x):
        return self.radius - torch.linalg.vector_norm(x, dim=1, keepdim=True)


@shapes
def test_distance_has_a_gradient_everywhere(shape):
    lower, upper = (torch.tensor(c, dtype=F64) for c in shape.bounds)
    x = lower + (3 * cc.sampling.uniform(300, shape.dim, seed=1, dtype=F64) - 1) * (upper - lower)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(shape.distance(x).sum(), x)
    torch.testing.assert_close(gradient.norm(dim=1), torch.ones(300, dtype=F64))
    step = 1e-7 * torch.eye(shape.dim, dtype=F64)
    for axis in range(shape.dim):
        rise = shape.distance(x + step[axis]) - shape.distance(x - step[axis])
        error = (rise[:, 0] / 2e-7 - gradient[:, axis]).abs()
        assert error.max() < 1e-6


@shapes
def test_distance_rises_inwards_on_the_boundary(shape):
    points = shape.boundary.sample(200, 1, dtype=F64)
    x = points.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(shape.distance(x).sum(), x)
    on_one_wall = ((x == torch.tensor(shape.bounds[0])) | (x == torch.tensor(shape.bounds[1]))).sum(
        1
    ) == 1
    assert int(on_one_wall.sum()) > 150
    assert torch.equal(gradient[on_one_wall], -points.normal[on_one_wall])


@shapes
def test_corners_have_a_finite_gradient(shape):
    x = torch.tensor(shape.bounds, dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(shape.distance(x).sum(), x)
    expected = torch.ones(2, shape.dim, dtype=F64) / shape.dim
    expected[1] *= -1
    torch.testing.assert_close(gradient, expected)


def test_distance_of_infinite_and_undefined_points():
    square = Rectangle((0, 0), (1, 1))
    inf, nan = math.inf, math.nan
    x = torch.tensor([[inf, 0.5], [-inf, inf], [0.5, -inf], [nan, 0.5]])
    distance = square.distance(x)[:, 0]
    assert distance[:3].tolist() == [-inf, -inf, -inf] and bool(distance[3].isnan())
    assert not bool(square.inside(x).any())


def test_boundary_points_are_uniform_over_arc_length():
    # Kolmogorov-Smirnov: the largest gap between the fraction of points up to an arc length and
    # that arc length's share; for independent points it passes 1.95 / sqrt(n) once in a thousand.
    rectangle, n = Rectangle((-1, 0.5), (2, 1.0)), 5000
    (left, bottom), (right, top) = rectangle.bounds
    width, height = rectangle.extent
    for method, most in (
        ("halton", 20 / n),
        ("sobol", 20 / n),
        ("hammersley", 1 / n),
        ("uniform", 1.95 / math.sqrt(n)),
    ):
        points = rectangle.boundary.sample(n, method=method, seed=5, dtype=F64)
        x, y = points.x.T
        along = torch.stack(
            [x - left, width + y - bottom, width + height + right - x, 7 - height + top - y]
        ).gather(0, points.piece.unsqueeze(0))[0]
        share = along.sort().values / rectangle.boundary.measure
        steps = torch.arange(n + 1, dtype=F64) / n
        gap = torch.maximum((steps[1:] - share).max(), (share - steps[:-1]).max())
        assert gap <= most + 1e-12, method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 10, 100, 3000])
@pytest.mark.parametrize("told", [1.0, 0.1, 300.0])
def test_rejection_covers_the_whole_shape(method, n, told):
    disc = Disc(0.9, told * math.pi * 0.81)
    points = disc.sample(n, 3, method, seed=1, dtype=F64)
    assert points.x.shape == (n, 2) and bool(disc.inside(points.x).all())
    assert len(points.x.unique(dim=0)) == n
    assert points.next_start >= 3 + n
    if n >= 100 and method not in ("uniform", "latin_hypercube"):
        # the left and the right half, the lower and the upper
        share = (points.x < 0).double().mean(0)
        assert (share - 0.5).abs().max() < 0.06


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measure", [0.0, 1.0])
def test_empty_shapes_are_refused_soon(method, measure):
    empty = Disc(-1.0, measure)
    assert len(empty.sample(0, method=method)) == 0
    with pytest.raises(ValueError, match=r"sample: expected at least 0\.0001 of the raw points"):
        empty.sample(2, method=method, dtype=torch.float32)


def test_masks_that_would_break_points_are_refused():
    points = Interval(0, 1).sample(10)
    with pytest.raises(
        ValueError, match=r"one-dimensional mask .* shape \(10, 1\). Use mask\[:, 0"
    ):
        points[points.distance > 0.1]
    assert len(points[points.distance[:, 0] > 0.1]) == 8
    with pytest.raises(ValueError, match="one-dimensional mask or index"):
        points[torch.tensor(3)]
    with pytest.raises(ValueError, match="one-dimensional mask or index"):
        points[torch.tensor([[1, 2]])]
    with pytest.raises(
        TypeError, match=r"dtype: expected a floating torch\.dtype, got torch\.int64"
    ):
        points.to(dtype=torch.int64)
    kept = points[2:5].measure
    assert torch.equal(kept, points.measure[2:5])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Box((0, 0, 0), (1e200, 1e200, 1e200)),
        lambda: Box((0, 0, 0), (1e-200, 1e-200, 1e-200)),
        lambda: Box((0, 0, 0), (1e200, 1e200, 1e-200)),
        lambda: Rectangle((-1e300, -1e300), (1e300, 1e300)),
        lambda: Rectangle((0, 0), (1.7e308, 1e-200)),
    ],
)
def test_measures_outside_the_numbers_are_refused(make):
    with pytest.raises(ValueError, match="upper: expected extents whose products are finite"):
        make()


def test_dtypes_that_cannot_hold_the_shape_are_refused():
    wide = Interval(-1e300, 1e300)
    thin = Interval(1e9, 1e9 + 1)
    small = Rectangle((0, 0), (1e-30, 1e-30))
    for shape, message in (
        (wide, "dtype: expected one that reaches from"),
        (thin, "dtype: expected one that resolves"),
        (small, "dtype: expected one that holds each point's share"),
    ):
        with pytest.raises(ValueError, match=message):
            shape.sample(3, dtype=torch.float32)
        assert shape.sample(3, dtype=F64).x.isfinite().all()
    for shape in (wide, thin):
        with pytest.raises(ValueError, match="dtype: expected one that re"):
            shape.boundary.sample(2, dtype=torch.float32)
        x = shape.boundary.sample(2, dtype=F64).x[:, 0].tolist()
        assert x == [shape.bounds[0][0], shape.bounds[1][0]]
    far = Rectangle((0, 0), (1e300, 1.0))
    with pytest.raises(ValueError, match="dtype: expected one that reaches from"):
        far.boundary.sample(2, dtype=torch.float32)


@pytest.mark.parametrize("corner", [{0, 1}, {0: 0.0, 1: 0.0}, np.array(1.0), (v for v in (0, 0))])
def test_corners_without_an_order_are_refused(corner):
    with pytest.raises(TypeError, match="lower: expected 2 numbers"):
        Rectangle(corner, (7, 9))


def test_corners_may_be_arrays():
    expected = ((0.5, 1.0), (3.0, 4.0))
    assert Rectangle(np.array([0.5, 1]), torch.tensor([3.0, 4.0])).bounds == expected
    assert Rectangle([0.5, 1], np.array([3, 4])).bounds == expected


@pytest.mark.parametrize(
    "shape",
    [
        cc.geometry.Interval(0, 1),
        cc.geometry.Rectangle((0, 0), (1, 2)),
        cc.geometry.Box((0, 0, 0), (1, 2, 3)),
    ],
)
def test_sampling_under_another_default_device(shape):
    expected = [region.sample(5) for region in (shape, shape.boundary)]
    with torch.device("meta"):
        for region, points in zip((shape, shape.boundary), expected, strict=True):
            assert region.sample(5).x.device.type == "meta"
            found = region.sample(5, device="cpu")
            assert torch.equal(found.x, points.x) and torch.equal(found.distance, points.distance)


def test_more_points_than_memory_holds():
    with pytest.raises(MemoryError, match="n: expected a number of points that memory holds"):
        cc.geometry.Rectangle((0, 0), (1, 1)).sample(2**43)


def test_corners_given_as_a_string():
    with pytest.raises(TypeError, match=r"lower: expected 2 numbers, got '00' \(str\)"):
        cc.geometry.Rectangle("00", (1, 1))
