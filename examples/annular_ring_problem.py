"""The flow through a channel around a ring: geometry, terms, and the reference.

    (U . grad) U + grad p - nu lap U = 0,   div U = 0,   nu = 0.01

in the channel [-6.732, 6.732] x [-1, 1] united with the disc of radius 2, without the disc of
radius 1. A parabola flows in on the left, p = 0 on the right, no slip elsewhere. The problem is
an example of PhysicsNeMo-Sym (annular_ring); losses are integrals as there, the equation's with
the distance to the wall as its weight, and the flux through the outlet is asked for as well.

What makes it hard: behind the ring the flow leaves the wall. A network that trains at nu = 0.01
from the beginning finds a flow that clings to the wall instead, where the equation is violated
along the walls alone, and stays there (errors of u of 0.3 to 0.4). With a viscosity that falls
from 0.05 the flow is followed from one that has no wake to the one with it (Viscosity).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import colloc as cc
import numpy as np
import torch
from torch import Tensor, nn

END, NU, FLUX = 6.732, 0.01, 2.0
OUTPUTS = ("u", "v", "p")
REFERENCE = Path(__file__).parent / "data" / "annular_ring.npz"


def geometry() -> cc.geometry.PlaneShape:
    """The ring with its channel."""
    channel = cc.geometry.Channel((-END, -1), (END, 1))
    return (channel | cc.geometry.Disk((0, 0), 2)) - cc.geometry.Disk((0, 0), 1)


def parabola(x: Tensor) -> Tensor:
    """u where it flows in."""
    return 1.5 * (1 - x[:, 1:] ** 2)


def inlet_rows(u: cc.Jet, x: Tensor) -> Tensor:
    """u and v less what flows in."""
    return torch.cat((u.value[:, :1] - parabola(x), u.value[:, 1:2]), dim=1)


def no_slip_rows(u: cc.Jet, x: Tensor) -> Tensor:
    """u and v."""
    return u.value[:, :2]


def outlet_rows(u: cc.Jet, x: Tensor) -> Tensor:
    """p."""
    return u.value[:, 2:]


def velocity_x(u: cc.Jet, x: Tensor) -> Tensor:
    """u, for the flux."""
    return u.value[:, :1]


class Viscosity:
    """nu, which falls to 0.01 while the network trains.

    Args:
        first: nu at the beginning.
        where: dtype and device.
    """

    def __init__(self, first: float, where: dict[str, Any]) -> None:
        self.first = first
        self.value = torch.full((), first, **where)  # a tensor: compiled and captured steps see it

    def follow(self, fraction: float) -> None:
        """Geometrically from the first value to the last as a fraction goes from 0 to 1."""
        self.value.fill_(self.first * (NU / self.first) ** min(fraction, 1.0))


class Scaled:
    """The equations, the two of momentum times a number."""

    order = "laplacian"

    def __init__(self, equation: cc.pde.NavierStokes, factor: float) -> None:
        self.equation, self.factor = equation, factor

    def __call__(self, u: cc.Jet, x: Tensor) -> Tensor:
        rows = self.equation(u, x)
        if self.factor == 1.0:
            return rows
        return torch.cat((self.factor * rows[:, :2], rows[:, 2:]), dim=1)


@dataclass(frozen=True)
class Weights:
    """Of the terms, in front of their integrals."""

    distance: bool = True
    """whether the equation is weighed by the distance to the wall, or evenly by 0.4, about the
    mean distance"""
    walls: float = 1.0
    """of no slip, inlet and outlet"""
    flux: float = 0.1
    """of the flux"""
    sections: int = 0
    """cross sections through which the flux is asked for; 0: the outlet alone"""
    momentum: float = 1.0
    """factor of the momentum equations' squares"""


@dataclass(frozen=True)
class Sections:
    """Points on cross sections of the straight channel, with Gauss weights as their measure."""

    x: Tensor
    measure: Tensor
    group: Tensor

    @classmethod
    def of(cls, count: int, points: int, where: dict[str, Any]) -> Sections:
        """Half of them before the ring and half behind it, the last one the outlet."""
        behind = (count + 1) // 2
        before = np.linspace(-END, -1.9, count - behind)
        at = np.concatenate((before, np.linspace(END, 1.9, behind)[::-1]))
        y, weight = np.polynomial.legendre.leggauss(points)
        x = torch.from_numpy(np.stack((at.repeat(points), np.tile(y, count)), axis=1))
        measure = torch.from_numpy(np.tile(weight, count)[:, None])
        group = torch.arange(count, device=where["device"]).repeat_interleave(points)
        return cls(x.to(**where), measure.to(**where), group)


def make_problem(
    net: nn.Module,
    sizes: dict[str, int],
    seed: int,
    where: dict[str, Any],
    weights: Weights | None = None,
    viscosity: Viscosity | None = None,
) -> tuple[list[cc.Term], dict[str, cc.sampling.Halton]]:
    """Terms and samplers.

    Args:
        net: from (N, 2) to u, v, p.
        sizes: points of a step: interior, no_slip, inlet, outlet, flux.
        seed: of the sequences.
        where: dtype and device.
        weights: of the terms; None: the source's.
        viscosity: nu; None: 0.01.
    """
    weights = weights or Weights()
    ring = geometry()
    parts: dict[str, Any] = {
        "interior": ring,
        "no_slip": ring.boundary - "inlet" - "outlet",
        "inlet": ring.boundary["inlet"],
        "outlet": ring.boundary["outlet"],
    }
    samplers = {
        name: cc.sampling.Halton(part, sizes[name], seed=seed + k, **where)
        for k, (name, part) in enumerate(parts.items())
    }
    nu = NU if viscosity is None else viscosity.value
    equation = Scaled(cc.pde.navier_stokes(nu), weights.momentum**0.5)
    area, length, walls = ring.measure, parts["no_slip"].measure, weights.walls

    def by_distance(points: cc.geometry.Points) -> Tensor:
        return 3 * area * cc.pde.distance_weight(points)

    # Of mean squares to integrals, and two or three columns to their sum.
    inside = by_distance if weights.distance else 3 * area * 0.4
    first = {name: sampler(0) for name, sampler in samplers.items()}
    terms = [
        cc.Term("interior", net, first["interior"], equation, weight=inside),
        cc.Term("no_slip", net, first["no_slip"], no_slip_rows, order=0, weight=walls * 2 * length),
        cc.Term("inlet", net, first["inlet"], inlet_rows, order=0, weight=walls * 2 * 2.0),
        cc.Term("outlet", net, first["outlet"], outlet_rows, order=0, weight=walls * 2.0),
    ]
    if weights.sections:
        line: Any = Sections.of(weights.sections, sizes["flux"] // weights.sections, where)
        flux, x = cc.pde.integral(line, FLUX, line.group), line.x
    else:
        x = line = parts["outlet"].sample(sizes["flux"], seed=seed, **where)
        flux = cc.pde.integral(line, FLUX)
    terms.append(cc.Term("flux", net, x, velocity_x, order=0, weight=weights.flux, reduce=flux))
    return terms, samplers


class Reference:
    """Values of a finite element solution at points, and the peer's metric."""

    def __init__(self, path: Path, where: dict[str, Any]) -> None:
        with np.load(path) as data:
            x = torch.from_numpy(data["x"])
            corners = torch.tensor([[a * 3**0.5, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
            far = torch.cdist(x, corners.double()).amin(1) > 0.05  # p is singular there
            used = far & (x[:, 0] < 6.3)
            self.x = x[used].to(**where)
            self.values = {n: torch.from_numpy(data[n])[used, None] for n in OUTPUTS}

    def errors(self, net: nn.Module) -> dict[str, float]:
        """sqrt(mean square of the difference / variance) for u, v and p."""
        found = net(self.x).cpu().double()
        return {
            name: cc.training.nrmse(found[:, k : k + 1], self.values[name])
            for k, name in enumerate(OUTPUTS)
        }
