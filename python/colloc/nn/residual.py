"""A skip connection around a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from colloc._checks import fail_type
from colloc.jets import Jet
from colloc.jets.modules import act


class Residual(nn.Module):
    """z + module(z) (He et al., 2016), for blocks of a network inside ``nn.Sequential``.

    ``nn.Sequential(nn.Linear(2, 64), nn.Tanh(), Residual(nn.Sequential(nn.Linear(64, 64),
    nn.Tanh())), nn.Linear(64, 1))``.

    Args:
        module: maps (N, W) to (N, W).

    Raises:
        TypeError: module is not an ``nn.Module``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            fail_type("module", "an nn.Module", module)
        self.module = module

    def forward(self, z: Tensor) -> Tensor:
        """(N, W) -> (N, W)."""
        return z + self.module(z)

    def forward_jet(self, jet: Jet) -> Jet:
        """The same of a jet."""
        added = act(self.module, jet)
        # Under autocast the module may give a lower precision than it took.
        dtype = torch.promote_types(jet.components.dtype, added.components.dtype)
        return jet.to(dtype) + added.to(dtype)
