"""The activations of a network's hidden layers, with or without trainable slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from colloc._checks import check_float, fail
from colloc.jets import Activation
from colloc.nn.adaptive_activation import AdaptiveActivation

Adaptive: TypeAlias = bool | Literal["global", "layer", "neuron"]


class Sin(nn.Module):
    """sin(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Sine of ``x``, of its shape."""
        return torch.sin(x)

    def jet_activation(self) -> Activation:
        """What :func:`colloc.jet` needs to know of it."""
        return Activation("sin")


def _exact_softplus() -> nn.Softplus:
    # torch's default switches to the straight line at 20: 2e-9 off, which float64 would show
    return nn.Softplus(threshold=40.0)


# Every kind of colloc.ops.ACTIVATIONS but "stan", which always has its beta.
PLAIN_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sin": Sin,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "sigmoid": nn.Sigmoid,
    "softplus": _exact_softplus,
    "identity": nn.Identity,
}


def make_activations(
    kind: str,
    adaptive: Adaptive,
    width: int,
    layers: int,
    slope: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> list[nn.Module]:
    """One activation for each hidden layer of ``width``; a global one is one module for all."""
    if kind == "stan":
        modules = _stans(adaptive, width, layers, dtype, device)
    elif adaptive is False:
        return [PLAIN_ACTIVATIONS[kind]() for _ in range(layers)]
    else:
        features = width if adaptive == "neuron" else None
        modules = [
            AdaptiveActivation(kind, features=features, dtype=dtype, device=device)
            for _ in range(1 if adaptive == "global" else layers)
        ]
        if adaptive == "global":
            modules = modules * layers
    if adaptive is not False:
        with torch.no_grad():
            for module in modules:
                module.a.fill_(slope)
    return cast(list[nn.Module], modules)


def _stans(
    adaptive: Adaptive,
    width: int,
    layers: int,
    dtype: torch.dtype | None,
    device: torch.device | None,
) -> list[AdaptiveActivation]:
    """Stan: a beta for every neuron whatever the slopes are.

    A global slope is therefore one parameter of several modules, not one module; without
    slopes it is a constant 1.
    """
    if adaptive == "neuron":
        return [
            AdaptiveActivation("stan", features=width, dtype=dtype, device=device)
            for _ in range(layers)
        ]
    modules: list[AdaptiveActivation] = []
    for _ in range(layers):
        stan = AdaptiveActivation("stan", dtype=dtype, device=device)
        stan.beta = nn.Parameter(torch.ones(width, dtype=dtype, device=device))
        if adaptive is False:
            stan.a.requires_grad_(False)
        elif adaptive == "global" and modules:
            stan.a = modules[0].a
        modules.append(stan)
    return modules


def check_adaptive(adaptive: Any) -> Adaptive:
    """``adaptive`` if it is a mode (True is "global"), else ValueError."""
    if isinstance(adaptive, bool):
        return "global" if adaptive else False
    if adaptive not in ("global", "layer", "neuron"):
        fail("adaptive", "False, True, 'global', 'layer' or 'neuron'", adaptive)
    return adaptive


def check_slope(slope: Any, adaptive: Adaptive) -> float:
    """The slopes' first value: > 0, and 1 where there are none."""
    value = check_float("slope", slope, positive=True)
    if adaptive is False and value != 1.0:
        fix = "Use adaptive='layer', say."
        fail("slope", "1.0 where there are no trainable slopes", slope, fix)
    return value
