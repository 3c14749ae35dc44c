"""Squared gradients of rows of one perceptron, tile by tile in a single op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from colloc.jets.perceptron import Factor, Layer
from colloc.jets.recording import Call
from colloc.ops import mlp_jet


def squares(call: Call, grads: Sequence[Tensor], wanted: Mapping[int, Tensor]) -> Tensor | None:
    """The diagonal (N, q) where the op serves, else None.

    It serves where every weight, bias, beta and list of slopes is a leaf of its own and no slope
    is 0; a single slope may be shared by layers.

    Args:
        call: a network and its points; no other network has parameters in common with it.
        grads: the gradients of each column by the network's jet, (K, N, m).
        wanted: parameters by id.
    """
    made = call.perceptron
    if made is None or not mlp_jet.tiled(made.network) or not _simple(made.layers):
        return None
    layers, x = made.layers, call.x
    slopes = [None if layer.activation is None else layer.activation.slope for layer in layers[:-1]]
    if any(slope is not None and bool((slope == 0).any()) for slope in slopes):
        return None
    mask = sum(1 << k for k, layer in enumerate(layers) if _any_wanted(layer, wanted))
    stacked = torch.stack([g.transpose(0, 1) for g in grads])
    found = mlp_jet.squares(
        made.network,
        stacked,
        made.kept,
        [_tensor(factor, x) for factor in made.factors[:-1]],
        [_tensor(slope, x) for slope in slopes],
        mask,
    )
    return _total(layers, slopes, found, wanted).t()


def _any_wanted(layer: Layer, wanted: Mapping[int, Tensor]) -> bool:
    own = [layer.weight, layer.bias]
    if layer.activation is not None:
        own += [layer.activation.slope, layer.activation.beta]
    return any(id(parameter) in wanted for parameter in own)


def _whole(layer: Layer, wanted: Mapping[int, Tensor]) -> bool:
    # The op gives the square of a bias that is not there, too.
    return id(layer.weight) in wanted and id(layer.bias) in wanted


def _simple(layers: Sequence[Layer]) -> bool:
    own: list[Tensor] = []
    for weight, bias, activation in layers:
        own += [weight] if bias is None else [weight, bias]
        if activation is not None and activation.beta is not None:
            own.append(activation.beta)
        slope = None if activation is None else activation.slope
        if slope is not None and slope.numel() > 1:
            own.append(slope)
        elif slope is not None and not slope.is_leaf:
            return False
    return all(t.is_leaf for t in own) and len({id(t) for t in own}) == len(own)


def _tensor(value: Factor, x: Tensor) -> Tensor:
    if value is None:
        return x.new_empty(0)
    return value.detach().reshape(-1) if isinstance(value, Tensor) else x.new_full((1,), value)


def _total(
    layers: Sequence[Layer],
    slopes: list[Tensor | None],
    found: Tensor,
    wanted: Mapping[int, Tensor],
) -> Tensor:
    """The sum of what is wanted, (q, N), of squares (q, 2 or 6, L, N)."""
    if found.shape[1] == 2 and all(_whole(layer, wanted) for layer in layers):
        return found.sum((1, 2))
    total = found.new_zeros((found.shape[0], found.shape[3]))
    shared: dict[int, Tensor] = {}
    for k, layer in enumerate(layers):
        if id(layer.weight) in wanted:
            total += found[:, 0, k]
        if id(layer.bias) in wanted:
            total += found[:, 1, k]
        if found.shape[1] == 2:
            continue
        sums, squared, beta_sums, betas_squared = found[:, 2:, k].unbind(1)
        slope = slopes[k] if k < len(slopes) else None
        if slope is not None and id(slope) in wanted:
            if slope.numel() == 1:
                shared[id(slope)] = shared.get(id(slope), 0.0) + sums
            else:
                total += squared
        beta = None if layer.activation is None else layer.activation.beta
        if beta is not None and id(beta) in wanted:
            total += beta_sums.square() if beta.numel() == 1 else betas_squared
    for together in shared.values():
        total += together.square()
    return total
