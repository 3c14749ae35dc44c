"""Equations as residuals of jets, and the terms that put them on points."""

from colloc.pde.advection_diffusion import AdvectionDiffusion, advection_diffusion
from colloc.pde.burgers import Burgers, burgers
from colloc.pde.columns import Columns, columns
from colloc.pde.distance_weight import distance_weight
from colloc.pde.equation import Equation
from colloc.pde.gradient_enhanced import GradientEnhanced, gradient_enhanced
from colloc.pde.heat import Heat, heat
from colloc.pde.helmholtz import Helmholtz, helmholtz
from colloc.pde.integral import Integral, integral
from colloc.pde.navier_stokes import NavierStokes, navier_stokes
from colloc.pde.poisson import Poisson, poisson
from colloc.pde.suppress import Suppressed, suppress
from colloc.pde.term import Term

__all__ = [
    "AdvectionDiffusion",
    "Burgers",
    "Columns",
    "Equation",
    "GradientEnhanced",
    "Heat",
    "Helmholtz",
    "Integral",
    "NavierStokes",
    "Poisson",
    "Suppressed",
    "Term",
    "advection_diffusion",
    "burgers",
    "columns",
    "distance_weight",
    "gradient_enhanced",
    "heat",
    "helmholtz",
    "integral",
    "navier_stokes",
    "poisson",
    "suppress",
]
