"""Collocation points: sequences in the unit cube, and samplers that lay them into shapes."""

from colloc.ops.halton import halton
from colloc.ops.sequences import hammersley, latin_hypercube, sobol, uniform
from colloc.sampling.importance import ImportanceSampler
from colloc.sampling.measures import DerivativeNorm
from colloc.sampling.plot import plot
from colloc.sampling.r3 import R3
from colloc.sampling.rad import RAD
from colloc.sampling.rar_d import RARD
from colloc.sampling.sampler import Sampler
from colloc.sampling.sequences import Halton, Hammersley, LatinHypercube, Sobol, Uniform

__all__ = [
    "R3",
    "RAD",
    "RARD",
    "DerivativeNorm",
    "Halton",
    "Hammersley",
    "ImportanceSampler",
    "LatinHypercube",
    "Sampler",
    "Sobol",
    "Uniform",
    "halton",
    "hammersley",
    "latin_hypercube",
    "plot",
    "sobol",
    "uniform",
]
