"""Where to put the collocation points: Burgers' equation with a steep front.

    u_t + u u_x = nu u_xx,   x in [-1, 1],   t in [0, 1],   nu = 0.01 / pi,
    u(x, 0) = -sin(pi x),    u(-1, t) = u(1, t) = 0

At t = 0.5 u falls from 0.9 to -0.9 between x = -0.01 and x = 0.01, where 20 of 2000 points lie if
they are spread evenly. The error is measured against the exact solution (burgers_problem.py).

    python examples/burgers.py --sampling rad --output runs/rad       all options: --help

``--sampling uniform`` and ``halton``: points drawn before the first step, which stay. ``rad``: all
are drawn anew by the residual every ``--refresh-every`` iterations, ``rar-d``: some are added then,
``r3``: those of a small residual are replaced. All take equal iterations, first of Adam, then of
L-BFGS, which begins anew where the points change.

The setting is that of Wu, Zhu, Tan, Kartha and Lu, Computer Methods in Applied Mechanics and
Engineering 403 (2023) 115671, https://github.com/lu-group/pinn-sampling: 2000 points, float64, a
tanh network with 3 hidden layers of 64 (Glorot-normal), u = -sin(pi x) + (1 - x^2) t N, Adam with
learning rate 1e-3, then L-BFGS; RAD with k = 1, c = 1 from a pool of 100,000 random points. They
report relative L2 errors of 13.3 % (random), 4.51 % (Halton) and 0.02 % (RAD).

What differs: they take 15,000 steps of Adam and then L-BFGS (DeepXDE's limit: 15,000 iterations),
and let RAD go on for 100 rounds of 1000 steps of Adam and 1000 iterations of L-BFGS, 200,000 more
iterations than the fixed points get. Here every scheme has the same 5000 iterations in all, half of
them Adam's as in their first phase, for a run to take about four minutes on a core; RAD draws from
the first step on, every 200 iterations. Their Halton points are not scrambled, these are, by the
seed.

The run ends after ``--iterations`` or ``--seconds``; Ctrl-C and exit codes are as in helmholtz.py.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import colloc as cc
import numpy as np
import torch
from burgers_problem import (
    ADAPTIVE,
    FIXED,
    NU,
    HardField,
    domain,
    exact,
    grid,
    make_net,
    make_sampler,
)
from colloc import training
from common import check_device, command, facts, pick_device
from torch import Tensor

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
}
BLOCK = 20  # iterations of L-BFGS between two looks at the clock
LOOK = 100  # iterations between two measurements of the error


@dataclass(frozen=True)
class Config:
    """Solve Burgers' equation on points of a chosen kind."""

    sampling: Literal["uniform", "halton", "rad", "rar-d", "r3"] = "rad"
    """how the points are placed"""
    output: Path = Path("runs/burgers")
    """folder of the results"""
    iterations: int = 5000
    """steps of Adam and iterations of L-BFGS at most"""
    seconds: float = math.inf
    """seconds of training at most"""
    points: int = 2000
    """collocation points; of rar-d: at the end"""
    pool: int = 100_000
    """points at which rad and rar-d look at the residual"""
    refresh_every: int = 200
    """iterations between two changes of the points of rad, rar-d and r3"""
    adam: float = 0.5
    """share of the iterations before L-BFGS, up to 1"""
    learning_rate: float = 1e-3
    """learning rate of Adam"""
    history: int = 100
    """steps that L-BFGS remembers"""
    width: int = 64
    """neurons in a hidden layer"""
    depth: int = 3
    """hidden layers"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float64"
    """precision; L-BFGS gets further in float64"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        if self.sampling not in FIXED + ADAPTIVE:
            known = ", ".join(FIXED + ADAPTIVE)
            raise ValueError(f"sampling: expected one of {known}, got {self.sampling}.")
        for name in ("iterations", "points", "pool", "refresh_every", "history", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        for name in ("seconds", "learning_rate"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if not 0 <= self.adam <= 1:
            raise ValueError(f"adam: expected 0 to 1, got {self.adam}.")
        if self.sampling in ("rad", "rar-d") and self.pool < self.points:
            raise ValueError(f"pool: expected at least {self.points} points, got {self.pool}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected 0 to 2^63 - 1, got {self.seed}.")
        check_device(self.device)


class Training:
    """The field, its points, the training loop, and the comparison with the exact u."""

    def __init__(self, config: Config) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        device = pick_device(config.device)
        self.where: dict[str, Any] = {"device": device, "dtype": getattr(torch, config.dtype)}
        self.field = HardField(make_net(config.width, config.depth, self.where))
        self.adam = torch.optim.Adam(self.field.parameters(), lr=config.learning_rate)
        self.lbfgs: torch.optim.LBFGS | None = None
        method = config.sampling if config.sampling in FIXED else "uniform"
        points = domain().sample(config.points, method=method, seed=config.seed, **self.where)
        self.term = cc.Term("equation", self.field, points, cc.pde.burgers(NU), order=2)
        self.sampler: Any = None  # the points stay
        if config.sampling in ADAPTIVE:
            self.sampler = make_sampler(
                config.sampling,
                self.term,
                config.points,
                config.pool,
                config.refresh_every,
                math.ceil(config.iterations / config.refresh_every),
                seed=config.seed,
                **self.where,
            )
        self.epoch = -1  # how often the points have changed, less one
        self.axes, self.grid = grid()
        self.exact = exact(self.grid)
        self.iterations, self.seconds = 0, 0.0
        self.interrupted = False
        self.failure: str | None = None
        self.history: list[dict[str, float]] = []
        self.good = self.state()

    def renew(self) -> None:
        """Points of this iteration. L-BFGS forgets the loss on those before."""
        epoch = self.iterations // self.config.refresh_every
        if self.sampler is not None and epoch != self.epoch:
            self.term.points = self.sampler(self.iterations)
            self.epoch, self.lbfgs = epoch, None

    def closure(self) -> Tensor:
        """The loss, with its gradients."""
        self.adam.zero_grad()
        loss = self.term.loss()
        loss.backward()
        return loss

    def step(self) -> float:
        """One step of Adam or a block of L-BFGS's iterations; the loss before it."""
        self.renew()
        config = self.config
        if self.iterations < config.adam * config.iterations:
            self.iterations += 1
            return self.adam.step(self.closure).item()
        if self.lbfgs is None:
            self.lbfgs = torch.optim.LBFGS(
                self.field.parameters(),
                history_size=config.history,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                line_search_fn="strong_wolfe",
            )
        left = config.iterations - self.iterations
        if self.sampler is not None:
            left = min(left, config.refresh_every - self.iterations % config.refresh_every)
        count = min(BLOCK, left)
        self.lbfgs.param_groups[0].update(max_iter=count, max_eval=3 * count)
        self.iterations += count
        return self.lbfgs.step(self.closure).item()

    def state(self) -> dict[str, Any]:
        """A copy of the weights and of how many iterations they took."""
        return copy.deepcopy({"field": self.field.state_dict(), "iterations": self.iterations})

    @torch.no_grad()
    def prediction(self) -> Tensor:
        """u on the grid, (256 * 101, 1)."""
        return self.field(self.grid.to(**self.where)).cpu().double()

    @torch.no_grad()
    def residual(self, x: Tensor) -> Tensor:
        """The equation's residual at points (N, 2), (N, 1) float64."""
        x = x.to(**self.where)
        return self.term.residual(cc.jet(self.field, x, order=2), x).cpu().double()

    def look(self, loss: float) -> float:
        """Measure the error, keep the history and, where all is well, the field."""
        error = training.relative_l2(self.prediction(), self.exact)
        if not math.isfinite(error):
            self.failure = f"the network is not finite at iteration {self.iterations}"
            return error
        at = {"iteration": self.iterations, "seconds": self.seconds}
        self.history.append({**at, "loss": loss, "relative_l2": error})
        self.good = self.state()
        return error

    def fraction(self) -> float:
        return max(self.iterations / self.config.iterations, self.seconds / self.config.seconds)

    def run(self, progress: training.Progress | None = None) -> None:
        """Train until the iterations or seconds are used up, a loss is not finite, or Ctrl-C."""
        begin, looked, loss = time.perf_counter(), -1, math.nan
        with training.Interrupt() as interrupt:
            while self.failure is None and not self.interrupted and self.fraction() < 1:
                loss = self.step()
                shown = {"loss": loss}
                self.seconds = time.perf_counter() - begin
                if not math.isfinite(loss):
                    self.failure = f"the loss is {loss} at iteration {self.iterations}"
                elif self.iterations // LOOK > looked:
                    looked = self.iterations // LOOK
                    shown["error"] = self.look(loss)
                if progress is not None:
                    progress.update(self.fraction(), self.iterations, **shown)
                self.interrupted = interrupt.requested
        if self.failure is None and self.good["iterations"] < self.iterations:
            self.look(loss)
        if self.failure is not None:
            self.field.load_state_dict(self.good["field"])
            self.iterations = self.good["iterations"]

    def metrics(self) -> dict[str, Any]:
        """The errors on the grid, and what they depend on."""
        found = self.prediction()
        return {
            "relative_l2": training.relative_l2(found, self.exact),
            "max_error": training.max_error(found, self.exact),
            "residual_rms": self.residual(self.grid).square().mean().sqrt().item(),
            "points": len(self.term.points),
            "seconds": self.seconds,
            "iterations": self.iterations,
            "interrupted": self.interrupted,
            "problem": self.failure,
            **facts(self.config, self.where),
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """All results, every file whole or not there; the metrics last."""
        metrics = self.metrics()
        training.save_checkpoint(
            folder / "checkpoint.pt",
            {**self.good, "config": metrics["config"], "versions": metrics["versions"]},
        )
        shape = tuple(len(axis) for axis in self.axes)
        training.plot_solution(
            folder / "solution.png",
            self.axes,
            self.exact.reshape(shape),
            self.prediction().reshape(shape),
            title=f"Burgers, {self.config.sampling}, {self.iterations} iterations, "
            f"{self.seconds:.0f} s: relative L2 error {metrics['relative_l2']:.3g}",
            labels=("x", "t"),
        )
        self.plot_points(folder / "points.png")
        training.plot_history(
            folder / "loss.png",
            [row["iteration"] for row in self.history],
            {"on the points": [row["loss"] for row in self.history]},
            errors={"relative L2": [row["relative_l2"] for row in self.history]},
        )
        for name, content in (("history", self.history), ("metrics", metrics)):
            text = json.dumps(content, indent=1, allow_nan=False)
            training.write_text(folder / f"{name}.json", text + "\n")
        return metrics

    def plot_points(self, path: Path) -> None:
        """The last points over the size of the residual, and near the front once more."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure

        points = self.term.points.x.cpu().numpy()
        figure = Figure(figsize=(13.0, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, half, dot in zip(figure.subplots(1, 2), (1.0, 0.1), (3, 8), strict=True):
            (x, t), at = grid(half=half)
            size = self.residual(at).abs().reshape(len(x), len(t)).T.numpy()
            high = max(size.max(), 1e-12)
            low = min(max(np.quantile(size, 0.02), 1e-6 * high), high / 10)
            image = axes.pcolormesh(
                x.numpy(), t.numpy(), size.clip(min=low), norm=LogNorm(low, high),
                shading="gouraud", rasterized=True,
            )  # fmt: skip
            axes.scatter(points[:, 0], points[:, 1], s=dot, c="white", linewidths=0, alpha=0.8)
            within = int((abs(points[:, 0]) <= half).sum())
            axes.set(
                title=f"|residual| and {within} points with |x| <= {half:g}",
                xlabel="x",
                ylabel="t",
                xlim=(-half, half),
                ylim=(0, 1),
            )
            figure.colorbar(image, ax=axes)
        with training.atomic_path(path) as aside:
            figure.savefig(aside, dpi=130)

    def summary(self, metrics: dict[str, Any]) -> str:
        """The metrics in a sentence."""
        return (
            f"relative L2 error {metrics['relative_l2']:.5f}, largest error "
            f"{metrics['max_error']:.4f}; {self.config.sampling}, {metrics['points']} points, "
            f"{metrics['iterations']} iterations in {metrics['seconds']:.1f} s"
        )


def main() -> int:
    """The command; its exit code."""
    return command("burgers", Config, Training, EXTRAS, "Try a smaller --learning-rate.")


if __name__ == "__main__":
    sys.exit(main())
