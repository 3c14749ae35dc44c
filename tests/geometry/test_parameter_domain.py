"""Shapes, boundaries and clouds over ranges of parameters."""

from __future__ import annotations

import copy
import math
import pickle

import colloc as cc
import pytest
import torch
from colloc.geometry import (
    Box,
    Disk,
    Interval,
    ParameterDomain,
    PointCloud,
    Rectangle,
    TimeDomain,
)  # fmt: skip

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform", "latin_hypercube")
methods = pytest.mark.parametrize("method", METHODS)
RANGES = {"k": (1.0, 3.0), "nu": (-0.5, 0.0)}
DISK = Disk((1, 2), 0.5)


@methods
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_points_are_spread_over_all_axes_together(method, dtype):
    domain = ParameterDomain(DISK, RANGES)
    points = domain.sample(300, 4, method, seed=3, dtype=dtype)
    assert points.x.shape == (300, 4) and points.x.dtype == dtype
    assert bool(domain.inside(points.x).all())
    torch.testing.assert_close(points.distance, DISK.distance(points.x[:, :2]))
    assert points.measure.sum().item() == pytest.approx(DISK.measure * 2 * 0.5, rel=1e-5)
    for column, (low, high) in zip(points.x.T[2:], RANGES.values(), strict=True):
        assert bool((column >= low).all()) and bool((column <= high).all())
        assert ((column - low) / (high - low)).mean().item() == pytest.approx(0.5, abs=0.06)
    # every quarter of space and parameters has its part
    halves = torch.stack([(points.x[:, j] > middle).long() for j, middle in
                          ((0, 1.0), (1, 2.0), (2, 2.0), (3, -0.25))])  # fmt: skip
    counts = torch.bincount((halves * torch.tensor([[1], [2], [4], [8]])).sum(0), minlength=16)
    assert counts.min() >= 6


def test_a_box_is_the_sequence_itself():
    points = ParameterDomain(Rectangle((0, 0), (1, 1)), {"k": (0, 1)}).sample(50, 9, dtype=F64)
    assert torch.equal(points.x, cc.sampling.halton(50, 3, 9, dtype=F64))
    assert points.next_start == 59
    again = ParameterDomain(DISK, {"k": (0, 1)})
    first = again.sample(40, 0, dtype=F64)
    both = torch.cat((first.x, again.sample(30, first.next_start, dtype=F64).x))
    assert torch.equal(both, again.sample(70, dtype=F64).x)


def test_measures_bounds_and_names():
    domain = ParameterDomain(TimeDomain(DISK, 0, 4), RANGES)
    assert domain.dim == 5 and domain.parameters == RANGES
    assert domain.measure == pytest.approx(math.pi / 4 * 4 * 2 * 0.5)
    assert domain.bounds == ((0.5, 1.5, 0, 1, -0.5), (1.5, 2.5, 4, 3, 0))
    assert domain.boundary.piece_names == ("circle", "initial") and domain.boundary.dim == 5
    assert domain.boundary.measure == pytest.approx((math.pi * 4 + math.pi / 4) * 1.0)
    assert domain.boundary["initial"].measure == pytest.approx(math.pi / 4)
    assert domain.boundary.parameters == RANGES
    shown = "{'k': (1, 3), 'nu': (-0.5, 0)}"
    assert repr(domain) == f"ParameterDomain(TimeDomain(Disk((1, 2), 0.5), 0, 4), {shown})"
    assert repr(domain.boundary) == (
        f"ParameterBoundary(TimeBoundary('circle', 'initial'), {shown})"
    )


@methods
def test_boundaries_keep_pieces_and_normals(method):
    square = Rectangle((0, 0), (2, 1))
    boundary = ParameterDomain(square, RANGES).boundary
    points = boundary.sample(120, 2, method, seed=1, dtype=F64)
    assert points.x.shape == points.normal.shape == (120, 4)
    assert bool((points.normal[:, 2:] == 0).all())
    assert points.measure.sum().item() == pytest.approx(6.0)
    sides = ((1, 0.0, 0), (0, 2.0, 1), (1, 1.0, 2), (0, 0.0, 3))
    for axis, value, number in sides:
        here = points.piece == number
        assert bool((points.x[here, axis] == value).all())
        assert bool((points.normal[here, axis].abs() == 1).all())
    assert torch.bincount(points.piece).tolist() == pytest.approx([40, 20, 40, 20], abs=15)


def test_parts_of_boundaries():
    square = Rectangle((0, 0), (2, 1))
    left = ParameterDomain(square, RANGES).boundary["left"]
    assert left.indices == (3,) and left.measure == pytest.approx(1.0)
    points = left.sample(50, dtype=F64)
    assert bool((points.x[:, 0] == 0).all()) and bool((points.piece == 3).all())
    # straight from a part, from a boundary, and by a test of midpoints
    assert torch.equal(ParameterDomain(square.boundary["left"], RANGES).sample(50, dtype=F64).x,
                       points.x)  # fmt: skip
    whole = ParameterDomain(square.boundary, RANGES)
    assert isinstance(whole, cc.geometry.Boundary) and whole.piece_names == square.boundary.names
    assert whole[lambda x: (x[:, 0] == 0) & (x[:, 2] == 2.0)].indices == (3,)
    assert whole.named(inlet="left")["inlet"].indices == (3,)
    assert (whole["left"] | ParameterDomain(square, RANGES).boundary["top"]).indices == (2, 3)
    with pytest.raises(ValueError, match="a part of this boundary"):
        whole.part(ParameterDomain(square, {"k": (1, 2)}).boundary["left"])


def test_end_points_and_parameters_are_independent():
    points = ParameterDomain(Interval(0, 1), {"k": (0, 1)}).boundary.sample(4000, dtype=F64)
    for piece in (0, 1):
        k = points.x[points.piece == piece, 1]
        assert len(k) == pytest.approx(2000, abs=2)
        assert torch.histc(k, 10, 0, 1).tolist() == pytest.approx([200] * 10, abs=12)


def test_inside_and_distance():
    domain = ParameterDomain(DISK, {"k": (1.0, 3.0)})
    x = torch.tensor([[1, 2, 2], [1, 2, 3.5], [5, 5, 2], [1, 2, 1]], dtype=F64, requires_grad=True)
    assert domain.inside(x).tolist() == [True, False, False, True]
    distance = domain.distance(x)
    assert torch.equal(distance, DISK.distance(x[:, :2]))
    (gradient,) = torch.autograd.grad(distance.sum(), x)
    assert bool((gradient[:, 2] == 0).all()) and bool((gradient[2, :2] != 0).all())
    with pytest.raises(ValueError, match=r"x: expected .* shape \(N, 3\)"):
        domain.distance(torch.zeros(3, 2))


def test_clouds():
    cloud = PointCloud(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]]))
    over = ParameterDomain(cloud, {"k": (1.0, 2.0), "m": (0.0, 4.0)})
    assert over.dim == 3 and over.measure == pytest.approx(16.0) and cloud.dim == 1
    assert over.bounds == ((0, 1, 0), (1, 2, 4)) and over.parameters["m"] == (0, 4)
    points = over.sample(400, dtype=F64)
    assert (points.x[:, 0] == 1).double().mean().item() == pytest.approx(0.75, abs=0.01)
    assert torch.equal(points.x[:, 1], 1 + cc.sampling.halton(400, 3, dtype=F64)[:, 1])
    with pytest.raises(ValueError, match="all: expected a cloud without parameters"):
        over.all()
    with pytest.raises(TypeError, match="shape: expected a cloud without parameters"):
        ParameterDomain(over, {"k": (1, 2)})


@pytest.mark.parametrize("shape", [DISK, DISK.boundary, DISK.boundary["circle"]], ids=repr)
def test_copies_and_pickles(shape):
    domain = ParameterDomain(shape, RANGES)
    for other in (copy.copy(domain), copy.deepcopy(domain), pickle.loads(pickle.dumps(domain))):
        assert type(other) is type(domain)
        assert torch.equal(other.sample(9, dtype=F64).x, domain.sample(9, dtype=F64).x)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: ParameterDomain(3, RANGES), "shape: expected a shape, a boundary, a part of one"),
        (
            lambda: ParameterDomain(ParameterDomain(DISK, RANGES), {"q": (0, 1)}),
            "shape: expected a shape without parameters",
        ),
        (
            lambda: ParameterDomain(ParameterDomain(DISK, RANGES).boundary, {"q": (0, 1)}),
            "shape: expected a boundary without parameters",
        ),
        (lambda: ParameterDomain(DISK, {}), "ranges: expected ranges by name"),
        (lambda: ParameterDomain(DISK, [(0, 1)]), "ranges: expected ranges by name"),
        (lambda: ParameterDomain(DISK, {1: (0, 1)}), "ranges: expected .* named by strings"),
        (lambda: ParameterDomain(DISK, {"k": (1, 0)}), r"ranges\['k'\]: expected low < high"),
        (lambda: ParameterDomain(DISK, {"k": (0,)}), r"ranges\['k'\]: expected a pair"),
        (lambda: ParameterDomain(DISK, {"k": "01"}), r"ranges\['k'\]: expected a pair"),
        (lambda: ParameterDomain(DISK, {"k": (0, math.inf)}), "expected a finite number"),
        (lambda: ParameterDomain(DISK, {"k": (-1.7e308, 1.7e308)}), "at a finite distance"),
        (lambda: ParameterDomain(DISK.boundary, {"k": (1, 0)}), r"ranges\['k'\]: expected low"),
        (
            lambda: ParameterDomain(DISK, {"k": (0, 1e200), "m": (0, 1e200)}),
            "ranges: expected ranges whose lengths multiply to a finite number",
        ),
        (
            lambda: ParameterDomain(DISK, {"k": (1e9, 1e9 + 1)}).sample(3, dtype=torch.float32),
            "dtype: expected one that resolves",
        ),
        (
            lambda: ParameterDomain(DISK & Disk((5, 0), 0.1), RANGES).sample(3),
            "which is empty",
        ),
        (
            lambda: Box((0, 0, 0), (1, 1, 1)) - ParameterDomain(DISK, {"k": (0, 1)}),
            "right: expected a shape of space alone",
        ),
        (
            lambda: ParameterDomain(DISK, {"k": (0, 1)}) | Box((0, 0, 0), (1, 1, 1)),
            "left: expected a shape of space alone",
        ),
    ],
)
def test_wrong_domains_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
