"""Signed distances to closed pieces, against torch formulas, eager and compiled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import colloc as cc
import torch
from torch import Tensor

from benchmarks.harness import Comparison, compare

N = 180_000
EAGER, COMPILED = "torch formulas", "torch formulas, compiled"
#: Faster by so much than each contender (one thread of a CPU).
BARS = {EAGER: 15.0, COMPILED: 2.0}
NOTES = {
    "colloc": "shape.distance(x), op signed_distance",
    EAGER: "all points to all pieces as (N, P) tensors: distances by projections and radii, sides "
    "by counting crossings of a ray, without angles",
    COMPILED: "the same under torch.compile(fullgraph=True)",
}


def shapes() -> dict[str, cc.geometry.PlaneShape]:
    """Straight and circular pieces; straight ones alone."""
    ring = (cc.geometry.Channel((-4, -1), (4, 1)) | cc.geometry.Disk((0, 0), 2)) - (
        cc.geometry.Disk((0, 0), 1)
    )
    radii = [1.0 - 0.4 * (k % 2) for k in range(32)]
    corners = [
        (r * math.cos(math.pi * k / 16), r * math.sin(math.pi * k / 16))
        for k, r in enumerate(radii)
    ]
    return {"ring of 9 pieces": ring, "star of 32 segments": cc.geometry.Polygon(corners)}


def tables(
    pieces: Sequence[cc.geometry.Piece], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor]:
    """Ends of segments (S, 4); centre, radius, start, angle, side and ends of arcs (C, 10)."""
    straight = [[*p.p1, *p.p2] for p in pieces if isinstance(p, cc.geometry.Segment)]
    circular = []
    for p in pieces:
        if not isinstance(p, cc.geometry.Segment):
            start, angle = (p.start, p.angle) if p.ends else (0.0, 2 * math.pi)
            (a, b), (c, d) = (p.ends if p.inward else p.ends[::-1]) if p.ends else (p.middle,) * 2
            side = 1.0 if p.inward else -1.0
            circular.append([*p.center, p.radius, start, angle, side, a, b, c, d])
    return (
        torch.tensor(straight, dtype=dtype, device=device).reshape(-1, 4),
        torch.tensor(circular, dtype=dtype, device=device).reshape(-1, 10),
    )


def crossings(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> tuple[Tensor, Tensor]:
    """Signed crossings of the ray to the right with chords from (a, b) to (c, d); their side."""
    left = (c - a) * (y - b) > (d - b) * (x - a)
    up, down = (b <= y) & (y < d) & left, (d <= y) & (y < b) & ~left
    return up.to(x.dtype) - down.to(x.dtype), left


def by_torch(straight: Tensor, circular: Tensor, points: Tensor) -> Tensor:
    """Signed distances (N,)."""
    x, y = points[:, :1], points[:, 1:]
    turns, least = torch.zeros_like(x[:, 0]), torch.full_like(x[:, 0], math.inf)
    if straight.shape[0]:
        a, b, c, d = straight.unbind(1)
        dx, dy, ex, ey = x - a, y - b, c - a, d - b
        share = ((dx * ex + dy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        gap_x, gap_y = dx - share * ex, dy - share * ey
        least = (gap_x * gap_x + gap_y * gap_y).amin(1).sqrt()
        turns = turns + crossings(x, y, a, b, c, d)[0].sum(1)
    if circular.shape[0]:
        u, v, r, start, angle, side, a, b, c, d = circular.unbind(1)
        dx, dy = x - u, y - v
        rho = (dx * dx + dy * dy).sqrt()
        within = torch.remainder(torch.atan2(dy, dx) - start, 2 * math.pi) <= angle
        one, two = (x - a) ** 2 + (y - b) ** 2, (x - c) ** 2 + (y - d) ** 2
        away = torch.where(within, (rho - r).abs(), torch.minimum(one, two).sqrt())
        least = torch.minimum(least, away.amin(1))
        crossed, left = crossings(x, y, a, b, c, d)
        full = (a == c) & (b == d)
        segment = ((rho < r) & (full | ~left)).to(x.dtype)
        turns = turns + (side * (crossed + segment)).sum(1)
    return torch.where(turns > 0.5, least, -least)


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(0)
    compiled = torch.compile(by_torch, fullgraph=True, dynamic=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # inductor writes the number into its loops
    try:
        for name, shape in shapes().items():
            low, high = (torch.tensor(corner, dtype=torch.float64) for corner in shape.bounds)
            for dtype in (torch.float32, torch.float64):
                unit = torch.rand(N, 2, generator=generator, dtype=torch.float64)
                x = (low + (high - low) * unit).to(device, dtype)
                straight, circular = tables(shape.boundary.pieces, dtype, device)
                contenders = {
                    "colloc": lambda s=shape, x=x: s.distance(x),
                    EAGER: lambda s=straight, c=circular, x=x: by_torch(s, c, x),
                    COMPILED: lambda s=straight, c=circular, x=x: compiled(s, c, x),
                }
                values = [call().reshape(-1) for call in contenders.values()]
                for other in values[1:]:  # all compute the same
                    assert (other - values[0]).abs().max() < (
                        1e-5 if dtype == torch.float32 else 1e-12
                    )
                yield compare(
                    f"signed distance, {name}",
                    f"{N} points, {str(dtype).removeprefix('torch.')}",
                    contenders,
                    bars=BARS if device == "cpu" else None,
                    rounds=rounds,
                    threads=1,
                    device=device,
                    notes=dict(NOTES),
                )
    finally:
        torch.set_num_threads(before)
