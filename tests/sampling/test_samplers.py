"""Samplers of sequences: steps in any order, state, what is refused."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import colloc as cc
import pytest
import torch
from colloc.geometry import Disk, Interval, PointCloud, Rectangle, TimeDomain
from colloc.sampling import Halton, Hammersley, LatinHypercube, Sobol, Uniform

F64 = torch.float64
ALL = (Halton, Hammersley, Sobol, Uniform, LatinHypercube)
RANDOM = (Uniform, LatinHypercube)
samplers = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
SQUARE, DISK = Rectangle((0, 0), (1, 1)), Disk((0, 0), 1)


def test_a_step_is_the_shapes_own_sample():
    sampler = Halton(DISK, 50, start=7, dtype=F64)
    at = 7
    for step in range(4):
        expected = DISK.sample(50, at, dtype=F64)
        points = sampler(step)
        assert torch.equal(points.x, expected.x) and points.next_start == expected.next_start
        at = points.next_start
    whole = DISK.sample(200, 7, dtype=F64)
    assert torch.equal(torch.cat([sampler(step).x for step in range(4)]), whole.x)
    square = Sobol(SQUARE, 64, seed=2, dtype=F64)
    assert torch.equal(square(3).x, cc.sampling.sobol(64, 2, 192, seed=2, dtype=F64))


@samplers
@pytest.mark.parametrize("shape", [SQUARE, DISK, DISK.boundary], ids=repr)
def test_any_order_gives_the_same_points(make, shape):
    forward = make(shape, 40, seed=5, dtype=F64)
    expected = [forward(step).x for step in range(6)]
    other = make(shape, 40, seed=5, dtype=F64)
    for step in (5, 0, 3, 3, 1, 5, 4, 2):
        assert torch.equal(other(step).x, expected[step])
    different = len({x.numpy().tobytes() for x in expected})
    # Hammersley's first coordinate, the only one on a curve, is the same in every set.
    assert different == (1 if make is Hammersley and shape.dim == 2 and shape is not SQUARE
                         and shape is not DISK else 6)  # fmt: skip


@pytest.mark.parametrize("make", [Halton, Sobol, *RANDOM], ids=lambda make: make.__name__)
def test_far_steps_cost_nothing_where_every_raw_point_is_taken(make):
    sampler = make(SQUARE, 64, seed=1, dtype=F64)
    far = 2**24 - 1 if make is Sobol else 2**40
    assert len(sampler(far)) == 64
    assert len(sampler.state_dict()["table"]) == 1
    with pytest.raises(ValueError, match=r"start \+ n: expected at most"):
        Sobol(SQUARE, 64)(2**24)


@pytest.mark.parametrize("make", RANDOM, ids=lambda make: make.__name__)
def test_random_methods_have_random_access_and_a_seed_of_their_own(make):
    torch.manual_seed(3)
    first = make(DISK, 30)
    torch.manual_seed(3)
    second, third = make(DISK, 30), make(DISK, 30)
    assert first.seed == second.seed != third.seed
    state = torch.get_rng_state()
    assert torch.equal(first(10**6).x, second(10**6).x)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first(0).x, first(1).x) and not torch.equal(first(0).x, third(0).x)
    third.load_state_dict(first.state_dict())
    assert third.seed == first.seed and torch.equal(third(4).x, first(4).x)


@samplers
@pytest.mark.parametrize("shape", [SQUARE, DISK], ids=repr)
def test_the_state_continues_through_a_checkpoint(make, shape, tmp_path):
    sampler = make(shape, 32, seed=9, dtype=F64)
    expected = [sampler(step).x for step in range(5)]
    cc.training.save_checkpoint(tmp_path / "c.pt", {"points": sampler.state_dict()})
    resumed, anew = (make(shape, 32, seed=9, dtype=F64) for _ in range(2))
    resumed.load_state_dict(cc.training.load_checkpoint(tmp_path / "c.pt")["points"])
    assert resumed.state_dict()["table"].tolist() == sampler.state_dict()["table"].tolist()
    assert resumed.seed == sampler.seed
    for step in (4, 1):
        assert torch.equal(resumed(step).x, expected[step])
        assert torch.equal(anew(step).x, expected[step])
    assert torch.equal(resumed(7).x, anew(7).x)


def test_the_table_is_used_and_saved():
    sampler = Halton(DISK, 32, dtype=F64)
    sampler(5)
    table = sampler.state_dict()["table"]
    assert table.dtype == torch.int64 and len(table) == 7 and table[0] == 0
    asked = []
    sample = DISK.sample

    class Watched(Disk):
        def sample(self, n, start=0, method="halton", **options):
            asked.append(start)
            return sample(n, start, method, **options)

    resumed = Halton(Watched((0, 0), 1), 32, dtype=F64)
    resumed.load_state_dict(sampler.state_dict())
    resumed(6)
    assert asked == [table[6]]


def test_copies_and_pickles():
    sampler = Halton(DISK, 16, parameters={"k": (1, 2)}, dtype=F64)
    for other in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert torch.equal(other(3).x, sampler(3).x)


def changed(state, **values):
    return {**state, **values}


def test_states_of_other_samplers_are_refused():
    sampler = Halton(DISK, 16, seed=1)
    sampler(2)
    state = sampler.state_dict()
    for other, name in (
        (Sobol(DISK, 16, seed=1), "method"),
        (Halton(DISK, 17, seed=1), "n"),
        (Halton(DISK, 16, seed=2), "seed"),
        (Halton(DISK, 16), "seed"),
        (Halton(DISK, 16, start=1, seed=1), "start"),
        (Halton(DISK, 16, seed=1, dtype=F64), "dtype"),
        (Halton(SQUARE, 16, seed=1), "shape"),
        (Halton(Disk((0, 0), 1 + 1e-8), 16, seed=1), "measure"),
    ):
        with pytest.raises(ValueError, match=rf"state\['{name}'\]: expected"):
            other.load_state_dict(state)
    for wrong in (torch.tensor([1, 50]), torch.tensor([0, 50, 50]), torch.tensor([0.0]), [0, 20]):
        with pytest.raises(ValueError, match=r"state\['table'\]: expected rising"):
            sampler.load_state_dict(changed(state, table=wrong))
    with pytest.raises(ValueError, match="state: expected what state_dict returned, got one with"):
        sampler.load_state_dict({})
    with pytest.raises(TypeError, match="state: expected what state_dict returned"):
        sampler.load_state_dict(3)
    assert sampler.state_dict()["table"].tolist() == state["table"].tolist()


def test_shapes_without_a_repr_of_their_own_can_be_resumed():
    class Half(cc.geometry.Shape):
        dim, measure, bounds, boundary = 2, 0.5, ((0.0, 0.0), (1.0, 1.0)), None

        def distance(self, x):
            return 0.5 - x[:, :1]

    first, second = Halton(Half(), 8), Halton(Half(), 8)
    first(3)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(5).x, second(5).x)


def test_attributes_and_repr():
    sampler = Halton(SQUARE, 8, start=3, dtype=F64, device="cpu")
    assert (sampler.shape, sampler.n, sampler.seed, sampler.method) == (SQUARE, 8, None, "halton")
    assert (sampler.start, sampler.dtype, sampler.device) == (3, F64, torch.device("cpu"))
    assert repr(sampler) == "Halton(Rectangle((0, 0), (1, 1)), n=8, start=3, seed=None)"
    assert repr(Uniform(DISK, 2, seed=4)) == "Uniform(Disk((0, 0), 1), n=2, start=0, seed=4)"
    assert Halton(SQUARE, 3)(torch.tensor(2)).x.dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"n": 0}, "n: expected an integer >= 1, got 0"),
        ({"n": -4}, "n: expected an integer >= 1"),
        ({"n": 2.0}, "n: expected an integer"),
        ({"n": True}, "n: expected an integer"),
        ({"start": -1}, "start: expected an integer >= 0"),
        ({"seed": "x"}, "seed: expected an integer"),
        ({"seed": 2**70}, "seed: expected an integer <="),
        ({"dtype": torch.float16}, "dtype: expected torch.float32 or torch.float64"),
        ({"shape": 3}, "shape: expected a shape, a boundary, a point cloud, or a function"),
        ({"shape": Rectangle}, "shape: expected a shape, a boundary, a point cloud, or a function"),
        ({"shape": torch.rand(3, 2)}, "shape: expected a shape, a boundary"),
        ({"groups": 4}, "groups: expected None, since shape is no function, got 4"),
        ({"rank": 0}, "world_size: expected a number, since rank is one, got None"),
        ({"world_size": 2}, "rank: expected a number, since world_size is one, got None"),
        ({"rank": 2, "world_size": 2}, "rank: expected an integer <= 1, got 2"),
        ({"rank": -1, "world_size": 2}, "rank: expected an integer >= 0"),
        ({"rank": 0, "world_size": 0}, "world_size: expected an integer >= 1"),
        ({"n": 3, "rank": 0, "world_size": 4}, "n: expected at least a point for each of 4"),
        ({"parameters": 3}, "ranges: expected ranges by name"),
    ],
)
@samplers
def test_wrong_arguments(make, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**{"shape": DISK, "n": 8, **arguments})


@samplers
@pytest.mark.parametrize("step", [-1, 1.0, True, None, "1"])
def test_wrong_steps(make, step):
    with pytest.raises((ValueError, TypeError), match="step: expected an integer"):
        make(SQUARE, 8)(step)


class Slanted(cc.geometry.Shape):
    """A strip of this area across the square."""

    dim, bounds, boundary, measure = 2, ((0.0, 0.0), (1.0, 1.0)), None, 1.0

    def __init__(self, area):
        self.area = area

    def distance(self, x):
        return self.area / 2 - (x[:, :1] - 0.37 * x[:, 1:] - 0.3).abs()


@samplers
def test_shapes_with_next_to_nothing_in_them_are_given_up(make):
    with pytest.raises(ValueError, match=r"a fraction of \d.* cut or turn the shape, or sample"):
        make(Slanted(2e-5), 1000, dtype=F64)(0)
    empty = Disk((0, 0), 1) & Disk((3, 0), 1)
    with pytest.raises(ValueError, match="which is empty"):
        make(empty, 10)(0)
    over_time = TimeDomain(empty, 0, 1)
    with pytest.raises(ValueError, match="which is empty"):
        make(over_time, 10)(0)


def test_a_shape_just_above_the_limit_is_sampled():
    sliver = Slanted(2e-4)
    points = Halton(sliver, 400, dtype=F64)(1)
    assert len(points) == 400 and bool(sliver.inside(points.x).all())


@pytest.mark.parametrize("world_size", [2, 3, 7])
@pytest.mark.parametrize("shape", [SQUARE, DISK, DISK.boundary, Interval(0, 1).boundary], ids=repr)
@samplers
def test_processes_share_out_the_points_of_one(make, shape, world_size):
    alone = make(shape, 50, seed=3, dtype=F64)(2)
    shares = [
        make(shape, 50, seed=3, dtype=F64, rank=rank, world_size=world_size)(2)
        for rank in range(world_size)
    ]
    assert {len(share) for share in shares} <= {50 // world_size, 50 // world_size + 1}
    for rank, share in enumerate(shares):
        for name in ("x", "normal", "measure", "distance", "piece"):
            ours, theirs = getattr(share, name), getattr(alone, name)
            assert (ours is None and theirs is None) or torch.equal(ours, theirs[rank::world_size])
    whole = sum(share.measure.sum().item() for share in shares)
    assert whole == pytest.approx(shape.measure, rel=1e-12)

    def loss(points):
        found = cc.Term("x", lambda x: x, points, lambda u, x: x[:, :1].exp(), order=0).loss()
        return found.item()

    mean = sum(loss(share) for share in shares) / world_size
    assert mean == pytest.approx(loss(alone), rel=1e-12)


def test_several_processes_need_a_seed_that_all_know():
    sampler = Uniform(DISK, 8, rank=0, world_size=2)
    with pytest.raises(ValueError, match="seed: expected a number, the same for all processes"):
        sampler(0)
    sampler.load_state_dict(Uniform(DISK, 8).state_dict())  # which all load
    assert len(sampler(0)) == 4


def test_point_clouds_and_parameters():
    cloud = PointCloud(torch.arange(12, dtype=F64).reshape(6, 2))
    points = Halton(cloud, 30, parameters={"k": (1.0, 3.0)}, dtype=F64)(1)
    assert points.x.shape == (30, 3) and points.measure.sum().item() == pytest.approx(2.0)
    assert bool(((points.x[:, 2] >= 1) & (points.x[:, 2] <= 3)).all())
    assert torch.equal(points.x[:, 2], 1 + 2 * cc.sampling.halton(30, 2, 30, dtype=F64)[:, 1])


def test_steps_from_several_threads_use_no_index_twice():
    disk = cc.geometry.Disk((0, 0), 1)
    alone = cc.sampling.Halton(disk, 500)
    expected = [alone(step).x for step in range(12)]
    shared = cc.sampling.Halton(disk, 500)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda step: shared(step).x, [11, 6, 7, 8, 9, 10, 5, 4, 3, 2, 1, 0]))
    for step, x in zip([11, 6, 7, 8, 9, 10, 5, 4, 3, 2, 1, 0], found, strict=True):
        assert torch.equal(x, expected[step])


def test_a_step_far_beyond_is_refused():
    with pytest.raises(ValueError, match="step: expected at most 100001, got 1000000000"):
        cc.sampling.Halton(cc.geometry.Disk((0, 0), 1), 64)(10**9)
    assert len(cc.sampling.Halton(cc.geometry.Rectangle((0, 0), (1, 1)), 64)(10**9)) == 64
