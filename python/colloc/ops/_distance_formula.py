"""The distance function in plain torch, for what the op cannot do: forward mode, exports.
Its derivatives are in colloc/boundary/plain_jets.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Place(NamedTuple):
    """Where points lie with respect to pieces; (P, N) each, what has two entries by coordinate."""

    f: Tensor  # F = side f >= 0 in value
    t: Tensor
    side: Tensor
    n: list[Tensor]  # minus the nearer end
    both: list[Tensor]  # (x - a) + (x - b)
    f1: list[Tensor]  # at the nearer end


def distance_formula(x: Tensor, pieces: Tensor, piece: Tensor | None, m: int, k: float) -> Tensor:
    """phi (N,) at x (N, 2) by the formulas of csrc/math/distance.h; k = 1 / length^2.

    As there, the nearest piece is taken out of the sum, and what is divided by is not 0.
    """
    at = place(x, pieces, piece)
    square = k * at.f * at.f
    root = (at.t * at.t + square * at.f * at.f + 1e-300).sqrt()
    before = at.t >= 0
    ratio = square * at.f * (0.5 / (root + at.t.abs()))
    w = torch.where(before, torch.zeros_like(at.f), 0.5 * (root + at.t.abs()))
    norm = torch.where(before, 1 + ratio * ratio, at.f * at.f + w * w).sqrt()
    trimmed = pieces[:, 17:18] != 0
    phi = torch.where(trimmed, torch.where(before, at.f * norm, norm), at.f)
    return _joined(phi, m).to(x.dtype)


def place(x: Tensor, pieces: Tensor, piece: Tensor | None) -> Place:
    """Where x (N, 2) lies with respect to pieces (P, 19)."""
    columns = pieces.unsqueeze(2).unbind(1)  # (P, 1) each
    a, a_low, b, b_low = (columns[i : i + 2] for i in range(0, 8, 2))
    f0, f1a, f1b, f2 = columns[8], columns[9:11], columns[11:13], columns[13]
    t1, t2, extent = columns[14:16], columns[16], columns[18]
    precise = x.double()
    point = precise.t().unsqueeze(1)  # (2, 1, N)
    d = [(point[i] - a[i]) - a_low[i] for i in (0, 1)]
    e = [(point[i] - b[i]) - b_low[i] for i in (0, 1)]
    last = d[0] * d[0] + d[1] * d[1] > e[0] * e[0] + e[1] * e[1]
    n = [torch.where(last, e[i], d[i]) for i in (0, 1)]
    f1 = [torch.where(last, f1b[i], f1a[i]) for i in (0, 1)]
    f = f0 + (f1[0] * n[0] + f1[1] * n[1]) + f2 * (n[0] * n[0] + n[1] * n[1])
    t = t1[0] * n[0] + t1[1] * n[1] + t2 * (d[0] * e[0] + d[1] * e[1])
    eps = torch.finfo(x.dtype).eps
    noise = 8 * eps * (point.abs().sum(0) + extent)
    none = 4 * eps * extent
    on = torch.zeros_like(f, dtype=torch.bool)
    if piece is not None:
        on = piece == torch.arange(pieces.shape[0], device=x.device).unsqueeze(1)
    nothing = on | (f.abs() <= none)
    side = torch.where(on | (f >= -noise), 1.0, -1.0).double()
    # The value is 0 or abs(f), the derivatives are those of side f.
    size = torch.where(nothing, torch.zeros_like(f), f.abs())
    f = side * f + _held(size - side * f)
    least = on | (nothing & (t >= -none))
    t = t + _held(torch.where(least & (t < 0), -t, torch.zeros_like(t)))
    return Place(f, t, side, n, [d[i] + e[i] for i in (0, 1)], f1)


def _held(small: Tensor) -> Tensor:
    """Differences of the size of rounding, without derivatives. Not by ``detach``, which exports
    take out, since the fields in them are differentiated by the points."""
    scale = 2.0**900  # makes them whole numbers, down to 1e-255
    return (small * scale).floor() / scale


def _joined(phi: Tensor, m: int) -> Tensor:
    """R-equivalence of (P, N) over the pieces."""
    if phi.shape[0] == 1:
        return phi[0]
    index = phi.detach().argmin(0, keepdim=True)
    nearest = phi.gather(0, index)
    is_nearest = torch.arange(phi.shape[0], device=phi.device).unsqueeze(1) == index
    # At a joint, the ratios of what is 0 are 1.
    zero = (phi == 0) & (nearest == 0) & ~is_nearest
    one = is_nearest | zero
    # No 0 / 0 in what is not taken either: in reverse mode its gradient would be NaN.
    ratio = torch.where(one, 1.0, nearest / torch.where(one, 1.0, phi))
    others = torch.where(is_nearest, torch.zeros_like(ratio), ratio**m).sum(0)
    value = nearest[0] * (1 + others) ** (-1 / m)
    joint = zero.any(0)
    at_joint = torch.where(phi == 0, phi, torch.zeros_like(phi)).sum(0)
    return torch.where(joint, share(phi, m) * at_joint, value)


def share(phi: Tensor, m: int) -> Tensor:
    """What each piece's part at a joint is multiplied by, (N,)."""
    count = (phi == 0).sum(0)
    return count.clamp(min=1).to(phi.dtype) ** (-(m + 1) / m)
