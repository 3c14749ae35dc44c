"""Unions, differences and intersections in the plane: trimmed pieces, areas, sides, names."""

from __future__ import annotations

import functools
import math
import operator
import random

import colloc as cc
import pytest
import torch
from colloc.geometry import (
    Arc,
    Box,
    Channel,
    Circle,
    Disk,
    Interval,
    PieceBoundary,
    Polygon,
    Rectangle,
    Segment,
    TimeDomain,
)
from colloc.geometry.plane import PlaneShape

F64 = torch.float64
SQRT3 = math.sqrt(3)


def random_leaf(r, scale, shift, grid):
    """A rectangle, disk or polygon; on a grid, so that walls coincide, touch and end on others."""

    def number():
        return r.randint(-4, 4) / 4 if grid else r.uniform(-1, 1)

    def at(x, y):
        return x * scale + shift[0], y * scale + shift[1]

    kind = r.choice(("rectangle", "disk", "disk", "polygon"))
    if kind == "rectangle":
        while True:
            xs, ys = sorted((number(), number())), sorted((number(), number()))
            if xs[0] < xs[1] and ys[0] < ys[1]:
                return Rectangle(at(xs[0], ys[0]), at(xs[1], ys[1]))
    if kind == "disk":
        radius = r.choice((0.25, 0.5, 0.75, 1)) if grid else r.uniform(0.1, 0.9)
        return Disk(at(number(), number()), radius * scale)
    x, y, n = number(), number(), r.choice((4, 8)) if grid else r.randint(3, 9)
    size, turn = r.choice((0.25, 0.5, 1)), 0.0 if grid else r.uniform(0, 7)
    corners = []
    for k in range(n):
        angle, radius = turn + 2 * math.pi * k / n, size if grid else r.uniform(0.2, 1)
        corners.append(at(x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return Polygon(corners[:: r.choice((1, -1))])


def random_tree(r, count, pool, make):
    """A combination of ``count`` leaves, some of them the same."""
    if count == 1:
        if not pool or r.random() > 0.2:
            pool.append(make())
            return pool[-1]
        return r.choice(pool)
    k = r.randint(1, count - 1)
    a, b = random_tree(r, k, pool, make), random_tree(r, count - k, pool, make)
    return r.choice((operator.or_, operator.and_, operator.sub))(a, b)


def setting(seed):
    r = random.Random(seed)
    scale = 10 ** r.uniform(-3, 3)
    shift = r.choice(((0.0, 0.0), (30 * scale, -7 * scale), (1e6 * scale, -7e5 * scale)))
    rounding = 2.3e-16 * (1 + max(map(abs, shift)) / scale)  # relative to the scale
    return r, scale, shift, rounding


@pytest.mark.parametrize("grid", [False, True], ids=["anywhere", "on a grid"])
@pytest.mark.parametrize("seed", range(30))
def test_random_trees(seed, grid):
    r, scale, shift, rounding = setting(seed)
    tree = random_tree(r, r.randint(2, 6), [], lambda: random_leaf(r, scale, shift, grid))
    if not isinstance(tree, cc.geometry.combination.Combination):
        pytest.skip("one leaf")
    # what the leaves say, in a Monte-Carlo estimate of the area and about single points
    unit = cc.sampling.halton(4000, 2, start=seed, dtype=F64)
    x = torch.tensor(shift, dtype=F64) + scale * (4.2 * unit - 2.1)
    inside = tree._decide([leaf.distance(x)[:, 0] > 0 for leaf in tree._leaves])
    estimate = inside.double().mean().item() * (4.2 * scale) ** 2
    assert tree.measure == pytest.approx(estimate, abs=0.2 * scale**2)
    if tree.is_empty:
        assert tree.measure == 0 and not inside.any()
        return
    boundary = tree.boundary
    assert boundary.is_closed and all(chain.is_closed for chain in boundary.chains())
    distance = tree.distance(x)[:, 0]
    clear = distance.abs() > 1e-9 * scale + 20 * rounding * scale
    assert clear.sum() > 3900 and torch.equal((distance > 0)[clear], inside[clear])

    points = boundary.sample(300, dtype=F64)
    assert points.measure.sum() == pytest.approx(sum(p.length for p in boundary.pieces))
    assert tree.distance(points.x).abs().max() <= 20 * rounding * scale
    # inwards is inside and outwards outside, away from other pieces and their ends
    step = (1e-6 + 100 * rounding) * scale
    others = torch.stack([piece.nearest(points.x)[:, 0] for piece in boundary.pieces])
    others[points.piece, torch.arange(300)] = math.inf
    ends = torch.tensor([end for piece in boundary.pieces for end in piece.ends or ()], dtype=F64)
    clear = others.amin(0) > 10 * step
    if len(ends):
        gap = torch.cdist(points.x, ends, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        clear &= gap > 10 * step
    assert clear.sum() > 250
    assert tree.inside(points.x - step * points.normal)[clear].all()
    assert not tree.inside(points.x + step * points.normal)[clear].any()


@pytest.mark.parametrize("grid", [False, True], ids=["anywhere", "on a grid"])
@pytest.mark.parametrize("seed", range(100, 118))
def test_inclusion_and_exclusion(seed, grid):
    r, scale, shift, rounding = setting(seed)
    pool = []

    def make():
        return random_leaf(r, scale, shift, grid)

    a, b = random_tree(r, r.randint(1, 3), pool, make), random_tree(r, r.randint(1, 3), pool, make)
    tolerance = max(1e-10, 200 * rounding) * scale**2
    both = (a & b).measure
    assert (a | b).measure == pytest.approx(a.measure + b.measure - both, abs=tolerance)
    assert (a - b).measure == pytest.approx(a.measure - both, abs=tolerance)
    assert (b & a).measure == pytest.approx(both, abs=tolerance)
    assert ((a - b) | (b - a) | (a & b)).measure == pytest.approx((a | b).measure, abs=tolerance)
    for nothing in (a - a, a - (a | b), (a - b) & (b - a), (a & b) - b):
        assert nothing.measure == 0 and nothing.is_empty


def ring():
    return (Channel((-6.732, -1), (6.732, 1)) | Disk((0, 0), 2)) - Disk((0, 0), 1, name="hole")


def test_the_annular_ring():
    shape = ring()
    boundary = shape.boundary
    assert boundary.piece_names == (
        "bottom", "circle", "bottom", "outlet", "top", "circle", "top", "inlet", "hole",
    )  # fmt: skip
    assert boundary["inlet"].pieces == (Segment((-6.732, 1), (-6.732, -1)),)
    assert boundary["outlet"].pieces == (Segment((6.732, -1), (6.732, 1)),)
    assert boundary["hole"].pieces == (Circle((0, 0), 1, inward=False),)
    walls = boundary["walls"]
    assert walls.indices == (0, 2, 4, 6) and all(isinstance(p, Segment) for p in walls.pieces)
    expected = [(-6.732, -1, -SQRT3, -1), (SQRT3, -1, 6.732, -1), (6.732, 1, SQRT3, 1),
                (-SQRT3, 1, -6.732, 1)]  # fmt: skip
    for piece, numbers in zip(walls.pieces, expected, strict=True):
        assert (*piece.p1, *piece.p2) == pytest.approx(numbers, abs=2e-15)
        assert piece.p1[1] == piece.p2[1] == numbers[1]  # exactly
    arcs = boundary["circle"].pieces
    for arc, (start, stop) in zip(arcs, ((-5, -1), (1, 5)), strict=True):
        assert isinstance(arc, Arc) and arc.inward and arc.center == (0, 0) and arc.radius == 2
        assert (arc.start, arc.stop) == pytest.approx(
            (start * math.pi / 6, stop * math.pi / 6), abs=1e-15
        )
    outer = 2 * 13.464 + 2 * (2 / 3 * math.pi * 2 - SQRT3)
    assert shape.measure == pytest.approx(outer - math.pi, rel=1e-15)
    assert shape.bounds == ((-6.732, -2), (6.732, 2))
    assert [chain.indices for chain in boundary.chains()] == [tuple(range(8)), (8,)]
    no_slip = boundary - boundary["inlet", "outlet"]
    assert no_slip.piece_names == ("bottom", "circle", "bottom", "top", "circle", "top", "hole")
    x = torch.tensor([[0, 0], [0, 1.5], [-4, 0], [0, -2.5], [5, 1.5], [-6.732, 0]], dtype=F64)
    assert shape.distance(x)[:, 0].tolist() == pytest.approx([-1, 0.5, 1, -0.5, -0.5, 0])
    points = shape.sample(1000)
    assert points.distance.min() >= 0 and points.x.dtype == torch.float32
    assert repr(shape) == "(Channel((-6.732, -1), (6.732, 1)) | Disk((0, 0), 2)) - Disk((0, 0), 1)"


def square(x=0.0, y=0.0, side=1.0):
    return Rectangle((x, y), (x + side, y + side))


def lens(d, r=1.0):
    """The area that two disks of radius r at a distance d have in common."""
    return 2 * r * r * math.acos(d / (2 * r)) - 0.5 * d * math.sqrt(4 * r * r - d * d)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize(
    "make,area,count,loops",
    [
        # identical, nested, disjoint
        (lambda s: s(0, 0) | s(0, 0), 1, 4, 1),
        (lambda s: s(0, 0) & s(0, 0), 1, 4, 1),
        (lambda s: s(0, 0, 3) | s(1, 1), 9, 4, 1),
        (lambda s: s(0, 0, 3) & s(1, 1), 1, 4, 1),
        (lambda s: s(0, 0, 3) - s(1, 1), 8, 8, 2),
        (lambda s: s(0, 0) | s(2, 0), 2, 8, 2),
        (lambda s: s(0, 0) - s(2, 0), 1, 4, 1),
        # side by side: the wall between goes, walls in line stay in two (their names may differ)
        (lambda s: s(0, 0) | s(1, 0), 2, 6, 1),
        (lambda s: s(0, 0) - s(1, 0), 1, 4, 1),
        (lambda s: s(0, 0, 2) | s(2, 0.5), 5, 8, 1),
        # touching in a corner
        (lambda s: s(0, 0) | s(1, 1), 2, 8, 2),
        # walls that coincide from within
        (lambda s: s(0, 0, 2) - s(0, 0), 3, 6, 1),
        (lambda s: s(0, 0, 2) & s(0, 0), 1, 4, 1),
        (lambda s: s(0, 0, 2) | s(0, 0), 4, 4, 1),
        (lambda s: s(0, 0, 3) - s(1, 0), 8, 8, 1),
        # a seam filled again, and a hole
        (lambda s: (s(0, 0, 2) - s(0, 0)) | s(0, 0), 4, 4, 1),
        (lambda s: (s(0, 0, 3) - s(1, 1)) | s(1, 1), 9, 4, 1),
        (lambda s: (s(0, 0, 3) - s(1, 1)) - s(1, 0), 7, 10, 1),
        # disks: identical, touching from outside and from inside, at two points, in a row
        (lambda s: s.disk(0, 0) | s.disk(0, 0), math.pi, 1, 1),
        (lambda s: s.disk(0, 0) | s.disk(2, 0), 2 * math.pi, 2, 2),
        (lambda s: s.disk(0, 0, 2) - s.disk(1, 0), 3 * math.pi, 2, 2),
        (lambda s: s.disk(0, 0, 2) | s.disk(0, 1), 4 * math.pi, 1, 1),
        (lambda s: s.disk(0, 0) & s.disk(1, 0), lens(1), 2, 1),
        (lambda s: s.disk(0, 0) | s.disk(1, 0), 2 * math.pi - lens(1), 2, 1),
        (lambda s: s.disk(0, 0) - s.disk(1, 0), math.pi - lens(1), 2, 1),
        # concentric
        (lambda s: s.disk(0, 0, 2) - s.disk(0, 0), 3 * math.pi, 2, 2),
        # a disk in a square, touching all four walls; a stadium; half a disk
        (lambda s: s(0, 0, 2) - s.disk(1, 1), 4 - math.pi, 5, 2),
        (lambda s: s(0, 0, 2) | s.disk(1, 1), 4, 4, 1),
        (lambda s: s(0, 0, 2) & s.disk(1, 1), math.pi, 1, 1),
        (lambda s: s(0, 0, 2) | s.disk(0, 1) | s.disk(2, 1), 4 + math.pi, 4, 1),
        (lambda s: s(0, 0, 2) & s.disk(0, 1), math.pi / 2, 2, 1),
        (lambda s: s(0, 0, 2) - s.disk(0, 1), 4 - math.pi / 2, 4, 1),
        # a quarter of a disk taken from a corner
        (lambda s: s(0, 0, 2) - s.disk(0, 0), 4 - math.pi / 4, 5, 1),
    ],
)
def test_configurations(make, area, count, loops, scale, shift):
    class S:
        def __call__(self, x, y, side=1.0):
            corner = (scale * (shift + x), scale * (shift + y))
            return Rectangle(corner, tuple(scale * (shift + v + side) for v in (x, y)))

        def disk(self, x, y, radius=1.0):
            return Disk((scale * (shift + x), scale * (shift + y)), scale * radius)

    shape = make(S())
    assert shape.measure == pytest.approx(area * scale**2, rel=1e-12 + 1e-15 * shift)
    assert len(shape.boundary.pieces) == count
    chains = shape.boundary.chains()
    assert len(chains) == loops and all(chain.is_closed for chain in chains)


@pytest.mark.parametrize("gap", [0, 1e-16, -1e-16, 1e-14, -1e-14, 3e-13, -3e-13])
def test_almost_touching_is_touching(gap):
    # a disk on a floor, a disk beside a disk, squares side by side
    disk = Disk((0, 1 + gap), 1)
    floor = Rectangle((-3, -1), (3, 0))
    for shape, area, count in (
        (floor | disk, 6 + math.pi, 5),
        (floor - disk, 6, 4),
        (Disk((0, -1), 1) | disk, 2 * math.pi, 2),
        (Disk((0, 2), 2) - disk, 3 * math.pi, 2),
        (square() | square(1 + gap), 2, 6),
        (square() - square(1 + gap), 1, 4),
    ):
        assert shape.measure == pytest.approx(area, rel=1e-11)
        assert len(shape.boundary.pieces) == count and shape.boundary.is_closed
    assert (floor & disk).is_empty and (square() & square(1 + gap)).is_empty


@pytest.mark.parametrize("depth", [1e-10, 1e-8, 1e-5, 1e-2])
def test_shallow_cuts_are_cut(depth):
    disk, floor = Disk((0, 1 - depth), 1), Rectangle((-3, -1), (3, 0))
    cap = math.acos(1 - depth)
    exact = cap - math.sin(cap) * math.cos(cap)
    # sin(2 a) ~ 2 a: the area of a thin cap from its series
    exact = 4 / 3 * math.sqrt(2) * depth**1.5 * (1 - 0.3 * depth / 2) if depth < 1e-3 else exact
    both = disk & floor
    assert len(both.boundary.pieces) == 2
    assert both.measure == pytest.approx(exact, rel=1e-5)
    assert len((disk | floor).boundary.pieces) == 6


def test_names_come_from_the_operands():
    plate = Rectangle((0, 0), (4, 2), names=["south", "east", "north", "west"])
    cut = plate - Rectangle((1, 0), (2, 1), names="slot") - Disk((3, 2), 0.5, name="bite")
    assert cut.boundary.piece_names == (
        "south", "slot", "slot", "slot", "south", "east", "north", "bite", "north", "west",
    )  # fmt: skip
    assert cut.boundary["slot"].measure == 3 and cut.boundary["south"].measure == 3
    assert cut.boundary["bite"].measure == pytest.approx(math.pi / 2)
    named = cut.boundary.named(inner=["slot", "bite"])
    assert named["inner"].indices == (1, 2, 3, 7)
    # of walls that coincide the first operand's counts
    assert (square() | Rectangle((0, 0), (1, 2), names="b")).boundary.names == (
        "bottom", "right", "b", "left",
    )  # fmt: skip


def test_many_operands():
    r = random.Random(5)
    disks = [Disk((r.uniform(-1, 1), r.uniform(-1, 1)), 0.15) for _ in range(40)]
    foam = functools.reduce(operator.sub, disks, Rectangle((-1, -1), (1, 1)))
    assert foam.operands[1:] == tuple(disks)  # one difference, not forty in each other
    union = functools.reduce(operator.or_, disks)
    assert union.operands == tuple(disks)
    square = Rectangle((-1, -1), (1, 1))
    assert foam.measure == pytest.approx(4 - (union & square).measure, rel=1e-12)
    assert foam.boundary.is_closed
    x = foam.sample(500, dtype=F64).x
    centers = torch.tensor([d.center for d in disks], dtype=F64)
    assert torch.cdist(x, centers).min() > 0.15 - 1e-12


class Region(PlaneShape):
    def __init__(self, *pieces):
        self._boundary = PieceBoundary(pieces)

    @property
    def boundary(self):
        return self._boundary


def test_shapes_with_arcs_of_their_own():
    # half disks as they are and cut from disks
    upper = Region(Segment((-1, 0), (1, 0)), Arc((0, 0), 1, 0, math.pi))
    right = Region(Segment((0, 1), (0, -1)), Arc((0, 0), 1, -math.pi / 2, math.pi / 2))
    full = Disk((0, 0), 1)
    assert (upper & right).measure == pytest.approx(math.pi / 4, rel=1e-14)
    assert (upper | right).measure == pytest.approx(math.pi * 3 / 4, rel=1e-14)
    assert (full - upper).measure == pytest.approx(math.pi / 2, rel=1e-14)
    assert (upper - full).is_empty and (upper | full).measure == pytest.approx(math.pi)
    assert len((full & upper).boundary.pieces) == 2
    hole = Region(Circle((0, 0), 2), Circle((0, 0), 1, inward=False))
    assert (hole & upper).is_empty and (hole | full).measure == pytest.approx(4 * math.pi)
    assert len((hole | full).boundary.pieces) == 1
    full_arc = Region(Arc((0, 0), 1, 1, 1 + 2 * math.pi))
    assert (full_arc - upper).measure == pytest.approx(math.pi / 2, rel=1e-14)
    assert (full_arc & right).boundary.is_closed and (full - full_arc).is_empty
    # an inward bulging arc
    bite = Rectangle((-2, 0), (2, 1)) - full
    arc = bite.boundary["circle"].pieces[0]
    assert not arc.inward and (Region(*bite.boundary.pieces) & full).is_empty
    assert (Region(*bite.boundary.pieces) | upper).measure == pytest.approx(4, rel=1e-14)


def test_boundaries_that_do_not_close_are_refused():
    open_ = Region(Segment((-1, 0), (1, 0)), Segment((1, 0), (1, 1)), Segment((1, 1), (-1, 1)))
    with pytest.raises(ValueError, match=r"shapes: .* got pieces that do not close"):
        (open_ | Disk((3, 3), 1)).boundary


def test_empty_combinations_say_so():
    empty = Disk((0, 0), 1) & Disk((5, 0), 1)
    assert empty.is_empty and empty.measure == 0
    for use in (
        lambda: empty.sample(3),
        lambda: empty.sample(0),
        lambda: empty.boundary,
        lambda: empty.bounds,
        lambda: empty.distance(torch.zeros(2, 2)),
        lambda: empty.inside(torch.zeros(2, 2)),
    ):
        with pytest.raises(ValueError, match=r"shape: .* got Disk.* & Disk.*, which is empty"):
            use()
    assert (empty | Disk((0, 0), 1)).measure == pytest.approx(math.pi)
    assert (Disk((0, 0), 1) - empty).measure == pytest.approx(math.pi)


@pytest.mark.parametrize(
    "make,error,message",
    [
        (lambda: square() | 3, TypeError, r"right: expected a shape on both sides of \|, got 3"),
        (lambda: square() - Box((0, 0, 0), (1, 1, 1)), ValueError, "right: .* in 2 dimensions"),
        (
            lambda: Interval(0, 1) | Interval(1, 2),
            TypeError,
            "shapes: expected shapes of the plane",
        ),
        (
            lambda: TimeDomain(square(), 0, 1) | Box((0, 0, 0), (1, 1, 1)),
            TypeError,
            "shapes: expected shapes of the plane",
        ),
        (
            lambda: (Rectangle((0, 0), (1e12, 1)) | Disk((0, 0), 1e-3)).measure,
            ValueError,
            "shapes: expected extents of at least .* got 0.002 of",
        ),
    ],
)
def test_wrong_operands_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("method", ["halton", "hammersley", "sobol", "uniform"])
def test_boundary_samples_of_the_ring(method):
    shape = ring()
    n = 3000
    points = shape.boundary.sample(n, 3, method, seed=1, dtype=F64)
    counts = points.piece.bincount(minlength=9) / n
    lengths = torch.tensor([p.length for p in shape.boundary.pieces]) / shape.boundary.measure
    assert (counts - lengths).abs().max() < (0.03 if method == "uniform" else 0.003)
    walls = shape.boundary["walls"].sample(50, 3, method, seed=1)
    assert (walls.x[:, 1].abs() == 1).all() and (walls.x[:, 0].abs() >= SQRT3 - 1e-6).all()
    assert torch.equal(walls.normal[:, 1], walls.x[:, 1])
    assert set(walls.piece.tolist()) == {0, 2, 4, 6}
    next_ones = shape.boundary["walls"].sample(50, walls.next_start, method, seed=1)
    if method != "hammersley":  # which makes a new set
        together = shape.boundary["walls"].sample(100, 3, method, seed=1)
        if method != "uniform":
            assert torch.equal(torch.cat([walls.x, next_ones.x]), together.x)
    assert not torch.equal(walls.x, next_ones.x) or method == "hammersley"
