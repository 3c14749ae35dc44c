"""Many triangles in space as tensors: points on them, their distances and the winding number."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

#: Points times triangles that are looked at in one go.
_BLOCK, _LARGE_BLOCK = 2**17, 2**22
#: So many triangles that seem nearest are compared exactly.
_NEAREST = 8


class Triangles:
    """Triangles with an area, (F, 3, 3) float64: face, corner, coordinate."""

    def __init__(self, corners: Tensor) -> None:
        self.corners = corners
        a, b, c = corners.unbind(1)
        across = torch.linalg.cross(b - a, c - a)
        lengths = torch.linalg.vector_norm(across, dim=1)
        self.areas = lengths / 2
        self.normals = across / lengths[:, None]
        self.cumulative = self.areas.cumsum(0)
        self.edges = corners.roll(-1, dims=1) - corners
        # Everything is seen from the middle of the box: no digits are lost far from the origin.
        flat = corners.reshape(-1, 3)
        self.center = (flat.amin(0) + flat.amax(0)) / 2
        self._elsewhere: dict[torch.device, Triangles] = {}

    @cached_property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Lower and upper corner."""
        flat = self.corners.reshape(-1, 3)
        return tuple(flat.amin(0).tolist()), tuple(flat.amax(0).tolist())  # type: ignore[return-value]

    @cached_property
    def key(self) -> bytes:
        """What two lists of the same triangles have equal."""
        return self.corners.cpu().numpy().tobytes()

    def to(self, device: torch.device) -> Triangles:
        """The same on another device; kept."""
        if device == self.corners.device:
            return self
        if device not in self._elsewhere:
            self._elsewhere[device] = Triangles(self.corners.to(device))
        return self._elsewhere[device]

    def enclosed_volume(self) -> float:
        """The sixth of the sum of a . (b x c): the volume, where the triangles are closed."""
        a, b, c = (self.corners - self.center).unbind(1)
        return math.fsum((a * torch.linalg.cross(b, c)).sum(dim=1).tolist()) / 6

    def lay(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, 2) of the unit square, laid evenly on the triangles: x and normals (n, 3).

        The first coordinate runs over the triangles by their areas, and goes on within the one
        that it meets: with r its square root there, a (1 - r) + b r (1 - v) + c r v is even.
        """
        at = unit[:, 0] * self.cumulative[-1]
        index = torch.searchsorted(self.cumulative, at, right=True)
        index = index.clamp_(max=len(self.areas) - 1)
        before = self.cumulative[index] - self.areas[index]
        share = ((at - before) / self.areas[index]).clamp(0.0, 1.0)
        r, v = share.sqrt().unsqueeze(1), unit[:, 1:2]
        a, b, c = self.corners[index].unbind(1)
        return a + r * (1 - v) * (b - a) + r * v * (c - a), self.normals[index]

    def winding(self, x: Tensor) -> Tensor:
        """How often the triangles wind around points (N, 3): (N,); 1 inside, 0 outside.

        The sum of the solid angles over 4 pi, each by tan(omega / 2) = a . (b x c) / (|a||b||c| +
        a . b |c| + b . c |a| + c . a |b|) (van Oosterom & Strackee, IEEE Transactions on
        Biomedical Engineering 30, 1983).
        """

        def total(part: Tensor) -> Tensor:
            place = part.t().contiguous()  # points along the rows of (F, n), which are long
            away = [
                [self.corners[:, corner, k, None] - place[k] for k in range(3)]
                for corner in range(3)
            ]
            a, b, c = (_dot(one, one).sqrt() for one in away)
            ab, bc, ca = (_dot(away[k], away[(k + 1) % 3]) for k in range(3))
            normal = [self.normals[:, k, None] for k in range(3)]
            volume = _dot(away[0], normal).mul_(2 * self.areas[:, None])
            return torch.atan2(volume, a * b * c + ab * c + bc * a + ca * b).sum(dim=0)

        return self._in_parts(x, total) / (2 * math.pi)

    def distance(self, x: Tensor) -> Tensor:
        """The distance of points (N, 3) to the nearest triangle, (N, 1); differentiable in x."""
        with torch.no_grad():
            nearest = self._in_parts(x.detach(), self._seem_nearest)
            rough = self._exact(x.detach().unsqueeze(1), nearest)
            index = nearest.gather(1, rough.argmin(dim=1, keepdim=True))
        return self._exact(x.unsqueeze(1), index)

    def _seem_nearest(self, x: Tensor) -> Tensor:
        """The numbers of the triangles that seem nearest, up to rounding: (n, k).

        Squares and products of matrices: quick, but good to half of the digits only.
        """
        x = x - self.center
        corners = self.corners - self.center
        over = x @ self.normals.T - (corners[:, 0] * self.normals).sum(dim=1)
        within = torch.ones_like(over, dtype=torch.bool)
        square = (x * x).sum(dim=1, keepdim=True)
        best = torch.full_like(over, math.inf)
        for k in range(3):
            corner, edge = corners[:, k], self.edges[:, k]
            length = (edge * edge).sum(dim=1)
            inwards = torch.linalg.cross(self.normals, edge)
            within &= x @ inwards.T >= (corner * inwards).sum(dim=1)
            along = x @ edge.T - (corner * edge).sum(dim=1)
            share = (along / length).clamp(0.0, 1.0)
            gap = square - 2 * (x @ corner.T) + (corner * corner).sum(dim=1)
            best = torch.minimum(best, gap - share * (2 * along - share * length))
        best = torch.where(within, over * over, best)
        return best.topk(min(_NEAREST, best.shape[1]), dim=1, largest=False).indices

    def _exact(self, x: Tensor, index: Tensor) -> Tensor:
        """The distances of points (n, 1, 3) to k triangles each, index (n, k): (n, k)."""
        corners, edges, normals = self.corners[index], self.edges[index], self.normals[index]
        over = ((x - corners[..., 0, :]) * normals).sum(dim=-1)
        within = torch.ones_like(over, dtype=torch.bool)
        best = torch.full_like(over, math.inf)
        for k in range(3):
            away, edge = x - corners[..., k, :], edges[..., k, :]
            inwards = torch.linalg.cross(normals, edge)
            within = within & ((away.detach() * inwards).sum(dim=-1) >= 0)
            share = (away * edge).sum(dim=-1) / (edge * edge).sum(dim=-1)
            gap = away - share.clamp(0.0, 1.0).unsqueeze(-1) * edge
            best = torch.minimum(best, torch.linalg.vector_norm(gap, dim=-1))
        return torch.where(within, over.abs(), best)

    def _in_parts(self, x: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
        block = _BLOCK if x.device.type == "cpu" else _LARGE_BLOCK
        parts = x.split(max(block // len(self.corners), 64))
        return torch.cat([work(part) for part in parts])


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """The product of vectors given by their coordinates."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def open_edges(vertices: Tensor, faces: Tensor) -> int:
    """How many edges are not run through as often one way as the other.

    Vertices at the same place count as one. Faces that have two corners in one place drop out.
    """
    places = (vertices + 0.0).unique(dim=0, return_inverse=True)[1]  # + 0.0: -0 is 0
    first = places[faces]
    second = first.roll(-1, dims=1)
    first, second = first.reshape(-1), second.reshape(-1)
    sign = torch.sign(second - first)
    edge = torch.stack((torch.minimum(first, second), torch.maximum(first, second)), dim=1)
    edges, number = edge.unique(dim=0, return_inverse=True)
    balance = torch.zeros(len(edges), dtype=torch.int64, device=edges.device)
    return int((balance.index_add_(0, number, sign) != 0).sum())
