"""The plain multilayer perceptron, with or without trainable slopes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from colloc._checks import check_choice, check_float_dtype, check_int, fail
from colloc.nn.activations import Adaptive, check_adaptive, check_slope, make_activations
from colloc.ops import ACTIVATIONS


class MLP(nn.Sequential):
    """Multilayer perceptron: Linear, activation, ..., activation, Linear.

    The modules lie where ``nn.Sequential(nn.Linear(...), nn.Tanh(), ..., nn.Linear(...))`` has
    them, so the keys of ``state_dict()`` are those of such a network (``"0.weight"``,
    ``"0.bias"``, ``"2.weight"``, ...) and its checkpoints load; slopes add ``"1.a"``,
    ``"3.a"``, ... (load a plain checkpoint into an adaptive network with ``strict=False``:
    with the slopes at their initial 1 it is the same function).

    Weights are initialised Glorot-uniform (gain 1), biases 0, slopes ``slope``.

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
        slope: the slopes' first value, > 0. The larger, the finer the detail that the network
            starts with: about 1 for a function of one wave on the domain, 3 for four waves.
        weight_norm: whether each weight is g v / |v| by rows (Salimans and Kingma, 2016), by
            torch's parametrization; the keys of ``state_dict()`` are then
            ``"0.parametrizations.weight.original0"`` (g) and so on.
        dtype: torch.float32 or torch.float64 (None: torch's default).
        device: of the parameters (None: torch's default).

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size below 1, an unknown activation, adaptive mode, dtype or device, a
            slope that is not > 0 or has no use.

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
        slope: float = 1.0,
        weight_norm: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | int | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, minimum=1)
        self.out_features = check_int("out_features", out_features, minimum=1)
        self.hidden_features = check_int("hidden_features", hidden_features, minimum=1)
        self.hidden_layers = check_int("hidden_layers", hidden_layers, minimum=1)
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.adaptive = check_adaptive(adaptive)
        self.slope = check_slope(slope, self.adaptive)
        self.weight_norm = bool(weight_norm)
        dtype = check_float_dtype("dtype", dtype)
        device = check_device(device)

        widths = [self.in_features, *[self.hidden_features] * self.hidden_layers]
        activations = make_activations(
            activation, self.adaptive, hidden_features, hidden_layers, self.slope, dtype, device
        )
        for (before, after), nonlinearity in zip(pairwise(widths), activations, strict=True):
            self.append(self._linear(before, after, dtype, device))
            self.append(nonlinearity)
        self.append(self._linear(self.hidden_features, self.out_features, dtype, device))

    def __getitem__(self, index: Any) -> Any:
        """The module at ``index``; a slice is a plain ``nn.Sequential`` of the same modules."""
        if isinstance(index, slice):
            return nn.Sequential(*list(self)[index])
        return super().__getitem__(index)

    def _linear(
        self, before: int, after: int, dtype: torch.dtype | None, device: torch.device | None
    ) -> nn.Linear:
        layer = glorot_linear(before, after, dtype, device)
        if self.weight_norm:
            nn.utils.parametrizations.weight_norm(layer)
        return layer

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return (
            f"{self.in_features}, {self.out_features}, hidden_features={self.hidden_features}, "
            f"hidden_layers={self.hidden_layers}, activation={self.activation!r}, "
            f"adaptive={self.adaptive!r}" + (", weight_norm=True" if self.weight_norm else "")
        )


def glorot_linear(
    before: int, after: int, dtype: torch.dtype | None, device: torch.device | None
) -> nn.Linear:
    """Linear layer, Glorot-uniform weight and zero bias."""
    layer = nn.Linear(before, after, dtype=dtype, device=device)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def check_device(device: Any) -> torch.device | None:
    """``device`` as a torch.device, None unchanged; ValueError if it names none."""
    if device is None:
        return None
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        fail("device", "None or a torch device such as 'cpu' or 'cuda'", device)
