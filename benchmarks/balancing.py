"""What loss weighting adds to a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import colloc as cc
import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, compare

INTERIOR, WALLS, EVERY = 4096, 800, 10
NAMES = ("interior", "walls")
#: A rule that looks at the losses alone may take 3 % of a step.
ALONE = 1 / 0.03
#: A step with the rule may take so many plain ones.
WHOLE = {"GradNorm": 1.3, "LRAnnealing, every 10": 1.25, "NTK, every 10": 1.25}
NOTES = {
    "plain step": "losses of interior and walls, their sum, backward, fused Adam",
    "alone": "CPU time of 10 calls of the balancer on ready losses, each with the backward of "
    "its total to them, against the plain step with two threads",
    "every 10": "ten steps, one of them with an update",
}


class Step:
    """A step of soft Helmholtz at 4 x 128."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        self.net = cc.nn.MLP(2, 1, 128, 4, "tanh", device=device)
        inside, wall = (
            square.sample(INTERIOR, device=device),
            square.boundary.sample(WALLS, device=device),
        )
        equation = cc.pde.helmholtz(1.0, lambda x: torch.sin(x[:, :1]))
        self.terms = [
            cc.Term("interior", self.net, inside, equation),
            cc.Term("walls", self.net, wall, lambda u, x: u.value, order=0),
        ]

    def losses(self) -> dict[str, Tensor]:
        return {term.name: term.loss() for term in self.terms}

    def with_balancer(self, balancer: nn.Module, steps: int = 1) -> Callable[[], object]:
        # A learning rate of 0: the state of all contenders stays the same.
        optimizer = torch.optim.Adam(self.net.parameters(), 0.0, fused=True)
        number = count()

        def call() -> object:
            for _ in range(steps):
                total = balancer(self.losses(), next(number), terms=self.terms)
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
            return total

        return call


class Plain(nn.Module):
    """The sum, as one writes it."""

    def forward(self, losses: dict[str, Tensor], step: int, *, terms: object) -> Tensor:
        return losses["interior"] + losses["walls"]


def alone(balancer: nn.Module, device: str) -> Callable[[], object]:
    """A call on losses that are there, and the backward to them."""
    losses = {name: torch.rand((), device=device, requires_grad=True) for name in NAMES}
    number = count()

    def call() -> object:
        for _ in range(10):
            balancer(losses, next(number)).backward()

    return call


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    step, b = Step(device), cc.balancing
    plain = step.with_balancer(Plain())
    rules = {
        "SoftAdapt": b.SoftAdapt(NAMES),
        "ReLoBRaLo": b.ReLoBRaLo(NAMES),
        "HomoscedasticUncertainty": b.HomoscedasticUncertainty(NAMES),
        "ResNorm": b.ResNorm(NAMES),
    }
    for name, rule in rules.items():
        ten = alone(rule.to(device), device)
        yield compare(
            f"{name} alone",
            f"10 calls on two losses; 10 plain steps, 4 x 128, {INTERIOR} + {WALLS} points",
            {name: ten, "plain step": lambda: [plain() for _ in range(10)]},
            bars={"plain step": ALONE},
            rounds=rounds,
            threads=2,
            device=device,
            notes=dict(NOTES),
        )
    parameters = list(step.net.parameters())
    gradient_rules = {
        "GradNorm": (b.GradNorm(NAMES, step.net), 1),
        "LRAnnealing, every 10": (
            b.LRAnnealing(NAMES, "interior", parameters, update_every=EVERY), EVERY,
        ),
        "NTK, every 10": (b.NTK(NAMES, update_every=EVERY), EVERY),
    }  # fmt: skip
    for name, (rule, steps) in gradient_rules.items():
        yield compare(
            f"step with {name}",
            f"{steps} steps of Helmholtz with soft walls, 4 x 128, {INTERIOR} + {WALLS} points",
            {
                name: step.with_balancer(rule.to(device), steps),
                "plain step": step.with_balancer(Plain(), steps),
            },
            bars={"plain step": 1 / WHOLE[name]},
            rounds=rounds,
            threads=2,
            device=device,
            notes=dict(NOTES),
        )
