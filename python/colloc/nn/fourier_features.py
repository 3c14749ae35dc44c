"""Random Fourier features of the inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from colloc import jets
from colloc._checks import check_float, check_float_dtype, check_int
from colloc.jets import Jet
from colloc.jets.modules import linear


class FourierFeatures(nn.Module):
    """[cos(2 pi B x), sin(2 pi B x)] with normally distributed frequencies B.

    Put before a network they let it learn fine detail: ``nn.Sequential(FourierFeatures(2, 64,
    scale=2.0), MLP(128, 1))``. The features take the part of the first layer; B is not trained.

    Source: Tancik et al., Fourier Features Let Networks Learn High Frequency Functions, NeurIPS
    2020.

    Args:
        in_features: number d of inputs, at least 1.
        features: number of frequencies, at least 1.
        scale: standard deviation of B's entries, waves per unit of length, > 0.
        seed: of B; None draws from torch's default generator.
        dtype, device: of B.

    Shapes: (N, in_features) -> (N, 2 features).

    Raises:
        ValueError, TypeError: a size below 1, a scale that is not > 0.
    """

    frequencies: Tensor

    def __init__(
        self,
        in_features: int,
        features: int,
        scale: float = 1.0,
        seed: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, minimum=1)
        self.features = check_int("features", features, minimum=1)
        self.scale = check_float("scale", scale, positive=True)
        generator = None
        if seed is not None:
            generator = torch.Generator().manual_seed(check_int("seed", seed, minimum=0))
        drawn = torch.randn(features, in_features, generator=generator, dtype=torch.float64)
        frequencies = self.scale * drawn
        self.register_buffer(
            "frequencies", frequencies.to(device=device, dtype=check_float_dtype("dtype", dtype))
        )

    @property
    def out_features(self) -> int:
        """2 features."""
        return 2 * self.features

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) -> (N, 2 features)."""
        phase = x @ (2 * math.pi * self.frequencies).t()
        return torch.cat((torch.cos(phase), torch.sin(phase)), dim=-1)

    def forward_jet(self, jet: Jet) -> Jet:
        """The same of a jet."""
        phase = linear(jet, 2 * math.pi * self.frequencies)
        return jets.cat((jets.cos(phase), jets.sin(phase)))

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"{self.in_features}, {self.features}, scale={self.scale:g}"
