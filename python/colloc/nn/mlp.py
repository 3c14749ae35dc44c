"""The plain multilayer perceptron, with or without trainable slopes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from colloc._checks import check_choice, check_float_dtype, check_int, fail
from colloc.nn.adaptive_activation import AdaptiveActivation
from colloc.ops import ACTIVATIONS

Adaptive: TypeAlias = bool | Literal["global", "layer", "neuron"]


class Sin(nn.Module):
    """sin(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Sine of ``x``, of its shape."""
        return torch.sin(x)


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


class MLP(nn.Sequential):
    """Multilayer perceptron: Linear, activation, ..., activation, Linear.

    The modules lie where ``nn.Sequential(nn.Linear(...), nn.Tanh(), ..., nn.Linear(...))`` has
    them, so the keys of ``state_dict()`` are those of such a network (``"0.weight"``,
    ``"0.bias"``, ``"2.weight"``, ...) and its checkpoints load; slopes add ``"1.a"``,
    ``"3.a"``, ... (load a plain checkpoint into an adaptive network with ``strict=False``:
    with the slopes at their initial 1 it is the same function).

    Weights are initialised Glorot-uniform (gain 1), biases 0, slopes 1.

    Args:
        in_features: number d of inputs, at least 1.
        out_features: number m of outputs, at least 1.
        hidden_features: width of the hidden layers, at least 1.
        hidden_layers: number of hidden layers, at least 1.
        activation: one of ``colloc.ops.ACTIVATIONS``. ``"stan"`` always has its trainable beta,
            one a neuron.
        adaptive: trainable slopes a in sigma(a z): ``False`` none; ``"global"`` (= ``True``)
            one for the network, held by all layers together; ``"layer"`` one a layer;
            ``"neuron"`` one a neuron. See :class:`colloc.nn.AdaptiveActivation`.
        dtype: torch.float32 or torch.float64 (None: torch's default).
        device: of the parameters (None: torch's default).

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size below 1, an unknown activation, adaptive mode, dtype or device.

    Shapes: (N, in_features) -> (N, out_features).
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
        dtype: torch.dtype | None = None,
        device: torch.device | str | int | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, minimum=1)
        self.out_features = check_int("out_features", out_features, minimum=1)
        self.hidden_features = check_int("hidden_features", hidden_features, minimum=1)
        self.hidden_layers = check_int("hidden_layers", hidden_layers, minimum=1)
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.adaptive = _check_adaptive(adaptive)
        dtype = check_float_dtype("dtype", dtype)
        device = _check_device(device)

        widths = [self.in_features, *[self.hidden_features] * self.hidden_layers]
        activations = self._activations(dtype, device)
        for (before, after), nonlinearity in zip(pairwise(widths), activations, strict=True):
            self.append(_linear(before, after, dtype, device))
            self.append(nonlinearity)
        self.append(_linear(self.hidden_features, self.out_features, dtype, device))

    def __getitem__(self, index: Any) -> Any:
        """The module at ``index``; a slice is a plain ``nn.Sequential`` of the same modules."""
        if isinstance(index, slice):
            return nn.Sequential(*list(self)[index])
        return super().__getitem__(index)

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return (
            f"{self.in_features}, {self.out_features}, hidden_features={self.hidden_features}, "
            f"hidden_layers={self.hidden_layers}, activation={self.activation!r}, "
            f"adaptive={self.adaptive!r}"
        )

    def _activations(self, dtype: torch.dtype, device: torch.device | None) -> list[nn.Module]:
        """One activation for each hidden layer; a global one is the same module for all."""
        kind, layers = self.activation, range(self.hidden_layers)
        if kind == "stan":
            return self._stans(dtype, device)
        if self.adaptive is False:
            return [PLAIN_ACTIVATIONS[kind]() for _ in layers]
        features = self.hidden_features if self.adaptive == "neuron" else None
        modules: list[nn.Module] = [
            AdaptiveActivation(kind, features=features, dtype=dtype, device=device)
            for _ in (layers[:1] if self.adaptive == "global" else layers)
        ]
        return modules * self.hidden_layers if self.adaptive == "global" else modules

    def _stans(self, dtype: torch.dtype, device: torch.device | None) -> list[nn.Module]:
        """Stan: a beta for every neuron whatever the slopes are.

        A global slope is therefore one parameter of several modules, not one module; without
        slopes it is a constant 1.
        """
        width = self.hidden_features
        if self.adaptive == "neuron":
            return [
                AdaptiveActivation("stan", features=width, dtype=dtype, device=device)
                for _ in range(self.hidden_layers)
            ]
        modules: list[nn.Module] = []
        for _ in range(self.hidden_layers):
            stan = AdaptiveActivation("stan", dtype=dtype, device=device)
            stan.beta = nn.Parameter(torch.ones(width, dtype=dtype, device=device))
            if self.adaptive is False:
                stan.a.requires_grad_(False)
            elif self.adaptive == "global" and modules:
                stan.a = cast(AdaptiveActivation, modules[0]).a
            modules.append(stan)
        return modules


def _linear(before: int, after: int, dtype: torch.dtype, device: torch.device | None) -> nn.Linear:
    """Linear layer, Glorot-uniform weight and zero bias."""
    layer = nn.Linear(before, after, dtype=dtype, device=device)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _check_adaptive(adaptive: Any) -> Adaptive:
    if isinstance(adaptive, bool):
        return "global" if adaptive else False
    if adaptive not in ("global", "layer", "neuron"):
        fail("adaptive", "False, True, 'global', 'layer' or 'neuron'", adaptive)
    return adaptive


def _check_device(device: Any) -> torch.device | None:
    if device is None:
        return None
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        fail("device", "None or a torch device such as 'cpu' or 'cuda'", device)
