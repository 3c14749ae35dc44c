"""How modules act on jets: multilayer perceptrons at once, other known modules one by one.

A module of one's own takes part by a method ``forward_jet(jet: Jet) -> Jet``; an activation by a
method ``jet_activation() -> Activation``.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import fail, fail_type
from colloc.jets import algebra, recording
from colloc.jets.container import Jet
from colloc.jets.layout import Order
from colloc.jets.mlp import activation_rule, mlp_components, plain_formula_serves
from colloc.jets.perceptron import Perceptron, evaluate, folded, layers_of
from colloc.jets.rules import (
    Activation,
    Unsupported,
    activation_of,
    check_hooks,
    check_plain,
    check_slope,
    flat,
    known,
    rule_of,
)
from colloc.ops._registration import below_autograd
from colloc.ops.jet_activation import backward as activation_backward
from colloc.ops.jet_activation import forward as activation_forward


def components_of(net: nn.Module, x: Tensor, order: Order, wrt: tuple[int, ...]) -> Tensor:
    """Packed jet components (K, N, m) of a known module.

    Raises:
        Unsupported: some part of it has no rule.
    """
    inner = net._modules.get("_orig_mod")  # what torch.compile wraps
    if inner is not None:
        check_hooks(net)
        net = inner
    parts = list(flat(net))
    for part in parts:
        check_plain(part)
    device = x.device.type
    if device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return _components(parts, x, order, wrt, True)
    # Values and first derivatives follow autocast; second ones lose too much in it.
    with torch.autocast(device, enabled=order in (0, 1)):
        return _components(parts, x, order, wrt, True)


def noted_components_of(
    net: nn.Module, x: Tensor, order: Order, wrt: tuple[int, ...]
) -> tuple[Tensor, Perceptron | None]:
    """:func:`components_of` without a graph, and the network where it is one perceptron."""
    with torch.enable_grad():  # parametrised weights have a graph to what is trained
        parts = list(flat(net._modules.get("_orig_mod") or net))
        layers = layers_of(parts, x)
    if layers is None or plain_formula_serves(x, len(wrt)):
        with torch.no_grad():
            return components_of(net, x, order, wrt), None
    for part in parts:
        check_plain(part)
    return evaluate(layers, x, order, wrt)


def take_apart(net: nn.Module, x: Tensor, order: Order, wrt: tuple[int, ...]) -> Tensor:
    """Components (K, N, m) of a known module, part by part."""
    return _components(list(flat(net._modules.get("_orig_mod") or net)), x, order, wrt, False)


def _components(
    parts: list[nn.Module], x: Tensor, order: Order, wrt: tuple[int, ...], whole: bool
) -> Tensor:
    """By the op for a whole perceptron, where that is allowed and serves, else part by part."""
    layers = layers_of(parts, x) if whole else None
    if layers is not None:
        return mlp_components(folded(layers)[0], x, order, wrt)
    jet = _inputs(x, order, wrt)
    for part in parts:
        jet = act(part, jet)
    return jet.components


# ---- one module after the other --------------------------------------------------------------


def _inputs(x: Tensor, order: Order, wrt: tuple[int, ...]) -> Jet:
    """The jet of the identity, (K, N, d)."""
    form = algebra.known_layout(order, len(wrt))
    if order == 0:
        return Jet(x.unsqueeze(0), order, wrt, x.shape[1])
    slopes = x.new_zeros((form.n, 1, x.shape[1]))
    for k, i in enumerate(wrt):
        slopes[k, 0, i].fill_(1)  # not = 1: a GPU gets that by a copy from the host
    rest = x.new_zeros((form.size - 1 - form.n, 1, 1))
    parts = (x.unsqueeze(0), slopes, rest)
    full = torch.cat([part.expand(-1, x.shape[0], x.shape[1]) for part in parts])
    return Jet(full, order, wrt, x.shape[1])


def act(module: nn.Module, jet: Jet) -> Jet:
    """The jet of ``module`` of ``jet``.

    The rule of every module that colloc knows: ``nn.Linear``, ``nn.Sequential``, activations,
    and modules with a method ``forward_jet``.

    Raises:
        Unsupported: the module has none.
    """
    check_plain(module)
    if known(module, nn.Sequential):
        for part in module._modules.values():
            assert part is not None
            jet = act(part, jet)
        return jet
    if known(module, nn.Linear):
        assert isinstance(module, nn.Linear)
        return linear(jet, module.weight, module.bias)
    activation = activation_of(module)
    if activation is not None:
        return activated(jet, activation)
    rule = rule_of(module, "forward_jet")
    if rule is None:
        raise Unsupported(type(module).__name__)
    found = rule(module, jet)
    if not isinstance(found, Jet):
        fail_type(f"{type(module).__name__}.forward_jet", "a jet", found)
    return found


def linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    """The jet of W z + b: (.., in) to (.., out), by ``weight`` (out, in) and ``bias`` (out,)."""
    width, inputs = jet.components.shape[-1], weight.shape[1]
    if width != inputs:
        fail("jet", f"{inputs} outputs, as many as the layer has inputs", f"{width}")
    noted = None if torch.compiler.is_compiling() else recording.uses()
    if noted is not None:
        return _noted_linear(noted, jet, weight, bias)
    components = torch.matmul(jet.components, weight.t())
    if bias is not None:
        # Autocast lowers the product alone.
        components = algebra.add_number(components, bias.to(components.dtype))
    return Jet(components, jet.order, jet.wrt, jet.inputs)


def activated(jet: Jet, activation: Activation) -> Jet:
    """The jet of sigma(n a z)."""
    z = jet.components
    kind, slope, scale, beta = activation
    check_slope(activation, z.shape[-1])
    noted = None if torch.compiler.is_compiling() else recording.uses()
    if noted is not None:
        return _noted_activation(noted, jet, activation)
    dtype = z.dtype
    if slope is not None or scale != 1.0:
        factor = scale if slope is None else scale * slope.to(_computed_in(dtype))
        z = _wide(z) * factor
    if beta is not None:
        beta = beta.to(_computed_in(dtype)).expand(z.shape[-1])
    out = _activated(z, kind, jet, beta)
    return Jet(out.to(dtype), jet.order, jet.wrt, jet.inputs)


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """What activations of ``dtype`` are computed in: numbers of 16 bits in float32."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _wide(z: Tensor) -> Tensor:
    return z.to(_computed_in(z.dtype))


def _activated(z: Tensor, kind: str, jet: Jet, beta: Tensor | None) -> Tensor:
    if plain_formula_serves(z, jet.layout.n):
        return algebra.chain(_wide(z), activation_rule(kind, beta), jet.layout)
    y, n = z.transpose(0, 1), jet.layout.n
    if torch.compiler.is_compiling():
        return activation_forward(y, None, None, beta, kind, str(jet.order), n).transpose(0, 1)
    return _Activated.apply(y, beta, kind, jet.order, n).transpose(0, 1)


class _Activated(torch.autograd.Function):
    """The op outside of torch.compile: less overhead, and second derivatives."""

    # torch types both as (ctx, *args): naming the arguments is what mypy minds.
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, y: Tensor, beta: Tensor | None, kind: str, order: Order, n: int
    ) -> Tensor:
        ctx.save_for_backward(y, beta)
        ctx.kind, ctx.order, ctx.n = kind, order, n
        with below_autograd():
            return activation_forward(y, None, None, beta, kind, str(order), n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        y, beta = ctx.saved_tensors
        need_y, need_beta = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # create_graph=True
            form = algebra.known_layout(ctx.order, ctx.n)
            rule = activation_rule(ctx.kind, beta)
            out = algebra.chain(_wide(y).transpose(0, 1), rule, form).transpose(0, 1)
            inputs = [t for t, need in ((y, need_y), (beta, need_beta)) if need]
            found = iter(torch.autograd.grad(out.to(y.dtype), inputs, grad, create_graph=True))
            by_y, by_beta = (next(found) if need else None for need in (need_y, need_beta))
            return by_y, by_beta, None, None, None
        by_y, _, by_beta = activation_backward(
            grad, y, None, None, beta, ctx.kind, str(ctx.order), ctx.n
        )
        return by_y if need_y else None, by_beta.sum(0) if need_beta else None, None, None, None


# ---- with every use of a parameter noted ------------------------------------------------------


def _noted_linear(noted: list[recording.Use], jet: Jet, weight: Tensor, bias: Tensor | None) -> Jet:
    h = jet.components
    y = torch.matmul(h, weight.detach().t())
    if bias is not None:
        y = algebra.add_number(y, bias.detach())
    y = recording.in_graph(y)
    noted.append(recording.LinearUse(weight, bias, h.detach(), y))
    return Jet(y, jet.order, jet.wrt, jet.inputs)


def _noted_activation(noted: list[recording.Use], jet: Jet, activation: Activation) -> Jet:
    z = jet.components
    kind, slope, scale, beta = activation
    if slope is not None:
        y = recording.in_graph(z * (scale * slope.detach()))
        noted.append(recording.SlopeUse(slope, scale, z.detach(), y))
        z = y
    elif scale != 1.0:
        z = z * scale
    if beta is None:
        out = _activated(z, kind, jet, None)
    else:
        fixed = beta.detach().expand(z.shape[-1])
        out = recording.in_graph(_activated(z, kind, jet, fixed))
        with torch.no_grad():  # the activation is linear in beta
            one = _activated(z, kind, jet, torch.ones_like(fixed))
            rest = _activated(z, kind, jet, torch.zeros_like(fixed))
        noted.append(recording.BetaUse(beta, one - rest, out))
    return Jet(out, jet.order, jet.wrt, jet.inputs)


# ---- what has no rule ------------------------------------------------------------------------

_warned: set[str] = set()


def warn_unsupported(net: nn.Module, reason: Unsupported) -> None:
    """Say once for each cause that nested autograd is used, and what for."""
    text = str(reason)
    if text in _warned:
        return
    _warned.add(text)
    warnings.warn(
        f"colloc.jet: no kernel for {text} in {type(net).__name__}; its derivatives are computed "
        "by nested autograd, with the same results but slower. Build the network from nn.Linear, "
        "activations, nn.Sequential and colloc.nn modules, or give the module a method "
        "forward_jet(jet).",
        stacklevel=4,
    )
