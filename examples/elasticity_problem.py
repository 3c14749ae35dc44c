"""A quarter of a plate with a hole under tension: its solution, its conditions and its terms.

Kirsch's solution of the infinite plate with a hole of radius a under the tension T along x, in
plane stress: Timoshenko and Goodier, Theory of Elasticity, third edition, 1970, article 35. On the
outer edges of the finite plate its stresses are given, so that it is the solution there, too.

    x = 0: u = 0, s_xy = 0            y = 0: v = 0, s_xy = 0            hole: s n = 0
    x = L: s_xx, s_xy as given        y = L: s_yy, s_xy as given
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import colloc as cc
import torch
from colloc.jets import Order
from torch import Tensor, nn

RADIUS, SIDE, TENSION = 0.5, 2.0, 1.0  # a, L and T
YOUNG, POISSON = 1.0, 0.3
MU = YOUNG / (2 * (1 + POISSON))
LAME_LAMBDA = YOUNG * POISSON / ((1 + POISSON) * (1 - 2 * POISSON))
RIM = 0.1
CONCENTRATION = 3.0  # s_xx / T at the top of the hole

OUTPUTS = ("u", "v", "s_xx", "s_yy", "s_xy")
#: The outputs that are given on each straight edge.
GIVEN = {"left": (0, 4), "bottom": (1, 4), "right": (2, 4), "top": (3, 4)}


def geometry() -> cc.geometry.Shape:
    """The plate."""
    square = cc.geometry.Rectangle((0, 0), (SIDE, SIDE))
    return square - cc.geometry.Disk((0, 0), RADIUS, name="hole")


def exact(x: Tensor) -> Tensor:
    """Kirsch's displacements and stresses at points (N, 2), (N, 5)."""
    r, angle = x.norm(dim=1, keepdim=True), torch.atan2(x[:, 1:], x[:, :1])
    q = (RADIUS / r) ** 2
    c1, c2, c3, c4 = (torch.cos(k * angle) for k in range(1, 5))
    s1, s2, s3, s4 = (torch.sin(k * angle) for k in range(1, 5))
    kappa = (3 - POISSON) / (1 + POISSON)
    u = (kappa + 1) * c1 + 2 * q * ((1 + kappa) * c1 + c3) - 2 * q**2 * c3
    v = (kappa - 3) * s1 + 2 * q * ((1 - kappa) * s1 + s3) - 2 * q**2 * s3
    s_xx = 1 - q * (1.5 * c2 + c4) + 1.5 * q**2 * c4
    s_yy = -q * (0.5 * c2 - c4) - 1.5 * q**2 * c4
    s_xy = -q * (0.5 * s2 + s4) + 1.5 * q**2 * s4
    displacements = r / (8 * MU) * torch.cat((u, v), dim=1)
    return TENSION * torch.cat((displacements, s_xx, s_yy, s_xy), dim=1)


def given(edge: str) -> float | Callable[[Tensor], Tensor]:
    """What the outputs ``GIVEN[edge]`` are on an edge, a function of the position along it.

    An ansatz continues it inwards. ``exact`` itself, a function of both coordinates, would give
    the solution away: no network is needed for it.
    """
    if edge in ("left", "bottom"):
        return 0.0

    def values(x: Tensor) -> Tensor:
        end = torch.full_like(x[:, :1], SIDE)
        on_edge = (end, x[:, 1:]) if edge == "right" else (x[:, :1], end)
        return exact(torch.cat(on_edge, dim=1))[:, list(GIVEN[edge])]

    return values


def make_field(net: nn.Module) -> cc.boundary.Ansatz:
    """The field that meets all conditions but the hole's, whatever the network's weights."""
    edges = geometry().boundary
    return cc.boundary.Ansatz(
        net,
        [
            cc.boundary.Dirichlet(edges[edge].line, given(edge), components)
            for edge, components in GIVEN.items()
        ],
    )


def traction(u: cc.Jet, x: Tensor, points: Any) -> Tensor:
    """The stresses times the normal, s n."""
    s_xx, s_yy, s_xy = u.value[:, 2:].split(1, dim=1)
    n_x, n_y = points.normal.split(1, dim=1)
    return torch.cat((s_xx * n_x + s_xy * n_y, s_xy * n_x + s_yy * n_y), dim=1)


def condition(edge: str) -> Callable[[cc.Jet, Tensor], Tensor]:
    """The outputs that are given on an edge less what they are to be, for a penalty."""
    data = cc.boundary.Dirichlet(geometry().boundary[edge], given(edge), GIVEN[edge]).g
    return lambda u, x: u.value[:, list(GIVEN[edge])] - data.at(x)


def make_terms(
    field: nn.Module,
    points: int,
    boundary_points: int,
    penalties: tuple[str, ...],
    seed: int,
    where: dict[str, Any],
) -> tuple[list[cc.Term], dict[str, cc.sampling.Halton], dict[str, float]]:
    """Terms, their samplers, and the factors by which their losses become integrals.

    The equation is a term on the hole, too, "rim", as of a layer that is ``RIM`` thick: the error
    of s_xx is largest there, in a layer thinner than the distance between the plate's points.

    Args:
        field: from (N, 2) to the five outputs.
        points: of a step, in the plate.
        boundary_points: of a step, on the hole and on each edge that has a penalty.
        penalties: the edges whose conditions are terms.
        seed: of the sequences.
        where: dtype and device.
    """
    plate = geometry()
    edges = plate.boundary
    equation = cc.pde.elasticity(LAME_LAMBDA, MU, plane="stress", first_order=True)
    terms: list[cc.Term] = []
    samplers: dict[str, cc.sampling.Halton] = {}
    factors: dict[str, float] = {}

    def add(name: str, shape: Any, count: int, residual: Any, order: Order, factor: float) -> None:
        samplers[name] = cc.sampling.Halton(shape, count, seed=seed + len(terms), **where)
        terms.append(cc.Term(name, field, samplers[name](0), residual, order))
        factors[name] = factor * shape.measure  # a loss is the mean over points and columns

    add("plate", plate, points, equation, 1, 5.0)
    add("rim", edges["hole"], boundary_points, equation, 1, 5.0 * RIM)
    add("hole", edges["hole"], boundary_points, traction, 0, 2.0)
    for edge in penalties:
        add(edge, edges[edge], boundary_points, condition(edge), 0, 2.0)
    return terms, samplers, factors
