"""Two Poisson problems with mixed boundary conditions, and a field that meets them exactly.

The field is a colloc.boundary.Ansatz: whatever the network's weights, it has the values, normal
derivatives and Robin data that are given.

No smooth network gives the terms r^(2k/3) sin(2k theta/3) of u at the re-entrant corner of the
L-shape, nor those with r log r where the data at a joint of the plate do not fit. They are the
field's enrichment, each 0 where u is given, so that the conditions hold as before; their factors
are trained. (The joints of the L-shape have r log r too, but there the functions did not help:
each would have to end in the corners of the others.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import colloc as cc
import torch
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin
from colloc.jets import Jet, Order
from torch import Tensor, nn

Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Problem:
    """-lap u = f in a shape, and its conditions, on output 0 of the field."""

    shape: Any
    f: float
    dirichlet: dict[str, Dirichlet]
    natural: dict[str, Robin]
    #: Where the two kinds of conditions meet.
    joints: tuple[Pair, ...]
    #: What is added to the field at corners.
    singular: tuple[Singular, ...]
    reference: str


@dataclass(frozen=True)
class Corner:
    """Polar coordinates at a corner: theta is 0 on a wall that leaves ``at`` along the unit vector
    ``side``, grows over ``across``, at right angles to it, and is ``opening`` on the next wall."""

    at: Pair
    side: Pair
    across: Pair
    opening: float = math.pi / 2

    def polar(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """r > 0 and theta of points (N, 2), each (N, 1)."""
        a, b = (
            (x[:, :1] - self.at[0]) * axis[0] + (x[:, 1:] - self.at[1]) * axis[1]
            for axis in (self.side, self.across)
        )
        eps = torch.finfo(x.dtype).eps
        a = torch.where((a == 0) & (b == 0), eps, a)  # finite derivatives at the corner itself
        # Turned by half the opening: the cut of atan2 lies outside the domain.
        cos, sin = math.cos(self.opening / 2), math.sin(self.opening / 2)
        theta = self.opening / 2 + torch.atan2(cos * b - sin * a, cos * a + sin * b)
        return (a * a + b * b).clamp_min(eps**2).sqrt(), theta


class Singular:
    """A harmonic function that is singular at a corner, added to the field with a trained factor.

    It is r^power sin(power theta), or, where ``power`` is None, r (log r sin theta + theta
    cos theta), which has the normal derivative -pi/2 on theta = pi/2: Im z^power and Im (z log z).
    Both are 0 on theta = 0. As values of u they are given on the Dirichlet walls at the corner,
    ``sides``, with 0 on the ``others``, and interpolated between the two; q is the gradient.

    Args:
        corner: where it is singular.
        power: the exponent, or None.
        sides, others: parts of the boundary.
        factor: the first value of the factor.
    """

    def __init__(
        self, corner: Corner, power: float | None, sides: Any, others: Any, factor: float = 0.0
    ) -> None:
        self.corner, self.power, self.factor = corner, power, factor
        self.field = Ansatz(
            self.gradient,
            [Dirichlet(sides, self.values, components=0), Dirichlet(others, 0.0, components=0)],
        )

    def values(self, x: Tensor) -> Tensor:
        """The function at points (N, 2), (N, 1)."""
        r, theta = self.corner.polar(x)
        if self.power is None:
            return r * (r.log() * theta.sin() + theta * theta.cos())
        return r**self.power * (self.power * theta).sin()

    def gradient(self, x: Tensor) -> Tensor:
        """0 and its gradient, (N, 3)."""
        r, theta = self.corner.polar(x)
        if self.power is None:
            a, b = theta, r.log() + 1
        else:
            size, angle = self.power * r ** (self.power - 1), (self.power - 1) * theta
            a, b = size * angle.sin(), size * angle.cos()
        axes = zip(self.corner.side, self.corner.across, strict=True)
        return torch.cat([0 * r, *(a * one + b * two for one, two in axes)], dim=1)

    def jet(self, x: Tensor, order: Order, piece: Tensor | None = None) -> Jet:
        """u and q without the factor."""
        return cc.jet(self.field, x, order, piece=piece)


def lshape() -> Problem:
    square = cc.geometry.Rectangle((0, 0), (2, 2), names=("bottom", "right", "top", "left"))
    shape = square - cc.geometry.Rectangle((1, 1), (3, 3), names="notch")
    walls = shape.boundary
    reentrant = Corner((1, 1), (1, 0), (0, -1), opening=1.5 * math.pi)
    return Problem(
        shape=shape,
        f=1.0,
        dirichlet={
            "bottom": Dirichlet(walls["bottom"], lambda x: x[:, :1] * (2 - x[:, :1]), components=0),
            "notch, top": Dirichlet(walls["notch", "top"], 0.0, components=0),
        },
        natural={
            "right": Neumann(walls["right"], 1.0, components=0),
            "left": Robin(walls["left"], 2.0, 1.0, components=0),
        },
        joints=((0, 0), (2, 0), (2, 1), (0, 2)),
        singular=(
            Singular(reentrant, 2 / 3, walls["notch"], walls["bottom", "top"]),
            Singular(reentrant, 4 / 3, walls["notch"], walls["bottom", "top"]),
        ),
        reference="poisson_lshape_mixed.npz",
    )


def plate() -> Problem:
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    shape = square - cc.geometry.Disk((0, 0), 0.4, name="hole")
    walls = shape.boundary
    upper, lower = Corner((1, 1), (0, -1), (-1, 0)), Corner((1, -1), (0, 1), (-1, 0))
    return Problem(
        shape=shape,
        f=0.0,
        dirichlet={
            "left": Dirichlet(walls["left"], 0.0, components=0),
            "right": Dirichlet(walls["right"], lambda x: 1 + x[:, 1:], components=0),
        },
        natural={
            "top, bottom": Neumann(walls["top", "bottom"], 0.0, components=0),
            "hole": Robin(walls["hole"], 3.0, 2.0, components=0),
        },
        joints=((-1, -1), (1, -1), (1, 1), (-1, 1)),
        singular=(
            # du/dn = 0 on top and bottom, where the values on the right have -1 and 1.
            Singular(upper, None, walls["right"], walls["left"], factor=2 / math.pi),
            Singular(lower, None, walls["right"], walls["left"], factor=-2 / math.pi),
        ),
        reference="poisson_plate_hole_robin.npz",
    )


class OnPoints:
    """Jets that depend on the points alone, computed once for each of the last sets of points."""

    def __init__(self, evaluate: Callable[[Tensor, Order, Tensor | None], Jet]) -> None:
        self.evaluate = evaluate
        self.kept: list[tuple[Tensor, int, Order, Tensor | None, Jet]] = []

    def __call__(self, x: Tensor, order: Order, piece: Tensor | None = None) -> Jet:
        if x.requires_grad:
            return self.evaluate(x, order, piece)
        for points, version, known, pieces, found in self.kept:
            same = points is x and version == x._version and pieces is piece
            if same and known == order:
                return found
        found = self.evaluate(x, order, piece).detach()
        self.kept = [*self.kept[-7:], (x, x._version, order, piece, found)]
        return found


class Enrichment(nn.Module):
    """The singular functions of a problem with trained factors."""

    def __init__(self, problem: Problem, like: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(like.new_tensor([one.factor for one in problem.singular]))
        self.functions = [OnPoints(one.jet) for one in problem.singular]

    def field_jet(
        self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None = None
    ) -> Jet:
        """What :func:`colloc.jet` calls."""
        if wrt != (0, 1):
            raise ValueError(f"wrt: expected (0, 1), got {wrt}.")
        first, *rest = (
            factor * function(x, order, piece)
            for factor, function in zip(self.factors, self.functions, strict=True)
        )
        for one in rest:
            first = first + one
        return first

    def forward(self, x: Tensor) -> Tensor:
        return self.field_jet(x, 0, (0, 1)).value


def field(net: nn.Module, problem: Problem) -> Ansatz:
    """u, which meets all conditions, and q."""
    conditions = [*problem.dirichlet.values(), *problem.natural.values()]
    return Ansatz(net, conditions, enrichment=Enrichment(problem, next(net.parameters())))
