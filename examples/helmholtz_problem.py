"""The Helmholtz problem of helmholtz.py: its solution, fields and residuals.

Hard boundaries: u = phi N with phi = (1 - x^2) (1 - y^2) / (2 (2 - x^2 - y^2)), which joins the
four lines of the walls by R-equivalence of order 1. u / phi is smooth, but lap phi grows like 1 / r
at the corners: where second derivatives are taken, the squared residual is weighted by r^2 there.

First-order form: the field is (u, q), q for grad u. With hard boundaries q is 0 along the walls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import colloc as cc
import torch
from colloc.boundary import Ansatz, Dirichlet, Line
from colloc.jets import Jet, Order
from torch import Tensor

SCALE = 17 * math.pi**2  # of f where u is 1; grad u has that of its root


def exact(x: Tensor) -> Tensor:
    """u at points (N, 2), (N, 1)."""
    return torch.sin(math.pi * x[:, :1]) * torch.sin(4 * math.pi * x[:, 1:])


def source(x: Tensor) -> Tensor:
    """f = lap u + u at points (N, 2), (N, 1)."""
    return (1 - 17 * math.pi**2) * exact(x)


class Scaled(torch.nn.Module):
    """The network's outputs times numbers, so that it may itself give values of size 1."""

    factors: Tensor

    def __init__(self, net: torch.nn.Module, *factors: float) -> None:
        super().__init__()
        self.net = net
        # A buffer, and not made at every call: a captured step cannot copy it from the host.
        made = next(net.parameters()).new_tensor(factors)
        self.register_buffer("factors", made, persistent=False)

    # Not forward_jet in a Sequential: a network alone is one op, a part of another is not.
    def field_jet(
        self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None = None
    ) -> Jet:
        jet = cc.jet(self.net, x, order, wrt)
        return Jet(jet.components * self.factors, order, wrt, x.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.factors


def with_walls(net: torch.nn.Module, first_order: bool) -> Ansatz:
    """The field that is 0 on the walls, and, as q, 0 along them."""
    level = [Line((-1, -1), (1, -1)), Line((1, 1), (-1, 1))]
    upright = [Line((1, -1), (1, 1)), Line((-1, 1), (-1, -1))]
    conditions = [Dirichlet([*level, *upright], 0.0, components=0)]
    if first_order:
        conditions.append(Dirichlet(level, 0.0, components=1))
        conditions.append(Dirichlet(upright, 0.0, components=2))
    return Ansatz(net, conditions, m=1)


def corner_weight(points: cc.geometry.Points) -> Tensor:
    """(2 r)^2 up to 1, r the distance to the nearest corner."""
    return (4 * (1 - points.x.abs()).square().sum(1, keepdim=True)).clamp(max=1)


def make_field(net: torch.nn.Module, boundary: str, form: str) -> torch.nn.Module:
    """u, or (u, q), of a network."""
    if boundary == "soft" and form == "second":
        return net
    hard, first = boundary == "hard", form == "first"
    slopes = [4 * math.pi] * 2 if first else []
    scaled = Scaled(net, 4.0 if hard else 1.0, *slopes)  # phi is at most 1 / 4
    return with_walls(scaled, first) if hard else scaled


def make_equation(form: str, gradient_weight: float) -> Callable[[Jet, Tensor], Tensor]:
    """The residuals; in first-order form those of q - grad u in the scale of the other."""
    equation = cc.pde.helmholtz(k=1.0, source=source, first_order=form == "first")
    if form == "second":
        return equation
    ratio = math.sqrt(gradient_weight) * SCALE / (4 * math.pi)

    def residual(u: Jet, x: Tensor) -> Tensor:
        found = equation(u, x)
        return torch.cat([found[:, :1], ratio * found[:, 1:]], dim=1)

    return residual


class StagePoints:
    """Points of the stage that a trainer is in: Adam's, new at every step, or L-BFGS's.

    Args:
        stage: tells its number.
        samplers: one a stage.
    """

    def __init__(self, stage: Callable[[], int], samplers: list[cc.sampling.Halton]) -> None:
        self.stage, self.samplers = stage, samplers

    def __call__(self, step: int) -> cc.geometry.Points:
        return self.samplers[self.stage()](step)

    def points_ahead(self, step: int, steps: int, memory: int) -> Any:
        """Of many steps at once, see ``colloc.sampling.Sampler``."""
        return self.samplers[self.stage()].points_ahead(step, steps, memory)

    def state_dict(self) -> dict[str, Any]:
        """Of each sampler: a checkpoint of others is refused."""
        return {str(k): sampler.state_dict() for k, sampler in enumerate(self.samplers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            for k, sampler in enumerate(self.samplers):
                sampler.load_state_dict(state[str(k)])
        except ValueError as error:
            raise ValueError(f"resume: expected the checkpoint's points: {error}") from error


def make_terms(
    field: torch.nn.Module,
    inside: cc.geometry.Points,
    wall: cc.geometry.Points,
    boundary: str,
    form: str,
    gradient_weight: float,
) -> list[cc.Term]:
    """The equation and, where the walls are soft, u on them."""
    second = form == "second"
    terms = [
        cc.Term(
            "interior",
            field,
            inside,
            make_equation(form, gradient_weight),
            order="laplacian" if second else 1,
            weight=corner_weight if second and boundary == "hard" else 1.0,
        )
    ]
    if boundary == "soft":
        terms.append(cc.Term("walls", field, wall, lambda u, x: u.value[:, :1], order=0))
    return terms


def make_balancer(
    name: str, net: torch.nn.Module, fixed: dict[str, float], update_every: int, seed: int
) -> cc.balancing.Balancer:
    """The rule ``name`` for the losses named in ``fixed``, whose weights "sum" has."""
    b, names, every = cc.balancing, list(fixed), {"update_every": update_every}
    rules: dict[str, Callable[[], cc.balancing.Balancer]] = {
        "sum": lambda: b.Sum(fixed),
        "ntk": lambda: b.NTK(names, **every),
        "lr-annealing": lambda: b.LRAnnealing(names, "interior", net.parameters(), **every),
        "gradient-norm": lambda: b.GradientNormBalance(names, net.parameters(), **every),
        "gradnorm": lambda: b.GradNorm(names, net, **every),
        "uncertainty": lambda: b.HomoscedasticUncertainty(names, **every),
        "softadapt": lambda: b.SoftAdapt(names, **every),
        "relobralo": lambda: b.ReLoBRaLo(names, seed=seed, **every),
        "resnorm": lambda: b.ResNorm(names, **every),
    }
    return rules[name]()
