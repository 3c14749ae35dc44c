"""Gradients of each loss by itself, statistics of them, and a total that has them already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, distributed, nn

from colloc._checks import describe, fail, fail_type
from colloc.balancing.base import process_count

#: Of one loss by each of some tensors; None where it does not depend on one.
Gradients: TypeAlias = "Sequence[Tensor | None]"


def check_parameters(parameters: Any) -> list[Tensor]:
    """The parameters of a module, or leaf tensors, as a list without repetition; at least one."""
    wanted = "an nn.Module or leaf tensors, at least one"
    if isinstance(parameters, nn.Module):
        parameters = parameters.parameters()
    elif isinstance(parameters, Tensor):
        parameters = [parameters]
    if isinstance(parameters, (str, dict)) or not isinstance(parameters, Iterable):
        fail_type("parameters", wanted, describe(parameters), "Pass net.parameters().")
    found: dict[int, Tensor] = {}
    for parameter in parameters:
        if not isinstance(parameter, Tensor):
            fix = "Pass net.parameters()." if isinstance(parameter, (str, tuple)) else ""
            fail_type("parameters", wanted, describe(parameter), fix)
        if not parameter.is_leaf:
            fail(
                "parameters",
                wanted,
                f"{describe(parameter)} that was computed from others",
                "Pass the parameter itself: of a layer with weight normalisation "
                "layer.parametrizations.weight.original1.",
            )
        found[id(parameter)] = parameter
    if not found:
        fail("parameters", wanted, "none", "A generator is used up by its first use.")
    return list(found.values())


def last_weight(net: nn.Module) -> Tensor:
    """The weight of a module's last ``nn.Linear``; v where it is g v / |v|."""
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        fail(
            "parameters",
            "a module with an nn.Linear",
            f"{type(net).__name__} without one",
            "Pass the weight of its last layer.",
        )
    held = dict(layers[-1].named_parameters())
    for name in (
        "weight",
        "parametrizations.weight.original1",
        "parametrizations.weight.original",
        "weight_v",
    ):
        if name in held:
            return held[name]
    fail("parameters", "a last layer with a weight", f"one with {sorted(held)}", "Pass it.")


def gradients_of(losses: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Gradients]:
    """The gradient of every loss by every target; the losses' graphs stay."""
    found: list[Gradients] = []
    for loss in losses:
        if loss.requires_grad:
            found.append(torch.autograd.grad(loss, targets, retain_graph=True, allow_unused=True))
        else:
            found.append([None] * len(targets))
    return found


def shared(
    gradients: Sequence[Gradients], parameters: Sequence[Tensor], group: Any
) -> Sequence[Gradients]:
    """The mean over all processes of each loss's gradients by ``parameters``."""
    count = process_count(group)
    if count == 1:
        return gradients
    rows = [
        torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).detach().reshape(-1).to(torch.float64)
                for g, p in zip(row, parameters, strict=True)
            ]
        )
        for row in gradients
    ]
    flat = torch.stack(rows)
    distributed.all_reduce(flat, group=group)
    return [[row] for row in flat / count]


def norms(gradients: Sequence[Gradients], order: float, like: Tensor) -> Tensor:
    """The p-norm (p = 1, 2 or inf) of each loss's gradient, (n,) in float64; 0 without one."""
    found = []
    for row in gradients:
        parts = [g for g in row if g is not None and g.numel()]
        if not parts:
            found.append(like.new_zeros(()))
            continue
        each = torch._foreach_norm(parts, order, dtype=torch.float64)
        found.append(torch.linalg.vector_norm(torch.stack(each).to(like.device), order))
    return torch.stack(found)


def total_with(
    value: Tensor, weights: Tensor, gradients: Sequence[Gradients], leaves: Sequence[Tensor]
) -> Tensor:
    """``value`` (), whose gradient by the leaves is sum_j w_j g_j: no backward of the losses."""
    with torch.no_grad():
        sums = _weighted(weights, gradients, len(leaves))
    used = [k for k, part in enumerate(sums) if part is not None]
    kept = [cast(Tensor, sums[k]) for k in used]
    return cast(Tensor, _Total.apply((value, kept), *(leaves[k] for k in used)))


def _weighted(weights: Tensor, gradients: Sequence[Gradients], count: int) -> list[Tensor | None]:
    """sum_j w_j g_j for each of ``count`` leaves."""
    sums: list[Tensor | None] = [None] * count
    for weight, row in zip(weights.unbind(), gradients, strict=True):
        used = [k for k, g in enumerate(row) if g is not None]
        if not used:
            continue
        # A weight of shape () leaves the gradients their dtype.
        parts = torch._foreach_mul([cast(Tensor, row[k]) for k in used], weight)
        new = [k for k in used if sums[k] is None]
        old = [j for j, k in enumerate(used) if sums[k] is not None]
        if old:
            torch._foreach_add_([cast(Tensor, sums[used[j]]) for j in old], [parts[j] for j in old])
        place = {k: j for j, k in enumerate(used)}
        for k in new:
            sums[k] = parts[place[k]]
    return sums


class _Total(torch.autograd.Function):
    """A number with known gradients by leaves."""

    @staticmethod
    def forward(ctx: Any, known: tuple[Tensor, list[Tensor]], *leaves: Tensor) -> Tensor:  # type: ignore[override]
        value, gradients = known
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():  # the gradients would be constants, silently
            raise RuntimeError(
                "The total of this balancer carries its gradient, and has no second derivative "
                "(create_graph=True). Call balancer.update(losses) first, and the balancer under "
                "balancer.eval()."
            )
        return (None, *torch._foreach_mul(list(ctx.saved_tensors), grad))
