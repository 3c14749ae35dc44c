"""Points of several steps at once are the bits of single calls, or are not made."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.geometry import (
    Box,
    Channel,
    Disk,
    Interval,
    ParameterDomain,
    Polygon,
    Rectangle,
    TimeDomain,
)
from colloc.sampling import Halton, Hammersley, LatinHypercube, Sobol, Uniform

F64 = torch.float64
ROOM = 2**26
SQUARE = Rectangle((-1, 0.1), (1.3, 2))
BOX = Box((0, -1, 0.3), (1, 1, 1.7))
RANGES = {"k": (1.0, 2.5)}
OVER_TIME = TimeDomain(SQUARE, 0.2, 1.1)
SHAPES = {
    "interval": Interval(-0.3, 1.1),
    "square": SQUARE,
    "box": BOX,
    "time": OVER_TIME,
    "parameters": ParameterDomain(OVER_TIME, RANGES),
    "interval's ends": Interval(-0.3, 1.1).boundary,
    "an end": Interval(-0.3, 1.1).boundary["right"],
    "sides": SQUARE.boundary,
    "a channel's walls": Channel((0, 0), (3, 0.7)).boundary["walls"],
    "faces": BOX.boundary,
    "a triangle's sides": Polygon([(0, 0), (1.7, 0.2), (0.4, 1.3)]).boundary,
    "walls and beginning": OVER_TIME.boundary,
    "lateral": TimeDomain(BOX, 0, 1).lateral,
    "sides and parameters": ParameterDomain(SQUARE.boundary, RANGES),
}
METHODS = (Halton, Hammersley, Sobol, Uniform, LatinHypercube)


def same(one, other):
    """Bit for bit, memory layout included."""
    for name in ("x", "normal", "measure", "distance", "piece"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride(), name
    assert one.next_start == other.next_start and one.whole == other.whole


def check(name, make, **options):
    # No multiple of a vector's length; random points begin at either end in turn.
    n = 38 if "end" in name and make in (Uniform, LatinHypercube) else 37
    sampler = make(SHAPES[name], n, seed=4, **options)
    singles = [sampler(step) for step in range(6)]
    for first, steps in ((0, 6), (2, 4)):
        block = sampler.points_ahead(first, steps, ROOM)
        assert len(block) == steps
        for step in range(first, first + steps):
            same(block.points(step, own=False), singles[step])
            same(block.points(step, own=True), singles[step])


@pytest.mark.parametrize("make", METHODS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", SHAPES)
def test_they_are_the_bits_of_single_calls(name, make):
    check(name, make)
    check(name, make, dtype=F64, start=5, rank=1, world_size=3)


@pytest.mark.cuda
@pytest.mark.parametrize("make", METHODS, ids=lambda make: make.__name__)
def test_they_are_the_bits_of_single_calls_on_a_gpu(make):
    for name in SHAPES:
        check(name, make, device="cuda")
        check(name, make, device="cuda", dtype=F64, start=5, rank=1, world_size=3)


def test_points_of_their_own_can_be_written_to():
    sampler = Halton(SQUARE.boundary, 40)
    block = sampler.points_ahead(2, 6, ROOM)
    points = block.points(3, own=True)
    for name in ("x", "normal", "measure", "distance", "piece"):
        getattr(points, name).zero_()
    for step in range(2, 8):
        same(block.points(step, own=True), sampler(step))


class Noisy(Halton):
    def __call__(self, step):
        return super().__call__(step + 1)


class Other(Rectangle):
    """May do anything in a method of its own."""


def test_what_is_not_made_ahead():
    disk = Disk((0, 0), 1)
    for shape in (disk, disk.boundary, SQUARE - disk, TimeDomain(disk, 0, 1),
                  Other((0, 0), (1, 1)), cc.geometry.PointCloud(torch.rand(9, 2))):  # fmt: skip
        assert Halton(shape, 8).points_ahead(0, 8, ROOM) is None
    over = Halton(lambda p: Rectangle((0, 0), (p["w"], 1)), 8, parameters={"w": (1, 2)})
    assert over.points_ahead(0, 8, ROOM) is None
    assert Noisy(SQUARE, 8).points_ahead(0, 8, ROOM) is None
    ends = Interval(0, 1).boundary
    assert Uniform(ends, 9, seed=1).points_ahead(0, 8, ROOM) is None  # begin at either end in turn
    assert Uniform(SQUARE, 8, rank=0, world_size=2).points_ahead(0, 8, ROOM) is None  # no seed
    assert Sobol(SQUARE, 2**20).points_ahead(0, 8, ROOM) is None  # too large
    assert len(Sobol(SQUARE, 2**10).points_ahead(0, 2**10, 2**20)) == 10
    last = 2**20 - 5  # of Sobol's sequence of 2^30 points
    assert len(Sobol(SQUARE, 2**10).points_ahead(last, 5, ROOM)) == 5
    assert Sobol(SQUARE, 2**10).points_ahead(last, 6, ROOM) is None
