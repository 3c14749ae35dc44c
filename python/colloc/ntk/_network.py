"""Gradients of rows by the parameters inside one network, from those by the network's jet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from colloc._graph import leaves_of
from colloc.jets.modules import take_apart
from colloc.jets.perceptron import Layer, Perceptron
from colloc.jets.recording import BetaUse, Call, LinearUse, SlopeUse, record_uses
from colloc.jets.rules import Unsupported
from colloc.ntk._pieces import Pieces
from colloc.ops import mlp_jet


def values_per_point(call: Call) -> int:
    """How many numbers a point's jets take in all layers together, about."""
    widths = [m.out_features for m in call.net.modules() if isinstance(m, nn.Linear)]
    return call.components.shape[0] * max(1, sum(widths))


def gradients(
    call: Call, begin: int, end: int, grads: Sequence[Tensor], wanted: Mapping[int, Tensor]
) -> list[Pieces]:
    """For each of several numbers a point the gradients by the network's parameters.

    Args:
        call: the network and its points (N, d).
        begin, end: a stretch of n points.
        grads: the numbers' gradients by the network's jet there, (K, n, m) each.
        wanted: the parameters, by id.

    Raises:
        Unsupported: a part of the network has no rule, or uses parameters in a way of its own.
    """
    if call.perceptron is None:
        return _by_uses(call, call.x[begin:end], grads, wanted)
    return _of_perceptron(call.perceptron, begin, end, grads, wanted)


def _of_perceptron(
    made: Perceptron,
    begin: int,
    end: int,
    grads: Sequence[Tensor],
    wanted: Mapping[int, Tensor],
) -> list[Pieces]:
    """By the layers' inputs and adjoints, all layers in one sweep."""
    layers, factors = made.layers, made.factors
    net = made.network._replace(x=made.network.x[begin:end])
    slopes = any(layer.activation and layer.activation.slope is not None for layer in layers)
    found = []
    for adjoints in mlp_jet.adjoints(net, [g.transpose(0, 1).contiguous() for g in grads], slopes):
        pieces = Pieces(wanted)
        for layer, factor, adjoint in zip(layers, factors, adjoints, strict=True):
            zbar = adjoint.zbar if factor is None else adjoint.zbar * factor
            pieces.add_matrix(layer.weight, adjoint.h, zbar)
            if layer.bias is not None:
                pieces.add_rows(layer.bias, zbar[:, 0])
            if layer.activation is not None:
                _add_activation(pieces, layer, adjoint)
        found.append(pieces)
    return found


def _add_activation(pieces: Pieces, layer: Layer, adjoint: mlp_jet.Adjoint) -> None:
    assert layer.activation is not None
    _, slope, scale, beta = layer.activation
    if slope is not None and pieces.wants(slope):
        # by_scale: sum_k <zbar_k, n a y_k>, with y the pre-activation without slope.
        rows, fixed = adjoint.by_scale, slope.detach()
        if bool((fixed == 0).any()):
            y = torch.matmul(adjoint.h, layer.weight.detach().t())
            if layer.bias is not None:
                y[:, 0] += layer.bias.detach()
            rows = scale * (adjoint.zbar * y).sum(1)
        else:
            rows = rows / fixed
        pieces.add_rows(slope, _like(slope, rows))
    if beta is not None:
        pieces.add_rows(beta, _like(beta, adjoint.by_beta))


def _like(parameter: Tensor, rows: Tensor) -> Tensor:
    """Rows (n, W) as those of a parameter of one entry, or one a neuron."""
    if parameter.numel() == 1 and rows.shape[1] != 1:
        rows = rows.sum(1, keepdim=True)
    return rows.reshape(rows.shape[0], *parameter.shape)


def _by_uses(
    call: Call, x: Tensor, grads: Sequence[Tensor], wanted: Mapping[int, Tensor]
) -> list[Pieces]:
    """By noting every use of a parameter, for networks that are no plain perceptron."""
    with torch.enable_grad(), record_uses() as uses:
        out = take_apart(call.net, x, call.order, call.wrt)
    if any(id(leaf) in wanted for leaf in leaves_of([out])):
        raise Unsupported(f"parameters that {type(call.net).__name__} uses in a way of its own")
    found = []
    outputs = [use.y for use in uses]
    for g in grads:
        pieces = Pieces(wanted)
        adjoints: tuple[Tensor | None, ...] = (None,) * len(outputs)
        if out.requires_grad and outputs:
            adjoints = torch.autograd.grad(out, outputs, g, retain_graph=True, allow_unused=True)
        for use, ybar in zip(uses, adjoints, strict=True):
            if ybar is not None:
                _add_use(pieces, use, ybar)
        found.append(pieces)
    return found


def _add_use(pieces: Pieces, use: LinearUse | SlopeUse | BetaUse, ybar: Tensor) -> None:
    if isinstance(use, LinearUse):
        pieces.add_matrix(use.weight, use.h.transpose(0, 1), ybar.transpose(0, 1))
        if use.bias is not None:
            pieces.add_rows(use.bias, ybar[0])
    elif isinstance(use, SlopeUse):
        pieces.add_rows(use.slope, _like(use.slope, use.scale * (ybar * use.z).sum(0)))
    else:
        pieces.add_rows(use.beta, _like(use.beta, (ybar * use.by_beta).sum(0)))
