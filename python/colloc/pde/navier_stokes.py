"""The Navier-Stokes equations of an incompressible fluid."""

from __future__ import annotations

from torch import Tensor

from colloc._checks import check_int
from colloc.jets import Jet
from colloc.pde._arguments import (
    AXES,
    Coefficient,
    Vector,
    along,
    check_coefficient,
    check_time,
    check_vector,
    laplacian_over,
    scaled,
    space_of,
    time_of,
    value_of,
    vector_values,
)
from colloc.pde._first_order import check_form, check_outputs
from colloc.pde.equation import Block, Equation


class NavierStokes(Equation):
    """Residual of the Navier-Stokes equations, made by :func:`navier_stokes`."""

    def __init__(
        self,
        viscosity: Coefficient,
        density: Coefficient = 1.0,
        dim: int = 2,
        time: int | None = None,
        first_order: bool = False,
        force: Vector | None = None,
        curl: bool = False,
    ) -> None:
        self.viscosity = check_coefficient("viscosity", viscosity, nonnegative=True)
        self.density = check_coefficient("density", density, positive=True)
        self.dim = check_int("dim", dim, minimum=2, maximum=3)
        self.time = None if time is None else check_time("time", time)
        self.force = None if force is None else check_vector("force", force, dim)
        velocities = ("u", "v", "w")[:dim]
        self._form = form = check_form(first_order, dim, curl, velocities, ("p",))
        self.order = 1 if form else "laplacian" if time is None else 2
        self.outputs = form.outputs if form else (*velocities, "p")
        """What each output of the network is."""
        self.names = (*(f"momentum_{axis}" for axis in AXES[:dim]), "continuity")
        known = ("time", "convection", "pressure", "diffusion", "force", "continuity")
        absent = {"time"} if time is None else set()
        absent |= {"force"} if force is None else set()
        self.addends = tuple(name for name in known if name not in absent)
        if form:
            self.names += form.names
            self.addends += form.addends

    def blocks(self, jet: Jet, x: Tensor) -> list[Block]:
        """The addends of the momenta, the continuity, and what a first-order form adds."""
        dim, form = self.dim, self._form
        check_outputs(jet, self.outputs)
        space = space_of(jet, self.time, dim, timed=True)
        velocity = jet.value[:, :dim]
        slopes = along(jet.grad[:, : dim + 1], jet, space)  # (N, u v [w] p, dim)
        laplacian = form.laplacian(jet, space) if form else laplacian_over(jet, space)[:, :dim]
        momentum: dict[str, Tensor] = {}
        if self.time is not None:
            momentum["time"] = jet.d(time_of(jet, self.time))[:, :dim]
        momentum["convection"] = (velocity.unsqueeze(1) * slopes[:, :dim]).sum(2)
        momentum["pressure"] = scaled(1 / value_of("density", self.density), slopes[:, dim])
        momentum["diffusion"] = scaled(-value_of("viscosity", self.viscosity), laplacian)
        if self.force is not None:
            momentum["force"] = -vector_values("force", self.force, x, velocity, dim)
        divergence = slopes[:, :dim].diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
        blocks: list[Block] = [momentum, {"continuity": divergence}]
        return blocks + form.blocks(jet, space) if form else blocks

    def __repr__(self) -> str:
        return (
            f"navier_stokes(viscosity={self.viscosity}, density={self.density}, dim={self.dim}, "
            f"time={self.time}, first_order={self._form is not None}, force={self.force})"
        )


def navier_stokes(
    viscosity: Coefficient,
    density: Coefficient = 1.0,
    dim: int = 2,
    time: int | None = None,
    first_order: bool = False,
    force: Vector | None = None,
    *,
    curl: bool = False,
) -> NavierStokes:
    """Residual of the Navier-Stokes equations of an incompressible fluid, steady or in time.

    The network has the outputs u, v, (w,) p. The columns are, with U = (u, v, (w))::

        momentum_x, ..  (U_t +) (U . grad) U + grad p / rho - nu lap U - F(x)
        continuity      div U

    nu is the kinematic viscosity mu / rho, p the pressure (not p / rho) and F the force per mass.
    Gradient and Laplacian are taken over space: all inputs that the jet is differentiated by
    (its ``wrt``), but time. The steady equations read a jet of order ``"laplacian"``, those in
    time need order 2, since the jet's Laplacian would include u_tt.

    With ``first_order=True`` the network has the outputs u, v, (w,) p, u_x, u_y, (u_z,) v_x, ..:
    nu lap u is nu (d(u_x)/dx + d(u_y)/dy), all else as above, and further columns are::

        compatibility_u_x, ..  u_x - du/dx, u_y - du/dy, v_x - dv/dx, v_y - dv/dy
        curl_u_xy, ..          d(u_x)/dy - d(u_y)/dx, d(v_x)/dy - d(v_y)/dx, where curl=True

    Args:
        viscosity: nu >= 0, a coefficient, see :mod:`colloc.pde`.
        density: rho > 0, a coefficient.
        dim: the inputs of space, 2 or 3.
        time: None for the steady equations, else the index of the input that is time.
        first_order: take first derivatives alone, of a network with dim + 1 + dim^2 outputs.
        force: F, a tuple with one coefficient for each input of space; a callable from points
            (N, d) to (N, dim); or None for F = 0.
        curl: add the curl of (u_x, u_y, ...) of each velocity, which vanishes for a gradient.

    Returns:
        ``residual(jet, x) -> (N, q)``: what :class:`colloc.Term` takes. ``order``:
        ``"laplacian"``, with time 2, in first-order form 1. ``names``: the columns, of which
        :func:`columns` selects some. ``outputs``: the network's. ``addends``, for
        :func:`suppress`: time, convection, pressure, diffusion, force, continuity;
        compatibility, curl.

    Raises:
        TypeError: an argument is not of a kind listed above.
        ValueError: viscosity is negative, density not positive, a number is not finite, dim is
            not 2 or 3, force has not dim components; when called, time is no input or not in the
            jet's ``wrt``, the jet's order is too low, its outputs or its inputs of space are not
            as many as the equations have, x are not its points, or the force is not (N, dim).
    """
    return NavierStokes(viscosity, density, dim, time, first_order, force, curl)
