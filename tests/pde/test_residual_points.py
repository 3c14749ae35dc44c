"""Residuals that take their points: normals and data are those of the points that are there."""

from __future__ import annotations

import copy
import functools

import colloc as cc
import pytest
import torch
from colloc.pde.residual_points import on_points, takes_points
from torch import nn

F64 = torch.float64
HOLE = cc.geometry.Disk((0, 0), 0.5, name="hole")
PLATE = cc.geometry.Rectangle((-2, -2), (2, 2)) - HOLE
WALL = PLATE.boundary["hole"]


def exact(x):
    """du/dn = 0 on the hole."""
    return x[:, :1] * (1 + 0.25 / x.square().sum(1, keepdim=True))


def flux(u, x, points):
    return (u.grad[:, 0] * points.normal).sum(1, keepdim=True)


def term(residual=flux, field=exact, n=200):
    return cc.Term("flux", field, WALL.sample(n, dtype=F64), residual, order=1)


def test_new_points_bring_their_normals():
    one, drawn = term(), cc.sampling.Halton(WALL, 200, dtype=F64)
    for step in range(4):
        one.points = drawn(step)
        assert float(one.loss()) < 1e-20


class Module(nn.Module):
    def forward(self, u, x, points):
        return flux(u, x, points)


class Callable:
    def __call__(self, u, x, *, points):
        return flux(u, x, points)


@pytest.mark.parametrize("residual", [
    flux, Module(), Callable(),
    functools.partial(lambda u, x, points, k: k * flux(u, x, points), k=2),
    lambda u, x, scale=1.0, points=None: scale * flux(u, x, points), lambda u, x, p: flux(u, x, p),
])  # fmt: skip
def test_what_takes_points(residual):
    assert takes_points(residual)
    assert float(term(residual).loss()) < 1e-20


@pytest.mark.parametrize("residual", [
    lambda u, x: u.value, lambda u, x, k=2.0: k * u.value, lambda u, *rest: u.value,
    cc.pde.poisson(), functools.partial(lambda u, x, k: k * u.value, k=1.0), nn.Identity(),
])  # fmt: skip
def test_what_does_not(residual):
    assert not takes_points(residual)


def test_a_plain_tensor_of_points_is_passed_on():
    x = torch.rand(5, 2, dtype=F64)
    one = cc.Term("u", exact, x, lambda u, x, points: u.value - points[:, :1], order=0)
    assert torch.equal(one(), exact(x) - x[:, :1])


def test_rows_and_importance_sampling_take_the_points_of_the_pool():
    one = term(n=64)
    pool = WALL.sample(1000, dtype=F64)
    assert one.rows(pool).abs().max() < 1e-12
    # A measure of the normal's x-component alone
    size = cc.Term("size", exact, pool[:10], lambda u, x, points: points.normal[:, :1], order=1)
    drawn = cc.sampling.ImportanceSampler(WALL, size, 64, pool=500, floor=0.0, seed=0, dtype=F64)
    drawn(0)
    normal = drawn.pool.normal[:, :1].abs()
    torch.testing.assert_close(drawn.probabilities, normal / normal.sum(), rtol=1e-6, atol=0)
    for kind in (cc.sampling.RAD, cc.sampling.R3):
        sampler = kind(WALL, size, 64, seed=0, dtype=F64)
        for step in range(3):
            assert len(sampler(step)) == 64
    growing = cc.sampling.RARD(WALL, size, 64, 16, seed=0, refresh_every=1, dtype=F64)
    assert [len(growing(step)) for step in range(3)] == [64, 80, 96]


def test_a_large_pool_goes_in_chunks(monkeypatch):
    from colloc.sampling import adaptive

    monkeypatch.setattr(adaptive, "_CHUNK", 100)
    size = cc.Term("size", exact, WALL.sample(4), lambda u, x, p: p.normal[:, :1], order=1)
    sampler = cc.sampling.ImportanceSampler(WALL, size, 64, pool=350, floor=0.0, seed=0)
    sampler(0)
    normal = sampler.pool.normal[:, :1].abs().double()
    torch.testing.assert_close(sampler.probabilities, normal / normal.sum(), rtol=1e-5, atol=0)


def test_as_many_columns_as_points():
    points = WALL.sample(2, dtype=F64)
    one = cc.Term("two", exact, points, lambda u, x, p: u.grad[:, 0] * p.normal, order=1)
    assert one().shape == (2, 2)
    broadcast = cc.Term("bad", exact, WALL.sample(40), lambda u, x, p: u.value * p.normal[:, 0],
                        order=1)  # fmt: skip
    with pytest.raises(ValueError, match="were broadcast"):
        broadcast()


def test_traces_of_the_tangent_kernel():
    net = cc.nn.MLP(2, 1, 8, 2, "tanh", dtype=F64)
    points = WALL.sample(30, dtype=F64)
    taking = cc.Term("flux", net, points, flux, order=1)
    closing = cc.Term("flux", net, points, lambda u, x: flux(u, x, points), order=1)
    one, other = (
        cc.balancing.NTK(["flux", "rest"])(
            {"flux": t.loss(), "rest": rest.loss()}, 0, terms=[t, rest]
        )
        for t in (taking, closing)
        for rest in [cc.Term("rest", net, points, lambda u, x: u.value, order=0)]
    )
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match="residual: expected residual"):
        cc.ntk.trace(net, points.x, flux, 1)

    class Unknown(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = copy.deepcopy(net)

        def forward(self, x):
            return self.net(x) + 0 * self.net[0].weight.sum()

    one = cc.Term("flux", Unknown(), points, flux, order=1)
    rest = cc.Term("rest", net, points, lambda u, x: u.value, order=0)
    losses = {"flux": one.loss(), "rest": rest.loss()}
    with pytest.raises(RuntimeError, match="a residual that takes points"):
        cc.balancing.NTK(["flux", "rest"])(losses, 0, terms=[one, rest])


def test_what_is_made_of_a_residual():
    def both(u, x, points):
        return torch.cat((u.value, flux(u, x, points)), dim=1)

    assert float(term(cc.pde.columns(both, 1)).loss()) < 1e-20
    assert not takes_points(cc.pde.columns(cc.pde.poisson(), 0))
    with pytest.raises(ValueError, match="data of points have no derivatives, got one that takes"):
        cc.pde.gradient_enhanced(flux, order=1)
    with pytest.raises(ValueError, match=r"parts\['flux'\]: .* got one that takes points"):
        cc.pde.suppress({"flux": flux, "u": lambda u, x: u.value}, ["u"])


def test_compiled():
    net = cc.nn.MLP(2, 1, 8, 2, "tanh")
    one = cc.Term("flux", net, WALL.sample(30), flux, order=1)
    expected = one.loss()
    torch.testing.assert_close(torch.compile(one.loss, fullgraph=True)(), expected)


@pytest.mark.parametrize("compile", [False, True])
def test_a_trainer_with_a_sampler(compile):
    net = cc.nn.MLP(2, 1, 8, 2, "tanh")
    seen = []

    def residual(u, x, points):
        if not torch.compiler.is_compiling():
            seen.append((points.x.square().sum(1).sqrt()[:, None] * -points.normal - x).abs().max())
        return flux(u, x, points)

    one = cc.Term("flux", net, WALL.sample(64), residual, order=1)
    cc.training.Trainer([one], net, torch.optim.Adam(net.parameters(), 1e-3),
                        {"flux": cc.sampling.Halton(WALL, 64)}, steps=3, compile=compile,
                        progress=False).run()  # fmt: skip
    assert all(error < 1e-5 for error in seen)


# ---- data at points ---------------------------------------------------------------------------


def sensors(n=300, k=1):
    x = torch.rand(n, 2, dtype=F64)
    return x, torch.sin(x.sum(1, keepdim=True) * torch.arange(1, k + 1))


@pytest.mark.parametrize("sampler", [
    lambda cloud: cc.sampling.Halton(cloud, 64, dtype=F64),
    lambda cloud: cc.sampling.Uniform(cloud, 64, seed=0, dtype=F64),
    lambda cloud: cc.sampling.ImportanceSampler(
        cloud, lambda x: x[:, :1], 64, pool=None, seed=0, dtype=F64),
    lambda cloud: cc.sampling.R3(cloud, lambda x: x[:, :1], 64, seed=0, dtype=F64),
    lambda cloud: cc.sampling.RARD(
        cloud, lambda x: x[:, :1], 64, 8, refresh_every=1, seed=0, dtype=F64),
], ids=["halton", "uniform", "importance", "r3", "rard"])  # fmt: skip
def test_values_stay_with_their_points(sampler):
    x, u = sensors(k=2)
    drawn = sampler(cc.geometry.PointCloud(x, values=u))
    for step in range(3):
        points = drawn(step)
        assert points.values.shape == (len(points), 2)
        expected = torch.sin(points.x.sum(1, keepdim=True) * torch.arange(1, 3))
        torch.testing.assert_close(points.values, expected)
    state = copy.deepcopy(drawn.state_dict())
    again = sampler(cc.geometry.PointCloud(x, values=u))
    again.load_state_dict(state)
    assert torch.equal(again(3).values, drawn(3).values)


def test_a_state_without_values_still_loads():
    x, _ = sensors()
    drawn = cc.sampling.R3(cc.geometry.PointCloud(x), lambda x: x[:, :1], 64, seed=0, dtype=F64)
    drawn(0)
    state = drawn.state_dict()
    del state["points"]["values"]  # as they were saved once
    again = cc.sampling.R3(cc.geometry.PointCloud(x), lambda x: x[:, :1], 64, seed=0, dtype=F64)
    again.load_state_dict(state)
    assert torch.equal(again(1).x, drawn(1).x)


def test_a_cloud_gives_its_values():
    x, u = sensors(10)
    cloud = cc.geometry.PointCloud(x, values=u)
    assert torch.equal(cloud.all().values, u)
    assert cloud.all(dtype=torch.float32).values.dtype == torch.float32
    points = cloud.all()
    assert torch.equal(points[[3, 1]].values, u[[3, 1]])
    assert torch.equal(points.clone().values, u)
    u.zero_()  # the caller's own
    assert cloud.all().values.abs().max() > 0
    over = cc.geometry.ParameterDomain(cloud, {"k": (1.0, 2.0)})
    assert over.sample(7).values.shape == (7, 1)
    assert cc.geometry.PointCloud(x).all().values is None


@pytest.mark.parametrize("values,message", [
    (torch.zeros(9, 1), r"values: expected a floating tensor of shape \(10, k\)"),
    (torch.zeros(10), r"Use values\[:, None\]"),
    (torch.full((10, 1), float("nan")), "values: expected finite numbers"),
    ([1.0] * 10, "values: expected a floating tensor"),
])  # fmt: skip
def test_values_that_do_not_fit(values, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.geometry.PointCloud(torch.rand(10, 2), values=values)


def test_a_network_learns_data_some_at_a_time():
    torch.manual_seed(0)
    x, u = (t.float() for t in sensors())
    cloud, net = cc.geometry.PointCloud(x, values=u), cc.nn.MLP(2, 1, 16, 2, "tanh")
    data = cc.Term("data", net, cloud.all(), lambda v, x, points: v.value - points.values, order=0)
    cc.training.Trainer([data], net, torch.optim.Adam(net.parameters(), 1e-2),
                        {"data": cc.sampling.Halton(cloud, 64)},
                        steps=400, progress=False).run()  # fmt: skip
    assert (net(x) - u).square().mean() < 1e-3


def test_on_points_of_a_builtin():
    assert not takes_points(max)
    assert on_points(lambda u, x: u)(1, 2, 3) == 1
