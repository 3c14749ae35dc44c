"""The flow through a channel around a ring: geometry, terms, and the reference.

    (U . grad) U + grad p - nu lap U = 0,   div U = 0,   nu = 0.01

in the channel [-6.732, 6.732] x [-1, 1] united with the disc of radius 2, without the disc of
radius 1. A parabola flows in on the left, p = 0 on the right, no slip elsewhere. The problem is
an example of PhysicsNeMo-Sym (annular_ring); losses are integrals as there, the equation's with
the distance to the wall as its weight, and the flux through the outlet is asked for as well.
"""

from __future__ import annotations

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


def make_problem(
    net: nn.Module, sizes: dict[str, int], seed: int, where: dict[str, Any], momentum: float = 1.0
) -> tuple[list[cc.Term], dict[str, cc.sampling.Halton]]:
    """Terms and samplers.

    Args:
        net: from (N, 2) to u, v, p.
        sizes: points of a step: interior, no_slip, inlet, outlet, flux.
        seed: of the sequences.
        where: dtype and device.
        momentum: factor of the momentum equations' squares.
    """
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
    equation = Scaled(cc.pde.navier_stokes(NU), momentum**0.5)
    area, length = ring.measure, parts["no_slip"].measure
    # Of mean squares to integrals, and two or three columns to their sum.
    terms = [
        cc.Term("interior", net, samplers["interior"](0), equation,
                weight=lambda points: 3 * area * cc.pde.distance_weight(points)),
        cc.Term("no_slip", net, samplers["no_slip"](0), no_slip_rows, order=0, weight=2 * length),
        cc.Term("inlet", net, samplers["inlet"](0), inlet_rows, order=0, weight=2 * 2.0),
        cc.Term("outlet", net, samplers["outlet"](0), outlet_rows, order=0, weight=2.0),
    ]  # fmt: skip
    line = parts["outlet"].sample(sizes["flux"], seed=seed, **where)
    flux = cc.pde.integral(line, FLUX)
    terms.append(cc.Term("flux", net, line, velocity_x, order=0, weight=0.1, reduce=flux))
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
