"""How modules act on jets: multilayer perceptrons at once, other known modules one by one.

A module of one's own takes part by a method ``forward_jet(jet: Jet) -> Jet``; an activation by a
method ``jet_activation() -> Activation``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from colloc._checks import fail, fail_type
from colloc.jets import algebra
from colloc.jets.container import Jet
from colloc.jets.layout import Order
from colloc.jets.mlp import (
    Parameters,
    activation_rule,
    mlp_components,
    plain_formula_serves,
)
from colloc.ops._registration import below_autograd
from colloc.ops.jet_activation import backward as activation_backward
from colloc.ops.jet_activation import forward as activation_forward


class Activation(NamedTuple):
    """sigma(n a z) as a module: what the kernels need to know of it."""

    kind: str
    """One of ``colloc.ops.KINDS``."""
    slope: Tensor | None = None
    """a, of shape () or (W,); None: 1."""
    scale: float = 1.0
    """n."""
    beta: Tensor | None = None
    """Of kind "stan": () or (W,)."""


class Unsupported(Exception):
    """A module that has no rule for jets; its text says which."""


def _softplus(module: nn.Module) -> Activation | None:
    assert isinstance(module, nn.Softplus)
    # Beyond the threshold torch's is a straight line: the same to rounding past 37.
    return Activation("softplus") if module.beta == 1 and module.threshold >= 37 else None


#: Layers of a network that one op takes: its backward's mask is an integer of 64 bits.
_MOST_LAYERS = 60

_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.Tanh: lambda module: Activation("tanh"),
    nn.SiLU: lambda module: Activation("silu"),
    nn.GELU: lambda module: Activation("gelu" if module.approximate == "none" else "gelu_tanh"),
    nn.Sigmoid: lambda module: Activation("sigmoid"),
    nn.Softplus: _softplus,
    nn.Identity: lambda module: Activation("identity"),
}


def _known(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether the module is a ``base`` that does what ``base`` does (parametrised ones too)."""
    return isinstance(module, base) and type(module).forward is base.forward


def _rule(module: nn.Module, name: str) -> Any:
    """The method ``name`` of the module's class, if it goes with the class's ``forward``.

    A subclass with another forward has not said what it does to jets: what it inherits does not
    count. The class is asked, since a module's own lookup of what it lacks is slow.
    """
    found = getattr(type(module), name, None)
    if found is None:
        return None
    for parent in type(module).__mro__:
        if name in parent.__dict__:
            return found
        if "forward" in parent.__dict__:
            return None
    return None


def own_rule(net: Any, name: str) -> Any:
    """The rule ``name`` of a module without hooks and with its class's forward, or None."""
    if not isinstance(net, nn.Module):
        return None
    rule = _rule(net, name)
    if rule is None:
        return None
    try:
        _check_plain(net)
    except Unsupported:
        return None
    return rule


def _check_hooks(module: nn.Module) -> None:
    """Refuse a module with hooks: rules by type would pass them by."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        raise Unsupported(f"{type(module).__name__} with hooks")
    if module._backward_pre_hooks or _has_any_global_hook():
        raise Unsupported(f"{type(module).__name__} with hooks")


def _check_plain(module: nn.Module) -> None:
    """Refuse a module with hooks, or with a forward or call of its own."""
    _check_hooks(module)
    if "forward" in module.__dict__ or type(module).__call__ is not nn.Module.__call__:
        raise Unsupported(f"{type(module).__name__} with a forward or call of its own")


def _activation(module: nn.Module) -> Activation | None:
    rule_of_its_own = _rule(module, "jet_activation")
    if rule_of_its_own is not None:
        found = rule_of_its_own(module)
        return found if isinstance(found, Activation) else None
    known = _ACTIVATIONS.get(type(module))
    if known is not None:
        return known(module)
    for base, rule in _ACTIVATIONS.items():
        if _known(module, base):
            return rule(module)
    return None


def _flat(net: nn.Module) -> Iterable[nn.Module]:
    """The modules of nested ``nn.Sequential``, in order."""
    if isinstance(net, nn.Sequential) and _known(net, nn.Sequential):
        _check_plain(net)
        for module in net._modules.values():
            assert module is not None
            if isinstance(module, nn.Sequential):
                yield from _flat(module)
            else:
                yield module
    else:
        yield net


def components_of(net: nn.Module, x: Tensor, order: Order, wrt: tuple[int, ...]) -> Tensor:
    """Packed jet components (K, N, m) of a known module.

    Raises:
        Unsupported: some part of it has no rule.
    """
    inner = net._modules.get("_orig_mod")  # what torch.compile wraps
    if inner is not None:
        _check_hooks(net)
        net = inner
    parts = list(_flat(net))
    for part in parts:
        _check_plain(part)
    device = x.device.type
    if device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return _components(parts, x, order, wrt, True)
    # Values and first derivatives follow autocast; second ones lose too much in it.
    lowered = order in (0, 1)
    with torch.autocast(device, enabled=lowered):
        return _components(parts, x, order, wrt, not lowered)


def _components(
    parts: list[nn.Module], x: Tensor, order: Order, wrt: tuple[int, ...], whole: bool
) -> Tensor:
    """By the op for a whole perceptron, where that is allowed and serves, else part by part."""
    parameters = _mlp(parts, x) if whole else None
    if parameters is not None:
        return mlp_components(parameters, x, order, wrt)
    jet = _inputs(x, order, wrt)
    for part in parts:
        jet = act(part, jet)
    return jet.components


# ---- the multilayer perceptron ---------------------------------------------------------------


def _mlp(parts: list[nn.Module], x: Tensor) -> Parameters | None:
    """The parameters if the modules are Linear, activation, ..., activation, Linear."""
    if len(parts) < 3 or len(parts) % 2 == 0 or x.dtype not in (torch.float32, torch.float64):
        return None
    if len(parts) // 2 >= _MOST_LAYERS:
        return None
    found = Parameters([], [], [], [])
    width = x.shape[1]
    for position, module in enumerate(parts):
        if position % 2:
            activation = _activation(module)
            if activation is None:
                return None
            _append_activation(found, activation)
            continue
        if not _known(module, nn.Linear):
            return None
        assert isinstance(module, nn.Linear)
        weight, bias = module.weight, module.bias
        _check_linear(weight, width, x)
        width = weight.shape[0]
        found.weights.append(weight)
        found.biases.append(bias)
    return found


def _append_activation(found: Parameters, activation: Activation) -> None:
    """Slopes are multiplied into the layer before: n a (W h + b) = (n a W) h + n a b."""
    weight, bias = found.weights[-1], found.biases[-1]
    _check_slope(activation, weight.shape[0])
    factor: Tensor | float = activation.scale
    if activation.slope is not None:
        factor = activation.scale * activation.slope
    if isinstance(factor, Tensor) or factor != 1.0:
        column = factor.reshape(-1, 1) if isinstance(factor, Tensor) else factor
        found.weights[-1] = weight * column
        found.biases[-1] = None if bias is None else bias * factor
    beta = activation.beta
    found.betas.append(None if beta is None else beta.expand(weight.shape[0]))
    found.kinds.append(activation.kind)


def _check_slope(activation: Activation, width: int) -> None:
    for name, value in (("slope", activation.slope), ("beta", activation.beta)):
        if value is not None and value.numel() not in (1, width):
            fail(f"the activation's {name}", f"one value or {width}, one a neuron", value)


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


# ---- one module after the other --------------------------------------------------------------


def _inputs(x: Tensor, order: Order, wrt: tuple[int, ...]) -> Jet:
    """The jet of the identity, (K, N, d)."""
    form = algebra.known_layout(order, len(wrt))
    if order == 0:
        return Jet(x.unsqueeze(0), order, wrt, x.shape[1])
    slopes = x.new_zeros((form.n, 1, x.shape[1]))
    for k, i in enumerate(wrt):
        slopes[k, 0, i] = 1
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
    _check_plain(module)
    if _known(module, nn.Sequential):
        for part in module._modules.values():
            assert part is not None
            jet = act(part, jet)
        return jet
    if _known(module, nn.Linear):
        assert isinstance(module, nn.Linear)
        return linear(jet, module.weight, module.bias)
    activation = _activation(module)
    if activation is not None:
        return activated(jet, activation)
    rule = _rule(module, "forward_jet")
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
    components = torch.matmul(jet.components, weight.t())
    if bias is not None:
        # Autocast lowers the product alone.
        components = algebra.add_number(components, bias.to(components.dtype))
    return Jet(components, jet.order, jet.wrt, jet.inputs)


def activated(jet: Jet, activation: Activation) -> Jet:
    """The jet of sigma(n a z)."""
    z = jet.components
    narrow = z.dtype if z.dtype in (torch.float16, torch.bfloat16) else None
    if narrow is not None:
        z = z.float()
    kind, slope, scale, beta = activation
    _check_slope(activation, z.shape[-1])
    if slope is not None:
        z = z * (scale * slope.to(z.dtype))
    elif scale != 1.0:
        z = z * scale
    if beta is not None:
        beta = beta.to(z.dtype).expand(z.shape[-1])
    out = _activated(z, kind, jet, beta)
    return Jet(out if narrow is None else out.to(narrow), jet.order, jet.wrt, jet.inputs)


def _activated(z: Tensor, kind: str, jet: Jet, beta: Tensor | None) -> Tensor:
    if plain_formula_serves(z, jet.layout.n):
        return algebra.chain(z, activation_rule(kind, beta), jet.layout)
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
            out = algebra.chain(y.transpose(0, 1), rule, form).transpose(0, 1)
            inputs = [t for t, need in ((y, need_y), (beta, need_beta)) if need]
            found = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
            by_y, by_beta = (next(found) if need else None for need in (need_y, need_beta))
            return by_y, by_beta, None, None, None
        by_y, _, by_beta = activation_backward(
            grad, y, None, None, beta, ctx.kind, str(ctx.order), ctx.n
        )
        return by_y if need_y else None, by_beta.sum(0) if need_beta else None, None, None, None


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
