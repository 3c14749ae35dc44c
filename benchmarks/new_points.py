"""What new points at every step cost a field with exact boundary conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import colloc as cc
import torch
from torch import Tensor

from benchmarks.harness import Comparison, compare

N = 2000
KEPT, NEW = "exact walls, points that stay", "exact walls, new points"
PLAIN = "no walls, new points"
NOTES = {
    KEPT: "loss and backward of Poisson's equation, a function as data on each of four whole "
    "lines; what depends on points and data alone is kept",
    NEW: "the same, with the next points of a Halton sequence at every step",
    PLAIN: "the network alone, with the same new points",
}


def wave(x: Tensor) -> Tensor:
    """The data, (N, 1)."""
    return x.sum(1, keepdim=True).sin()


def step(term: cc.Term, points: Callable[[int], object] | None) -> Callable[[], Tensor]:
    """A loss and its backward, with new points where a sampler is given."""
    count = iter(range(1 << 62))

    def call() -> Tensor:
        if points is not None:
            term.points = points(next(count))
        loss = term.loss()
        loss.backward()
        return loss

    return call


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    """One comparison in each precision."""
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        square = cc.geometry.Rectangle((0, 0), (1, 1))
        net = cc.nn.MLP(2, 1, 32, 3, "sin", dtype=dtype, device=device)
        sides = [square.boundary[name].line for name in ("left", "right", "bottom", "top")]
        field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(side, wave) for side in sides])
        points = cc.sampling.Halton(square, N, dtype=dtype, device=device)

        def term(of: Callable[[Tensor], Tensor], points=points) -> cc.Term:
            return cc.Term("inside", of, points(0), cc.pde.poisson(1.0))

        yield compare(
            f"new points, {str(dtype).removeprefix('torch.')}",
            f"{N} points, sin network of 3 layers of 32",
            {
                KEPT: step(term(field), None),
                NEW: step(term(field), points),
                PLAIN: step(term(net), points),
            },
            rounds=rounds,
            device=device,
            notes=dict(NOTES),
        )
