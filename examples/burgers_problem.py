"""The Burgers problem of burgers.py: its solution, its field, and its points.

u_t + u u_x = nu u_xx   for |x| <= 1, 0 <= t <= 1,   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0
"""

from __future__ import annotations

import math
from typing import Any

import colloc as cc
import numpy as np
import torch
from colloc.jets import Jet, Order
from torch import Tensor

NU = 0.01 / math.pi
NODES = 120  # of the quadrature; from 90 on the solution is right to about 1e-15

#: Points that stay as they are drawn before the first step, and points that follow the residual.
FIXED = ("uniform", "halton")
ADAPTIVE = ("rad", "rar-d", "r3")


def exact(x: Tensor) -> Tensor:
    """u at points (x, t), (N, 2) to (N, 1), in float64.

    By the transformation of Hopf and Cole, with s = x - sqrt(4 nu t) z,

        u = -int sin(pi s) F(s) exp(-z^2) dz / int F(s) exp(-z^2) dz,
        F(s) = exp(-cos(pi s) / (2 pi nu)),

    and Gauss-Hermite quadrature (Basdevant et al., Computers & Fluids 14 (1986) 23-41). The
    exponents are shifted so that the largest term of a sum is 1. At t = 0 it is -sin(pi x).
    """
    z, weight = (torch.from_numpy(a) for a in np.polynomial.hermite.hermgauss(NODES))
    position, time = x.double().cpu().split(1, dim=1)
    s = math.pi * (position - 2 * math.sqrt(NU) * time.sqrt() * z)
    exponent = weight.log() - s.cos() / (2 * math.pi * NU)
    share = torch.softmax(exponent, dim=1)
    return -(share * s.sin()).sum(1, keepdim=True)


def domain() -> cc.geometry.TimeDomain:
    """All (x, t)."""
    return cc.geometry.TimeDomain(cc.geometry.Interval(-1, 1), 0, 1)


def grid(nx: int = 256, nt: int = 101, half: float = 1.0) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The axes (nx,), (nt,) of a grid on |x| <= half, and its points (nx nt, 2), in float64."""
    axes = (
        torch.linspace(-half, half, nx, dtype=torch.float64),
        torch.linspace(0, 1, nt, dtype=torch.float64),
    )
    return axes, torch.cartesian_prod(*axes)


class HardField(torch.nn.Module):
    """u = -sin(pi x) + (1 - x^2) t N: initial and boundary values whatever the network N."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def field_jet(
        self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None = None
    ) -> Jet:
        position, time = (cc.jets.coordinate(x, i, order, wrt) for i in (0, 1))
        vanishing = (1 - position * position) * time
        return vanishing * cc.jet(self.net, x, order, wrt) - cc.jets.sin(math.pi * position)

    def forward(self, x: Tensor) -> Tensor:
        return self.field_jet(x, 0, (0, 1)).value


def make_net(width: int, depth: int, where: dict[str, Any]) -> cc.nn.MLP:
    """A tanh network with weights from Glorot's normal distribution, as the study has it."""
    net = cc.nn.MLP(2, 1, width, depth, "tanh", **where)
    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_normal_(layer.weight)
    return net


def make_sampler(
    name: str,
    term: cc.Term,
    points: int,
    pool: int,
    refresh_every: int,
    refreshes: int,
    **options: Any,
) -> Any:
    """The sampler of one of ``ADAPTIVE``: from a step to points that follow the term's residual.

    RAD: k = 1, c = 1. RAR-D: k = 2, c = 0; half the points at first, the others by and by, so
    that all are there in the end. Both are the study's settings.
    """
    if name == "rad":
        return cc.sampling.RAD(
            domain(), term, points, pool, refresh_every, k=1.0, c=1.0, method="uniform", **options
        )
    if name == "rar-d":
        first = max(1, points // 2)
        added = max(1, math.ceil((points - first) / max(1, refreshes - 1)))
        return cc.sampling.RARD(
            domain(), term, first, added, pool, refresh_every, k=2.0, c=0.0,
            most=points, method="uniform", **options,
        )  # fmt: skip
    return cc.sampling.R3(domain(), term, points, refresh_every, **options)
