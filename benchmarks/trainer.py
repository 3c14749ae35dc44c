"""What the training loop itself costs: the CPU time of a stub's steps by the trainer and by a plain
loop, against a real step at 4 x 64, N = 500.

    python -m benchmarks.trainer
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import colloc as cc
import torch
from torch import Tensor, nn

#: Share of a real step that the trainer's own code may take.
BAR = 0.03


class Stub(torch.autograd.Function):
    """A number with a gradient for each parameter that is there already."""

    @staticmethod
    def forward(ctx, gradients, *parameters):  # type: ignore[no-untyped-def, override]
        ctx.gradients = gradients
        return torch.ones(())

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def, override]
        return (None, *ctx.gradients)


def network() -> nn.Module:
    torch.manual_seed(0)
    return cc.nn.MLP(2, 1, 64, 4, "tanh")


def stub_terms(net: nn.Module) -> list[cc.Term]:
    x = torch.rand(4, 2)
    parameters = list(net.parameters())
    gradients = [torch.zeros_like(p) for p in parameters]

    class First(cc.Term):
        def loss(self) -> Tensor:
            found: Tensor = Stub.apply(gradients, *parameters)
            return found

    class Second(cc.Term):
        def loss(self) -> Tensor:
            return one

    one = torch.ones(())
    return [
        First("interior", net, x, lambda u, x: u.value, order=0),
        Second("walls", net, x, lambda u, x: u.value, order=0),
    ]


class NoStep(torch.optim.SGD):
    """An optimiser that does nothing: not the trainer's own code."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Nothing."""


def by_trainer(steps: int) -> Callable[[], None]:
    net = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = torch.rand(4, 2)
        trainer = cc.training.Trainer(
            stub_terms(net),
            net,
            NoStep(net.parameters(), 1e-3),
            dict.fromkeys(("interior", "walls"), lambda step: points),
            steps=10**9,
            progress=False,
        )

    def run() -> None:
        for state in trainer:
            if state.step % steps == 0:
                break

    return run


def by_loop(steps: int) -> Callable[[], None]:
    """The same in a plain loop: what a user writes at least."""
    net = network()
    terms = stub_terms(net)
    balancer = cc.balancing.Sum({"interior": 1.0, "walls": 1.0})
    optimizer = NoStep(net.parameters(), 1e-3)
    points = torch.rand(4, 2)

    def run() -> None:
        for step in range(steps):
            for term in terms:
                term.points = points
            losses = {term.name: term.loss() for term in terms}
            total = balancer(losses, step, terms=terms)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return run


def real_step() -> Callable[[], None]:
    """A step at 4 x 64, N = 500 with walls, Adam and new points, in a plain loop."""
    net = network()
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    samplers = [cc.sampling.Halton(square, 500), cc.sampling.Halton(square.boundary, 100)]
    equation = cc.pde.poisson(lambda x: x[:, :1])
    terms = [
        cc.Term("interior", net, samplers[0](0), equation),
        cc.Term("walls", net, samplers[1](0), lambda u, x: u.value, order=0),
    ]
    balancer = cc.balancing.Sum({"interior": 1.0, "walls": 1.0})
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    counter = iter(range(10**9))

    def run() -> None:
        for _ in range(100):
            step = next(counter)
            for term, sampler in zip(terms, samplers, strict=True):
                term.points = sampler(step)
            losses = {term.name: term.loss() for term in terms}
            total = balancer(losses, step, terms=terms)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return run


def spent(run: Callable[[], None]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.trainer", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = {
        "trainer": (by_trainer(arguments.steps), arguments.steps),
        "loop": (by_loop(arguments.steps), arguments.steps),
        "step": (real_step(), 100),
    }
    for run, _ in runs.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, (run, count) in runs.items():
            found[name].append(spent(run) / count)
    own = [a - b for a, b in zip(found["trainer"], found["loop"], strict=True)]
    shares = [a / b for a, b in zip(own, found["step"], strict=True)]
    share = statistics.median(shares)
    for name, times in found.items():
        print(f"{name}: {1e6 * statistics.median(times):.1f} us of CPU a step")
    low, high = statistics.quantiles(shares, n=4)[0], statistics.quantiles(shares, n=4)[2]
    print(
        f"the trainer's own code: {1e6 * statistics.median(own):.1f} us, {share:.2%} of a step "
        f"({low:.2%} to {high:.2%}); bar {BAR:.0%}: {'met' if share <= BAR else 'NOT met'}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
