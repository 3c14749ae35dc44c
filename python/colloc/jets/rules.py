"""What a module is to a jet: an activation, a module with a rule, or one that has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from colloc._checks import fail


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


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.Tanh: lambda module: Activation("tanh"),
    nn.SiLU: lambda module: Activation("silu"),
    nn.GELU: lambda module: Activation("gelu" if module.approximate == "none" else "gelu_tanh"),
    nn.Sigmoid: lambda module: Activation("sigmoid"),
    nn.Softplus: _softplus,
    nn.Identity: lambda module: Activation("identity"),
}


def known(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether the module is a ``base`` that does what ``base`` does (parametrised ones too)."""
    return isinstance(module, base) and type(module).forward is base.forward


def rule_of(module: nn.Module, name: str) -> Any:
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
    rule = rule_of(net, name)
    if rule is None:
        return None
    try:
        check_plain(net)
    except Unsupported:
        return None
    return rule


def check_hooks(module: nn.Module) -> None:
    """Refuse a module with hooks: rules by type would pass them by."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        raise Unsupported(f"{type(module).__name__} with hooks")
    if module._backward_pre_hooks or _has_any_global_hook():
        raise Unsupported(f"{type(module).__name__} with hooks")


def check_plain(module: nn.Module) -> None:
    """Refuse a module with hooks, or with a forward or call of its own."""
    check_hooks(module)
    if "forward" in module.__dict__ or type(module).__call__ is not nn.Module.__call__:
        raise Unsupported(f"{type(module).__name__} with a forward or call of its own")


def activation_of(module: nn.Module) -> Activation | None:
    """The module as an activation that the kernels know, or None."""
    rule_of_its_own = rule_of(module, "jet_activation")
    if rule_of_its_own is not None:
        found = rule_of_its_own(module)
        return found if isinstance(found, Activation) else None
    own = _ACTIVATIONS.get(type(module))
    if own is not None:
        return own(module)
    for base, rule in _ACTIVATIONS.items():
        if known(module, base):
            return rule(module)
    return None


def flat(net: nn.Module) -> Iterable[nn.Module]:
    """The modules of nested ``nn.Sequential``, in order."""
    if isinstance(net, nn.Sequential) and known(net, nn.Sequential):
        check_plain(net)
        for module in net._modules.values():
            assert module is not None
            if isinstance(module, nn.Sequential):
                yield from flat(module)
            else:
                yield module
    else:
        yield net


def check_slope(activation: Activation, width: int) -> None:
    """Slope and beta have one value, or one for each of ``width`` neurons."""
    for name, value in (("slope", activation.slope), ("beta", activation.beta)):
        if value is not None and value.numel() not in (1, width):
            fail(f"the activation's {name}", f"one value or {width}, one a neuron", value)
