"""sigma(n a x) with its backward, against eager torch and torch.compile."""

from __future__ import annotations

from collections.abc import Callable

import colloc as cc
import torch
from torch import Tensor

from benchmarks.harness import Comparison, compare

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
}


def step(forward: Callable[[Tensor, Tensor], Tensor], x: Tensor, a: Tensor, grad: Tensor) -> None:
    x.grad = a.grad = None
    forward(x, a).backward(grad)


def second_derivative(forward: Callable[[Tensor, Tensor], Tensor], x: Tensor, a: Tensor) -> Tensor:
    """What a nested-autograd user asks of an activation: y' with its graph, then its gradient."""
    (first,) = torch.autograd.grad(forward(x, a).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return second


def run(rounds: int, device: str = "cpu") -> list[Comparison]:
    results = []
    generator = torch.Generator().manual_seed(0)
    n, width = 4096, 128
    for threads in (1, 2) if device == "cpu" else (1,):
        for kind, plain in PLAIN.items():
            x = torch.randn(n, width, generator=generator).to(device).requires_grad_()
            grad = torch.randn(n, width, generator=generator).to(device)
            a = torch.ones(width, device=device, requires_grad=True)

            def eager(x: Tensor, a: Tensor, plain: Callable[[Tensor], Tensor] = plain) -> Tensor:
                return plain(a * x)

            def ours(x: Tensor, a: Tensor, kind: str = kind) -> Tensor:
                return cc.ops.adaptive_activation(x, a, kind)

            compiled = torch.compile(eager)
            forwards = {"colloc": ours, "eager torch": eager, "torch.compile": compiled}
            found = {}
            for label, forward in forwards.items():
                step(forward, x, a, grad)
                found[label] = (x.grad.clone(), a.grad.clone())
            for label in ("eager torch", "torch.compile"):
                torch.testing.assert_close(
                    found[label][0], found["colloc"][0], rtol=1e-4, atol=1e-4
                )
                torch.testing.assert_close(
                    found[label][1], found["colloc"][1], rtol=1e-3, atol=1e-2
                )
            results.append(
                compare(
                    f"adaptive {kind}, forward and backward",
                    f"x ({n}, {width}) float32, a slope a neuron, gradients to x and a",
                    {
                        label: lambda f=forward, x=x, a=a, grad=grad: step(f, x, a, grad)
                        for label, forward in forwards.items()
                    },
                    rounds=rounds,
                    threads=threads,
                    device=device,
                )
            )
            results.append(
                compare(
                    f"adaptive {kind}, second derivative by nested autograd",
                    f"x ({n}, {width}) float32, a slope a neuron",
                    {
                        label: lambda f=forward, x=x, a=a: second_derivative(f, x, a)
                        for label, forward in (("colloc", ours), ("eager torch", eager))
                    },
                    rounds=rounds,
                    threads=threads,
                    device=device,
                )
            )
    return results
