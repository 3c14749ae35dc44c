"""Clouds of points with shares of a measure."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.geometry import PointCloud, Rectangle, TimeDomain

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform", "latin_hypercube")
X = torch.arange(10, dtype=F64).reshape(5, 2)
SHARES = torch.tensor([[1.0], [0.0], [2.0], [5.0], [0.0]], dtype=F64)


@pytest.mark.parametrize("method", METHODS)
def test_points_come_in_proportion_to_their_shares(method):
    cloud = PointCloud(X, SHARES)
    n = 800
    points = cloud.sample(n, 5, method, seed=2, dtype=F64)
    numbers = (points.x[:, 0] / 2).long()
    assert torch.equal(points.x, X[numbers])
    counts = torch.bincount(numbers, minlength=5)
    assert counts[1] == counts[4] == 0
    expected = n * SHARES[:, 0] / 8
    assert (counts - expected).abs().max() <= (60 if method == "uniform" else 8)
    assert torch.equal(points.measure, torch.full((n, 1), 8 / n, dtype=F64))
    assert points.normal is None and points.piece is None and points.next_start == n + 5


def test_it_is_the_inverse_of_the_cumulative_measure():
    cloud = PointCloud(X, SHARES)
    u = cc.sampling.halton(200, 1, 3, dtype=F64)[:, 0] * 8
    expected = torch.where(u < 1, 0, torch.where(u < 3, 2, 3))
    assert torch.equal(cloud.sample(200, 3, dtype=F64).x, X[expected])


def test_shares_are_added_in_float64():
    n = 2**18
    x = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    cloud = PointCloud(x, torch.full((n, 1), 0.1))  # float32 sums would stall
    found = cloud.sample(n, method="hammersley", dtype=torch.float32).x
    assert torch.equal(found, x)
    assert cloud.measure == pytest.approx(n * float(torch.tensor(0.1)), rel=1e-12)


def test_a_samples_integral_is_the_clouds():
    cells = Rectangle((0, 0), (1, 1)).sample(4000, dtype=F64)
    weight = 1 + cells.x[:, :1]
    cloud = PointCloud(cells.x, cells.measure * weight)
    points = cloud.sample(2000, dtype=F64)
    exact = (cells.measure * weight * cells.x[:, :1] ** 2).sum().item()
    assert (points.measure * points.x[:, :1] ** 2).sum().item() == pytest.approx(exact, rel=1e-2)


def test_without_shares_all_count_the_same():
    cloud = PointCloud(X)
    assert cloud.measure == pytest.approx(1.0) and len(cloud) == 5 and cloud.dim == 2
    assert cloud.bounds == ((0, 1), (8, 9))
    counts = torch.bincount((cloud.sample(50, method="hammersley").x[:, 0] / 2).long())
    assert counts.tolist() == [10] * 5
    assert repr(cloud) == "PointCloud(5 points in 2D)"


def test_normals_and_distances_go_along():
    normal = torch.nn.functional.normalize(X + 1)
    wall = PointCloud(X, normal=normal)
    points = wall.sample(20, dtype=F64)
    numbers = (points.x[:, 0] / 2).long()
    assert torch.equal(points.normal, normal[numbers]) and bool((points.distance == 0).all())
    inside = PointCloud(X, distance=X[:, :1] * 3)
    points = inside.sample(20, dtype=F64)
    assert torch.equal(points.distance, 3 * points.x[:, :1]) and points.normal is None
    # a distance that is not known is not taken for one
    assert bool(PointCloud(X).sample(3).distance.isnan().all())


def test_the_whole_cloud():
    normal = torch.nn.functional.normalize(X + 1)
    points = PointCloud(X.float(), SHARES, normal, SHARES).all()
    assert torch.equal(points.x, X.float()) and torch.equal(points.measure, SHARES.float())
    assert torch.equal(points.normal, normal.float()) and torch.equal(
        points.distance, SHARES.float()
    )
    assert points.x.dtype == points.measure.dtype == points.normal.dtype == torch.float32
    assert PointCloud(X).all(torch.float32, "cpu").measure.dtype == torch.float32


def test_dtype_empty_samples_and_gradients():
    cloud = PointCloud(X.clone().requires_grad_(), SHARES)
    assert not cloud.sample(3).x.requires_grad
    assert cloud.sample(3).x.dtype == torch.get_default_dtype()
    empty = cloud.sample(0)
    assert empty.x.shape == (0, 2) and empty.measure.shape == (0, 1)


NAN = torch.full((5, 1), math.nan)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: PointCloud([[0.0, 1.0]]), "x: expected a floating tensor"),
        (lambda: PointCloud(torch.arange(4).reshape(2, 2)), "x: expected a floating tensor"),
        (lambda: PointCloud(torch.zeros(3)), "x: expected .* Give one point as"),
        (lambda: PointCloud(torch.zeros(0, 2)), "x: expected at least one point"),
        (lambda: PointCloud(torch.zeros(2, 0)), "x: expected at least one point"),
        (lambda: PointCloud(NAN), "x: expected finite numbers, got 5 rows .* the first is 0"),
        (lambda: PointCloud(X, NAN), "measure: expected finite numbers"),
        (lambda: PointCloud(X, -SHARES), "measure: expected shares >= 0, got -5"),
        (lambda: PointCloud(X, 0 * SHARES), "measure: expected shares with a finite sum > 0"),
        (lambda: PointCloud(X, 1e308 * SHARES), "measure: expected finite numbers"),
        (
            lambda: PointCloud(X, 3e307 * SHARES),
            "measure: expected shares with a finite sum > 0, got a sum of inf",
        ),
        (lambda: PointCloud(X, SHARES[:, 0]), r"measure: expected .* \(5, 1\) .*measure\[:, None"),
        (lambda: PointCloud(X, SHARES[:4]), r"measure: expected .* shape \(5, 1\)"),
        (lambda: PointCloud(X, [1, 2, 3, 4, 5]), "measure: expected a floating tensor"),
        (lambda: PointCloud(X, normal=SHARES), r"normal: expected .* shape \(5, 2\)"),
        (lambda: PointCloud(X, distance=X), r"distance: expected .* shape \(5, 1\)"),
        (lambda: PointCloud(X, distance=NAN), "distance: expected finite numbers"),
        (lambda: PointCloud(X).sample(-1), "n: expected an integer >= 0"),
        (lambda: PointCloud(X).sample(2, -1), "start: expected an integer >= 0"),
        (lambda: PointCloud(X).sample(2, method="grid"), "method: expected one of"),
        (lambda: PointCloud(X).sample(2, dtype=torch.int64), "dtype: expected torch.float32"),
        (lambda: PointCloud(X.half()).all(), "dtype: expected torch.float32 or torch.float64"),
    ],
)
def test_wrong_clouds_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_what_is_done_to_its_points_does_not_reach_the_cloud():
    x = X.clone()
    cloud = PointCloud(x)
    x.fill_(7.0)
    for points in (cloud.all(), cloud.sample(5, dtype=F64)):
        points.x.fill_(9.0)
        points.measure.fill_(9.0)
    assert torch.equal(cloud.all().x, X) and cloud.all().measure.sum() == 1.0


def test_time_for_a_cloud_is_a_parameter():
    with pytest.raises(TypeError, match=r"ParameterDomain\(cloud, {'t': \(start, stop\)}\)"):
        TimeDomain(PointCloud(X), 0, 1)
