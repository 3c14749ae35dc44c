"""A training step of a first-order form under autocast, against float32 and torch's own modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import colloc as cc
import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, compare

N, OUTPUTS = 2000, 3
SIZES = ((64, 6), (256, 4), (512, 6))
OURS, WIDE = "colloc, bfloat16", "colloc, float32"
NESTED, NESTED_WIDE = "nested autograd, bfloat16", "nested autograd, float32"
NOTES = {
    OURS: "cc.jet(net, x, 1) under torch.autocast, loss in float32, gradients of all weights",
    WIDE: "the same without autocast",
    NESTED: "the network of nn.Linear and nn.SiLU under torch.autocast, first derivatives by "
    "torch.autograd.grad(create_graph=True)",
    NESTED_WIDE: "the same without autocast",
}


def equation(value: Tensor, slopes: Tensor, x: Tensor) -> Tensor:
    """The first-order Helmholtz form, k = 1: rows (N, 3)."""
    f = (1 - 17 * math.pi**2) * torch.sin(math.pi * x[:, 0]) * torch.sin(4 * math.pi * x[:, 1])
    value, slopes = value.to(x.dtype), slopes.to(x.dtype)  # out of autocast's
    balance = slopes[:, 1, 0] + slopes[:, 2, 1] + value[:, 0] - f
    return torch.stack((balance, value[:, 1] - slopes[:, 0, 0], value[:, 2] - slopes[:, 0, 1]), 1)


def ours(net: nn.Module, x: Tensor, lowered: bool) -> Callable[[], tuple[Tensor, ...]]:
    weights = list(net.parameters())

    def step() -> tuple[Tensor, ...]:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=lowered):
            u = cc.jet(net, x, 1)
        loss = equation(u.value, u.grad, x).square().mean()
        return loss, *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

    return step


def nested(net: nn.Module, x: Tensor, lowered: bool) -> Callable[[], tuple[Tensor, ...]]:
    weights = list(net.parameters())

    def step() -> tuple[Tensor, ...]:
        inputs = x.detach().requires_grad_()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=lowered):
            value = net(inputs)
        ones = torch.ones_like(value[:, 0])
        slopes = [
            torch.autograd.grad(value[:, i], inputs, ones, create_graph=True)[0]
            for i in range(OUTPUTS)
        ]
        loss = equation(value, torch.stack(slopes, 1), inputs).square().mean()
        return loss, *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

    return step


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    """One comparison for each size of network, with the gradients' errors against float64."""
    for width, layers in SIZES:
        torch.manual_seed(0)
        net = cc.nn.MLP(2, OUTPUTS, width, layers, "silu", device=device)
        plain = nn.Sequential(*net)  # the same weights
        x = 2 * torch.rand(N, 2, device=device) - 1
        contenders = {
            OURS: ours(net, x, True),
            WIDE: ours(net, x, False),
            NESTED: nested(plain, x, True),
            NESTED_WIDE: nested(plain, x, False),
        }
        yield compare(
            f"first-order step, width {width}",
            f"{N} points, {OUTPUTS} outputs, SiLU network of {layers} layers, loss and gradients",
            contenders,
            rounds=rounds,
            device=device,
            notes={**NOTES, **errors(contenders, net, x)},
        )


def errors(
    contenders: dict[str, Callable[[], tuple[Tensor, ...]]], net: nn.Module, x: Tensor
) -> dict[str, float]:
    """Of each contender the relative L2 error of all gradients together."""
    exact = torch.cat([g.flatten() for g in ours(net.double(), x.double(), False)()[1:]])
    net.float()
    found = {}
    for label, step in contenders.items():
        gradient = torch.cat([g.flatten().double() for g in step()[1:]])
        found[f"error of the gradient, {label}"] = float((gradient - exact).norm() / exact.norm())
    return found
