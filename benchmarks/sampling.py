"""What it costs to look at a pool anew, against one order-1 jet of the network on it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import colloc as cc
import torch

from benchmarks.harness import Comparison, compare

#: A refresh may take 1.15 times the jet's time.
BAR = 1 / 1.15
POOL, DRAWN = 100_000, 10_000


def shapes() -> dict[str, cc.geometry.Shape]:
    """A shape that takes every raw point, and one that tests them."""
    channel = cc.geometry.Channel((-4, -1), (4, 1))
    ring = (channel | cc.geometry.Disk((0, 0), 2)) - cc.geometry.Disk((0, 0), 1)
    return {"rectangle": cc.geometry.Rectangle((-1, -1), (1, 1)), "annular ring": ring}


def refresh(shape: cc.geometry.Shape, net: torch.nn.Module, device: str) -> Callable[[], object]:
    """New pool, gradient norm, probabilities and a draw, at every call."""
    sampler = cc.sampling.ImportanceSampler(
        shape, cc.sampling.DerivativeNorm(net), DRAWN, POOL, refresh_every=1, seed=0, device=device
    )
    steps = count()
    return lambda: sampler(next(steps))


def forward(shape: cc.geometry.Shape, net: torch.nn.Module, device: str) -> Callable[[], object]:
    """The jet that a refresh cannot do without."""
    x = shape.sample(POOL, device=device).x

    def call() -> object:
        with torch.no_grad():
            return cc.jet(net, x, 1)

    return call


def run(rounds: int, device: str = "cpu") -> list[Comparison]:
    """One comparison for each shape."""
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, 128, 4, "tanh", device=device)
    found = []
    for name, shape in shapes().items():
        contenders = {
            "ImportanceSampler, a refresh": refresh(shape, net, device),
            "jet of order 1": forward(shape, net, device),
        }
        found.append(
            compare(
                f"refresh {name}",
                f"pool of {POOL:,} points of the {name}, {DRAWN:,} drawn; tanh network 4 x 128",
                contenders,
                bars={"jet of order 1": BAR},
                rounds=rounds,
                device=device,
            )
        )
    return found
