"""Equations as residuals of jets, and the terms that put them on points.

Coefficients of equations (viscosity, diffusivity, k, ..., components of a velocity) are one of

* a number;
* a floating tensor of shape () or (1,), which may be trained: an ``nn.Parameter``;
* a function without arguments, a lambda or an ``nn.Module``, that gives one of these and is called
  whenever the residual is evaluated. So a coefficient is kept positive, or follows from others::

      raw = torch.nn.Parameter(torch.tensor(-2.0))
      equation = cc.pde.heat(lambda: raw.exp())

  A tensor computed once, ``cc.pde.heat(raw.exp())``, would fail at the second backward, and is
  refused.

What is trained has to be among the optimiser's parameters: ``torch.optim.Adam([*net.parameters(),
raw])``. Signs and infinities are looked at once, of numbers and tensors, not of what functions
give.
"""

from colloc.pde.advection_diffusion import AdvectionDiffusion, advection_diffusion
from colloc.pde.burgers import Burgers, burgers
from colloc.pde.columns import Columns, columns
from colloc.pde.distance_weight import distance_weight
from colloc.pde.elasticity import Elasticity, elasticity
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
    "Elasticity",
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
    "elasticity",
    "gradient_enhanced",
    "heat",
    "helmholtz",
    "integral",
    "navier_stokes",
    "poisson",
    "suppress",
]
