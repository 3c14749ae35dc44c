"""Disk, Polygon and shapes of pieces: areas, distances, points, errors."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from colloc.geometry import Arc, Disk, PieceBoundary, Polygon, Rectangle, Segment
from colloc.geometry.plane import PlaneShape

F64 = torch.float64


class Region(PlaneShape):
    """The inside of closed pieces."""

    def __init__(self, *pieces):
        self._boundary = PieceBoundary(pieces)

    @property
    def boundary(self):
        return self._boundary


def stadium(height=0.5):
    """A rectangle with half disks at its ends, as four pieces."""
    r = height
    return Region(
        Segment((-1, -r), (1, -r)),
        Arc((1, 0), r, -math.pi / 2, math.pi / 2),
        Segment((1, r), (-1, r)),
        Arc((-1, 0), r, math.pi / 2, -math.pi / 2),
    )


def crescent():
    """Between the outer half of a circle and a flatter arc: one arc bulges in."""
    half = math.acos(0.6)
    return Region(
        Arc((0, 0), 1, half, 2 * math.pi - half),
        Arc((1.2, 0), 1, math.pi - half, math.pi + half, inward=False),
    )


def star(n, seed, scale=1.0, shift=(0.0, 0.0)):
    r = random.Random(seed)
    points = [(r.uniform(0.3, 1), 2 * math.pi * k / n) for k in range(n)]
    return [
        (shift[0] + scale * q * math.cos(a), shift[1] + scale * q * math.sin(a)) for q, a in points
    ]


SHAPES = {
    "disk": Disk((0.5, -0.25), 1.5),
    "triangle": Polygon([(0, 0), (2, 0), (0.5, 1)]),
    "L": Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]),
    "star": Polygon(star(11, 1)),
    "stadium": stadium(),
    "crescent": crescent(),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def winding_by_angles(outline, x):
    """How often a fine closed polygon runs around points, by summed angles in NumPy."""
    d = outline[None, :, :] - x[:, None, :]
    e = np.roll(d, -1, axis=1)
    cross = d[..., 0] * e[..., 1] - d[..., 1] * e[..., 0]
    return np.arctan2(cross, (d * e).sum(-1)).sum(1) / (2 * math.pi)


@shapes
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_signed_distance_against_the_outline_as_a_fine_polygon(shape, dtype):
    lower, upper = (torch.tensor(c, dtype=F64) for c in shape.bounds)
    x = lower + (upper - lower) * (2 * torch.rand(300, 2, dtype=F64) - 0.5)
    outline = torch.cat(
        [
            p.at(torch.linspace(0, 1, 1001, dtype=F64)[:-1] * p.length)[0]
            for p in shape.boundary.pieces
        ]
    )
    brute = torch.cdist(x, outline, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    sign = np.round(winding_by_angles(outline.numpy(), x.numpy()))
    expected = torch.from_numpy(2 * sign - 1) * brute
    found = shape.distance(x.to(dtype))
    assert found.shape == (300, 1) and found.dtype == dtype
    certain = brute > 1e-5  # nearer to the outline than its chords are, the sign is theirs
    assert set(sign.tolist()) == {0.0, 1.0} and certain.sum() > 290
    assert (found[:, 0].double() - expected)[certain].abs().max() < 1e-2
    far = brute > 0.1
    assert (found[:, 0].double() - expected)[far].abs().max() < 1e-4
    assert torch.equal(shape.inside(x.to(dtype))[certain], expected[certain] > 0)


@shapes
def test_the_gradient_is_that_of_a_distance(shape):
    lower, upper = (torch.tensor(c, dtype=F64) for c in shape.bounds)
    x = lower + (upper - lower) * (2 * torch.rand(300, 2, dtype=F64) - 0.5)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(shape.distance(x).sum(), x)
    torch.testing.assert_close(gradient.norm(dim=1), torch.ones(300, dtype=F64))
    # towards the boundary: a step of the distance along the gradient ends on it
    with torch.no_grad():
        foot = x - shape.distance(x) * gradient
        assert shape.distance(foot).abs().max() < 1e-14


@shapes
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_on_the_boundary_the_gradient_points_inwards(shape, dtype):
    points = shape.boundary.sample(400, 1, dtype=dtype)
    x = points.x.clone().requires_grad_()
    distance = shape.distance(x)
    (gradient,) = torch.autograd.grad(distance.sum(), x)
    eps = torch.finfo(dtype).eps
    assert distance.abs().max() < 8 * eps
    corners = torch.tensor(
        [end for piece in shape.boundary.pieces for end in piece.ends or ()] or [(9, 9)],
        dtype=dtype,
    )
    away = torch.cdist(x, corners).amin(1) > 1e-3
    assert away.sum() > 350
    assert (gradient + points.normal)[away].abs().max() < 100 * eps


@shapes
def test_no_gradient_is_undefined_at_corners_and_centres(shape):
    special = [end for piece in shape.boundary.pieces for end in piece.ends or ()]
    special += [p.center for p in shape.boundary.pieces if not isinstance(p, Segment)]
    x = torch.tensor(special, dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(shape.distance(x).sum(), x)
    assert gradient.isfinite().all()
    assert shape.distance(torch.tensor([[math.nan, 0.0]])).isnan().all()


@shapes
@pytest.mark.parametrize("method", ["halton", "hammersley", "sobol", "uniform"])
def test_interior_points_are_spread_evenly(shape, method):
    points = shape.sample(4000, 1, method, seed=1, dtype=F64)
    assert points.x.shape == (4000, 2) and bool(shape.inside(points.x).all())
    assert torch.equal(points.distance, shape.distance(points.x))
    assert points.measure.sum() == pytest.approx(shape.measure)
    # the mean of x over the shape, by Green: half the integral of x^2 dy / area
    centroid = 0.0
    for piece in shape.boundary.pieces:
        s = (torch.arange(2000, dtype=F64) + 0.5) * (piece.length / 2000)
        x, normal = piece.at(s)
        centroid += float((0.5 * x[:, 0] ** 2 * normal[:, 0]).sum()) * piece.length / 2000
    tolerance = 0.06 if method == "uniform" else 0.01
    assert points.x[:, 0].mean() == pytest.approx(centroid / shape.measure, abs=tolerance)


@shapes
def test_batches_continue_the_sequence(shape):
    whole = shape.sample(300, 7, seed=2, dtype=F64)
    first = shape.sample(100, 7, seed=2, dtype=F64)
    second = shape.sample(200, first.next_start, seed=2, dtype=F64)
    assert torch.equal(torch.cat([first.x, second.x]), whole.x)
    assert second.next_start == whole.next_start > 307


def test_areas():
    assert SHAPES["disk"].measure == pytest.approx(math.pi * 2.25, rel=1e-15)
    assert SHAPES["triangle"].measure == pytest.approx(1, rel=1e-15)
    assert SHAPES["L"].measure == pytest.approx(3, rel=1e-15)
    assert SHAPES["stadium"].measure == pytest.approx(2 + math.pi / 4, rel=1e-15)
    half = math.acos(0.6)
    lens = 2 * (half - math.sin(half) * 0.6)
    assert SHAPES["crescent"].measure == pytest.approx(math.pi - lens, rel=1e-14)
    assert SHAPES["L"].bounds == ((0, 0), (2, 2))
    assert SHAPES["disk"].bounds == ((-1, -1.75), (2, 1.25))
    # far from the origin the area keeps the digits that the coordinates have
    far = Polygon([(1e6, 1e6), (1e6 + 1, 1e6), (1e6 + 1, 1e6 + 1), (1e6, 1e6 + 1)])
    assert far.measure == 1 and Disk((1e9, 1), 1).measure == pytest.approx(math.pi)


def test_polygons_are_stored_counter_clockwise():
    corners = [(0, 0), (2, 0), (2, 1), (0, 1)]
    names = ["bottom", "right", ("top", "lid"), "left"]
    one, two = Polygon(corners, names), Polygon(corners[::-1], names[2::-1] + names[3:])
    for polygon in (one, two):
        assert polygon.measure == 2 and polygon.boundary.is_closed
        for name, x in (
            ("bottom", (1, 0)),
            ("right", (2, 0.5)),
            ("lid", (1, 1)),
            ("left", (0, 0.5)),
        ):
            (piece,) = polygon.boundary[name].pieces
            assert piece.middle == x
    assert one.vertices == tuple(corners) and two.vertices[0] == (0, 1)
    assert set(two.vertices) == set(corners)
    assert Polygon(np.array(corners)).vertices == Polygon(torch.tensor(corners)).vertices
    assert Polygon(corners).boundary.piece_names == ("edge0", "edge1", "edge2", "edge3")
    assert Polygon(corners, "wall").boundary["wall"].is_closed
    assert repr(one) == "Polygon([(0, 0), (2, 0), (2, 1), (0, 1)])"
    assert repr(SHAPES["star"]).endswith("... 11 in all])")


def test_a_side_may_be_halved():
    half = Polygon([(0, 0), (1, 0), (2, 0), (2, 1), (0, 1)], ["a", "b", "c", "d", "e"])
    assert half.measure == 2 and half.boundary["a"].measure == half.boundary["b"].measure == 1
    x = torch.tensor([[1.0, 0.0], [1.0, -1e-3], [1.0, 1e-3]], dtype=F64)
    assert half.distance(x)[:, 0].tolist() == pytest.approx([0, -1e-3, 1e-3])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1e6, -1e6)])
@pytest.mark.parametrize("n", [3, 4, 9, 60])
def test_random_polygons_at_all_scales(scale, shift, n):
    corners = star(n, n, scale, (shift[0] * scale, shift[1] * scale))
    polygon = Polygon(corners)
    x, y = np.array(corners).T - np.array(corners)[0][:, None]  # exact differences
    shoelace = 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert polygon.measure == pytest.approx(shoelace, rel=1e-12)
    rounding = 4e-16 * scale * (1 + abs(shift[0]))
    points = polygon.boundary.sample(200, dtype=F64)
    assert polygon.distance(points.x).abs().max() <= 4 * rounding
    inner = polygon.sample(500, dtype=F64)
    assert (inner.distance >= 0).all() and inner.distance.max() > 0.05 * scale


def test_polygon_of_many_vertices():
    angles = torch.arange(1000, dtype=F64) * (2 * math.pi / 1000)
    polygon = Polygon(torch.stack((angles.cos(), angles.sin()), 1))
    exact = 500 * math.sin(2 * math.pi / 1000)
    assert polygon.measure == pytest.approx(exact, rel=1e-13)
    x = 2 * torch.rand(300, 2) - 1
    disk = Disk((0, 0), 1)
    assert (polygon.distance(x) - disk.distance(x)).abs().max() < 1e-5


@pytest.mark.parametrize(
    "vertices,message",
    [
        ([(0, 0), (1, 0)], "vertices: expected a list of at least three pairs"),
        ("abc", "vertices: expected a list of at least three pairs"),
        (5, "vertices: expected a list of at least three pairs"),
        ([(0, 0), (1, 0), (1, 2, 3)], r"vertices\[2\]: expected a pair of finite numbers"),
        ([(0, 0), (1, 0), (0, math.nan)], r"vertices\[2\]\[1\]: expected a finite number"),
        ([(0, 0), (1, 0), (0, 1e70)], r"vertices\[2\]: expected coordinates up to"),
        ([(0, 0), (1, 0), (1, 0), (0, 1)], r"vertices\[2\]: expected vertices that differ"),
        ([(0, 0), (1, 0), (0, 1), (0, 0)], r"vertices\[3\]: .* joined to the first without being"),
        ([(0, 0), (1, 0), (2, 0)], "vertices: expected edges that do not fold back"),
        ([(0, 0), (2, 0), (1, 0), (1, 1)], r"fold back .* meet at vertices\[1\] = \(2.0, 0.0\)"),
        (
            [(0, 0), (1, 1), (1, 0), (0, 1)],
            r"edge 0 \(from .*\) and edge 2 \(from .*cross or touch",
        ),
        ([(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)], "edge 0 .* and edge 2 .*, which cross or touch"),
        ([(0, 0), (3, 0), (3, 1), (2, 0), (1, 0), (0, 1)], "cross or touch"),
        (
            [(0, 0), (2, 0), (1, 1), (2, 2), (0, 2), (1, 1)],
            r"vertices\[5\]: expected vertices that",
        ),
    ],
)
def test_wrong_polygons_are_refused(vertices, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Polygon(vertices)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Disk((0, 0), 0), "radius: expected a number > 0"),
        (lambda: Disk((0, 0), math.nan), "radius: expected a finite number"),
        (lambda: Disk((0, 0, 0), 1), "center: expected a pair"),
        (lambda: Disk((0, 0), 1, name=3), r"name.*: expected a name"),
        (lambda: Polygon([(0, 0), (1, 0), (0, 1)], ["a"]), "names: expected a name, or 3 names"),
        (lambda: Rectangle((0, 0), (1, 1), names=["a"]), "names: expected a name, or 4 names"),
        (lambda: Disk((0, 0), 1).distance(torch.zeros(3, 3)), r"x: expected .* shape \(N, 2\)"),
        (lambda: Disk((0, 0), 1).sample(-1), "n: expected an integer >= 0"),
        (lambda: Disk((1e9, 0), 1).sample(3, dtype=torch.float32), "dtype: expected one that res"),
        (lambda: Disk((1e9, 0), 1).boundary.sample(3, dtype=torch.float32), "dtype: expected one"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_distances_under_vmap_and_func_grad():
    shape = SHAPES["crescent"]
    x = torch.randn(5, 20, 2, dtype=F64)
    together = torch.vmap(shape.distance)(x)
    assert torch.equal(together, torch.stack([shape.distance(part) for part in x]))
    gradient = torch.func.grad(lambda y: shape.distance(y).sum())(x[0])
    y = x[0].clone().requires_grad_()
    assert torch.equal(gradient, torch.autograd.grad(shape.distance(y).sum(), y)[0])
