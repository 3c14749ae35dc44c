"""Rules that weigh the losses of several terms into one, and the points of a term.

Rules of losses turn a dict of named losses into a total: ``balancer(losses, step)``. Rules of
points take a term's place: ``rule(term)`` instead of ``term.loss()``. Under each there is a pure
function ``(values, state) -> (weights, state)`` in the module of its name.
"""

from colloc.balancing.base import Balancer
from colloc.balancing.causal import Causal
from colloc.balancing.gradient_norm_balance import GradientNormBalance
from colloc.balancing.gradnorm import GradNorm
from colloc.balancing.homoscedastic import HomoscedasticUncertainty
from colloc.balancing.lr_annealing import LRAnnealing
from colloc.balancing.ntk import NTK
from colloc.balancing.relobralo import ReLoBRaLo
from colloc.balancing.residual_attention import ResidualBasedAttention
from colloc.balancing.resnorm import ResNorm
from colloc.balancing.self_adaptive import SelfAdaptive
from colloc.balancing.slope_recovery import slope_recovery
from colloc.balancing.softadapt import SoftAdapt
from colloc.balancing.sum import Sum
from colloc.pde import suppress

__all__ = [
    "NTK",
    "Balancer",
    "Causal",
    "GradNorm",
    "GradientNormBalance",
    "HomoscedasticUncertainty",
    "LRAnnealing",
    "ReLoBRaLo",
    "ResNorm",
    "ResidualBasedAttention",
    "SelfAdaptive",
    "SoftAdapt",
    "Sum",
    "slope_recovery",
    "suppress",
]
