"""Multilayer perceptrons among the modules: one op takes all their layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from colloc._checks import fail
from colloc.jets.layout import Order
from colloc.jets.mlp import Parameters, keeping_forward
from colloc.jets.rules import Activation, activation_of, check_slope, known
from colloc.ops.mlp_jet import Mlp

#: Layers of a network that one op takes: its backward's mask is an integer of 64 bits.
_MOST_LAYERS = 60

#: n a of a layer: None where it is 1.
Factor: TypeAlias = Tensor | float | None


class Layer(NamedTuple):
    """A layer with its parameters as they are trained; the last one has no activation."""

    weight: Tensor
    bias: Tensor | None
    activation: Activation | None


class Perceptron(NamedTuple):
    """A perceptron that was evaluated without a graph."""

    layers: Sequence[Layer]
    factors: Sequence[Factor]
    """What each layer's weight and bias were multiplied by."""
    network: Mlp
    """Weights and biases so multiplied, and the points."""
    kept: Tensor
    """What the op keeps for a backward."""


def layers_of(parts: Sequence[nn.Module], x: Tensor) -> list[Layer] | None:
    """The layers if the modules are Linear, activation, ..., activation, Linear."""
    if len(parts) < 3 or len(parts) % 2 == 0 or x.dtype not in (torch.float32, torch.float64):
        return None
    if len(parts) // 2 >= _MOST_LAYERS:
        return None
    found = []
    width = x.shape[1]
    for position in range(0, len(parts), 2):
        module, activation = parts[position], None
        if not known(module, nn.Linear):
            return None
        assert isinstance(module, nn.Linear)
        weight, bias = module.weight, module.bias
        _check_linear(weight, width, x)
        width = weight.shape[0]
        if position + 1 < len(parts):
            activation = activation_of(parts[position + 1])
            if activation is None:
                return None
            check_slope(activation, width)
        found.append(Layer(weight, bias, activation))
    return found


def folded(layers: Sequence[Layer]) -> tuple[Parameters, list[Factor]]:
    """Slopes multiplied into the layer before, n a (W h + b) = (n a W) h + n a b, and each n a."""
    found, factors = Parameters([], [], [], []), []
    for weight, bias, activation in layers:
        factor: Factor = None
        if activation is not None:
            if activation.slope is not None:
                factor = activation.scale * activation.slope
            elif activation.scale != 1.0:
                factor = activation.scale
            beta = activation.beta
            found.betas.append(None if beta is None else beta.expand(weight.shape[0]))
            found.kinds.append(activation.kind)
        if factor is None:
            found.weights.append(weight)
            found.biases.append(bias)
        else:
            column = factor.reshape(-1, 1) if isinstance(factor, Tensor) else factor
            found.weights.append(weight * column)
            found.biases.append(None if bias is None else bias * factor)
        factors.append(factor)
    return found, factors


def evaluate(
    layers: Sequence[Layer], x: Tensor, order: Order, wrt: tuple[int, ...]
) -> tuple[Tensor, Perceptron]:
    """The components (K, N, m) without a graph, and what they were made of."""
    with torch.no_grad():
        parameters, factors = folded(layers)
        components, network, kept = keeping_forward(parameters, x, order, wrt)
    return components, Perceptron(layers, factors, network, kept)


def _check_linear(weight: Tensor, width: int, x: Tensor) -> None:
    inputs = weight.shape[1]
    if inputs == width and weight.dtype is x.dtype and weight.device == x.device:
        return
    if inputs != width:
        fail("x", f"points with {weight.shape[1]} inputs, those of the network", f"{width}")
    if weight.dtype != x.dtype:
        fail(
            "x",
            f"the dtype of the network, {weight.dtype}",
            str(x.dtype),
            f"Use x.to({weight.dtype}) or net.to({x.dtype}).",
        )
    if weight.device != x.device:
        fail("x", f"the device of the network, {weight.device}", str(x.device))
