"""Surfaces made of triangles, and the solids that they enclose."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.geometry._sampling import inner_bounds
from colloc.geometry._triangles import Triangles, open_edges
from colloc.geometry.boundary import Boundary, Laid
from colloc.geometry.piece_boundary import checked_labels
from colloc.geometry.shape import Shape

Corner = tuple[float, float, float]


class TriangleSurface(Boundary):
    """A surface made of triangles, sampled evenly by area; one piece.

    Normals are those of the faces, outward where the vertices of each face run counter-clockwise
    as seen from outside. A closed surface has an :attr:`interior`, a shape in 3D.

    Example::

        part   = cc.geometry.TriangleSurface.load("part.stl")
        walls  = part.sample(1024)
        inside = part.interior.sample(4096)

    Args:
        vertices: (V, 3) finite numbers: a tensor, an array or a list.
        faces: (F, 3) integers, the numbers of each face's vertices.
        name: of the one piece.

    Faces without area (thinner than 16 roundings of the coordinates) are left out, with a
    warning.

    Raises:
        ValueError, TypeError: otherwise, or no face with an area.
    """

    def __init__(self, vertices: Any, faces: Any, name: str = "surface") -> None:
        self._labels = checked_labels("name", (name,), 1, "surface")
        self._vertices = _table("vertices", vertices, torch.float64)
        self._all_faces = _table("faces", faces, torch.int64)
        count = len(self._vertices)
        if not len(self._all_faces):
            fail("faces", "at least one face", "none")
        lowest, highest = int(self._all_faces.min()), int(self._all_faces.max())
        if lowest < 0 or highest >= count:
            wrong = lowest if lowest < 0 else highest
            fail("faces", f"numbers of vertices, 0 to {count - 1}", f"{wrong}")
        corners = self._vertices[self._all_faces]
        kept = _with_area(corners)
        left_out = int((~kept).sum())
        if left_out == len(kept):
            fail("faces", "at least one triangle with an area", f"{left_out} without")
        if left_out:
            warnings.warn(
                f"faces: {left_out} of {len(kept)} triangles have no area and are left out.",
                stacklevel=2,
            )
        self._faces = self._all_faces[kept]
        self._triangles = Triangles(corners[kept])
        if not (0 < self.measure < math.inf):
            fail("vertices", "triangles whose areas are finite and > 0 in float64",
                 f"an area of {self.measure}", "Choose other units of length.")  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str = "surface") -> TriangleSurface:
        """Read a file: STL, OBJ, PLY and what else trimesh reads.

        Vertices at the same place are made one. Needs trimesh: ``pip install colloc[mesh]``.

        Raises:
            ImportError: trimesh is not installed.
            FileNotFoundError: there is no such file.
            ValueError: a file that trimesh cannot read, or one without triangles.
        """
        try:
            import trimesh
        except ImportError as error:
            raise ImportError(
                f"TriangleSurface.load needs the package trimesh: pip install colloc[mesh] "
                f"({error})"
            ) from error
        path = os.fspath(path)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"path: expected a mesh file, got {path!r}, which is not there."
            )
        wanted = "a mesh file that trimesh reads (STL, OBJ, PLY)"
        try:
            mesh: Any = trimesh.load(path, force="mesh", process=True)
            vertices, faces = torch.tensor(mesh.vertices), torch.tensor(mesh.faces)
        except Exception as error:  # what damaged files raise cannot be foretold
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"path: expected {wanted}, got {path!r} ({reason}).") from error
        if vertices.numel() == 0 or faces.numel() == 0:
            fail("path", f"{wanted} with triangles in it", f"{path!r} without")
        return cls(vertices, faces, name)

    @property
    def vertices(self) -> Tensor:
        """The vertices, (V, 3) float64."""
        return self._vertices

    @property
    def faces(self) -> Tensor:
        """The faces that have an area, (F, 3) int64."""
        return self._faces

    @property
    def normals(self) -> Tensor:
        """The unit normals of :attr:`faces`, (F, 3) float64."""
        return self._triangles.normals

    @property
    def areas(self) -> Tensor:
        """The areas of :attr:`faces`, (F,) float64."""
        return self._triangles.areas

    @cached_property
    def open_edges(self) -> int:
        """How many edges are not run through as often one way as the other; 0: closed."""
        return open_edges(self._vertices, self._all_faces)

    @property
    def is_closed(self) -> bool:
        """Whether the surface has no edge that belongs to one face alone."""
        return self.open_edges == 0

    @cached_property
    def interior(self) -> TriangleInterior:
        """The solid inside a closed surface.

        Raises:
            ValueError: the surface is not closed, or its faces look inward.
        """
        return TriangleInterior(self)

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def bounds(self) -> tuple[Corner, Corner]:
        """Lower and upper corner of the smallest axis-aligned box around the surface."""
        return self._triangles.bounds

    @property
    def _sizes(self) -> tuple[float, ...]:
        return (float(self._triangles.cumulative[-1]),)

    @property
    def _middles(self) -> Tensor:
        """The middle of the largest face."""
        return self._triangles.corners[int(self.areas.argmax())].mean(dim=0, keepdim=True)

    @property
    def _geometry(self) -> object:
        return self._triangles.key

    @property
    def _parameters(self) -> int:
        return 2

    def _lay(
        self, unit: Tensor, start: int | None, dtype: torch.dtype, among: Sequence[int]
    ) -> Laid:
        del start, among
        for low, high in zip(*self.bounds, strict=True):
            if low < high:
                inner_bounds(low, high, dtype)  # refuses what the dtype cannot resolve
        x, normal = self._triangles.to(unit.device).lay(unit)
        piece = torch.zeros(unit.shape[0], dtype=torch.int64, device=unit.device)
        return Laid(x.to(dtype), normal.to(dtype), piece)

    def __repr__(self) -> str:
        return f"TriangleSurface({len(self._vertices)} vertices, {len(self._faces)} faces)"


class TriangleInterior(Shape):
    """The solid inside a closed surface of triangles; made by ``TriangleSurface.interior``.

    Points are inside where the surface winds around them: the solid angles of all triangles sum
    to 4 pi there and to 0 outside. Each point is compared with every triangle: 1000 points and
    1000 triangles take a second or so. Keep samples of large meshes, as a
    :class:`colloc.geometry.PointCloud`.
    """

    def __init__(self, surface: TriangleSurface) -> None:
        if surface.open_edges:
            fail("interior", "a closed surface, every edge between two faces of one orientation",
                 f"{surface!r} with {surface.open_edges} open edges",
                 "Close the holes, and turn faces that run the other way.")  # fmt: skip
        self._surface = surface
        self._volume = surface._triangles.enclosed_volume()
        if self._volume <= 0:
            fail("faces", "faces that run counter-clockwise as seen from outside",
                 f"an enclosed volume of {self._volume:g}",
                 "Turn them: faces.flip(1).")  # fmt: skip

    @property
    def dim(self) -> int:
        """3."""
        return 3

    @property
    def measure(self) -> float:
        """The volume, by the divergence theorem: a sixth of the sum of a . (b x c)."""
        return self._volume

    @property
    def bounds(self) -> tuple[Corner, Corner]:
        """Lower and upper corner of the smallest axis-aligned box around the solid."""
        return self._surface.bounds

    @property
    def boundary(self) -> TriangleSurface:
        """The surface."""
        return self._surface

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance to the nearest triangle: (N, 3) to (N, 1), positive inside.

        Found in float64 and differentiable; on the surface the derivative is 0.
        """
        x = self._check_x(x)
        distance = self._distance_inside(x)
        return torch.where(self.inside(x).unsqueeze(1), distance, -distance)

    def inside(self, x: Tensor) -> Tensor:
        """Whether the surface winds around points: (N, 3) to (N,) bool.

        On the surface itself rounding decides.
        """
        x = self._check_x(x).detach().double()
        return self._surface._triangles.to(x.device).winding(x) > 0.5

    def _distance_inside(self, x: Tensor) -> Tensor:
        return self._surface._triangles.to(x.device).distance(x.double()).to(x.dtype)

    def __repr__(self) -> str:
        return f"{self._surface!r}.interior"


def _table(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    """Three columns on the CPU, as ``dtype``; finite."""
    whole = dtype == torch.int64
    wanted = f"{'integers' if whole else 'finite numbers'} of shape (N, 3)"
    try:
        table = torch.as_tensor(values, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        fail_type(name, wanted, describe(values))
    if table.ndim != 2 or table.shape[1] != 3:
        fail(name, wanted, table)
    if table.dtype == torch.bool or table.is_complex() or (whole and table.is_floating_point()):
        fail_type(name, wanted, table)
    table = table.to(dtype).clone()
    if not whole and not bool(table.isfinite().all()):
        first = int((~table.isfinite().all(dim=1)).nonzero()[0])
        fail(name, wanted, f"NaN or infinity in row {first}")
    return table


def _with_area(corners: Tensor) -> Tensor:
    """Which triangles (F, 3, 3) are thicker than rounding: (F,) bool."""
    edges = corners.roll(-1, dims=1) - corners
    scale = edges.abs().amax(dim=(1, 2))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    first, second = edges[:, 0] / scale[:, None], edges[:, 1] / scale[:, None]
    height = torch.linalg.vector_norm(torch.linalg.cross(first, second), dim=1) * scale
    return height > 16 * torch.finfo(corners.dtype).eps * corners.abs().amax(dim=(1, 2))
