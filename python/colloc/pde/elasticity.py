"""Linear elasticity in the plane."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from colloc._checks import check_choice
from colloc.jets import Jet
from colloc.pde._arguments import (
    Coefficient,
    Vector,
    along,
    check_coefficient,
    check_flag,
    check_vector,
    scaled,
    space_of,
    value_of,
    vector_values,
)
from colloc.pde._first_order import check_outputs
from colloc.pde.equation import Block, Equation


class Elasticity(Equation):
    """Residual of the equations of elasticity, made by :func:`elasticity`."""

    def __init__(
        self,
        lame_lambda: Coefficient,
        mu: Coefficient,
        body_force: Vector | None = None,
        plane: Literal["strain", "stress"] = "strain",
        first_order: bool = False,
    ) -> None:
        self.lame_lambda = check_coefficient("lame_lambda", lame_lambda)
        self.mu = check_coefficient("mu", mu, positive=True)
        self.body_force = None if body_force is None else check_vector("body_force", body_force, 2)
        self.plane = check_choice("plane", plane, ("strain", "stress"))
        self.first_order = check_flag("first_order", first_order)
        self.order = 1 if first_order else 2
        self.outputs: tuple[str, ...] = ("u", "v")
        """What each output of the network is."""
        self.names: tuple[str, ...] = ("equilibrium_x", "equilibrium_y")
        force = () if body_force is None else ("force",)
        self.addends: tuple[str, ...] = ("laplacian", "dilatation", *force)
        if first_order:
            self.outputs += ("s_xx", "s_yy", "s_xy")
            self.names += ("hooke_xx", "hooke_yy", "hooke_xy")
            self.addends = ("divergence", *force, "stress", "strain")

    def blocks(self, jet: Jet, x: Tensor) -> list[Block]:
        """The addends of equilibrium, and of Hooke's law in first-order form."""
        check_outputs(jet, self.outputs)
        space = space_of(jet, None, 2)
        mu = value_of("mu", self.mu)
        first = value_of("lame_lambda", self.lame_lambda)
        if self.plane == "stress":
            first = 2 * first * mu / (first + 2 * mu)
        blocks: list[Block]
        if self.first_order:
            slopes = along(jet.grad, jet, space)  # (N, u v s_xx s_yy s_xy, 2)
            by_x, by_y = (slopes[..., k].split(1, dim=1) for k in (0, 1))
            (u_x, v_x, *_), (u_y, v_y, *_) = by_x, by_y
            divergence = torch.cat((by_x[2] + by_y[4], by_x[4] + by_y[3]), dim=1)
            dilatation = scaled(first, u_x + v_y)
            normal = torch.cat((u_x, v_y), dim=1)
            strain = (scaled(2 * mu, normal) + dilatation, scaled(mu, u_y + v_x))
            equilibrium = {"divergence": divergence}
            hooke = {"stress": jet.value[:, 2:], "strain": -torch.cat(strain, dim=1)}
            blocks = [equilibrium, hooke]
        else:
            i, j = space
            u, v = jet[:, 0], jet[:, 1]
            laplacian = jet.d(i, i) + jet.d(j, j)
            dilatation = torch.cat((u.d(i, i) + v.d(i, j), u.d(i, j) + v.d(j, j)), dim=1)
            equilibrium = {
                "laplacian": scaled(mu, laplacian),
                "dilatation": scaled(first + mu, dilatation),
            }
            blocks = [equilibrium]
        if self.body_force is not None:
            values = jet.value[:, :2]
            equilibrium["force"] = vector_values("body_force", self.body_force, x, values, 2)
        return blocks

    def __repr__(self) -> str:
        return (
            f"elasticity(lame_lambda={self.lame_lambda}, mu={self.mu}, "
            f"body_force={self.body_force}, plane={self.plane!r}, first_order={self.first_order})"
        )


def elasticity(
    lame_lambda: Coefficient,
    mu: Coefficient,
    body_force: Vector | None = None,
    *,
    plane: Literal["strain", "stress"] = "strain",
    first_order: bool = False,
) -> Elasticity:
    """Residual of the equations of a linear elastic body at rest, in plane strain or stress.

    The network has the outputs u, v, the displacements. The columns are, with the body force F::

        equilibrium_x  mu (u_xx + u_yy) + (l + mu) (u_xx + v_xy) + F_x
        equilibrium_y  mu (v_xx + v_yy) + (l + mu) (u_xy + v_yy) + F_y

    l is Lame's first parameter lambda in plane strain, 2 lambda mu / (lambda + 2 mu) in plane
    stress. In Young's modulus E and Poisson's ratio nu, mu = E / (2 (1 + nu)) and
    lambda = E nu / ((1 + nu) (1 - 2 nu)).

    With ``first_order=True`` the network has the outputs u, v, s_xx, s_yy, s_xy, the stresses
    among them, and the columns are::

        equilibrium_x  d(s_xx)/dx + d(s_xy)/dy + F_x
        equilibrium_y  d(s_xy)/dx + d(s_yy)/dy + F_y
        hooke_xx       s_xx - (2 mu u_x + l (u_x + v_y))
        hooke_yy       s_yy - (2 mu v_y + l (u_x + v_y))
        hooke_xy       s_xy - mu (u_y + v_x)

    so that tractions are values of the network. Choose units in which the moduli and the
    displacements are of the size of 1: columns of very different size compete.

    Args:
        lame_lambda: lambda, a coefficient, see :mod:`colloc.pde`.
        mu: the shear modulus > 0, a coefficient.
        body_force: F, the force per volume: a tuple of two coefficients; a callable from points
            (N, d) to (N, 2); or None for F = 0.
        plane: "strain" or "stress".
        first_order: take first derivatives alone, of a network with 5 outputs.

    Returns:
        ``residual(jet, x) -> (N, 2)``, in first-order form (N, 5): what :class:`colloc.Term`
        takes. ``order``: 2, in first-order form 1. ``names``: the columns, of which
        :func:`columns` selects some. ``outputs``: the network's. ``addends``, for
        :func:`suppress`: laplacian, dilatation, force; in first-order form divergence, force,
        stress, strain.

    Raises:
        TypeError: an argument is not of a kind listed above.
        ValueError: mu is not positive, a number is not finite, body_force has not two components,
            plane is something else; when called, the jet is not differentiated by two inputs, its
            order is too low, its outputs are not those listed, x are not its points, or the force
            is not (N, 2).

    Source: Timoshenko and Goodier, Theory of Elasticity, third edition, 1970: Hooke's law in
    chapter 1, plane stress and plane strain in chapter 2.
    """
    return Elasticity(lame_lambda, mu, body_force, plane, first_order)
