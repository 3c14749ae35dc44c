"""Boundaries of pieces, named parts of them, chains."""

from __future__ import annotations

import math

import pytest
import torch
from colloc.geometry import (
    Arc,
    Box,
    Channel,
    Circle,
    Disk,
    Interval,
    Line,
    Part,
    PieceBoundary,
    Rectangle,
    Segment,
)

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform")
# a "D" on its back: two straight pieces, half a circle of radius 1, and a hole
PIECES = [
    Segment((-1, 0), (0.5, 0)),
    Segment((0.5, 0), (1, 0)),
    Arc((0, 0), 1, 0, math.pi),
    Circle((0, 0.4), 0.2, inward=False),
]
NAMES = ["floor", ("floor2", "floors"), "roof", "hole"]


@pytest.fixture
def boundary():
    return PieceBoundary(PIECES, NAMES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_samples_lie_on_their_pieces(boundary, method, dtype):
    n = 2000
    points = boundary.sample(n, 5, method, dtype=dtype, seed=1)
    assert points.x.dtype == points.normal.dtype == dtype and points.next_start == n + 5
    assert points.measure.double().sum() == pytest.approx(boundary.measure, rel=1e-5)
    counts = points.piece.bincount(minlength=4) / n
    lengths = torch.tensor([piece.length for piece in PIECES]) / boundary.measure
    assert (counts - lengths).abs().max() < (0.04 if method == "uniform" else 0.005)
    rounding = 2 * torch.finfo(dtype).eps
    for k, piece in enumerate(PIECES):
        on = points[points.piece == k]
        assert piece.nearest(on.x.double()).max() <= rounding
        # the domain lies on the other side of the normal
        step = on.x.double() - 1e-3 * on.normal.double()
        inside = (step.norm(dim=1) < 1) & (step[:, 1] > 0)
        inside &= (step - torch.tensor([0, 0.4])).norm(dim=1) > 0.2
        assert inside.double().mean() > 0.99  # but close to a corner


def test_low_discrepancy_runs_over_all_pieces(boundary):
    n = 400
    points = boundary.sample(n, method="hammersley", dtype=F64)
    assert torch.equal(points.piece, points.piece.sort().values)
    steps = (points.x[1:] - points.x[:-1]).norm(dim=1)
    same = points.piece[1:] == points.piece[:-1]
    expected = boundary.measure / n
    assert (steps[same] - expected).abs().max() < 1e-3 * expected
    whole = boundary.sample(300, 7, seed=3, dtype=F64)
    first, second = (boundary.sample(150, s, seed=3, dtype=F64) for s in (7, 157))
    assert torch.equal(torch.cat([first.x, second.x]), whole.x)


def test_parts_keep_the_numbers_of_the_whole(boundary):
    part = boundary["hole", "floor2"]
    assert isinstance(part, Part) and part.boundary is boundary
    assert part.indices == (1, 3) and part.pieces == (PIECES[1], PIECES[3])
    assert part.piece_names == ("floor2", "hole") and part.dim == 2
    assert part.measure == pytest.approx(0.5 + 0.4 * math.pi)
    points = part.sample(1000, dtype=F64)
    assert set(points.piece.tolist()) == {1, 3}
    assert points.measure.sum() == pytest.approx(part.measure)
    share = (points.piece == 3).double().mean()
    assert share == pytest.approx(0.4 * math.pi / part.measure, abs=0.01)
    again = part.sample(500, part.sample(500).next_start, dtype=F64)
    assert torch.equal(again.x, points.x[500:])
    assert repr(part).startswith("Part('floor2', 'hole' of PieceBoundary(")


def test_everything_that_names_pieces(boundary):
    for which, expected in (
        ("floor", (0,)),
        ("floors", (1,)),
        (["floor", "floors"], (0, 1)),
        (2, (2,)),
        ([3, 0, 0], (0, 3)),
        (slice(1, 3), (1, 2)),
        (lambda x: x[:, 1] > 0.1, (2, 3)),
        (PIECES[3], (3,)),
        (PIECES[1:3], (1, 2)),
        (boundary["roof"], (2,)),
        (PieceBoundary(PIECES), (0, 1, 2, 3)),
    ):
        assert boundary[which].indices == expected
        rest = tuple(k for k in range(4) if k not in expected)
        if rest:
            assert (boundary - which).indices == boundary.without(which).indices == rest
        assert (boundary["roof"] | which).indices == tuple(sorted({2, *expected}))
    assert boundary.part("floor", 3).indices == (0, 3)
    assert [part.piece_names for part in boundary] == [
        ("floor",),
        ("floor2",),
        ("roof",),
        ("hole",),
    ]
    assert len(boundary) == 4


def test_parts_of_parts(boundary):
    part = boundary.without("hole")
    assert (
        part["roof"].indices == (2,)
        and part[2].indices == (2,)
        and part.part(0, 1).indices == (0, 1)
    )
    assert (part - "floor").indices == (1, 2)
    assert (part - boundary["floor", "hole"]).indices == (1, 2)
    assert (part - boundary["hole"]).indices == part.indices
    assert (part | "hole").indices == (0, 1, 2, 3)
    assert (boundary | part).indices == (0, 1, 2, 3)
    assert (boundary["floor"] | boundary["hole"]).boundary is boundary
    with pytest.raises(ValueError, match=r"part: expected one of the names 'floor', .*'hole'"):
        part["hole"]
    with pytest.raises(ValueError, match="part: expected at least one of the pieces"):
        part - part


def test_parts_of_boundaries_made_anew_combine():
    one, two = Rectangle((0, 0), (1, 1)).boundary, Rectangle((0, 0), (1, 1)).boundary
    assert (one["left"] | two["top"]).indices == (2, 3)
    assert (one - two["top"]).indices == (0, 1, 3)
    named = one.named(lid="top")
    assert (named - two["left"]).piece_names == ("bottom", "right", "lid")
    with pytest.raises(ValueError, match="part: expected a part of this boundary"):
        one - Rectangle((0, 0), (1, 2)).boundary["top"]


def test_named(boundary):
    named = boundary.named(
        walls=["floor", "roof"], right=lambda x: x[:, 0] > 0.5, floors="floor", both=[0, 1]
    )
    assert named.piece_names == ("walls", "right", "walls", "hole")
    assert named["walls"].indices == (0, 2)
    assert named["right"].indices == (1,)
    assert named["floors"].indices == (0,)  # no longer piece 1
    assert named["both"].indices == (0, 1)
    assert named["roof"].indices == (2,)  # still there
    assert boundary.piece_names == ("floor", "floor2", "roof", "hole")  # unchanged
    assert isinstance(Rectangle((0, 0), (1, 1)).boundary.named(a="top"), PieceBoundary)
    assert named.sample(10).x.equal(boundary.sample(10).x)
    lost = Rectangle((0, 0), (1, 1)).boundary.named(top="bottom")
    assert lost.piece_names == ("top", "right", "unnamed", "left") and lost["top"].indices == (0,)


def test_channel_names_its_walls():
    channel = Channel((0, 0), (4, 1))
    boundary = channel.boundary
    assert boundary.piece_names == ("bottom", "outlet", "top", "inlet")
    assert boundary["inlet"].pieces == (Segment((0, 1), (0, 0)),)
    assert boundary["outlet"].pieces == (Segment((4, 0), (4, 1)),)
    assert boundary["walls"].piece_names == ("bottom", "top")
    assert boundary.names == ("bottom", "walls", "outlet", "top", "inlet")
    assert (boundary["inlet"].sample(5).x[:, 0] == 0).all()
    assert repr(channel) == "Channel((0, 0), (4, 1))"
    box = Rectangle((0, 0), (1, 1), names="wall")
    assert box.boundary["wall"].is_closed and box.boundary.piece_names == ("wall",) * 4


def test_parts_of_other_dimensions():
    left = Interval(0, 2).boundary["left"]
    points = left.sample(3)
    assert points.x.tolist() == [[0.0]] * 3 and points.piece.tolist() == [0] * 3
    assert left.measure == 1
    assert Interval(0, 2).boundary[lambda x: x[:, 0] > 1].piece_names == ("right",)
    box = Box((0, 0, 0), (1, 2, 3))
    part = box.boundary["x+", "z-"]
    points = part.sample(600, dtype=F64)
    assert set(points.piece.tolist()) == {1, 4} and part.measure == 2 * 3 + 1 * 2
    on_x = points.piece == 1
    assert (points.x[on_x, 0] == 1).all() and (points.x[~on_x, 2] == 0).all()
    assert on_x.double().mean() == pytest.approx(0.75, abs=0.02)
    assert box.boundary[lambda x: x[:, 2] == 3].piece_names == ("z+",)
    named = Box((0, 0, 0), (1, 1, 1), names=["in", "out", *[("side", "walls")] * 4])
    assert named.boundary["walls"].indices == (2, 3, 4, 5)
    with pytest.raises(AttributeError, match="pieces: expected a part of a boundary made of plane"):
        part.pieces


def test_chains(boundary):
    assert boundary.is_closed and not boundary["floors"].is_closed and boundary["hole"].is_closed
    assert [chain.indices for chain in boundary.chains()] == [(0, 1, 2), (3,)]
    mixed = PieceBoundary([PIECES[k] for k in (2, 3, 1, 0)])
    assert [chain.indices for chain in mixed.chains()] == [(0, 3, 2), (1,)]
    assert all(chain.is_closed for chain in mixed.chains())
    part = mixed.without(0)
    assert [chain.indices for chain in part.chains()] == [(1,), (3, 2)]
    assert [chain.is_closed for chain in part.chains()] == [True, False]
    # the wrong way round
    assert not PieceBoundary([PIECES[0], PIECES[1], PIECES[2].reversed()]).is_closed
    # two squares that touch in a corner: a vertex where two pieces end and two start
    corner = [p for r in (Rectangle((0, 0), (1, 1)), Rectangle((1, 1), (2, 2)))
              for p in r.boundary.pieces]  # fmt: skip
    two = PieceBoundary(corner)
    assert two.is_closed and sorted(len(chain) for chain in two.chains()) == [4, 4]
    line = PieceBoundary([Line((0, 0), (1, 0))])
    assert not line.is_closed and len(line.chains()) == 1


@pytest.mark.parametrize("gap,closed", [(1e-12, True), (1e-10, True), (1e-6, False)])
def test_ends_may_differ_a_little(gap, closed):
    for scale, shift in ((1e-3, 0.0), (1.0, 0.0), (1e3, 0.0)):
        a, b, c = ((shift + scale * x, shift + scale * y) for x, y in ((0, 0), (1, 0), (0, 1)))
        moved = (a[0] + gap * scale, a[1])
        assert PieceBoundary([Segment(a, b), Segment(b, c), Segment(c, moved)]).is_closed is closed


def test_one_segment_far_out():
    # flat in y: only x has to be resolved
    wall = PieceBoundary([Segment((1e6, 0.1), (1e6 + 4, 0.1))], ["wall"])
    points = wall.sample(100, dtype=torch.float32)
    assert (points.x[:, 1] == torch.tensor(0.1)).all() and points.x[:, 0].unique().numel() > 30
    assert (points.normal == torch.tensor([0.0, -1.0])).all()
    with pytest.raises(ValueError, match="dtype: expected one that resolves"):
        PieceBoundary([Segment((1e9, 0), (1e9 + 1, 0))]).sample(3, dtype=torch.float32)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda b: b["walls"], "part: expected one of the names 'floor', 'floor2', 'floors'"),
        (lambda b: b[4], "part: expected an integer <= 3, got 4"),
        (lambda b: b[-1], "part: expected an integer >= 0"),
        (lambda b: b[True], "part: expected names, numbers of pieces, or a function"),
        (lambda b: b[1.5], "part: expected names, numbers of pieces, or a function"),
        (lambda b: b[None], "part: expected names, numbers of pieces, or a function"),
        (lambda b: b[[]], "part: expected at least one of the pieces 'floor'"),
        (lambda b: b[lambda x: x[:, 0] > 9], "part: expected at least one of the pieces"),
        (lambda b: b[lambda x: x > 0], r"part: expected a function that returns a bool .*\(4,\)"),
        (lambda b: b[lambda x: 1], "part: expected a function that returns a bool"),
        (lambda b: b[Segment((0, 0), (9, 9))], "part: expected one of the pieces of this boundary"),
        (lambda b: b[Disk((0, 0), 1).boundary], "part: expected a part of this boundary"),
        (lambda b: b.without(b), "part: expected at least one of the pieces"),
        (lambda b: b.named(a="nothing"), "a: expected one of the names 'floor'"),
        (lambda b: b.named(a=7), "a: expected an integer <= 3"),
        (lambda b: Part(b, ()), "part: expected at least one piece"),
        (lambda b: PieceBoundary([]), "pieces: expected at least one piece, got none"),
        (lambda b: PieceBoundary([1]), "pieces: expected a list of Segment"),
        (lambda b: PieceBoundary(PIECES, ["a"]), "names: expected a name, or 4 names, got 1"),
        (lambda b: PieceBoundary(PIECES, [1, 2, 3, 4]), r"names\[0\]: expected a name, or a tuple"),
        (lambda b: PieceBoundary(PIECES, 5), "names: expected a name, or 4 names"),
        (lambda b: PieceBoundary([Line((0, 0), (1, 0))]).sample(3), "sample: expected pieces"),
        (lambda b: Box((0, 0, 0), (1, 1, 1)).boundary[Circle((0, 0), 1)], "part: expected a name"),
    ],
)  # fmt: skip
def test_wrong_parts_are_refused(boundary, make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(boundary)
