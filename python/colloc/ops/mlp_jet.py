"""The jet of a whole multilayer perceptron: ``colloc::mlp_jet_tiled``, ``mlp_jet_fused`` and
``mlp_jet_layers``.

Three ops for one result. The tiled one (CPU) and the fused one (GPU) send some points at a time
through all layers, so that their jets stay in the cache or in a multiprocessor's own memory; the
other one goes layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc.ops import _mlp_jet_fused as fused
from colloc.ops import _mlp_jet_layers as layers
from colloc.ops import _mlp_jet_mixed as mixed
from colloc.ops._mlp_jet_layers import Adjoint, Mlp
from colloc.ops._registration import below_autograd, library, one_by_one
from colloc.ops.jet_activation import MAX_JET_INPUTS

#: Above this width the products of a tile are no faster than those of a layer; above the first
#: one they are only where there are enough rows (a row: one component of one point).
ALWAYS_TILED, WIDEST_TILED, FEWEST_ROWS = 384, 1024, 2048

#: Every thread has sums of all gradients: bytes of a wide network's weights.
_MOST_WEIGHTS = 32 << 20


def tiled(net: Mlp) -> bool:
    """Whether the tiled op is there for this network, and the faster one."""
    widest = max(*net.widths, net.weights[-1].shape[0])
    if net.x.device.type != "cpu" or widest > WIDEST_TILED or not _has_tiled:
        return False
    if widest <= ALWAYS_TILED:
        return True
    size = sum(weight.numel() for weight in net.weights) * net.x.element_size()
    return size <= _MOST_WEIGHTS and net.x.shape[0] * net.size >= FEWEST_ROWS


def precision(net: Mlp) -> tuple[torch.dtype | None, torch.dtype | None]:
    """The dtype of the jets, and that between the layers, as autocast has it; None: that of x."""
    low = mixed.asked_for(net)
    if low is None or fused.serves(net) or not mixed.serves(net, low):
        return low, None
    return low, low


def forward(net: Mlp, kept_points: int, low: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Jets (N, K, m), and the pre-activations of the first points for the backward; both of dtype
    ``low`` where that is given, layer by layer."""
    if low is None and fused.serves(net):
        if torch.compiler.is_compiling():
            return _fused(*net, kept_points, fused.exact())
        with below_autograd():
            return _fused(*net, kept_points, fused.exact())
    by_tiles = low is None and tiled(net)
    if torch.compiler.is_compiling():
        return _tiled(*net, kept_points) if by_tiles else _layers(*net, kept_points, low)
    if by_tiles:
        with below_autograd():
            return _tiled(*net, kept_points)
    return layers.forward(net, kept_points, low)


def backward(
    net: Mlp, grad: Tensor, kept: Tensor, mask: int, low: torch.dtype | None = None
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients by x (mask 1) and by what belongs to layer l (mask 2 << l); others are empty."""
    if low is not None:
        return layers.backward(net, grad, kept, mask, low)
    # What was kept says which op made it: a switch may have been moved since.
    if fused.kept_by(net, kept):
        with below_autograd():
            return _fused_backward(grad, kept, *net, mask, fused.exact())
    if tiled(net):
        with below_autograd():
            return _tiled_backward(grad, kept, *net, mask)
    return layers.backward(net, grad, kept, mask)


def kept_per_point(net: Mlp, low: torch.dtype | None = None) -> int:
    """How many bytes :func:`forward` keeps of a point for the backward."""
    if low is None and fused.serves(net):
        return fused.kept_per_point(net) * net.x.element_size()
    return net.kept_per_point(low) * (net.x.dtype if low is None else low).itemsize


def adjoint(net: Mlp, grad: Tensor) -> list[Adjoint]:
    """Per layer its input and the gradient by its output, point by point.

    Args:
        net: the network, without graph.
        grad: (N, K, m), the gradient of something by the jets.
    """
    return layers.adjoint(net, grad)


def adjoints(net: Mlp, grads: Sequence[Tensor], scales: bool = False) -> list[list[Adjoint]]:
    """:func:`adjoint` for several gradients, after one sweep forward.

    Args:
        net: the network, without graph.
        grads: (N, K, m) each.
        scales: whether the sums ``by_scale`` are wanted, for the gradients by slopes.
    """
    return layers.adjoints(net, grads, scales)


def squares(
    net: Mlp,
    grads: Tensor,
    kept: Tensor | None,
    factors: list[Tensor],
    slopes: list[Tensor],
    mask: int,
) -> Tensor:
    """Squared gradients by each layer's parameters, (q, 6, L, N), or (q, 2, L, N)
    of a network without slopes and betas; see csrc/library.cpp.

    Args:
        net: the network, without graph, factors multiplied in.
        grads: of q numbers a point by its jet, (q, N, K, m).
        kept: what :func:`forward` of the same network kept, None: nothing.
        factors: of each hidden layer n a; empty, (1,) or (W,).
        slopes: of each hidden layer a, not 0; empty, (1,) or (W,).
        mask: 1 << l for the layers whose weight and bias are wanted.
    """
    with below_autograd():
        kept = grads.new_empty((0, net.kept_per_point())) if kept is None else kept
        found: Tensor = _squares(grads, kept, *net, factors, slopes, mask)
    return found


def tangent(net: Mlp, change: Mlp) -> Tensor:
    """J v: the derivative of the jets (N, K, m) along a change of x and the parameters.

    Args:
        net: the network, without graph.
        change: of the same shapes; empty biases and betas where the network has none.
    """
    return layers.tangent(net, change)


# ---- the ops ------------------------------------------------------------------------------


# Every op takes the fields of Mlp one by one, see csrc/library.cpp.


def _forward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    *parts, kept_points = arguments
    net = Mlp(*parts)
    out = net.x.new_empty((net.x.shape[0], net.size, net.weights[-1].shape[0]))
    return out, net.x.new_empty((kept_points, net.kept_per_point()))


def _layers_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    *parts, kept_points, low = arguments
    net = Mlp(*parts)
    out = net.x.new_empty((net.x.shape[0], net.size, net.weights[-1].shape[0]), dtype=low)
    return out, net.x.new_empty((kept_points, net.kept_per_point(low)), dtype=low)


def _fused_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    *parts, kept_points, _ = arguments
    net = Mlp(*parts)
    out = net.x.new_empty((net.x.shape[0], net.size, net.weights[-1].shape[0]))
    return out, net.x.new_empty(fused.kept_shape(net, kept_points))


def _without_last(grad: Tensor, kept: Tensor, *arguments: Any) -> Any:
    return _backward_fake(grad, kept, *arguments[:-1])


def _backward_fake(
    grad: Tensor, kept: Tensor, *arguments: Any
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    *parts, mask = arguments
    net = Mlp(*parts)

    def like(wanted: int, tensor: Tensor) -> Tensor:
        return tensor.new_empty(tensor.shape if wanted else (0,))

    def each(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [like(mask >> (1 + layer) & 1, t) for layer, t in enumerate(tensors)]

    return like(mask & 1, net.x), each(net.weights), each(net.biases), each(net.betas)


def _squares_fake(grads: Tensor, kept: Tensor, *arguments: Any) -> Tensor:
    *parts, _, slopes, _ = arguments
    net = Mlp(*parts)
    more = any(part.numel() for part in (*slopes, *net.betas))
    shape = (grads.shape[0], 6 if more else 2, len(net.weights), net.x.shape[0])
    return net.x.new_empty(shape, dtype=torch.float64)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, weights, biases, betas, ctx.kinds, ctx.order, ctx.wrt, _, *ctx.rest = inputs
    ctx.counts = [len(weights), len(biases)]
    ctx.save_for_backward(x, output[1], *weights, *biases, *betas)
    ctx.set_materialize_grads(False)


def needed(need: Any) -> int:
    """The mask of a backward from which of x, weights, biases and betas require grad."""
    x, weights, biases, betas = need
    mask = int(bool(x))
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight or bias or (layer < len(betas) and betas[layer]):
            mask |= 2 << layer
    return mask


def wanted_gradients(found: Any, need: Any) -> Any:
    """The gradients with None for what was not asked for."""
    x, *lists = found
    # Networks without betas may have none among the inputs.
    kept_lists = [
        [g if n else None for g, n in zip(gradients, needs, strict=True)] if needs else []
        for gradients, needs in zip(lists, need[1:], strict=True)
    ]
    return (x if need[0] else None, *kept_lists)


def _make_gradients(backward_op: Any) -> Any:
    def gradients(ctx: Any, grad: Tensor | None, _: Any) -> Any:
        x, kept, *rest = ctx.saved_tensors
        first, second = ctx.counts
        weights, biases = rest[:first], rest[first : first + second]
        betas = rest[first + second :]
        others = [None] * (4 + len(ctx.rest))
        if grad is None:
            return None, [None] * first, [None] * second, [None] * len(betas), *others
        need = ctx.needs_input_grad[:4]
        net = (x, weights, biases, betas, ctx.kinds, ctx.order, ctx.wrt)
        found = backward_op(grad, kept, *net, needed(need), *ctx.rest)
        return (*wanted_gradients(found, need), *others)

    return gradients


def _layers_forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    *parts, kept_points, low = arguments
    return layers.forward(Mlp(*parts), kept_points, low)


def _layers_backward(grad: Tensor, kept: Tensor, *arguments: Any) -> Any:
    *parts, mask, low = arguments
    return layers.backward(Mlp(*parts), grad, kept, mask, low)


for _device in ("CPU", "CUDA"):
    library.impl("mlp_jet_layers", _layers_forward, _device)
    library.impl("mlp_jet_layers_backward", _layers_backward, _device)

_has_tiled: bool = torch.ops.colloc.has_tiled_mlp_jet()
_tiled = torch.ops.colloc.mlp_jet_tiled.default
_squares = torch.ops.colloc.mlp_jet_squares.default
_fused = torch.ops.colloc.mlp_jet_fused.default
_fused_backward = torch.ops.colloc.mlp_jet_fused_backward.default
_tiled_backward = torch.ops.colloc.mlp_jet_tiled_backward.default
_layers = torch.ops.colloc.mlp_jet_layers.default
torch.library.register_fake("colloc::mlp_jet_squares", _squares_fake)
for _name, _fakes in (
    ("mlp_jet_tiled", (_forward_fake, _backward_fake)),
    ("mlp_jet_fused", (_fused_fake, _without_last)),
    ("mlp_jet_layers", (_layers_fake, _without_last)),
):
    torch.library.register_fake(f"colloc::{_name}", _fakes[0])
    torch.library.register_fake(f"colloc::{_name}_backward", _fakes[1])
    torch.library.register_autograd(
        f"colloc::{_name}",
        _make_gradients(getattr(torch.ops.colloc, f"{_name}_backward").default),
        setup_context=_setup,
    )
    for _op in (_name, f"{_name}_backward"):
        torch.library.register_vmap(
            f"colloc::{_op}", one_by_one(getattr(torch.ops.colloc, _op).default)
        )

__all__ = ["MAX_JET_INPUTS", "Adjoint", "Mlp", "adjoint", "backward", "forward", "tangent"]
