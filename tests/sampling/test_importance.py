"""ImportanceSampler and RAD: probabilities, weights, epochs, state, errors."""

from __future__ import annotations

import colloc as cc
import pytest
import torch

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((0, 0), (2, 1))


def peak(x):
    """A measure with a peak at (0.5, 0.5)."""
    return torch.exp(-20 * ((x - 0.5) ** 2).sum(1, keepdim=True))


def sampler(kind=None, **changes):
    options = {"n": 64, "pool": 512, "refresh_every": 10, "seed": 0, "dtype": F64}
    options |= changes
    shape = options.pop("shape", SQUARE)
    measure = options.pop("measure", peak)
    return (kind or cc.sampling.ImportanceSampler)(shape, measure, **options)


def test_probabilities_are_those_of_the_formula():
    s = sampler(floor=0.05, power=1.5)
    s(0)
    m = peak(s.pool.x) ** 1.5
    a = s.pool.measure
    q = (m + 0.05 * (m * a).sum() / a.sum()) * a
    torch.testing.assert_close(s.probabilities, q / q.sum(), rtol=1e-12, atol=0)
    assert s.probabilities.shape == (512, 1)


@pytest.mark.parametrize("scheme", ["stratified", "multinomial", "without_replacement"])
def test_weights_keep_the_loss_unbiased(scheme):
    s = sampler(scheme=scheme, refresh_every=10**6)
    s(0)
    f = s.pool.measure / s.pool.measure.sum()
    loss = lambda x: 1 + peak(x)  # noqa: E731
    exact = (f * loss(s.pool.x)).sum()
    draws = torch.stack([(p.weight * loss(p.x)).mean() for p in map(s, range(2000))])
    error, deviation = draws.mean() - exact, draws.std() / 2000**0.5
    assert abs(error) < 4 * deviation
    biased = torch.stack([loss(p.x).mean() for p in map(s, range(200))])
    assert abs(biased.mean() - exact) > 0.1  # without weights the mean is another one


def test_drawing_by_the_loss_itself_leaves_no_variance():
    s = sampler(measure=lambda x: 1 + x[:, :1], floor=0.0, scheme="multinomial")
    values = [(p.weight * (1 + p.x[:, :1])).mean() for p in map(s, range(5))]
    torch.testing.assert_close(torch.stack(values), values[0].expand(5), rtol=1e-12, atol=0)


def test_points_are_of_the_pool_and_stand_for_the_whole():
    s = sampler()
    points = s(3)
    assert isinstance(points, cc.geometry.Points) and len(points) == 64
    assert points.whole == pytest.approx(2.0)
    pool = {tuple(row) for row in s.pool.x.tolist()}
    assert all(tuple(row) in pool for row in points.x.tolist())
    torch.testing.assert_close(points.measure, points.weight * 2 / 64)
    f_over_q = {
        tuple(x): float(w)
        for x, w in zip(s.pool.x.tolist(), 1 / (512 * s.probabilities), strict=True)
    }
    expected = [f_over_q[tuple(row)] for row in points.x.tolist()]
    torch.testing.assert_close(points.weight[:, 0], torch.tensor(expected, dtype=F64))
    assert float(points.weight.max()) <= (1 + 1e-3) / 1e-3


def test_a_term_is_a_measure_and_takes_the_points():
    net = lambda x: x[:, :1] ** 2  # noqa: E731
    residual = lambda u, x: torch.cat([u.d(0) - 1, -u.value], 1)  # noqa: E731
    term = cc.Term("t", net, SQUARE.sample(4, dtype=F64), residual, order=1)
    s = sampler(measure=term, floor=0.0)
    s(0)
    x = s.pool.x[:, :1]
    m = ((2 * x - 1) ** 2 + x**4).sqrt()
    torch.testing.assert_close(s.probabilities, m / m.sum(), rtol=1e-10, atol=0)
    term.points = s(0)
    rows = torch.cat([2 * term.x[:, :1] - 1, -(term.x[:, :1] ** 2)], 1)
    expected = (term.points.weight * rows.square().mean(1, keepdim=True)).mean()
    torch.testing.assert_close(term.loss(), expected)


def test_the_field_is_looked_at_once_an_epoch_and_without_gradients():
    calls = []

    def measure(x):
        calls.append((len(x), torch.is_grad_enabled()))
        return peak(x)

    s = sampler(measure=measure)
    pools = []
    for step in range(30):
        s(step)
        pools.append(s.pool.x)
    assert calls == [(512, False)] * 3
    assert torch.equal(pools[0], pools[9]) and not torch.equal(pools[9], pools[10])
    assert s.epoch == 2


def test_steps_differ_and_repeat():
    s = sampler()
    one, two, again = s(0), s(1), s(0)
    assert torch.equal(one.x, again.x) and torch.equal(one.measure, again.measure)
    assert not torch.equal(one.x, two.x)
    other = sampler(seed=1)
    assert not torch.equal(other(0).x, one.x)


def test_rad_keeps_its_unweighted_points_for_an_epoch():
    s = sampler(cc.sampling.RAD, k=2.0, c=0.5)
    one, two, next_epoch = s(0), s(9), s(10)
    assert torch.equal(one.x, two.x) and not torch.equal(one.x, next_epoch.x)
    torch.testing.assert_close(one.weight, torch.ones(64, 1, dtype=F64))
    assert len(one.x.unique(dim=0)) == 64
    m = peak(s.pool.x) ** 2
    q = m / m.mean() + 0.5
    torch.testing.assert_close(s.probabilities, q / q.sum(), rtol=1e-12, atol=0)
    with pytest.raises(TypeError, match="floor: expected to be given as c"):
        sampler(cc.sampling.RAD, floor=1.0)


def test_more_points_where_the_measure_is_large():
    s = sampler(n=256, pool=4096)
    near = lambda x: float((((x - 0.5) ** 2).sum(1) < 0.1).double().mean())  # noqa: E731
    assert near(s(0).x) > 3 * near(s.pool.x)


@pytest.mark.parametrize("kind", ["ImportanceSampler", "RAD", "RARD", "R3"])
def test_going_on_after_a_restart(kind, tmp_path):
    cls = getattr(cc.sampling, kind)
    options = {"n": 32, "refresh_every": 4, "seed": 3, "dtype": F64}
    time = [0.0]
    measure = lambda x: peak(x - time[0])  # noqa: E731

    def run(s, steps):
        found = []
        for step in steps:
            time[0] = 0.01 * (step // 4)
            found.append(s(step))
        return found

    whole = run(cls(SQUARE, measure, **options), range(20))
    first = cls(SQUARE, measure, **options)
    run(first, range(10))
    cc.training.save_checkpoint(tmp_path / "c.pt", first.state_dict())
    second = cls(SQUARE, measure, **options)
    second.load_state_dict(cc.training.load_checkpoint(tmp_path / "c.pt"))
    measured = second.measure
    second.measure = lambda x: pytest.fail("within an epoch nothing is evaluated")
    rest = run(second, range(10, 12))
    second.measure = measured
    rest += run(second, range(12, 20))
    for one, two in zip(whole[10:], rest, strict=True):
        assert torch.equal(one.x, two.x) and torch.equal(one.measure, two.measure)
        assert one.whole == two.whole


@pytest.mark.parametrize("kind", ["ImportanceSampler", "RAD", "RARD", "R3"])
def test_ranks_share_the_points_of_one_process(kind):
    cls = getattr(cc.sampling, kind)
    options = {"n": 33, "refresh_every": 2, "seed": 3, "dtype": F64}
    alone = cls(SQUARE, peak, **options)
    ranks = [cls(SQUARE, peak, rank=r, world_size=3, **options) for r in range(3)]
    for step in (0, 1, 2, 5):
        points = alone(step)
        parts = [rank(step) for rank in ranks]
        assert sum(map(len, parts)) == len(points)
        for r, part in enumerate(parts):
            assert torch.equal(part.x, points.x[r::3])
        total = sum(part.measure.sum() for part in parts)
        torch.testing.assert_close(total, points.measure.sum())
        assert sum(part.whole for part in parts) == pytest.approx(points.whole)


def test_a_point_cloud_is_its_own_pool():
    x = torch.rand(200, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    share = 1 + x[:, :1]
    cloud = cc.geometry.PointCloud(x, measure=share)
    s = cc.sampling.ImportanceSampler(cloud, peak, n=50, floor=0.1, seed=0, dtype=F64)
    points = s(0)
    assert torch.equal(s.pool.x, x)
    m, f = peak(x), share / share.sum()
    q = (m + 0.1 * (m * f).sum()) * f
    torch.testing.assert_close(s.probabilities, q / q.sum(), rtol=1e-12, atol=0)
    assert points.whole == pytest.approx(float(share.sum()))


@pytest.mark.parametrize(
    "shape",
    [
        SQUARE.boundary["left", "top"],
        cc.geometry.TimeDomain(cc.geometry.Interval(0, 1), 0, 2),
        cc.geometry.Ball((0, 0, 0), 1).boundary,
    ],
    ids=["part", "time", "sphere"],
)
def test_other_shapes(shape):
    points = sampler(shape=shape)(0)
    assert points.x.shape == (64, shape.dim)
    assert points.whole == pytest.approx(shape.measure)
    assert (points.normal is None) == isinstance(shape, cc.geometry.Shape)


def test_a_large_pool_is_looked_at_in_chunks():
    sizes = []

    def measure(x):
        sizes.append(len(x))
        return peak(x)[:, 0]

    sampler(measure=measure, pool=150_000)(0)
    assert sum(sizes) == 150_000 and max(sizes) <= 2**16


def test_an_all_zero_measure_warns_and_is_even():
    s = sampler(measure=lambda x: torch.zeros_like(x[:, :1]))
    with pytest.warns(UserWarning, match="all measures are 0"):
        points = s(0)
    torch.testing.assert_close(points.weight, torch.ones_like(points.weight))


def nan_at_three(x):
    value = torch.ones_like(x[:, :1])
    value[3:5] = torch.nan
    return value


@pytest.mark.parametrize(
    "changes,error,text",
    [
        ({"measure": 3.0}, TypeError, "measure: expected a Term"),
        ({"measure": lambda x: 1.0}, TypeError, r"measure\(x\): expected a floating tensor"),
        ({"measure": lambda x: x}, ValueError, r"measure\(x\): expected .* \(512, 1\)"),
        ({"measure": lambda x: peak(x)[1:]}, ValueError, r"measure\(x\)"),
        ({"measure": lambda x: -peak(x)}, ValueError, "512"),
        ({"measure": nan_at_three}, ValueError, r"2 .*3"),
        ({"n": 0}, ValueError, "n: expected an integer >= 1"),
        ({"pool": 0}, ValueError, "pool: expected an integer >= 1"),
        ({"refresh_every": 0}, ValueError, "refresh_every"),
        ({"floor": -1.0}, ValueError, "floor: expected a number >= 0"),
        ({"power": 0.0}, ValueError, "power: expected a number > 0"),
        ({"scheme": "both"}, ValueError, "scheme: expected one of"),
        ({"method": "both"}, ValueError, "method: expected one of"),
        ({"n": 513, "scheme": "without_replacement"}, ValueError, "n: expected at most"),
        ({"rank": 2, "world_size": 2}, ValueError, "rank"),
        ({"n": 1, "rank": 0, "world_size": 2}, ValueError, "n"),
        ({"shape": 3}, TypeError, "shape"),
    ],
)
def test_wrong_arguments(changes, error, text):
    with pytest.raises(error, match=text):
        sampler(**changes)(0)


@pytest.mark.parametrize("step", [-1, 1.5, True, "0"])
def test_wrong_steps(step):
    with pytest.raises((ValueError, TypeError), match="step: expected an integer"):
        sampler()(step)


def test_a_state_of_other_settings_is_refused():
    s = sampler()
    s(0)
    state = s.state_dict()
    with pytest.raises(ValueError, match=r"state\['floor'\]: expected 0.5, got 0.001"):
        sampler(floor=0.5).load_state_dict(state)
    with pytest.raises(ValueError, match=r"state\['sampler'\]: expected 'rad', got 'importance'"):
        sampler(cc.sampling.RAD).load_state_dict(state)
    with pytest.raises(RuntimeError, match="call it once"):
        sampler().probabilities


def test_slices_are_samples_of_the_whole():
    """Draws come in random order: any part of the points stands for all."""
    for method in ("hammersley", "halton"):
        s = sampler(measure=lambda x: torch.ones_like(x[:, :1]), method=method)
        firsts = torch.stack(
            [(p.weight * p.x[:, :1]).mean() for p in (s(k)[:32] for k in range(99))]
        )
        assert abs(firsts.mean() - 1.0) < 4 * firsts.std() / 99**0.5
    assert len(s(0)[:0].weight) == 0


def test_a_cloud_over_parameters():
    cloud = cc.geometry.PointCloud(torch.rand(30, 2, dtype=F64))
    domain = cc.geometry.ParameterDomain(cloud, {"k": (1, 2)})
    points = cc.sampling.ImportanceSampler(domain, peak, 20, seed=0, dtype=F64)(0)
    assert points.x.shape == (20, 3)


def test_a_state_that_does_not_fit_changes_nothing():
    s = sampler()
    before = s(0)
    state = s.state_dict()
    for q in ("x", torch.ones(3, 1, dtype=F64), torch.full((512, 1), torch.nan, dtype=F64)):
        with pytest.raises(ValueError, match=r"state\['probabilities'\]"):
            s.load_state_dict({**state, "probabilities": q})
        assert torch.equal(s(0).x, before.x)


def test_a_measure_that_is_not_differentiable_by_grad_mode_leaves_no_graph():
    net = cc.nn.MLP(2, 1, hidden_features=8, hidden_layers=1).double()
    s = sampler(measure=cc.sampling.DerivativeNorm(net))
    points = s(0)
    assert not points.x.requires_grad and not points.measure.requires_grad
    assert not s.probabilities.requires_grad
