"""Samplers of shapes that depend on parameters."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.geometry import Disk, Interval, Rectangle, TimeDomain
from colloc.sampling import Halton, Hammersley, LatinHypercube, Sobol, Uniform

F64 = torch.float64
ALL = (Halton, Hammersley, Sobol, Uniform, LatinHypercube)
samplers = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


def plate(p):
    return Rectangle((0, 0), (p["w"], 1.0))


def ring(p):
    return Disk((0, 0), p["outer"]) - Disk((0, 0), p["inner"])


RING = {"outer": (1.0, 2.0), "inner": (0.2, 0.5)}


@samplers
def test_each_group_lies_in_its_own_shape(make):
    sampler = make(ring, 100, parameters=RING, groups=12, seed=1, dtype=F64)
    for step in (0, 3):
        points = sampler(step)
        x, outer, inner = points.x[:, :2], points.x[:, 2], points.x[:, 3]
        assert points.x.shape == (100, 4) and points.normal is None and points.piece is None
        away = x.norm(dim=1)
        assert bool((away <= outer).all()) and bool((away >= inner).all())
        values, counts = torch.unique_consecutive(points.x[:, 2:], dim=0, return_counts=True)
        assert len(values) == 12 and set(counts.tolist()) == {8, 9}
        expected = torch.minimum(outer - away, away - inner)
        torch.testing.assert_close(points.distance[:, 0], expected)


def test_the_points_continue_from_shape_to_shape():
    sampler = Halton(ring, 30, start=5, parameters=RING, groups=3, dtype=F64)
    at, values = 5, 3 * [None]
    for step in range(3):
        points = sampler(step)
        # Behind the dimensions of the points, which would go with the parameters otherwise.
        unit = cc.sampling.halton(3, 5, 3 * step, dtype=F64)[:, 3:]
        values = torch.stack((1 + unit[:, 0], 0.2 + 0.3 * unit[:, 1]), dim=1)
        torch.testing.assert_close(points.x[::10, 2:], values)
        for group, (outer, inner) in enumerate(points.x[::10, 2:].tolist()):
            expected = ring({"outer": outer, "inner": inner}).sample(10, at, dtype=F64)
            assert torch.equal(points.x[10 * group : 10 * group + 10, :2], expected.x)
            at = expected.next_start
        assert points.next_start == at


@samplers
def test_sums_estimate_integrals_over_shape_and_parameters(make):
    # The integral of x y over [0, w] x [0, 1], for w from 0.5 to 1: w^2 / 4 integrated.
    exact = (1 - 0.125) / 12
    sampler = make(plate, 4096, parameters={"w": (0.5, 1.0)}, groups=64, seed=2, dtype=F64)
    points = sampler(1)
    found = (points.measure[:, 0] * points.x[:, 0] * points.x[:, 1]).sum().item()
    assert found == pytest.approx(exact, rel=0.15 if make is Uniform else 0.05)
    assert points.measure.sum().item() == pytest.approx(0.375, rel=0.1)
    mean = points.x[:, 2].mean().item() * 0.5  # a plate's measure is w
    assert points.measure.sum().item() == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("n,groups", [(16, None), (64, 64), (256, 64), (1024, None)])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("make", [Halton, cc.sampling.Sobol, cc.sampling.Hammersley])
def test_places_do_not_go_with_parameters(make, seed, n, groups):
    # The integral of x^2 w over [0, w] x [0, 1], for w from 1 to 3: w^4 / 3 integrated.
    sampler = make(lambda p: cc.geometry.Rectangle((0, 0), (p["w"], 1)), n, seed=seed,
                   parameters={"w": (1.0, 3.0)}, groups=groups, dtype=F64)  # fmt: skip
    steps = [sampler(step) for step in range(40)]
    sums = torch.stack([(p.measure * p.x[:, :1] ** 2 * p.x[:, 2:]).sum() for p in steps])
    assert float(sums.mean()) == pytest.approx(242 / 15, rel=0.03)
    x = torch.cat([p.x for p in steps])
    columns = torch.stack((x[:, 0] / x[:, 2], x[:, 1], x[:, 2]))
    assert (torch.corrcoef(columns) - torch.eye(3)).abs().max() < 0.02


def test_boundaries_parts_and_time():
    walls = Halton(lambda p: plate(p).boundary["left", "right"], 40, parameters={"w": (1.0, 3.0)},
                   groups=8, dtype=F64)(2)  # fmt: skip
    assert walls.normal.shape == (40, 3) and bool((walls.normal[:, 2] == 0).all())
    right = walls.piece == 1
    assert torch.equal(walls.x[right, 0], walls.x[right, 2]) and set(walls.piece.tolist()) == {1, 3}
    assert bool((walls.distance == 0).all())
    assert walls.measure.sum().item() == pytest.approx(2 * 2.0)
    heat = Halton(lambda p: TimeDomain(Interval(0, p["l"]), 0, 1), 32, parameters={"l": (1, 2)})(0)
    assert heat.x.shape == (32, 3) and heat.x[:, 2].unique().numel() == 16


@samplers
def test_order_state_and_processes(make):
    def made(**options):
        return make(ring, 40, parameters=RING, groups=7, seed=4, dtype=F64, **options)

    sampler = made()
    expected = [sampler(step) for step in range(4)]
    other = made()
    assert torch.equal(other(3).x, expected[3].x) and torch.equal(other(1).x, expected[1].x)
    resumed = made()
    resumed.load_state_dict(sampler.state_dict())
    assert torch.equal(resumed(2).x, expected[2].x)
    shares = [made(rank=rank, world_size=3)(2) for rank in range(3)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.x, expected[2].x[rank::3])
    whole = sum(share.measure.sum() for share in shares)
    torch.testing.assert_close(whole, expected[2].measure.sum())
    with pytest.raises(ValueError, match=r"state\['shape'\]: expected"):
        make(ring, 40, parameters=RING, groups=8, seed=4, dtype=F64).load_state_dict(
            sampler.state_dict()
        )


def test_groups_by_default():
    w = {"w": (0.5, 1.0)}
    assert Halton(plate, 64, parameters=w)(0).x[:, 2].unique().numel() == 16
    assert Halton(plate, 5, parameters=w)(0).x[:, 2].unique().numel() == 5
    assert repr(Halton(plate, 64, parameters=w)) == (
        "Halton(Family(shapes in 2D, {'w': (0.5, 1)}, groups=16), n=64, start=0, seed=None)"
    )


def test_float32_columns_are_what_the_shape_was_made_with():
    points = Sobol(plate, 64, parameters={"w": (0.1, 0.3)}, seed=3)(2)
    assert points.x.dtype == torch.float32
    assert bool((points.x[:, 0] <= points.x[:, 2]).all())
    assert math.isclose(points.measure.sum().item(), points.x[:, 2].mean() * 0.2, rel_tol=1e-5)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"parameters": None}, "parameters: expected ranges by name, since shape is a function"),
        ({"parameters": {}}, "parameters: expected ranges by name"),
        ({"parameters": {"w": 3}}, r"parameters\['w'\]: expected a pair"),
        ({"parameters": {"w": (1, 1)}}, r"parameters\['w'\]: expected low < high"),
        ({"parameters": {"w": (1, math.nan)}}, r"parameters\['w'\]\[1\]: expected a finite number"),
        ({"parameters": {3: (1, 2)}}, "parameters: expected ranges by name"),
        ({"groups": 0}, "groups: expected an integer >= 1"),
        ({"groups": 9}, "groups: expected an integer <= 8"),
        ({"groups": 2.5}, "groups: expected an integer"),
        ({"shape": lambda p: p["w"]}, "shape: expected a function that returns a shape"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Halton(**{"shape": plate, "n": 8, "parameters": {"w": (0.5, 1.0)}, **arguments})


def test_a_function_must_make_one_kind_of_shape():
    def changing(p):
        return plate(p) if p["w"] > 0.7 else plate(p).boundary

    with pytest.raises(ValueError, match="shape: expected a shape in 2D for all parameters"):
        Halton(changing, 8, parameters={"w": (0.5, 1.0)})(0)
    with pytest.raises(ValueError, match="shape: expected a shape in 2D for all parameters"):
        Halton(lambda p: plate(p) if p["w"] > 0.7 else Interval(0, 1), 8,
               parameters={"w": (0.5, 1.0)})(0)  # fmt: skip
