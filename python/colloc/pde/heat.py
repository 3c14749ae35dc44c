"""The heat equation."""

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


class Heat(OneFieldEquation):
    """Residual of the heat equation, made by :func:`heat`."""

    def __init__(
        self,
        diffusivity: Coefficient,
        source: Source = None,
        time: int = -1,
        first_order: bool = False,
        dim: int = 2,
        curl: bool = False,
    ) -> None:
        addends = ("time", "diffusion", "source")
        super().__init__(
            "heat",
            addends[: 2 if source is None else 3],
            time=time,
            first_order=first_order,
            dim=dim,
            curl=curl,
        )
        self.diffusivity = check_coefficient("diffusivity", diffusivity, nonnegative=True)
        self.source = check_source("source", source)

    def equation(self, field: Field, x: Tensor) -> Block:
        """u_t, -alpha lap u, -f."""
        diffusivity = value_of("diffusivity", self.diffusivity)
        parts = {"time": field.by_time, "diffusion": scaled(-diffusivity, field.laplacian)}
        if self.source is None:
            return parts
        return {**parts, "source": -source_values(self.source, x, field.value)}

    def __repr__(self) -> str:
        return f"heat(diffusivity={self.diffusivity}, source={self.source}, time={self.time})"


def heat(
    diffusivity: Coefficient,
    source: Source = None,
    time: int = -1,
    *,
    first_order: bool = False,
    dim: int = 2,
    curl: bool = False,
) -> Heat:
    """Residual of the heat equation::

        r = u_t - alpha lap_x u - f(x)

    One input is time; the Laplacian is taken over all others that the jet is differentiated by
    (its ``wrt``), which must contain time. A jet of order ``"laplacian"`` will not do, since its
    Laplacian includes u_tt: order 2 is needed. Each of the m outputs is a field of its own.

    With ``first_order=True`` the network has the outputs u, u_x, u_y (and u_z), and the columns
    are::

        heat                 u_t - alpha (d(u_x)/dx + d(u_y)/dy) - f(x)
        compatibility_x, ..  u_x - du/dx, u_y - du/dy
        curl_xy, ..          d(u_x)/dy - d(u_y)/dx, where curl=True

    Args:
        diffusivity: alpha >= 0, a coefficient, see :mod:`colloc.pde`.
        source: f, a callable from points (N, d), time among them, to (N, m), or to (N, 1) for
            all outputs alike; a number or a tensor of one entry (which may be trained); or None
            for f = 0.
        time: the index of the input that is time, by default the last of all d inputs.
        first_order: take first derivatives alone, of a network with 1 + dim outputs.
        dim: the inputs of space in the first-order form, 1, 2 or 3.
        curl: add the curl of (u_x, u_y, ...), which vanishes for a gradient.

    Returns:
        ``residual(jet, x) -> (N, m)``, in first-order form (N, q): what :class:`colloc.Term`
        takes. ``order``: 2, in first-order form 1. ``names``: the columns. ``addends``, for
        :func:`suppress`: time, diffusion, source; compatibility, curl.

    Raises:
        TypeError: diffusivity, source or time is not of a kind listed above.
        ValueError: diffusivity is negative, a number is not finite, dim is not 1, 2 or 3; when
            called, time is no input or not in the jet's ``wrt``, the jet's order is below 2, its
            outputs or inputs are not those of the first-order form, x are not its points, or the
            source's shape is neither that of u nor (N, 1).
    """
    return Heat(diffusivity, source, time, first_order, dim, curl)
