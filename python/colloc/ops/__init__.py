"""Drop-in torch ops: wrappers around ``torch.ops.colloc.*`` with checks, fake tensors,
autograd and vmap. One file per op.

The wrappers work under ``torch.func`` and forward-mode differentiation; the raw
``torch.ops.colloc.*`` have no forward mode (torch would silently return 0 for it).
"""

from colloc.ops._activation_formula import activation_formula
from colloc.ops.adaptive_activation import KINDS, adaptive_activation
from colloc.ops.distance import MAX_M, distance
from colloc.ops.halton import halton
from colloc.ops.importance_probabilities import importance_probabilities
from colloc.ops.importance_sample import SCHEMES, ImportanceDraw, importance_sample
from colloc.ops.jet_activation import jet_activation
from colloc.ops.ntk_gram_block import ntk_gram_block
from colloc.ops.ntk_trace import ntk_trace
from colloc.ops.sequences import hammersley, latin_hypercube, sobol, uniform
from colloc.ops.signed_distance import signed_distance
from colloc.ops.transfinite import MAX_MU, transfinite

#: The names of the activation kinds.
ACTIVATIONS = KINDS

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "MAX_M",
    "MAX_MU",
    "SCHEMES",
    "ImportanceDraw",
    "activation_formula",
    "adaptive_activation",
    "distance",
    "halton",
    "hammersley",
    "importance_probabilities",
    "importance_sample",
    "jet_activation",
    "latin_hypercube",
    "ntk_gram_block",
    "ntk_trace",
    "signed_distance",
    "sobol",
    "transfinite",
    "uniform",
]
