"""The jet of a multilayer perceptron as one node of the graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from colloc._checks import check_choice, check_int, fail
from colloc.jets import algebra
from colloc.jets.algebra import Formula
from colloc.jets.layout import Order
from colloc.ops import KINDS, activation_formula, mlp_jet
from colloc.ops._registration import formula_needed
from colloc.ops.mlp_jet import MAX_JET_INPUTS, Mlp

_MIB = 1 << 20
_VARIABLE = "COLLOC_JET_MEMORY"


def _default_budget() -> dict[str, int]:
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return {"cpu": 112 * _MIB, "cuda": 2048 * _MIB}
    if not text.isdecimal():
        fail(_VARIABLE, "a whole number of MiB, at least 0", repr(text), "Unset it.")
    return dict.fromkeys(("cpu", "cuda"), int(text) * _MIB)


_budget = _default_budget()


def set_memory_budget(size: int, device: str = "cpu") -> int:
    """How many bytes a jet may keep for its backward; returns the value before.

    Above it the pre-activations are computed again in the backward, for as many of the points as
    do not fit: about a third more work for those. The default is 112 MiB on the CPU and 2 GiB
    on a GPU (``COLLOC_JET_MEMORY`` in MiB, read at import, sets both).

    Args:
        size: bytes, at least 0.
        device: "cpu" or "cuda".

    Raises:
        ValueError, TypeError: not an integer >= 0, or another kind of device.
    """
    check_choice("device", device, tuple(_budget))
    before, _budget[device] = _budget[device], check_int("size", size, minimum=0)
    return before


def release_memory() -> None:
    """Free the memory that the CPU ops hold for the next jet (at most 128 MiB).

    What a jet keeps for its backward is taken from a pool and given back to it after the
    backward, since the system clears large memory each time that it hands it out.
    """
    torch.ops.colloc.release_jet_memory()


class Parameters(NamedTuple):
    """The parameters of a multilayer perceptron; absent biases and betas are None."""

    weights: list[Tensor]
    biases: list[Tensor | None]
    betas: list[Tensor | None]
    kinds: list[str]


def plain_formula_serves(x: Tensor, inputs: int) -> bool:
    """Whether jets in ``inputs`` inputs must be made by plain torch: the ops have no kernel for
    them, no forward mode, and no rules of ``torch.func``."""
    if inputs > MAX_JET_INPUTS or x.device.type == "meta" or formula_needed(x.device):
        return True
    return bool(torch._C._are_functorch_transforms_active())


def mlp_components(parameters: Parameters, x: Tensor, order: Order, wrt: tuple[int, ...]) -> Tensor:
    """Packed jet components (K, N, m) at ``x`` (N, d), by the kernels where they serve."""
    weights, biases, betas, kinds = parameters
    axes = wrt if order != 0 else wrt[:1]
    if plain_formula_serves(x, len(axes)):
        return _formula(x, weights, biases, betas, kinds, order, axes)
    tensors, codes = _tensors(parameters, x)
    net = _network(x, tensors, codes, str(order), axes)
    asked, low = mlp_jet.precision(net)
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        kept_points = _kept_points(net, low) if torch.is_grad_enabled() else 0
        out = mlp_jet.forward(net, kept_points, low)[0]
    else:
        out = _MlpJet.apply(x, codes, order, axes, low, *tensors)
    return out.transpose(0, 1) if asked is None else out.to(asked).transpose(0, 1)


def keeping_forward(
    parameters: Parameters, x: Tensor, order: Order, wrt: tuple[int, ...]
) -> tuple[Tensor, Mlp, Tensor]:
    """The components (K, N, m) without a graph, the network as the op takes it, and what the op
    keeps for a backward: the pre-activations of as many points as the memory budget allows."""
    tensors, codes = _tensors(parameters, x)
    net = _network(x, tensors, codes, str(order), wrt if order != 0 else wrt[:1])
    out, kept = mlp_jet.forward(net, _kept_points(net))
    return out.transpose(0, 1), net, kept


def _tensors(parameters: Parameters, x: Tensor) -> tuple[list[Tensor], list[int]]:
    """Weights, biases and betas as the op takes them, and the kinds' indices."""
    weights, biases, betas, kinds = parameters
    empty = x.new_empty(0)
    tensors = [*weights, *(empty if b is None else b for b in biases)]
    if "stan" in kinds:  # every input of a node costs time, those without a use too
        tensors += [empty if b is None else b for b in betas]
    codes = [KINDS.index(kind) for kind in kinds]
    return tensors, codes


def _network(
    x: Tensor, tensors: Sequence[Tensor], kinds: list[int], order: str, wrt: tuple[int, ...]
) -> Mlp:
    count = len(kinds) + 1
    weights, biases = list(tensors[:count]), list(tensors[count : 2 * count])
    betas = list(tensors[2 * count :]) or [x.new_empty(0)] * len(kinds)
    return Mlp(x, weights, biases, betas, kinds, order, list(wrt))


def _kept_points(net: Mlp, low: torch.dtype | None = None) -> int:
    size = mlp_jet.kept_per_point(net, low)
    return min(net.x.shape[0], _budget[net.x.device.type] // max(1, size))


class _MlpJet(torch.autograd.Function):
    """The ops outside of torch.compile: less overhead, and second derivatives."""

    # torch types both as (ctx, *args): naming the arguments is what mypy minds.
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        kinds: list[int],
        order: Order,
        wrt: tuple[int, ...],
        low: torch.dtype | None,
        *tensors: Tensor,
    ) -> Tensor:
        net = _network(x, tensors, kinds, str(order), wrt)
        tracked = any(ctx.needs_input_grad)
        out, kept = mlp_jet.forward(net, _kept_points(net, low) if tracked else 0, low)
        ctx.kinds, ctx.order, ctx.wrt, ctx.low = kinds, order, wrt, low
        if tracked:
            ctx.save_for_backward(x, kept, *tensors)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        x, kept, *tensors = ctx.saved_tensors
        create_graph = torch.is_grad_enabled()
        if create_graph or _batched(grad):
            with torch.enable_grad():
                return _formula_backward(ctx, grad, x, tensors, create_graph)
        net = _network(x, tensors, ctx.kinds, str(ctx.order), ctx.wrt)
        need_x, *rest = _wanted(ctx)
        count = len(net.weights)
        need = (need_x, rest[:count], rest[count : 2 * count], rest[2 * count :])
        found = mlp_jet.backward(net, grad, kept, mlp_jet.needed(need), ctx.low)
        by_x, weights, biases, betas = mlp_jet.wanted_gradients(found, need)
        return (by_x, None, None, None, None, *weights, *biases, *betas)


def _wanted(ctx: Any) -> list[bool]:
    """Whether this backward needs the gradient by x, and by each of the other tensors.

    ``needs_input_grad`` is what requires grad at all. Of ``torch.autograd.grad`` by the last
    layer alone the engine executes nothing beyond that layer; a node that it will not execute
    has no use for a gradient.
    """
    need_x, _, _, _, _, *rest = ctx.needs_input_grad
    needs = [need_x, *rest]
    if len(ctx.next_functions) != len(needs):
        return needs
    return [
        need and (node is None or _will_execute(node))
        for need, (node, _) in zip(needs, ctx.next_functions, strict=True)
    ]


def _will_execute(node: Any) -> bool:
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf that torch.autograd.grad is asked for
        return True


def _batched(grad: Tensor) -> bool:
    """Whether this is a batch of gradients (is_grads_batched=True, vmap of a backward)."""
    keys = torch._C._dispatch_keys(grad)
    return any(keys.has(key) for key in _BATCHES)


_BATCHES = [torch._C._dispatch_key_parse(name) for name in ("Batched", "FuncTorchBatched")]


def _formula_backward(
    ctx: Any, grad: Tensor, x: Tensor, tensors: list[Tensor], create_graph: bool
) -> Any:
    """The same gradients by the plain formula, with a graph of their own where that is wanted."""
    count = len(ctx.kinds) + 1
    # A parameter that is used twice must get the part of each use: every use has its own alias.
    x, *tensors = [t.view_as(t) for t in (x, *tensors)]
    parts = [t if t.numel() else None for t in tensors]
    weights = tensors[:count]
    with torch.autocast(x.device.type, enabled=False):
        out = _formula(
            x,
            weights,
            parts[count : 2 * count],
            parts[2 * count :] or [None] * len(ctx.kinds),
            [KINDS[k] for k in ctx.kinds],
            ctx.order,
            ctx.wrt,
        ).transpose(0, 1)
        need_x, _, _, _, _, *rest = ctx.needs_input_grad
        inputs = [t for t, need in zip((x, *tensors), (need_x, *rest), strict=True) if need]
        found = iter(
            torch.autograd.grad(out, inputs, grad, create_graph=create_graph, allow_unused=True)
        )
    by_x = next(found) if need_x else None
    return (by_x, None, None, None, None, *(next(found) if need else None for need in rest))


def activation_rule(kind: str, beta: Tensor | None) -> Formula:
    """f and its derivatives at a jet's value, in plain torch."""

    def formula(z: Tensor, degree: int) -> list[Tensor]:
        return [activation_formula(z, kind, beta, order=k) for k in range(degree + 1)]

    return formula


def _formula(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    betas: Sequence[Tensor | None],
    kinds: Sequence[str],
    order: Order,
    wrt: tuple[int, ...],
) -> Tensor:
    """The same in plain torch, (K, N, m): differentiable as often as wanted, in every mode."""
    form = algebra.known_layout(order, len(wrt))
    h = None
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if h is None:
            value = (x @ weight.t()).unsqueeze(0)
            parts = [value]
            if order != 0:
                columns = torch.stack([weight[:, i] for i in wrt]).unsqueeze(1)
                parts.append(columns.expand(form.n, x.shape[0], -1))
            rest = form.size - sum(part.shape[0] for part in parts)
            parts.append(torch.zeros_like(value).expand(rest, -1, -1))
            y = torch.cat(parts)
        else:
            y = h @ weight.t()
        if bias is not None:
            y = algebra.add_number(y, bias)
        if layer == len(kinds):
            return y
        h = algebra.chain(y, activation_rule(kinds[layer], betas[layer]), form)
    raise AssertionError("the last layer returns")
