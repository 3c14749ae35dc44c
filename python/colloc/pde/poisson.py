"""The Poisson equation."""

from __future__ import annotations

from torch import Tensor

from colloc.pde._arguments import (
    Coefficient,
    Source,
    check_coefficient,
    check_source,
    scaled,
    source_values,
    value_of,
)
from colloc.pde._one_field import Field, OneFieldEquation
from colloc.pde.equation import Block


class Poisson(OneFieldEquation):
    """Residual of the Poisson equation, made by :func:`poisson`."""

    def __init__(
        self,
        source: Source = None,
        coefficient: Coefficient = 1.0,
        first_order: bool = False,
        dim: int = 2,
        curl: bool = False,
    ) -> None:
        super().__init__(
            "poisson",
            ("laplacian",) if source is None else ("laplacian", "source"),
            time=None,
            first_order=first_order,
            dim=dim,
            curl=curl,
        )
        self.source = check_source("source", source)
        self.coefficient = check_coefficient("coefficient", coefficient)

    def equation(self, field: Field, x: Tensor) -> Block:
        """c lap u, -f."""
        coefficient = value_of("coefficient", self.coefficient)
        parts = {"laplacian": scaled(coefficient, field.laplacian)}
        if self.source is None:
            return parts
        return {**parts, "source": -source_values(self.source, x, field.value)}

    def __repr__(self) -> str:
        return f"poisson(source={self.source}, coefficient={self.coefficient})"


def poisson(
    source: Source = None,
    coefficient: Coefficient = 1.0,
    *,
    first_order: bool = False,
    dim: int = 2,
    curl: bool = False,
) -> Poisson:
    """Residual of the Poisson equation::

        r = c lap u - f(x)

    so that -lap u = 1 is ``poisson(-1.0)``, or ``poisson(1.0, coefficient=-1.0)``, and the
    Laplace equation ``poisson()``. The Laplacian is taken over the jet's ``wrt``; each of the m
    outputs is a field of its own.

    With ``first_order=True`` the network has the outputs u, u_x, u_y (and u_z), and the columns
    are::

        poisson              c (d(u_x)/dx + d(u_y)/dy) - f(x)
        compatibility_x, ..  u_x - du/dx, u_y - du/dy
        curl_xy, ..          d(u_x)/dy - d(u_y)/dx, where curl=True

    Args:
        source: f, a callable from points (N, d) to (N, m), or to (N, 1) for all outputs alike;
            a number or a tensor of one entry (which may be trained); or None for f = 0.
        coefficient: c, a coefficient, see :mod:`colloc.pde`. One that depends on the points is
            no factor of the Laplacian: write that equation yourself.
        first_order: take first derivatives alone, of a network with 1 + dim outputs.
        dim: the inputs of space in the first-order form, 1, 2 or 3.
        curl: add the curl of (u_x, u_y, ...), which vanishes for a gradient.

    Returns:
        ``residual(jet, x) -> (N, m)``, in first-order form (N, q): what :class:`colloc.Term`
        takes. ``order``: ``"laplacian"``, in first-order form 1. ``names``: the columns.
        ``addends``, for :func:`suppress`: laplacian, source; compatibility, curl.

    Raises:
        TypeError: source or coefficient is not of a kind listed above.
        ValueError: one of them is not finite, dim is not 1, 2 or 3; when called, the jet holds
            no Laplacian, its outputs or inputs are not those of the first-order form, x are not
            its points, or the source's shape is neither that of u nor (N, 1).
    """
    return Poisson(source, coefficient, first_order, dim, curl)
