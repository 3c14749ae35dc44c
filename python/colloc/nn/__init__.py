"""Networks and their parts: ordinary ``torch.nn`` modules."""

from colloc.nn.adaptive_activation import AdaptiveActivation
from colloc.nn.mlp import MLP

__all__ = ["MLP", "AdaptiveActivation"]
