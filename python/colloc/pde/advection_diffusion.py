"""The advection-diffusion equation."""

from __future__ import annotations

from torch import Tensor

from colloc.pde._arguments import (
    Coefficient,
    Source,
    Vector,
    check_coefficient,
    check_source,
    check_vector,
    scaled,
    source_values,
    time_hint,
    value_of,
    vector_columns,
)
from colloc.pde._one_field import Field, OneFieldEquation
from colloc.pde.equation import Block


class AdvectionDiffusion(OneFieldEquation):
    """Residual of the advection-diffusion equation, made by :func:`advection_diffusion`."""

    timed = True

    def __init__(
        self,
        velocity: Vector,
        diffusivity: Coefficient,
        source: Source = None,
        time: int | None = None,
        first_order: bool = False,
        dim: int = 2,
        curl: bool = False,
    ) -> None:
        addends = ("time", "advection", "diffusion", "source")
        super().__init__(
            "advection_diffusion",
            addends[1 if time is None else 0 : 3 if source is None else 4],
            time=time,
            first_order=first_order,
            dim=dim,
            curl=curl,
        )
        self.velocity = check_vector("velocity", velocity, dim if first_order else None)
        self.diffusivity = check_coefficient("diffusivity", diffusivity, nonnegative=True)
        self.source = check_source("source", source)

    def equation(self, field: Field, x: Tensor) -> Block:
        """u_t, a . grad u, -D lap u, -f."""
        u, slopes, space = field.value, field.by_space, field.space
        fix = time_hint(space) if self.time is None and len(space) > 1 else ""
        velocity = vector_columns("velocity", self.velocity, x, u, len(space), fix)
        advection = scaled(velocity[0], slopes[..., 0])
        for i in range(1, len(velocity)):
            advection = advection + scaled(velocity[i], slopes[..., i])
        parts = {} if self.time is None else {"time": field.by_time}
        diffusivity = value_of("diffusivity", self.diffusivity)
        parts |= {"advection": advection, "diffusion": scaled(-diffusivity, field.laplacian)}
        if self.source is None:
            return parts
        return {**parts, "source": -source_values(self.source, x, u)}

    def __repr__(self) -> str:
        return (
            f"advection_diffusion(velocity={self.velocity}, diffusivity={self.diffusivity}, "
            f"source={self.source}, time={self.time})"
        )


def advection_diffusion(
    velocity: Vector,
    diffusivity: Coefficient,
    source: Source = None,
    time: int | None = None,
    *,
    first_order: bool = False,
    dim: int = 2,
    curl: bool = False,
) -> AdvectionDiffusion:
    """Residual of the advection-diffusion equation, steady or in time::

        r = a(x) . grad u - D lap u - f(x)
        r = u_t + a(x) . grad u - D lap u - f(x)

    Gradient and Laplacian are taken over space: all inputs that the jet is differentiated by
    (its ``wrt``), but time. The steady equation reads a jet of order ``"laplacian"``, the one in
    time needs order 2, since the jet's Laplacian would include u_tt. The velocity is not
    differentiated: where it is not free of divergence this is not the conservative form. Each of
    the m outputs is a field of its own.

    With ``first_order=True`` the network has the outputs u, u_x, u_y (and u_z), and the columns
    are::

        advection_diffusion  (u_t +) a(x) . grad u - D (d(u_x)/dx + d(u_y)/dy) - f(x)
        compatibility_x, ..  u_x - du/dx, u_y - du/dy
        curl_xy, ..          d(u_x)/dy - d(u_y)/dx, where curl=True

    Args:
        velocity: a, a tuple with one coefficient, see :mod:`colloc.pde`, for each input of space;
            or a callable from points (N, d) to (N, inputs of space).
        diffusivity: D >= 0, a coefficient.
        source: f, a callable from points (N, d) to (N, m), or to (N, 1) for all outputs alike;
            a number or a tensor of one entry (which may be trained); or None for f = 0.
        time: None for the steady equation, else the index of the input that is time.
        first_order: take first derivatives alone, of a network with 1 + dim outputs.
        dim: the inputs of space in the first-order form, 1, 2 or 3.
        curl: add the curl of (u_x, u_y, ...), which vanishes for a gradient.

    Returns:
        ``residual(jet, x) -> (N, m)``, in first-order form (N, q): what :class:`colloc.Term`
        takes. ``order``: ``"laplacian"``, with time 2, in first-order form 1. ``names``: the
        columns. ``addends``, for :func:`suppress`: time, advection, diffusion, source;
        compatibility, curl.

    Raises:
        TypeError: an argument is not of a kind listed above.
        ValueError: diffusivity is negative, a number is not finite, dim is not 1, 2 or 3; when
            called, time is no input or not in the jet's ``wrt``, the jet's order is too low, its
            outputs or inputs are not those of the first-order form, x are not its points, the
            velocity has not one component for each input of space, or the source's shape is
            neither that of u nor (N, 1).
    """
    return AdvectionDiffusion(velocity, diffusivity, source, time, first_order, dim, curl)
