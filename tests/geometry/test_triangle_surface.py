"""Surfaces of triangles and the solids in them."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
import torch
from colloc.geometry import Ball, Box, TriangleSurface

F64 = torch.float64
METHODS = ("halton", "hammersley", "sobol", "uniform", "latin_hypercube")
methods = pytest.mark.parametrize("method", METHODS)

CORNERS = [(x, y, z) for x in (0.0, 1.0) for y in (0.0, 2.0) for z in (0.0, 3.0)]
#: The six sides of a box, each two triangles, counter-clockwise from outside.
SIDES = [
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
]  # fmt: skip
BOX = Box((0, 0, 0), (1, 2, 3))


def box() -> TriangleSurface:
    return TriangleSurface(CORNERS, SIDES)


def sphere(parts: int = 24) -> TriangleSurface:
    """A ball of radius 1 about (5, 0, 0), by latitudes and longitudes; poles have no area."""
    vertices = [
        tuple(round(v, 12) for v in (5 + math.sin(a) * math.cos(b), math.sin(a) * math.sin(b),
                                     math.cos(a)))
        for a in (math.pi * i / parts for i in range(parts + 1))
        for b in (2 * math.pi * j / parts for j in range(parts))
    ]  # fmt: skip
    faces = []
    for i in range(parts):
        for j in range(parts):
            a, b = i * parts + j, i * parts + (j + 1) % parts
            c, d = a + parts, b + parts
            faces += [(a, c, d)] * (i < parts - 1) + [(a, d, b)] * (i > 0)
    return TriangleSurface(vertices, faces)


@methods
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_points_lie_evenly_on_the_triangles(method, dtype):
    surface = box()
    points = surface.sample(600, 2, method, seed=1, dtype=dtype)
    assert points.x.dtype == points.normal.dtype == dtype
    assert points.measure.sum().item() == pytest.approx(22.0, rel=1e-5)
    assert bool((points.distance == 0).all()) and bool((points.piece == 0).all())
    lower, upper = (points.x == 0), (points.x == torch.tensor([1.0, 2.0, 3.0]))
    axis = points.normal.abs().argmax(dim=1, keepdim=True)
    sign = points.normal.gather(1, axis)
    on = torch.where(sign > 0, upper.gather(1, axis), lower.gather(1, axis))
    assert bool(on.all()) and bool((points.normal.abs().sum(dim=1) == 1).all())
    areas = torch.tensor([6.0, 3.0, 2.0]) / 22 * 600
    side = 2 * axis + (sign > 0)
    counts = torch.bincount(side[:, 0], minlength=6)
    assert (counts - areas.repeat_interleave(2)).abs().max() <= (45 if method == "uniform" else 6)
    # even within a side too
    top = points.x[side[:, 0] == 1]
    middle = top.double().mean(dim=0)
    assert abs(middle[1] - 1.0) < 0.15 and abs(middle[2] - 1.5) < 0.2


def test_evenly_within_one_triangle():
    corners = torch.tensor([[0, 0, 1], [2, 0, 1], [0, 4, 1.0]], dtype=F64)
    surface = TriangleSurface(corners, [(0, 1, 2)])
    x = surface.sample(4096, dtype=F64).x
    torch.testing.assert_close(x.mean(dim=0), corners.mean(dim=0), rtol=0, atol=2e-3)
    # second moments: the integral of x^2 over the triangle is A w^2 / 6
    assert x[:, 0].square().mean().item() == pytest.approx(4 / 6, abs=3e-3)
    assert x[:, 1].square().mean().item() == pytest.approx(16 / 6, abs=1e-2)
    assert bool((x[:, 2] == 1).all()) and bool((x[:, 0] / 2 + x[:, 1] / 4 <= 1 + 1e-15).all())


def test_measures_normals_and_names():
    surface = TriangleSurface(CORNERS, SIDES, name="hull")
    assert surface.measure == pytest.approx(22.0) and surface.interior.measure == pytest.approx(6.0)
    assert surface.bounds == ((0, 0, 0), (1, 2, 3)) == surface.interior.bounds
    assert surface.piece_names == ("hull",) and surface["hull"].measure == surface.measure
    assert surface.is_closed and surface.open_edges == 0 and surface.interior.boundary is surface
    assert surface.areas.sum().item() == pytest.approx(22.0)
    assert torch.equal(surface.normals[0], torch.tensor([-1.0, 0, 0], dtype=F64))
    assert surface.dim == surface.interior.dim == 3
    assert repr(surface) == "TriangleSurface(8 vertices, 12 faces)"
    assert repr(surface.interior) == "TriangleSurface(8 vertices, 12 faces).interior"
    far = TriangleSurface(np.array(CORNERS) + 1e6, np.array(SIDES, dtype=np.int32))
    assert far.interior.measure == pytest.approx(6.0, rel=1e-9)


def test_distance_of_a_box_and_its_gradient():
    interior = box().interior
    x = torch.rand(400, 3, generator=torch.Generator().manual_seed(1), dtype=F64) * 5 - 1
    x.requires_grad_()
    found, exact = interior.distance(x), BOX.distance(x)
    torch.testing.assert_close(found, exact, rtol=1e-13, atol=1e-13)
    assert torch.equal(interior.inside(x), BOX.inside(x))
    ours, theirs = (torch.autograd.grad(d.sum(), x, create_graph=True)[0] for d in (found, exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    near_a_corner = torch.tensor([[-1.0, -1.0, -1.0]], dtype=F64)
    torch.testing.assert_close(
        torch.autograd.functional.hessian(lambda p: interior.distance(p[None])[0, 0],
                                          near_a_corner[0]),
        torch.autograd.functional.hessian(lambda p: BOX.distance(p[None])[0, 0], near_a_corner[0]),
    )  # fmt: skip
    assert interior.distance(x.detach().float()).dtype == torch.float32


def test_distance_right_at_the_surface():
    interior = box().interior
    on = box().sample(200, 1, dtype=F64)
    assert interior.distance(on.x).abs().max() < 1e-15
    for step in (1e-9, 1e-6, 1e-3):
        away = on.x - step * on.normal
        expected = BOX.distance(away)
        torch.testing.assert_close(interior.distance(away), expected, rtol=1e-5, atol=1e-15)
        beyond = on.x + step * on.normal
        expected = BOX.distance(beyond)
        torch.testing.assert_close(interior.distance(beyond), expected, rtol=1e-5, atol=1e-15)


@methods
def test_the_interior_samples_like_any_shape(method):
    interior = sphere(12).interior
    points = interior.sample(150, 3, method, seed=2, dtype=F64)
    assert points.x.shape == (150, 3) and bool((points.distance > 0).all())
    assert bool(interior.inside(points.x).all())
    assert bool(((points.x - torch.tensor([5.0, 0, 0])).norm(dim=1) <= 1).all())
    assert points.measure.sum().item() == pytest.approx(interior.measure)
    torch.testing.assert_close(points.distance, interior.distance(points.x))
    if method in ("halton", "sobol"):
        again = interior.sample(70, 3, method, seed=2, dtype=F64)
        rest = interior.sample(80, again.next_start, method, seed=2, dtype=F64)
        assert torch.equal(torch.cat((again.x, rest.x)), points.x)


def test_a_fine_sphere_is_nearly_a_ball():
    interior, ball = sphere().interior, Ball((5, 0, 0), 1)
    assert interior.measure == pytest.approx(ball.measure, rel=0.02)
    assert interior.boundary.measure == pytest.approx(4 * math.pi, rel=0.01)
    x = torch.tensor([5.0, 0, 0], dtype=F64) + 2 * torch.rand(
        300, 3, generator=torch.Generator().manual_seed(2), dtype=F64
    ).sub(0.5)  # fmt: skip
    torch.testing.assert_close(interior.distance(x), ball.distance(x), rtol=0, atol=0.02)


def test_a_hollow_solid():
    inner = torch.tensor(CORNERS, dtype=F64) * 0.5 + torch.tensor([0.25, 0.5, 0.75], dtype=F64)
    faces = torch.tensor(SIDES)
    hollow = TriangleSurface(
        torch.cat((torch.tensor(CORNERS, dtype=F64), inner)), torch.cat((faces, faces.flip(1) + 8))
    )
    assert hollow.interior.measure == pytest.approx(6.0 - 6.0 / 8)
    x = torch.tensor([[0.5, 1, 1.5], [0.1, 1, 1.5], [2, 0, 0]], dtype=F64)
    assert hollow.interior.inside(x).tolist() == [False, True, False]
    torch.testing.assert_close(hollow.interior.distance(x)[0, 0].item(), -0.25)


def test_combinations_with_solids():
    rest = box().interior - Ball((0, 0, 0), 1)
    assert rest.measure == pytest.approx(6 - math.pi / 6, rel=2e-3)
    points = rest.sample(50, dtype=F64)
    assert bool((points.x.norm(dim=1) >= 1).all()) and bool(BOX.inside(points.x).all())


def test_vertices_at_one_place_are_one_for_edges():
    loose = torch.tensor(CORNERS, dtype=F64)[torch.tensor(SIDES)].reshape(-1, 3)
    loose[loose == 0] *= torch.tensor(-1.0, dtype=F64)  # -0 is 0
    assert TriangleSurface(loose, torch.arange(36).reshape(12, 3)).is_closed


def test_open_surfaces_have_no_interior():
    lid_off = TriangleSurface(CORNERS, SIDES[:-2])
    assert not lid_off.is_closed and lid_off.open_edges == 4
    assert lid_off.sample(10).x.shape == (10, 3)
    with pytest.raises(ValueError, match=r"interior: expected a closed surface.* 4 open edges"):
        lid_off.interior
    turned = TriangleSurface(CORNERS, [SIDES[0][::-1], *SIDES[1:]])
    with pytest.raises(ValueError, match=r"3 open edges.*turn faces that run the other way"):
        turned.interior
    with pytest.raises(ValueError, match=r"an enclosed volume of -6\. Turn them: faces.flip\(1\)"):
        TriangleSurface(CORNERS, torch.tensor(SIDES).flip(1)).interior


def test_faces_without_area_are_left_out():
    flat = [*SIDES, (0, 0, 1), (0, 7, 7)]
    with pytest.warns(UserWarning, match="faces: 2 of 14 triangles have no area and are left out"):
        surface = TriangleSurface(CORNERS, flat)
    assert len(surface.faces) == 12 and surface.is_closed
    assert surface.measure == pytest.approx(22.0)
    with pytest.raises(ValueError, match="faces: expected at least one triangle with an area"):
        TriangleSurface([(0, 0, 0), (1, 1, 1), (2, 2, 2)], [(0, 1, 2)])


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply"])
def test_files(suffix, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.Trimesh(vertices=CORNERS, faces=SIDES, process=False)
    mesh.export(tmp_path / f"box.{suffix}")
    surface = TriangleSurface.load(tmp_path / f"box.{suffix}", name="hull")
    assert surface.piece_names == ("hull",) and surface.is_closed
    assert len(surface.vertices) == 8 and len(surface.faces) == 12
    assert surface.measure == pytest.approx(22.0) and surface.interior.measure == pytest.approx(6.0)
    assert len(TriangleSurface.load(str(tmp_path / f"box.{suffix}")).interior.sample(20)) == 20


def test_files_that_are_none(tmp_path):
    pytest.importorskip("trimesh")
    with pytest.raises(FileNotFoundError, match="path: expected a mesh file"):
        TriangleSurface.load(tmp_path / "none.stl")
    for name, text in (("bad.stl", "nonsense"), ("bad.ply", "ply\nformat"), ("bad.xyz9", "1 2 3"),
                       ("empty.obj", "v 0 0 0\nv 1 0 0\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="path: expected a mesh file"):
            TriangleSurface.load(tmp_path / name)


def test_without_trimesh(monkeypatch, tmp_path):
    original = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "trimesh":
            raise ImportError("No module named 'trimesh'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"trimesh: pip install colloc\[mesh\]"):
        TriangleSurface.load(tmp_path / "box.stl")


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: TriangleSurface([(0, 0), (1, 1)], SIDES), r"vertices: expected finite numbers of"),
        (lambda: TriangleSurface(None, SIDES), "vertices: expected finite numbers of shape"),
        (lambda: TriangleSurface([(0, 0, math.nan)] * 3, [(0, 1, 2)]), "NaN or infinity in row 0"),
        (lambda: TriangleSurface(CORNERS, [(0, 1)]), r"faces: expected integers of shape \(N, 3\)"),
        (lambda: TriangleSurface(CORNERS, [(0.0, 1.0, 2.0)]), "faces: expected integers"),
        (
            lambda: TriangleSurface(CORNERS, [(0, 1, 8)]),
            "faces: expected numbers of vertices, 0 to",
        ),
        (lambda: TriangleSurface(CORNERS, [(0, 1, -1)]), "faces: .* 0 to 7, got -1"),
        (lambda: TriangleSurface(CORNERS, torch.zeros(0, 3, dtype=torch.int64)), "faces: expected"),
        (lambda: TriangleSurface(CORNERS, SIDES, name=3), "name"),
        (
            lambda: TriangleSurface(torch.tensor(CORNERS, dtype=F64) * 1e200, SIDES),
            "areas are finite",
        ),
        (
            lambda: TriangleSurface(torch.tensor(CORNERS, dtype=F64) + 1e9, SIDES).sample(
                3, dtype=torch.float32
            ),
            "dtype: expected one that resolves",
        ),
        (
            lambda: box().interior.distance(torch.zeros(3, 2)),
            r"x: expected a floating tensor of shape \(N, 3\)",
        ),
    ],
)
def test_wrong_surfaces_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
