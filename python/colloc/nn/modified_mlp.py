"""The multilayer perceptron with two gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from colloc._checks import check_choice, check_float_dtype, check_int
from colloc.jets import Jet
from colloc.jets.modules import act
from colloc.nn.activations import Adaptive, check_adaptive, check_slope, make_activations
from colloc.nn.mlp import check_device, glorot_linear
from colloc.ops import ACTIVATIONS


class ModifiedMLP(nn.Module):
    """A multilayer perceptron whose hidden layers are mixed from two encodings of the inputs.

        U = sigma(W_u x + b_u),  V = sigma(W_v x + b_v),  H_0 = sigma(W_0 x + b_0),
        Z_k = sigma(W_k H_(k-1) + b_k),  H_k = U + Z_k (V - U),  k = 1 .. L - 1,
        u = W H_(L-1) + b.

    Source: Wang, Teng and Perdikaris, Understanding and mitigating gradient flow pathologies in
    physics-informed neural networks, SIAM Journal on Scientific Computing 43 (2021).

    Args:
        in_features, out_features, hidden_features: as of :class:`colloc.nn.MLP`.
        hidden_layers: L >= 1, not counting the two encoders.
        activation, adaptive, slope, dtype, device: as of :class:`colloc.nn.MLP`; the encoders
            have the activation of a first and second layer of their own.

    Shapes: (N, in_features) -> (N, out_features).

    Raises:
        ValueError, TypeError: as :class:`colloc.nn.MLP`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_features: int = 512,
        hidden_layers: int = 6,
        activation: str = "silu",
        adaptive: Adaptive = False,
        *,
        slope: float = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | int | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, minimum=1)
        self.out_features = check_int("out_features", out_features, minimum=1)
        self.hidden_features = check_int("hidden_features", hidden_features, minimum=1)
        self.hidden_layers = check_int("hidden_layers", hidden_layers, minimum=1)
        check_choice("activation", activation, ACTIVATIONS)
        adaptive = check_adaptive(adaptive)
        slope = check_slope(slope, adaptive)
        dtype, device = check_float_dtype("dtype", dtype), check_device(device)
        width = self.hidden_features
        first_u, first_v, *rest = make_activations(
            activation, adaptive, width, self.hidden_layers + 2, slope, dtype, device
        )
        self.encode_u = nn.Sequential(glorot_linear(in_features, width, dtype, device), first_u)
        self.encode_v = nn.Sequential(glorot_linear(in_features, width, dtype, device), first_v)
        self.layers = nn.ModuleList(
            nn.Sequential(
                glorot_linear(in_features if k == 0 else width, width, dtype, device), activation_k
            )
            for k, activation_k in enumerate(rest)
        )
        self.out = glorot_linear(width, out_features, dtype, device)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) -> (N, out_features)."""
        u, v = self.encode_u(x), self.encode_v(x)
        h: Tensor | None = None
        for layer in self.layers:
            h = layer(x) if h is None else u + layer(h) * (v - u)
        return self.out(h)

    def forward_jet(self, jet: Jet) -> Jet:
        """The same of a jet."""
        u, v = act(self.encode_u, jet), act(self.encode_v, jet)
        difference = v - u
        h: Jet | None = None
        for layer in self.layers:
            h = act(layer, jet) if h is None else u + act(layer, h) * difference
        assert h is not None
        return act(self.out, h)
