"""phi, its gradient and its Laplacian, against autograd of the formula and a derived jet."""

from __future__ import annotations

import math
from collections.abc import Iterator

import colloc as cc
import torch
from torch import Tensor

from benchmarks.harness import Comparison, compare

N, M = 100_000, 2
AUTOGRAD, COMPILED = "autograd of the formula", "derived jet, compiled"
#: Faster by so much than each contender, by the number of pieces (one thread of a CPU).
BARS = {4: {AUTOGRAD: 60.0, COMPILED: 1.5}, 32: {AUTOGRAD: 80.0, COMPILED: 1.5}}
NOTES = {
    "colloc": "cc.boundary.distance(pieces, x, order='laplacian')",
    AUTOGRAD: "eager torch; gradient by torch.autograd.grad(create_graph=True), then the "
    "gradient of each of its components",
    COMPILED: "torch.compile(fullgraph=True) of value, gradient and Laplacian carried through the "
    "formula by hand, all pieces at once as (P, N) tensors",
}


def polygon(count: int) -> list[cc.boundary.Segment]:
    corners = [
        (math.cos(2 * math.pi * k / count), math.sin(2 * math.pi * k / count)) for k in range(count)
    ]
    return [
        cc.boundary.Segment(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]


def by_autograd(pieces: list[cc.boundary.Segment], x: Tensor) -> tuple[Tensor, ...]:
    """phi (N,), its gradient (N, 2), its Laplacian (N,)."""
    x = x.detach().requires_grad_()
    total: Tensor | float = 0.0
    for piece in pieces:
        (a, b), (c, d), length = piece.p1, piece.p2, piece.length
        f = ((x[:, 0] - a) * (d - b) - (x[:, 1] - b) * (c - a)) / length
        t = -((x[:, 0] - a) * (x[:, 0] - c) + (x[:, 1] - b) * (x[:, 1] - d)) / length
        root = (t * t + f**4).sqrt()
        total = total + (f * f + ((root - t) / 2) ** 2).sqrt() ** -M
    assert isinstance(total, Tensor)
    phi = total ** (-1 / M)
    (grad,) = torch.autograd.grad(phi.sum(), x, create_graph=True)
    laplacian = torch.zeros_like(phi)
    for axis in range(2):
        (second,) = torch.autograd.grad(grad[:, axis].sum(), x, retain_graph=True)
        laplacian = laplacian + second[:, axis]
    return phi.detach(), grad.detach(), laplacian


Jet = tuple[Tensor, Tensor, Tensor, Tensor]  # value, two first derivatives, Laplacian


def _sum(u: Jet, v: Jet, sign: float = 1.0) -> Jet:
    return u[0] + sign * v[0], u[1] + sign * v[1], u[2] + sign * v[2], u[3] + sign * v[3]


def _times(u: Jet, v: Jet) -> Jet:
    across = u[1] * v[1] + u[2] * v[2]
    return (
        u[0] * v[0],
        u[0] * v[1] + u[1] * v[0],
        u[0] * v[2] + u[2] * v[0],
        u[0] * v[3] + 2 * across + u[3] * v[0],
    )


def _of(u: Jet, f0: Tensor, f1: Tensor, f2: Tensor) -> Jet:
    return f0, f1 * u[1], f1 * u[2], f1 * u[3] + f2 * (u[1] * u[1] + u[2] * u[2])


def _root(u: Jet) -> Jet:
    root = u[0].sqrt()
    slope = 0.5 / root
    return _of(u, root, slope, -0.5 * slope / u[0])


def derived(table: Tensor, x: Tensor) -> Tensor:
    """The same, (4, N), from p1, p2 and length of each segment, (P, 5)."""
    a, b, c, d, length = (column.unsqueeze(1) for column in table.unbind(1))
    dx, dy, ex, ey = x[:, 0] - a, x[:, 1] - b, x[:, 0] - c, x[:, 1] - d
    zero = torch.zeros_like(dx)
    f: Jet = ((dx * (d - b) - dy * (c - a)) / length, (d - b) / length + zero,
              (a - c) / length + zero, zero)  # fmt: skip
    t: Jet = (-(dx * ex + dy * ey) / length, -(dx + ex) / length, -(dy + ey) / length,
              -4 / length + zero)  # fmt: skip
    square = _times(f, f)
    root = _root(_sum(_times(t, t), _times(square, square)))
    w = _sum(root, t, -1.0)
    half: Jet = (w[0] / 2, w[1] / 2, w[2] / 2, w[3] / 2)
    phi2 = _sum(square, _times(half, half))  # phi_i^2: its reciprocal is phi_i^-2
    one = 1 / phi2[0]
    power = _of(phi2, one, -one * one, 2 * one * one * one)
    total: Jet = (power[0].sum(0), power[1].sum(0), power[2].sum(0), power[3].sum(0))
    phi = 1 / total[0].sqrt()
    slope = -0.5 * phi / total[0]
    return torch.stack(_of(total, phi, slope, -1.5 * slope / total[0]))


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(0)
    compiled = torch.compile(derived, fullgraph=True, dynamic=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # inductor writes the number into its loops
    try:
        for dtype in (torch.float32, torch.float64):
            for count, bars in BARS.items():
                pieces = polygon(count)
                x = 2 * torch.rand(N, 2, generator=generator, dtype=torch.float64) - 1
                x = x.to(device, dtype)
                table = torch.tensor(
                    [[*p.p1, *p.p2, p.length] for p in pieces], dtype=dtype, device=device
                )
                _check(pieces, table, x, compiled(table, x))

                def ours(pieces: list = pieces, x: Tensor = x) -> object:
                    return cc.boundary.distance(pieces, x, M, order="laplacian")

                yield compare(
                    f"distance, {count} segments",
                    f"{N} points, {str(dtype).removeprefix('torch.')}, m = {M}: value, gradient "
                    "and Laplacian",
                    {
                        "colloc": ours,
                        AUTOGRAD: lambda pieces=pieces, x=x: by_autograd(pieces, x),
                        COMPILED: lambda table=table, x=x: compiled(table, x),
                    },
                    bars=bars if device == "cpu" else None,
                    rounds=rounds,
                    threads=1,
                    device=device,
                    notes=dict(NOTES),
                )
    finally:
        torch.set_num_threads(before)


def _check(pieces: list[cc.boundary.Segment], table: Tensor, x: Tensor, compiled: Tensor) -> None:
    """All contenders compute the same, where the naive formula is accurate."""
    found = cc.boundary.distance(pieces, x, M, order="laplacian")
    assert isinstance(found, cc.Jet)
    phi, grad, laplacian = by_autograd(pieces, x.double())
    far = phi > 0.05
    scale = 1e-4 if x.dtype == torch.float32 else 1e-9
    for one, other in (
        (found.value[:, 0], phi),
        (found.grad[:, 0, 0], grad[:, 0]),
        (found.laplacian[:, 0], laplacian),
        (compiled[0], phi),
        (compiled[3], laplacian),
    ):
        size = 1 + other[far].abs()
        loose = 100 if one is compiled[3] else 1
        assert ((one.double() - other)[far].abs() / size).max() < loose * scale
