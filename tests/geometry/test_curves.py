"""Segment, Line, Arc and Circle: ends, points, distances, boxes, cuts, areas, errors."""

from __future__ import annotations

import math
import random

import colloc as cc
import pytest
import torch
from colloc.geometry import Arc, Circle, Line, Segment

F64 = torch.float64
TURN = 2 * math.pi


def some_pieces():
    r = random.Random(3)
    found = [
        Segment((0, 0), (1, 0)),
        Segment((2, 1), (2, -3)),
        Circle((1, -2), 0.5),
        Circle((1, -2), 0.5, inward=False),
        Arc((0, 0), 2, 0, math.pi),
        Arc((0, 0), 2, 3, -3),
        Arc((0, 0), 2, 0, TURN),
        Arc((0.5, 1), 2, 1, 1 - TURN, inward=False),
        Arc((0.5, 1), 2, -7, -1.5, inward=False),
        Arc((3e5, 0), 3e5, math.pi - 1e-6, math.pi + 2e-6),
    ]
    for _ in range(12):
        scale, shift = 10 ** r.uniform(-3, 3), 10 ** r.uniform(-3, 3)
        point = [(shift + scale * r.uniform(-1, 1), scale * r.uniform(-1, 1)) for _ in range(2)]
        start = r.uniform(-4, 4)
        stop = start + r.choice((-1, 1)) * r.uniform(0.01, 6.2)
        found += [Segment(*point), Arc(point[0], scale, start, stop, r.random() < 0.5)]
    return found


PIECES = some_pieces()
pieces = pytest.mark.parametrize("piece", PIECES, ids=str)


def coordinates(piece):
    """The largest number that a point on the piece is computed from."""
    largest = max(abs(c) for corner in piece.bounds for c in corner)
    return largest + (0 if piece.ends else piece.length)


def along(piece, n=501):
    return torch.linspace(0, 1, n, dtype=F64) * piece.length


@pieces
def test_points_lie_on_the_piece_at_their_arc_length(piece):
    s = along(piece)
    x, normal = piece.at(s)
    rounding = 8e-16 * coordinates(piece)
    assert piece.nearest(x).max() <= rounding
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(501, dtype=F64))
    # the tangent has the domain on its left, and the speed 1
    tangent = torch.stack((-normal[:, 1], normal[:, 0]), 1)
    step = (x[1:] - x[:-1]) / (piece.length / 500)
    middle = 0.5 * (tangent[1:] + tangent[:-1])
    assert (step - middle).norm(dim=1).max() < 1e-4 + 500 * 4 * rounding / piece.length
    if piece.ends:
        first, last = torch.tensor(piece.ends, dtype=F64)
        assert (x[0] - first).norm() <= rounding and (x[-1] - last).norm() <= rounding
        if isinstance(piece, Segment):
            assert torch.equal(x[0], first) and torch.equal(x[-1], last)
    else:
        assert (x[0] - x[-1]).norm() <= rounding
    middle_point = torch.tensor([piece.middle], dtype=F64)
    assert piece.nearest(middle_point).max() <= rounding
    if piece.ends:
        assert (piece.at(s[250:251])[0] - middle_point).norm() <= rounding


@pieces
def test_nearest_against_many_points_of_the_piece(piece):
    lower, upper = (torch.tensor(c, dtype=F64) for c in piece.bounds)
    size = float((upper - lower).max())
    x = (lower + upper) / 2 + size * (4 * torch.rand(100, 2, dtype=F64) - 2)
    on, _ = piece.at(along(piece, 20001))
    brute = torch.cdist(x, on, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    found = piece.nearest(x)
    assert found.shape == (100, 1)
    # the points are h apart: too far by at most h, and by about h^2 / distance away from the piece
    h = piece.length / 20000
    assert (found[:, 0] <= brute + 1e-9 * size).all() and (brute - found[:, 0]).max() <= h
    far = found[:, 0] > 0.1 * size
    assert (brute - found[:, 0])[far].max() <= 1e-5 * size
    x32 = x.float()
    error = (piece.nearest(x32).double() - piece.nearest(x32.double())).abs().max()
    assert error <= 4e-7 * (coordinates(piece) + 4 * size)


@pieces
def test_nearest_has_a_gradient_of_length_one_on_the_piece_too(piece):
    on, normal = piece.at(along(piece, 50)[1:-1])
    x = on.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(piece.nearest(x).sum(), x)
    # rounded points lie on either side
    error = torch.minimum((gradient - normal).norm(dim=1), (gradient + normal).norm(dim=1))
    assert error.max() < 1e-6
    if isinstance(piece, Segment) and 0 in piece.direction:
        assert torch.equal(gradient, -normal)  # exactly on it: the derivative of the domain's side


def test_no_gradient_is_undefined():
    for piece in PIECES:
        ends = piece.ends or ((0.0, 0.0),)
        center = getattr(piece, "center", (1.0, 1.0))
        x = torch.tensor([*ends, center, piece.middle], dtype=F64, requires_grad=True)
        (gradient,) = torch.autograd.grad(piece.nearest(x).sum(), x)
        assert gradient.isfinite().all() and (gradient.norm(dim=1) < 1 + 1e-9).all()


@pieces
def test_bounds_are_the_smallest_box(piece):
    x, _ = piece.at(along(piece, 20001))
    lower, upper = (torch.tensor(c, dtype=F64) for c in piece.bounds)
    rounding = 1e-15 * coordinates(piece)
    assert (x >= lower - rounding).all() and (x <= upper + rounding).all()
    slack = 1e-6 * piece.length + rounding
    assert (x.amin(0) - lower).max() <= slack and (upper - x.amax(0)).max() <= slack


@pieces
def test_reversed_runs_the_other_way(piece):
    back = piece.reversed()
    assert back.reversed() == piece and back.length == piece.length and back.bounds == piece.bounds
    s = along(piece)
    x, normal = piece.at(s)
    if isinstance(piece, Circle):
        s = piece.length - s  # both start at angle 0
        other, opposite = back.at(s)
    else:
        other, opposite = back.at(piece.length - s)
    rounding = 1e-15 * coordinates(piece)
    assert (x - other).abs().max() <= 4 * rounding
    assert (normal + opposite).abs().max() < 1e-12
    if piece.ends:
        assert back.ends == piece.ends[::-1]
    assert back.swept_area((0.3, 0.4)) == pytest.approx(-piece.swept_area((0.3, 0.4)))


@pieces
def test_cut_is_the_part_between_arc_lengths(piece):
    length = piece.length
    for first, last in ((0.0, length), (0.0, 0.3 * length), (0.2 * length, 0.7 * length),
                        (0.6 * length, length)):  # fmt: skip
        part = piece.cut(first, last)
        assert part.length == pytest.approx(last - first, rel=1e-9)
        x, normal = part.at(torch.linspace(0, 1, 21, dtype=F64) * part.length)
        exact, outward = piece.at(first + torch.linspace(0, 1, 21, dtype=F64) * (last - first))
        # angles have as many digits as the radius
        rounding = 1e-14 * coordinates(piece) + 1e-15 * getattr(piece, "radius", 0)
        if part.ends is None:  # a circle, which may start elsewhere
            assert part.nearest(exact).max() <= rounding
            continue
        assert (x - exact).abs().max() <= rounding
        assert (normal - outward).abs().max() < 1e-6
    if piece.ends:  # its own ends stay as they are
        assert piece.cut(0.0, length) == piece
        assert piece.cut(0.0, 0.5 * length).ends[0] == piece.ends[0]
        assert piece.cut(0.5 * length, length).ends[1] == piece.ends[1]
        with pytest.raises(ValueError, match="cut: expected 0 <= first < last <="):
            piece.cut(0.5 * length, 1.1 * length)
    else:
        across = piece.cut(0.9 * length, 1.2 * length)
        x, _ = across.at(torch.tensor([0.2 * length], dtype=F64))
        exact, _ = piece.at(torch.tensor([0.1 * length], dtype=F64))
        assert (x - exact).abs().max() < 1e-12
        assert piece.cut(0.4 * length, 1.4 * length).ends is None
    with pytest.raises(ValueError, match="cut: expected"):
        piece.cut(0.5 * length, 0.5 * length)


@pieces
def test_swept_area_is_greens_integral(piece):
    lower, upper = piece.bounds
    origin = (lower[0], upper[1])
    n = 20000
    s = (torch.arange(n, dtype=F64) + 0.5) * (piece.length / n)
    x, normal = piece.at(s)
    d = x - torch.tensor(origin, dtype=F64)
    exact = 0.5 * float((d * normal).sum()) * piece.length / n
    size = max(upper[0] - lower[0], upper[1] - lower[1])
    tolerance = 1e-7 * size * piece.length + 1e-15 * coordinates(piece) * piece.length
    assert piece.swept_area(origin) == pytest.approx(exact, abs=tolerance)


def test_swept_area_of_a_flat_arc_keeps_its_digits():
    # the segment of a circle between chord and arc: r^2 (angle - sin angle) / 2 ~ r^2 angle^3 / 12
    for radius, angle in ((1e6, 1e-6), (1e3, 1e-5), (1.0, 1e-4)):
        arc = Arc((0, 0), radius, -angle / 2, angle / 2)
        assert arc.swept_area(arc.ends[0]) == pytest.approx(radius**2 * angle**3 / 12, rel=1e-8)
    assert Arc((0, 0), 1, 0, 1).swept_area((0, 0)) == pytest.approx(0.5, rel=1e-15)
    assert Arc((0, 0), 1, 0, 1 + 1e-9).swept_area((0, 0)) == pytest.approx(0.5 + 5e-10, rel=1e-15)


def test_full_arcs_are_circles():
    for start, stop in ((0, TURN), (0, -TURN), (1, 1 + TURN), (-2, -2 - TURN)):
        arc = Arc((1, 2), 3, start, stop)
        circle = Circle((1, 2), 3)
        assert arc.is_full and arc.angle == TURN and arc.ends is None
        assert arc.length == circle.length and arc.numbers == circle.numbers
        assert arc.bounds == circle.bounds
        x = torch.randn(50, 2, dtype=F64)
        assert torch.equal(arc.nearest(x), circle.nearest(x))
        first = torch.tensor([[1 + 3 * math.cos(start), 2 + 3 * math.sin(start)]], dtype=F64)
        torch.testing.assert_close(arc.at(torch.zeros(1, dtype=F64))[0], first)
    assert not Arc((1, 2), 3, 0, TURN - 1e-9).is_full
    assert Arc((0, 0), 1, 1e-9, 0).angle == pytest.approx(TURN - 1e-9, abs=1e-15)


def test_distance_to_a_line():
    line = Line((0, 1), (2, 1))
    x = torch.tensor([[5.0, 3.0], [-7.0, -1.0], [1e6, 1.0]], dtype=F64)
    assert line.nearest(x)[:, 0].tolist() == [2, 2, 0]
    assert line.reversed().reversed() == line and line.length == math.inf and line.ends is None
    assert line.cut(1, 3) == Segment((1, 1), (3, 1))
    with pytest.raises(ValueError, match="swept_area: expected a piece of finite length"):
        line.swept_area((0, 0))


def test_distance_near_a_short_arc_of_a_large_circle():
    # by |x - c| - r alone 1e-10 would be lost
    arc = Arc((0, -1e6), 1e6, math.pi / 2 - 1e-6, math.pi / 2 + 1e-6)
    x = torch.tensor([[0.0, 1e-12], [0.0, -3e-11]], dtype=F64)
    found = arc.nearest(x)[:, 0].tolist()
    middle = arc.middle[1]
    assert found == pytest.approx([1e-12 - middle, 3e-11 + middle], rel=1e-6)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Segment((0, 0), (0, 0)), "Segment.p2: expected a point at a finite distance > 0"),
        (lambda: Segment((-1.7e308, 0), (1.7e308, 0)), "Segment.p2: expected a point at a finite"),
        (lambda: Segment((1e70, 0), (0, 0)).numbers, "Segment.p1: expected coordinates up to"),
        (lambda: Segment((0, 0), (1e-70, 0)).numbers, "Segment.p2: expected a point at least"),
        (lambda: Line((0, 0), (1e70, 0)).numbers, "Line.p2: expected coordinates up to"),
        (lambda: Segment((0, 0, 0), (1, 1, 1)), r"Segment.p1: expected a pair of finite numbers"),
        (lambda: Segment("00", (1, 1)), r"Segment.p1: expected a pair of finite numbers"),
        (lambda: Segment((0, math.nan), (1, 1)), r"Segment.p1\[1\]: expected a finite number"),
        (lambda: Line((1, 1), (1, 1)), "Line.p2: expected a point"),
        (lambda: Circle((0, 0), 0), "Circle.radius: expected a number > 0"),
        (lambda: Circle((0, 0), 1e70), "Circle.radius: expected a number from 1e-30"),
        (lambda: Circle((1e70, 0), 1), "Circle.center: expected coordinates up to"),
        (lambda: Circle((0, 0), 1, inward=1), "Circle.inward: expected True or False"),
        (lambda: Arc((0, 0), 1, 2, 2), "Arc.stop: expected an angle other than start = 2"),
        (lambda: Arc((0, 0), 1, 0, 7), "Arc.stop: .* at most 2 pi from it"),
        (lambda: Arc((0, 0), -1, 0, 1), "Arc.radius: expected a number > 0"),
        (lambda: Circle((0, 0), 1).nearest(torch.zeros(3)), r"x: expected .* shape \(N, 2\)"),
    ],
)
def test_wrong_pieces_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_pieces_are_values():
    assert Arc((0, 0), 1, 0, 1) == Arc([0.0, 0.0], 1.0, 0.0, 1.0)
    assert len({Circle((0, 0), 1), Circle((0, 0), 1), Circle((0, 0), 1).reversed()}) == 2
    arc = Arc((0, 0), 1, 0, 1)
    assert arc.ends and arc == Arc((0, 0), 1, 0, 1)  # what is kept does not count
    assert cc.geometry.Piece in type(arc).__mro__
