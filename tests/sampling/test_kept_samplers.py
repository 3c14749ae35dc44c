"""RARD and R3: sets that depend on those before."""

from __future__ import annotations

import colloc as cc
import pytest
import torch

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((0, 0), (1, 1))


def left(x):
    """Large where x_0 is small."""
    return torch.exp(-10 * x[:, :1])


def test_rar_d_adds_points_by_the_residual():
    options = {"n": 40, "added": 20, "pool": 400, "refresh_every": 5, "seed": 0, "dtype": F64}
    s = cc.sampling.RARD(SQUARE, left, **options)
    sets = [s(step) for step in range(15)]
    assert [len(p) for p in sets] == [40] * 5 + [60] * 5 + [80] * 5
    assert torch.equal(sets[14].x[:60], sets[9].x)
    assert float(sets[14].x[40:, 0].mean()) < 0.15 < float(sets[0].x[:, 0].mean())
    for points in sets:
        torch.testing.assert_close(points.measure.sum(), torch.tensor(1.0, dtype=F64))
        torch.testing.assert_close(points.weight, torch.ones_like(points.weight))
    assert len(sets[14].x.unique(dim=0)) == 80


def test_rar_d_stops_growing():
    s = cc.sampling.RARD(SQUARE, left, 10, added=8, refresh_every=1, most=24, seed=0)
    assert [len(s(step)) for step in range(4)] == [10, 18, 24, 24]


def test_rar_d_draws_by_its_formula():
    zero = lambda x: (x[:, :1] < 0.5).double()  # noqa: E731
    s = cc.sampling.RARD(SQUARE, zero, 10, added=50, refresh_every=1, seed=0, dtype=F64)
    s(0)
    assert float(s(1).x[10:, 0].max()) < 0.5  # c = 0: none where there is no residual
    s = cc.sampling.RARD(SQUARE, zero, 10, added=50, refresh_every=1, c=5.0, seed=0, dtype=F64)
    s(0)
    assert float(s(1).x[10:, 0].max()) > 0.5


def test_r3_retains_what_is_above_the_mean():
    s = cc.sampling.R3(SQUARE, left, 200, seed=0, dtype=F64)
    before = s(0)
    for step in range(1, 6):
        after = s(step)
        size = left(before.x)[:, 0]
        kept = before.x[size > size.mean()]
        assert torch.equal(after.x[: len(kept)], kept)
        fresh = after.x[len(kept) :]
        old = {tuple(row) for row in before.x.tolist()}
        assert not any(tuple(row) in old for row in fresh.tolist())
        assert len(after) == 200
        before = after
    assert float(before.x[:, 0].mean()) < 0.3


def test_r3_releases_what_has_fallen_below_the_mean():
    where = [0.0]
    near = lambda x: torch.exp(-40 * (x[:, :1] - where[0]) ** 2)  # noqa: E731
    s = cc.sampling.R3(SQUARE, near, 300, seed=0, dtype=F64)
    for step in range(8):
        gathered = s(step)
    share = lambda p: float((p.x[:, 0] < 0.3).double().mean())  # noqa: E731
    assert share(gathered) > 0.6
    where[0] = 1.0
    for step in range(8, 16):
        moved = s(step)
    assert share(moved) < 0.3


def test_r3_with_equal_residuals_is_resampled():
    s = cc.sampling.R3(SQUARE, lambda x: torch.ones_like(x[:, :1]), 20, seed=0)
    assert not torch.equal(s(0).x, s(1).x)


@pytest.mark.parametrize("make", [cc.sampling.R3, cc.sampling.RARD])
def test_steps_go_forward_only(make):
    s = make(SQUARE, left, 20, refresh_every=5, seed=0)
    points = s(12)
    assert torch.equal(s(10).x, points.x)  # of the same epoch
    with pytest.raises(ValueError, match="step: expected one from 10 on"):
        s(9)
    assert torch.equal(s(14).x, points.x)  # nothing was lost


def test_a_failing_measure_leaves_the_set():
    broken = [False]
    measure = lambda x: left(x) * (torch.nan if broken[0] else 1.0)  # noqa: E731
    s = cc.sampling.RARD(SQUARE, measure, 20, refresh_every=1, seed=0, dtype=F64)
    s(0)
    broken[0] = True
    with pytest.raises(ValueError, match="measure"):
        s(1)
    broken[0] = False
    other = cc.sampling.RARD(SQUARE, measure, 20, refresh_every=1, seed=0, dtype=F64)
    other(0)
    assert torch.equal(s(1).x, other(1).x)


@pytest.mark.parametrize(
    "options,text",
    [
        ({"added": 0}, "added: expected an integer >= 1"),
        ({"pool": 5}, "pool: expected at least"),
        ({"most": 5}, "most: expected an integer >= 20"),
        ({"k": 0.0}, "k: expected a number > 0"),
        ({"c": -1.0}, "c: expected a number >= 0"),
    ],
)
def test_wrong_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        cc.sampling.RARD(SQUARE, left, 20, **options)


@pytest.mark.parametrize("make", [cc.sampling.R3, cc.sampling.RARD])
def test_shapes_of_different_sizes_keep_their_shares(make):
    """The mean of x over intervals (0, r), r from 0.1 to 2: (integral of r^2 / 2) / (of r)."""
    shape = lambda p: cc.geometry.Interval(0, p["r"])  # noqa: E731
    flat = lambda x: torch.ones_like(x[:, :1])  # noqa: E731
    n, ranges = 2000, {"r": (0.1, 2.0)}
    s = make(shape, flat, n, parameters=ranges, refresh_every=1, seed=0, dtype=F64)
    for step in range(3):
        points = s(step)
    mean = (points.weight * points.x[:, :1]).mean()
    exact = (2**3 - 0.1**3) / 6 / ((2**2 - 0.1**2) / 2)
    assert abs(mean - exact) < 0.05
    assert points.whole == pytest.approx((2**2 - 0.1**2) / 2, rel=0.1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1.0])
@pytest.mark.parametrize("make", [cc.sampling.R3, cc.sampling.RARD])
def test_a_measure_that_is_none_is_refused(make, value):
    def measure(x):
        found = torch.ones_like(x[:, :1])
        found[2] = value
        return found

    s = make(SQUARE, measure, 20, refresh_every=1, seed=0)
    s(0)
    with pytest.raises(ValueError, match=r"measure: expected finite numbers >= 0, got 1 .*2"):
        s(1)


@pytest.mark.parametrize("factor", [1.0, 1e30, 1e-30])
def test_units_of_the_residual_do_not_matter(factor):
    class Rows:
        def rows(self, x):
            return x * factor

    one, two = (cc.sampling.R3(SQUARE, m, 64, seed=0) for m in (Rows(), lambda x: x.norm(dim=1)))
    for step in range(3):
        assert torch.equal(one(step).x, two(step).x)


@pytest.mark.parametrize("make", [cc.sampling.R3, cc.sampling.RARD, cc.sampling.RAD])
def test_what_is_done_to_points_does_not_reach_the_sampler(make):
    one, two = (make(SQUARE, left, 20, refresh_every=2, seed=0) for _ in range(2))
    points, _, _ = one(0), two(0), two(2)
    points.x.requires_grad_(True).sum().backward()
    with torch.no_grad():
        points.x.fill_(7.0)
    with torch.inference_mode():
        one(1)
        one(2)
    for step in (3, 4):
        assert torch.equal(one(step).x, two(step).x)
        assert not one(step).x.requires_grad and not one(step).x.is_inference()


def test_a_measure_that_writes_to_its_points_harms_none():
    cloud = cc.geometry.PointCloud(torch.rand(50, 2))
    before = cloud.all().x.clone()
    for make in (cc.sampling.R3, cc.sampling.RARD, cc.sampling.ImportanceSampler):
        for shape in (SQUARE, cloud):
            s = make(shape, lambda x: x.mul_(100)[:, :1], 16, refresh_every=1, seed=0)
            s(0)
            assert float(s(1).x.max()) <= 1.0
    assert torch.equal(cloud.all().x, before)


def test_residuals_at_a_few_points_alone():
    few = lambda x: (x[:, :1] < 0.01).double()  # noqa: E731
    s = cc.sampling.RARD(SQUARE, few, 20, added=50, refresh_every=1, seed=0, dtype=F64)
    s(0)
    points = s(1)
    assert 20 < len(points) < 70 and float(points.x[20:, 0].max()) < 0.01


@pytest.mark.parametrize("make", [cc.sampling.R3, cc.sampling.RARD])
def test_a_state_that_does_not_fit_changes_nothing(make):
    s = make(SQUARE, left, 20, refresh_every=1, seed=0)
    s(0)
    before = s(1)
    state = s.state_dict()
    broken = [
        {**state, "stretch": "x"},
        {**state, "epoch": -3},
        {**state, "seed": "x"},
        {**state, "points": {"x": 1}},
        {**state, "points": {**state["points"], "x": torch.zeros(20, 3)}},
        {**state, "points": {**state["points"], "measure": torch.zeros(3, 1)}},
        {k: v for k, v in state.items() if k != "points"},
    ]
    for one in broken:
        with pytest.raises((ValueError, TypeError), match="state"):
            s.load_state_dict(one)
        assert torch.equal(s(1).x, before.x)
    assert torch.equal(s(2).x, s(2).x)


def test_hammersley_sets_would_repeat():
    with pytest.raises(ValueError, match="method: expected a method that gives other points"):
        cc.sampling.R3(SQUARE, left, 20, method="hammersley")
