"""Activation with trainable slopes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from colloc import ops
from colloc._checks import check_choice, check_float, check_int


class AdaptiveActivation(nn.Module):
    """sigma(n a x) with a trainable slope a and a fixed scale n (eq. 52-53).

    A drop-in for ``nn.Tanh`` and its like: x (..., W) to (..., W). The slope starts at 1/n, so
    that n a = 1 and training begins at the plain activation (Jagtap, Kawaguchi and
    Karniadakis, Journal of Computational Physics 404, 2020).

    Args:
        kind: "tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "identity"
            or "stan" (tanh z + beta z tanh z with a trainable beta that starts at 1).
        scale: n > 0. A larger one makes the slope learn faster.
        features: None for one slope (one for all layers where the module is shared, or one
            for its layer), W for one slope (and beta) for every neuron.
        dtype, device: of the parameters.

    Attributes:
        a: the slope, () or (features,).
        beta: for "stan", () or (features,); None otherwise.

    Raises:
        ValueError, TypeError: an unknown kind, a scale that is not > 0, features < 1.
    """

    def __init__(
        self,
        kind: str,
        scale: float = 1.0,
        features: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.kind = check_choice("kind", kind, ops.KINDS)
        self.scale = check_float("scale", scale, positive=True)
        self.features = None if features is None else check_int("features", features, minimum=1)
        shape = () if self.features is None else (self.features,)
        self.a = nn.Parameter(torch.full(shape, 1.0 / self.scale, dtype=dtype, device=device))
        if kind == "stan":
            self.beta: nn.Parameter | None = nn.Parameter(
                torch.ones(shape, dtype=dtype, device=device)
            )
        else:
            self.register_parameter("beta", None)

    def forward(self, x: Tensor) -> Tensor:
        """sigma(n a x), (..., W) to (..., W)."""
        return ops.adaptive_activation(x, self.a, self.kind, self.scale, self.beta)

    def extra_repr(self) -> str:
        """The kind, scale and number of slopes."""
        per = "" if self.features is None else f", features={self.features}"
        return f"{self.kind!r}, scale={self.scale:g}{per}"
