"""Every shape, boundary and part through every sampler."""

from __future__ import annotations

import pytest
import torch
from colloc.geometry import (
    Arc,
    Ball,
    Box,
    Channel,
    Circle,
    Disk,
    Interval,
    ParameterDomain,
    PieceBoundary,
    PointCloud,
    Polygon,
    Rectangle,
    Segment,
    Shape,
    TimeDomain,
    TriangleSurface,
)  # fmt: skip
from colloc.geometry.interval import IntervalBoundary
from colloc.sampling import Halton, Hammersley, LatinHypercube, Sobol, Uniform

F64 = torch.float64
ALL = (Halton, Hammersley, Sobol, Uniform, LatinHypercube)
TETRAHEDRON = TriangleSurface(
    [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
)
SHAPES = [
    Interval(-1, 2),
    Rectangle((-1, 0), (2, 1)),
    Channel((0, 0), (6, 1)),
    Disk((1, 2), 0.5),
    Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]),
    Disk((0, 0), 1) - Disk((0, 0), 0.5),
    Rectangle((0, 0), (2, 1)) | Disk((2, 0.5), 0.5),
    Rectangle((0, 0), (2, 1)) & Disk((2, 0.5), 0.8),
    Box((0, 0, 0), (1, 2, 3)),
    Ball((1, 0, 0), 2),
    Box((0, 0, 0), (1, 1, 1)) - Ball((0, 0, 0), 0.5),
    Box((0, 0, 0), (2, 1, 1)) - Box((1, 0, 0), (2, 0.5, 1)),
    TETRAHEDRON.interior,
    TimeDomain(Interval(0, 1), 0, 2),
    TimeDomain(Disk((0, 0), 1), 1, 2),
    TimeDomain(Box((0, 0, 0), (1, 1, 1)), 0, 1),
    ParameterDomain(Disk((0, 0), 1), {"k": (1, 3)}),
    ParameterDomain(TimeDomain(Rectangle((0, 0), (1, 1)), 0, 2), {"k": (1, 3), "m": (0, 1)}),
]
ON = [
    *(shape.boundary for shape in SHAPES),
    Channel((0, 0), (6, 1)).boundary["walls"],
    Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]).boundary[1, 4],
    Box((0, 0, 0), (1, 2, 3)).boundary["x-", "z+"],
    TimeDomain(Disk((0, 0), 1), 1, 2).initial,
    TimeDomain(Disk((0, 0), 1), 1, 2).lateral,
    ParameterDomain(Rectangle((0, 0), (1, 1)).boundary["left"], {"k": (1, 3)}),
    PieceBoundary([Segment((0, 0), (1, 0)), Arc((1, 1), 1, -1.5, 0), Circle((5, 5), 1)]),
    PointCloud(torch.rand(50, 3, generator=torch.Generator().manual_seed(1), dtype=F64)),
]
samplers = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
N = 60


def differ(make, shape):
    """Whether all points of all steps differ: there are infinitely many places, and Hammersley's
    first coordinate, which repeats, is not all that places a point."""
    if isinstance(shape, (PointCloud, IntervalBoundary)):
        return False
    axes = shape.dim if isinstance(shape, Shape) else shape.dim - 1
    return make is not Hammersley or axes > 1


@pytest.mark.parametrize("shape", [*SHAPES, *ON], ids=repr)
@samplers
def test_counts_measures_and_raw_indices(make, shape):
    sampler = make(shape, N, start=3, seed=11, dtype=F64)
    at = 3
    steps = [sampler(step) for step in range(3)]
    for step, points in enumerate(steps):
        assert points.x.shape == (N, shape.dim) and points.x.dtype == F64
        assert bool(points.x.isfinite().all())
        assert points.measure.sum().item() == pytest.approx(shape.measure, rel=1e-9)
        if isinstance(shape, Shape):
            assert bool(shape.inside(points.x).all()) and bool((points.distance >= 0).all())
            torch.testing.assert_close(points.distance, shape.distance(points.x))
            assert points.piece is None and points.normal is None
        elif not isinstance(shape, PointCloud):
            assert torch.equal(points.distance, torch.zeros(N, 1, dtype=F64))
            torch.testing.assert_close(points.normal.norm(dim=1), torch.ones(N, dtype=F64))
            allowed = range(len(getattr(shape, "boundary", shape).piece_names))
            assert set(points.piece.tolist()) <= set(getattr(shape, "indices", allowed))
        if not sampler._is_random:  # the raw points from one step's start to the next's
            assert points.next_start >= at + N
            expected = shape.sample(N, at, make.method, seed=11, dtype=F64)
            assert torch.equal(points.x, expected.x) and expected.next_start == points.next_start
            at = points.next_start
        else:
            assert 3 + step * 2**32 < points.next_start < 3 + (step + 1) * 2**32
    again = make(shape, N, start=3, seed=11, dtype=F64)
    for step in (2, 0):
        assert torch.equal(again(step).x, steps[step].x)
    if differ(make, shape):
        whole = torch.cat([points.x for points in steps])
        assert len(whole.unique(dim=0)) == 3 * N


@pytest.mark.parametrize("shape", [*SHAPES, *ON], ids=repr)
def test_float32_points_are_inside_too(shape):
    points = Halton(shape, N, seed=1)(1)
    assert points.x.dtype == points.measure.dtype == torch.float32
    if isinstance(shape, Shape):
        assert bool(shape.inside(points.x).all())
    assert points.measure.sum().item() == pytest.approx(shape.measure, rel=1e-5)
