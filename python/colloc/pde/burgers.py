"""Burgers' equation."""

from __future__ import annotations

from torch import Tensor

from colloc.jets import Jet
from colloc.pde._arguments import (
    Coefficient,
    check_coefficient,
    check_time,
    scaled,
    space_of,
    time_of,
    value_of,
)
from colloc.pde.equation import Block, Equation


class Burgers(Equation):
    """Residual of Burgers' equation, made by :func:`burgers`."""

    order = 2
    names = ("burgers",)
    addends = ("time", "convection", "diffusion")

    def __init__(self, viscosity: Coefficient, time: int = -1) -> None:
        self.viscosity = check_coefficient("viscosity", viscosity, nonnegative=True)
        self.time = check_time("time", time)

    def blocks(self, jet: Jet, x: Tensor) -> list[Block]:
        """u_t, u u_x, -nu u_xx."""
        (s,) = space_of(jet, self.time, 1)
        return [
            {
                "time": jet.d(time_of(jet, self.time)),
                "convection": jet.value * jet.d(s),
                "diffusion": scaled(-value_of("viscosity", self.viscosity), jet.d(s, s)),
            }
        ]

    def __repr__(self) -> str:
        return f"burgers(viscosity={self.viscosity}, time={self.time})"


def burgers(viscosity: Coefficient, time: int = -1) -> Burgers:
    """Residual of Burgers' equation in one input of space::

        r = u_t + u u_x - nu u_xx

    The jet is differentiated by two inputs (its ``wrt``), space and time; order 2 is needed, since
    ``"laplacian"`` would be u_xx + u_tt. Each of the m outputs is a field of its own.

    Args:
        viscosity: nu >= 0, a coefficient, see :mod:`colloc.pde`.
        time: the index of the input that is time, by default the last of all d inputs.

    Returns:
        ``residual(jet, x) -> (N, m)``: what :class:`colloc.Term` takes. ``order``: 2.
        ``names``: burgers. ``addends``, for :func:`suppress`: time, convection, diffusion.

    Raises:
        TypeError: viscosity or time is not of a kind listed above.
        ValueError: viscosity is negative or not finite; when called, time is no input or not in
            the jet's ``wrt``, there are several inputs of space, the jet's order is below 2, or x
            are not its points.
    """
    return Burgers(viscosity, time)
