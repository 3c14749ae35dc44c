"""Networks and their parts: ordinary ``torch.nn`` modules."""

from colloc.nn.adaptive_activation import AdaptiveActivation
from colloc.nn.fourier_features import FourierFeatures
from colloc.nn.mlp import MLP
from colloc.nn.modified_mlp import ModifiedMLP
from colloc.nn.residual import Residual

__all__ = ["MLP", "AdaptiveActivation", "FourierFeatures", "ModifiedMLP", "Residual"]
