"""The jet of a multilayer perceptron layer by layer: torch's matrix products, and an op for
each activation. The path of GPUs and of wide layers.

In mixed precision (``low``, see :mod:`colloc.ops._mlp_jet_mixed`) jets are of 16 bits. The first
layer's values and all sums of gradients stay in float32: rounded points would be other points, for
all neurons alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from colloc.ops import _mlp_jet_mixed as mixed
from colloc.ops._registration import below_autograd
from colloc.ops.adaptive_activation import KINDS
from colloc.ops.jet_activation import backward as activation_backward
from colloc.ops.jet_activation import forward as activation_forward
from colloc.ops.jet_activation import jet_size
from colloc.ops.jet_activation import tangent as activation_tangent

#: Points go through the layers in chunks of at most about this many values a layer's jet.
_CHUNK = {"cpu": 1 << 23, "cuda": 1 << 27}


Function = TypeVar("Function", bound=Callable[..., Any])


def _plainly(function: Function) -> Function:
    """Without autograd, and without autocast, which would lower some of the products."""

    @functools.wraps(function)
    def run(net: Mlp, *arguments: Any) -> Any:
        device = net.x.device.type
        with below_autograd():
            if not torch.is_autocast_enabled(device):
                return function(net, *arguments)
            with torch.autocast(device, enabled=False):
                return function(net, *arguments)

    return cast(Function, run)


class Mlp(NamedTuple):
    """A network as the ops see it; an absent bias or beta is an empty tensor."""

    x: Tensor
    """(N, d)."""
    weights: Sequence[Tensor]
    """(out, in) of each layer; the last one is linear."""
    biases: Sequence[Tensor]
    """(out,) of each layer."""
    betas: Sequence[Tensor]
    """(out,) of each hidden layer of kind "stan"."""
    kinds: Sequence[int]
    """Indices in ``KINDS``, one of each hidden layer."""
    order: str
    wrt: Sequence[int]

    @property
    def size(self) -> int:
        """K, the components of a jet."""
        return jet_size(self.order, len(self.wrt))

    @property
    def widths(self) -> list[int]:
        """Of the hidden layers."""
        return [weight.shape[0] for weight in self.weights[:-1]]

    def kept_per_point(self, low: torch.dtype | None = None) -> int:
        """Pre-activations of a point: values in the first layer, jets in the others; in numbers of
        x's dtype, or of ``low``."""
        first, *others = self.widths
        numbers = 1 if low is None else self.x.element_size() // low.itemsize
        return numbers * first + self.size * sum(others)

    def columns(self, low: torch.dtype | None = None) -> Tensor:
        """The first derivatives of the first layer, (n, W)."""
        # No list as an index: on a GPU that waits for a copy from the host.
        return torch.stack([self.weights[0][:, i] for i in self.wrt]).to(low or self.x.dtype)

    def activation(self, layer: int, columns: Tensor) -> tuple[object, ...]:
        """The arguments of the activation's ops after the pre-activation."""
        bias, beta = self.biases[layer], self.betas[layer]
        return (
            columns if layer == 0 else None,
            bias if bias.numel() else None,
            beta if beta.numel() else None,
            KINDS[self.kinds[layer]],
            self.order,
            len(self.wrt),
        )

    def chunks(self) -> Iterator[tuple[int, int]]:
        """The stretches of points that go through the layers together."""
        most = _CHUNK.get(self.x.device.type, _CHUNK["cpu"])
        each = max(1, most // (self.size * max(self.widths)))
        for begin in range(0, self.x.shape[0], each):
            yield begin, min(begin + each, self.x.shape[0])

    def cut(self, memory: Tensor, points: int) -> list[Tensor]:
        """The parts of a chunk's flat memory: the pre-activations of each hidden layer."""
        first, *others = self.widths
        at = points * first * (self.x.element_size() // memory.element_size())
        parts = [memory[:at].view(self.x.dtype).view(points, first)]
        for width in others:
            count = points * self.size * width
            parts.append(memory[at : at + count].view(points, self.size, width))
            at += count
        return parts


def _rows(jet: Tensor) -> Tensor:
    """(N, K, W) as (N K, W)."""
    return jet.reshape(-1, jet.shape[-1])


def _hidden(
    net: Mlp, weights: Sequence[Tensor], x: Tensor, columns: Tensor, parts: list[Tensor]
) -> Tensor:
    """Fill the pre-activations of a chunk; the last hidden layer's jet."""
    h = x
    for layer, y in enumerate(parts):
        torch.mm(_rows(h), weights[layer].t(), out=_rows(y))
        h = activation_forward(y, *net.activation(layer, columns))
    return h


def _memory(net: Mlp, kept: Tensor, begin: int, end: int) -> list[Tensor]:
    """A chunk's pre-activations: among what is kept, or new."""
    if end <= kept.shape[0]:
        return net.cut(kept[begin:end].view(-1), end - begin)
    return net.cut(kept.new_empty((end - begin) * kept.shape[1]), end - begin)


@_plainly
def forward(net: Mlp, kept_points: int, low: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Jets (N, K, m), and the pre-activations of the first points (whole chunks of them)."""
    points, outputs = net.x.shape[0], net.weights[-1].shape[0]
    out = net.x.new_empty((points, net.size, outputs), dtype=low)
    kept = net.x.new_empty((kept_points, net.kept_per_point(low)), dtype=low)
    columns, weights = net.columns(low), mixed.lowered(net.weights, low)
    for begin, end in net.chunks():
        parts = _memory(net, kept, begin, end)
        h = _hidden(net, weights, net.x[begin:end], columns, parts)
        torch.mm(_rows(h), weights[-1].t(), out=_rows(out[begin:end]))
    if net.biases[-1].numel():
        out[:, 0] += net.biases[-1]
    return out, kept


class _Sums:
    """Gradients that are added up over the chunks."""

    def __init__(self, net: Mlp, mask: int) -> None:
        def zeros(wanted: int, like: Tensor) -> Tensor:
            return torch.zeros_like(like) if wanted else like.new_empty(0)

        count = len(net.weights)
        self.layers = [bool(mask >> (1 + layer) & 1) for layer in range(count)]
        self.lowest = 0 if mask & 1 else next((k for k in range(count) if self.layers[k]), count)
        self.x = torch.zeros_like(net.x) if mask & 1 else net.x.new_empty(0)
        self.weights = [zeros(w, t) for w, t in zip(self.layers, net.weights, strict=True)]
        self.biases = [zeros(w, t) for w, t in zip(self.layers, net.biases, strict=True)]
        self.betas = [zeros(w, t) for w, t in zip(self.layers, net.betas, strict=False)]

    def add(self, net: Mlp, layer: int, delta: Tensor, h: Tensor) -> None:
        """What layer ``layer`` gets from the gradient by its output and from its input."""
        if not self.layers[layer]:
            return
        wide = net.x.dtype
        if layer > 0:
            mixed.add_product(self.weights[layer], _rows(delta).t(), _rows(h))
        else:
            self.weights[0].addmm_(delta[:, 0].t().to(wide), h)
            if net.size > 1:
                by_column = delta[:, 1 : 1 + len(net.wrt)].sum(0, dtype=wide)
                for k, i in enumerate(net.wrt):
                    self.weights[0][:, i] += by_column[k]
        if net.biases[layer].numel():
            self.biases[layer] += delta[:, 0].sum(0, dtype=wide)


@_plainly
def backward(
    net: Mlp, grad: Tensor, kept: Tensor, mask: int, low: torch.dtype | None = None
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients by x (mask 1) and by what belongs to layer l (mask 2 << l)."""
    sums, columns, weights = _Sums(net, mask), net.columns(low), mixed.lowered(net.weights, low)
    for begin, end in net.chunks():
        x = net.x[begin:end]
        parts = _memory(net, kept, begin, end)
        if end > kept.shape[0]:
            _hidden(net, weights, x, columns, parts)
        delta = grad[begin:end]
        for layer in range(len(parts) - 1, max(sums.lowest, 1) - 2, -1):
            by_h = torch.mm(_rows(delta), weights[layer + 1])
            by_h = by_h.view(end - begin, net.size, -1)
            rest = net.activation(layer, columns)
            by_y, h, by_beta = activation_backward(by_h, parts[layer], *rest)
            sums.add(net, layer + 1, delta, h)
            if sums.layers[layer] and net.betas[layer].numel():
                sums.betas[layer] += by_beta.sum(0)
            delta = by_y
        if sums.lowest == 0:
            sums.add(net, 0, delta, x)
            if sums.x.numel():
                torch.mm(delta[:, 0].to(x.dtype), net.weights[0], out=sums.x[begin:end])
    return sums.x, sums.weights, sums.biases, sums.betas


class Adjoint(NamedTuple):
    """What the adjoint leaves at a layer: the gradient by W is sum_k zbar_k^T h_k."""

    h: Tensor
    """The layer's input, (N, K, in)."""
    zbar: Tensor
    """The gradient by its output before the activation, (N, K, out)."""
    by_beta: Tensor
    """(N, out) of a hidden layer of kind "stan", else empty."""
    by_scale: Tensor
    """sum_k zbar_k z_k of a hidden layer, (N, out), where asked for, else empty."""


def adjoint(net: Mlp, grad: Tensor) -> list[Adjoint]:
    """The gradient by each layer's output, point by point, with the layer's input."""
    found: list[Adjoint] = adjoints(net, [grad])[0]
    return found


@_plainly
def adjoints(net: Mlp, grads: Sequence[Tensor], scales: bool = False) -> list[list[Adjoint]]:
    """The same for several gradients (N, K, m), after one sweep forward.

    Args:
        net: the network.
        grads: the gradients by the network's jets, (N, K, m) each.
        scales: whether ``by_scale`` is wanted.
    """
    points = net.x.shape[0]
    columns = net.columns()
    parts = net.cut(net.x.new_empty(points * net.kept_per_point()), points)
    _hidden(net, net.weights, net.x, columns, parts)
    first = net.x.new_zeros((points, net.size, net.x.shape[1]))
    first[:, 0] = net.x
    if net.size > 1:
        for k, i in enumerate(net.wrt):
            first[:, 1 + k, i] = 1
    return [_backwards(net, grad, columns, parts, first, scales) for grad in grads]


def _backwards(
    net: Mlp, grad: Tensor, columns: Tensor, parts: list[Tensor], first: Tensor, scales: bool
) -> list[Adjoint]:
    points, empty = net.x.shape[0], net.x.new_empty(0)
    delta, by_beta, by_scale = grad, empty, empty
    found = []
    for layer in range(len(parts) - 1, -1, -1):
        by_h = torch.mm(_rows(delta), net.weights[layer + 1]).view(points, net.size, -1)
        rest = net.activation(layer, columns)
        by_y, h, next_beta = activation_backward(by_h, parts[layer], *rest)
        found.append(Adjoint(h, delta, by_beta, by_scale))
        delta, by_beta = by_y, next_beta
        if scales:
            by_scale = _by_scale(net, layer, delta, columns, parts[layer])
    found.append(Adjoint(first, delta, by_beta, by_scale))
    return found[::-1]


def _by_scale(net: Mlp, layer: int, delta: Tensor, columns: Tensor, y: Tensor) -> Tensor:
    """sum_k zbar_k z_k; of the first layer's z the derivatives are the columns."""
    if layer == 0:
        found = delta[:, 0] * y
        if net.size > 1:
            found = found + (delta[:, 1 : 1 + len(net.wrt)] * columns).sum(1)
    else:
        found = (delta * y).sum(1)
    bias = net.biases[layer]
    return found + delta[:, 0] * bias if bias.numel() else found


@_plainly
def tangent(net: Mlp, change: Mlp) -> Tensor:
    """The derivative of the jets along a change of the parameters (and of x), (N, K, m)."""
    columns, points = net.columns(), net.x.shape[0]
    parts = net.cut(net.x.new_empty(points * net.kept_per_point()), points)
    _hidden(net, net.weights, net.x, columns, parts)
    h = dh = net.x  # of the layer before; the first layer has a rule of its own
    for layer, y in enumerate(parts):
        weight, moved = net.weights[layer], change.weights[layer]
        if layer == 0:
            dy = net.x.new_zeros((points, net.size, weight.shape[0]))
            dy[:, 0] = net.x @ moved.t() + change.x @ weight.t()
            if net.size > 1:
                dy[:, 1 : 1 + len(net.wrt)] = change.columns()
        else:
            dy = torch.matmul(h, moved.t()) + torch.matmul(dh, weight.t())
        if change.biases[layer].numel():
            dy[:, 0] += change.biases[layer]
        arguments = net.activation(layer, columns)
        h, dh = activation_forward(y, *arguments), activation_tangent(dy, y, *arguments)
        if change.betas[layer].numel():
            dh = dh + _beta_slope(net, layer, y, arguments) * change.betas[layer]
    dout = torch.matmul(h, change.weights[-1].t()) + torch.matmul(dh, net.weights[-1].t())
    if change.biases[-1].numel():
        dout[:, 0] += change.biases[-1]
    return dout


def _beta_slope(net: Mlp, layer: int, y: Tensor, arguments: tuple[object, ...]) -> Tensor:
    """The derivative of a layer's jet by beta: h is linear in it."""
    columns, bias, beta, *rest = arguments
    assert isinstance(beta, Tensor)
    one = activation_forward(y, columns, bias, torch.ones_like(beta), *rest)
    return one - activation_forward(y, columns, bias, torch.zeros_like(beta), *rest)
