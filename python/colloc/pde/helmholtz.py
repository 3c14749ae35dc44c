"""The Helmholtz equation."""

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


class Helmholtz(OneFieldEquation):
    """Residual of the Helmholtz equation, made by :func:`helmholtz`."""

    def __init__(
        self,
        k: Coefficient = 1.0,
        source: Source = None,
        first_order: bool = False,
        dim: int = 2,
        curl: bool = False,
    ) -> None:
        addends = ("laplacian", "reaction", "source")
        super().__init__(
            "helmholtz",
            addends[: 2 if source is None else 3],
            time=None,
            first_order=first_order,
            dim=dim,
            curl=curl,
        )
        self.k = check_coefficient("k", k)
        self.source = check_source("source", source)

    def equation(self, field: Field, x: Tensor) -> Block:
        """lap u, k^2 u, -f."""
        u = field.value
        parts = {"laplacian": field.laplacian, "reaction": scaled(value_of("k", self.k) ** 2, u)}
        if self.source is None:
            return parts
        return {**parts, "source": -source_values(self.source, x, u)}

    def __repr__(self) -> str:
        return f"helmholtz(k={self.k}, source={self.source})"


def helmholtz(
    k: Coefficient = 1.0,
    source: Source = None,
    *,
    first_order: bool = False,
    dim: int = 2,
    curl: bool = False,
) -> Helmholtz:
    """Residual of the Helmholtz equation::

        r = lap u + k^2 u - f(x)

    with a plus before k^2 u, as of time-harmonic waves. The Laplacian is taken over the jet's
    ``wrt``; each of the m outputs is a field of its own.

    With ``first_order=True`` the network has the outputs u, u_x, u_y (and u_z), and the columns
    are::

        helmholtz            d(u_x)/dx + d(u_y)/dy + k^2 u - f(x)
        compatibility_x, ..  u_x - du/dx, u_y - du/dy
        curl_xy, ..          d(u_x)/dy - d(u_y)/dx, where curl=True

    Args:
        k: wave number, a coefficient, see :mod:`colloc.pde`.
        source: f, a callable from points (N, d) to (N, m), or to (N, 1) for all outputs alike;
            a number or a tensor of one entry (which may be trained); or None for f = 0.
        first_order: take first derivatives alone, of a network with 1 + dim outputs.
        dim: the inputs of space in the first-order form, 1, 2 or 3.
        curl: add the curl of (u_x, u_y, ...), which vanishes for a gradient.

    Returns:
        ``residual(jet, x) -> (N, m)``, in first-order form (N, q): what :class:`colloc.Term`
        takes. ``order``: ``"laplacian"``, in first-order form 1. ``names``: the columns.
        ``addends``, for :func:`suppress`: laplacian, reaction, source; compatibility, curl.

    Raises:
        TypeError: k or source is not of a kind listed above.
        ValueError: k or source is not finite, dim is not 1, 2 or 3; when called, the jet holds
            no Laplacian, its outputs or inputs are not those of the first-order form, x are not
            its points, or the source's shape is neither that of u nor (N, 1).
    """
    return Helmholtz(k, source, first_order, dim, curl)
