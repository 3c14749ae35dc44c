"""``part.line``: the whole line of a straight part of a boundary."""

from __future__ import annotations

import math
import re

import pytest
import torch
from colloc.boundary import distance
from colloc.geometry import (
    Arc,
    Box,
    Channel,
    Disk,
    Interval,
    Line,
    ParameterDomain,
    PieceBoundary,
    Polygon,
    Rectangle,
    Segment,
    TimeDomain,
)

F64 = torch.float64
SQUARE = Rectangle((0, 0), (2, 1))
L = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], ["a", "b", "c", "d", "e", "f"])
HOUSE = Polygon([(0, 0), (1, 0), (2, 0), (2, 1), (1, 2), (0, 1)], ["floor", "floor", *"abcd"])


@pytest.mark.parametrize("side", ["left", "right", "bottom", "top"])
def test_the_domain_is_on_the_left(side):
    part = SQUARE.boundary[side]
    line = part.line
    (segment,) = part.pieces
    assert line == Line(segment.p1, segment.p2)
    at = part.sample(5, dtype=F64)
    inner = at.x - 0.1 * at.normal
    phi = distance(line, inner, 1, 1)
    torch.testing.assert_close(phi.value, torch.full_like(phi.value, 0.1))
    torch.testing.assert_close(phi.grad[:, 0], -at.normal)
    on = distance(line, at.x, 1, 1)
    torch.testing.assert_close(on.grad[:, 0], -at.normal)


def test_pieces_of_one_line_are_joined():
    assert HOUSE.boundary["floor"].line == Line((0, 0), (2, 0))
    cut = SQUARE - Disk((1, 0), 0.25)
    assert cut.boundary["bottom"].line == Line((0, 0), (2, 0))
    assert len(cut.boundary["bottom"].pieces) == 2
    slanted = Polygon([(0, 0), (3, 1), (6, 2), (9, 3), (0, 3)], [*"aaa", "b", "c"])
    assert slanted.boundary["a"].line == Line((0, 0), (9, 3))


def test_of_round_and_cut_shapes():
    ring = (Channel((-6.732, -1), (6.732, 1)) | Disk((0, 0), 2)) - Disk((0, 0), 1)
    (inlet,) = (p for p in ring.boundary if p.pieces[0].middle[0] < -6)
    assert inlet.line == Line(*inlet.pieces[0].ends)
    tangent = Rectangle((-1, -3), (1, 0)) | Disk((0, 0), 1)  # the circle touches x = 1
    assert tangent.boundary["right"].line == Line((1, -3), (1, 0))
    bulged = Rectangle((-1, -3), (1, 0)) | Disk((0.5, 0), 1)
    with pytest.raises(ValueError, match="line: expected a part whose line has the domain on one"):
        bulged.boundary["right"].line
    half = Disk((0, 0), 1) & Rectangle((-1, 0), (1, 1))  # an arc that turns away from the line
    assert half.boundary["bottom"].line == Line((-1, 0), (1, 0))


def test_of_domains_over_time_and_parameters():
    line = SQUARE.boundary["left"].line
    waves = TimeDomain(SQUARE, 0, 1).boundary
    assert waves["left"].line == line
    assert ParameterDomain(SQUARE, {"k": (0, 1)}).boundary["left"].line == line
    with pytest.raises(ValueError, match=r"line: .*an initial time"):
        waves["initial"].line


def test_open_boundaries_and_lines():
    corner = PieceBoundary([Segment((0, 0), (1, 0)), Segment((1, 0), (1, -1))], ["a", "b"])
    assert corner["a"].line == Line((0, 0), (1, 0))
    strip = PieceBoundary([Line((0, 0), (1, 0)), Line((1, 1), (0, 1))], ["low", "high"])
    assert strip["high"].line == Line((1, 1), (0, 1))
    assert PieceBoundary([Segment((0, 0), (1, 0))]).line == Line((0, 0), (1, 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Disk((0, 0), 1).boundary.line, r"one with Circle(.*), which is curved"),
        (lambda: SQUARE.boundary.line, "which lie on two"),
        (lambda: SQUARE.boundary["left", "right"].line, "which lie on two"),
        (lambda: L.boundary["c"].line, r"of whose line .* is on the right\. A condition on the"),
        (lambda: L.boundary["d"].line, "the domain on one side"),
        (lambda: Box((0, 0, 0), (1, 1, 1)).boundary.part(0).line, "which is not made of curves"),
        (lambda: Interval(0, 1).boundary["left"].line, "which is not made of curves"),
        (
            lambda: PieceBoundary([Segment((0, 0), (1, 0)), Segment((3, 0), (2, 0))]).line,
            "the domain on different sides",
        ),
        (
            lambda: PieceBoundary([Arc((0, 0), 1, 0, math.pi), Segment((-1, 0), (1, 0))])["piece0"],
            "",
        ),
    ],
)
def test_refused(make, message):
    if not message:
        assert make().boundary["piece1"].line == Line((-1, 0), (1, 0))
        return
    with pytest.raises(ValueError, match="line: expected .*" + message) as caught:
        make()
    assert not re.search(r"\bNone\b", str(caught.value))
