"""Activation with trainable slopes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from colloc import ops
from colloc._checks import check_choice, check_float, check_int, fail
from colloc.jets import Activation


class AdaptiveActivation(nn.Module):
    """sigma(n a x) with a trainable slope a and a fixed scale n.

    A drop-in for ``nn.Tanh`` and its like: x (..., W) to (..., W). The slope starts at 1/n, so
    that n a = 1 and training begins at the plain activation (Jagtap, Kawaguchi and
    Karniadakis, Journal of Computational Physics 404, 2020).

    Args:
        kind: "tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "identity"
            or "stan" (tanh z + beta z tanh z with a trainable beta that starts at 1).
        scale: n > 0, n and 1/n within the range of dtype. A larger one makes the slope learn
            faster.
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
        self.scale = _check_scale(scale, dtype)
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

    def jet_activation(self) -> Activation:
        """What :func:`colloc.jet` needs to know of it."""
        return Activation(self.kind, self.a, self.scale, self.beta)

    def extra_repr(self) -> str:
        """The kind, scale and number of slopes."""
        per = "" if self.features is None else f", features={self.features}"
        return f"{self.kind!r}, scale={self.scale:g}{per}"


def _check_scale(scale: Any, dtype: torch.dtype | None) -> float:
    """A scale whose slope 1/n starts as a normal number: not 0, not infinite."""
    number = check_float("scale", scale, positive=True)
    kind = torch.get_default_dtype() if dtype is None else dtype
    limits = torch.finfo(kind)
    low = max(limits.tiny, 1.0 / limits.max)
    if not (low <= number <= limits.max and limits.tiny <= 1.0 / number <= limits.max):
        fail("scale", f"a number that {kind} holds, and its inverse too", f"{number}")
    return number
