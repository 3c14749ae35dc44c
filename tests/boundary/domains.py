"""Random plane domains and networks for the tests of exact boundary conditions."""

from __future__ import annotations

import math
import random

import colloc as cc
import torch

F64 = torch.float64
KINDS = ("polygon", "disk", "union", "difference", "intersection", "hole")
#: Scale and shift.
PLACES = ((1.0, 0.0), (1e-3, 0.0), (1e3, 0.0), (1.0, 50.0), (1e-3, 0.02), (1e3, -3e3))


def domain(kind, scale, shift, seed=0):
    """A shape of about the size ``scale`` near (shift, -shift)."""
    rng = random.Random(f"{kind}{seed}")

    def at(x, y):
        return shift + scale * x, -shift + scale * y

    count = rng.randint(3, 8)
    corners = []
    for k in range(count):
        a, r = 2 * math.pi * (k + 0.6 * rng.random()) / count, rng.uniform(0.6, 1.0)
        corners.append(at(r * math.cos(a), r * math.sin(a)))
    polygon = cc.geometry.Polygon(corners)
    disk = cc.geometry.Disk(at(0, 0), scale * rng.uniform(0.8, 1.0))
    box = cc.geometry.Rectangle(at(-0.1, -0.4), at(1.5, 0.5))
    small = cc.geometry.Disk(at(0.1, 0.05), 0.12 * scale)
    return {
        "polygon": polygon,
        "disk": disk,
        "union": disk | box,
        "difference": box - cc.geometry.Disk(at(-0.1, 0.3), 0.5 * scale),
        "intersection": disk & box,
        "hole": box - small,
    }[kind]


def network(outputs, scale, shift, inputs=2, dtype=F64):
    """An untrained network of x in units of the domain."""
    net = cc.nn.MLP(inputs, outputs, 12, 2, "tanh", dtype=dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad and parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
        first = next(m for m in net.modules() if isinstance(m, torch.nn.Linear))
        center = torch.tensor([shift, -shift], dtype=dtype)
        first.weight[:, :2] /= scale
        first.bias -= first.weight[:, :2] @ center
    return net


def on_boundary(shape, count, scale, dtype=F64, apart=0.02):
    """Points of the boundary away from its joints."""
    points = shape.boundary.sample(count, method="uniform", seed=1, dtype=dtype)
    ends = [e for p in shape.boundary.pieces for e in p.ends or ()]
    if not ends:
        return points.x, points.normal, points.piece
    away = torch.cdist(points.x.double(), torch.tensor(ends, dtype=F64)).amin(1)
    kept = away > apart * scale
    return points.x[kept], points.normal[kept], points.piece[kept]


def parts(shape):
    """Two disjoint parts that make up the boundary, or the whole twice where it is one piece."""
    boundary = shape.boundary
    first = list(range(0, len(boundary), 2))
    rest = list(range(1, len(boundary), 2))
    return boundary.part(first), boundary.part(rest) if rest else None
