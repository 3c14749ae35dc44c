"""A physics-informed network for the Helmholtz equation on a square.

    lap u + k^2 u = f   in [-1, 1]^2,      u = 0 on the walls,      k = 1,

with f = (1 - 17 pi^2) sin(pi x) sin(4 pi y), so that u = sin(pi x) sin(4 pi y) is known and the
error can be shown. The walls enter as a penalty ("soft" boundary conditions).

    python examples/helmholtz.py --output runs/demo        all options: --help

The run ends after ``--steps`` or ``--seconds``, whichever comes first; the learning rate falls
along with what is nearer its end, so that a slow machine finishes with a small one too. Results
are written at the end, after Ctrl-C (exit code 130; a second Ctrl-C aborts), and after a loss that
is not finite (exit code 1, with the last good network).
"""

from __future__ import annotations

import copy
import json
import math
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import colloc as cc
import numpy as np
import torch
from colloc import training
from torch import Tensor

EXTRAS = (
    ("tyro", "the command line"),
    ("tqdm", "the progress bar"),
    ("matplotlib", "plotting"),
    ("meshio", "writing VTK files"),
)


@dataclass(frozen=True)
class Config:
    """Solve the Helmholtz problem with a physics-informed network."""

    output: Path = Path("runs/helmholtz")
    """folder of the results"""
    boundary: Literal["soft"] = "soft"
    """how the walls enter: "soft" is a penalty"""
    steps: int = 5000
    """steps of training at most"""
    seconds: float = 150.0
    """seconds of training at most"""
    width: int = 64
    """neurons in a hidden layer"""
    depth: int = 3
    """hidden layers"""
    activation: Literal[
        "tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "stan"
    ] = "sin"
    """activation function"""
    adaptive: Literal["none", "global", "layer", "neuron"] = "layer"
    """trainable slopes of the activation"""
    slope: float = 3.0
    """first value of the slopes; larger ones start with finer detail"""
    points: int = 1024
    """interior points a step"""
    boundary_points: int = 256
    """boundary points a step"""
    boundary_weight: float = 10.0
    """weight of the walls' loss"""
    learning_rate: float = 3e-3
    """largest learning rate of Adam"""
    final_learning_rate: float = 1e-5
    """learning rate at the end"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        for name in ("steps", "width", "depth", "points", "boundary_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        for name in ("seconds", "slope", "boundary_weight", "learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected 0 to 2^63 - 1, got {self.seed}.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device: expected one that torch can use, got cuda, and torch sees no GPU here. "
                "Use --device cpu."
            )


def exact(x: Tensor) -> Tensor:
    """u at points (N, 2), (N, 1)."""
    return torch.sin(math.pi * x[:, :1]) * torch.sin(4 * math.pi * x[:, 1:])


def source(x: Tensor) -> Tensor:
    """f = lap u + u at points (N, 2), (N, 1)."""
    return (1 - 17 * math.pi**2) * exact(x)


class Training:
    """The network, its terms, the training loop, and the comparison with the exact u."""

    def __init__(self, config: Config) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        device = config.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.where: dict[str, Any] = {"device": device, "dtype": getattr(torch, config.dtype)}
        self.square = cc.geometry.Rectangle((-1, -1), (1, 1))
        self.net = cc.nn.MLP(
            in_features=2,
            out_features=1,
            hidden_features=config.width,
            hidden_layers=config.depth,
            activation=config.activation,
            adaptive=False if config.adaptive == "none" else config.adaptive,
            slope=1.0 if config.adaptive == "none" else config.slope,
            **self.where,
        )
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)

        self.start = self.wall_start = 0
        inside, wall = self.next_points()
        equation = cc.pde.helmholtz(k=1.0, source=source)
        self.interior = cc.Term("interior", self.net, inside, equation)
        self.walls = cc.Term("walls", self.net, wall, lambda u, x: u.value, order=0)
        # The residual is 17 pi^2 times as large as u; this brings both to one scale.
        self.balancer = cc.balancing.Sum(
            {"interior": 1 / (17 * math.pi**2), "walls": config.boundary_weight}
        )

        axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
        self.axes = (axis, axis)
        self.grid = torch.cartesian_prod(axis, axis)
        self.exact = exact(self.grid)
        self.steps, self.seconds = 0, 0.0
        self.interrupted = False
        self.problem: str | None = None
        self.history: list[dict[str, float]] = []
        self.good = self.state()

    def next_points(self) -> tuple[cc.geometry.Points, cc.geometry.Points]:
        """The next stretch of the scrambled Halton sequence, inside and on the walls."""
        c = self.config
        inside = self.square.sample(c.points, self.start, seed=c.seed, **self.where)
        wall = self.square.boundary.sample(
            c.boundary_points, self.wall_start, seed=c.seed, **self.where
        )
        self.start, self.wall_start = inside.next_start, wall.next_start
        return inside, wall

    def learning_rate(self, fraction: float) -> float:
        """A linear warm-up of 100 steps, then a half cosine down to the final rate."""
        high, low = self.config.learning_rate, self.config.final_learning_rate
        cosine = 0.5 * (1 + math.cos(math.pi * fraction))
        return min(1.0, (self.steps + 1) / 100) * (low + (high - low) * cosine)

    def step(self, fraction: float) -> dict[str, float]:
        """One step of Adam on new points; the losses, or `problem` where they are not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(fraction)
        self.interior.points, self.walls.points = self.next_points()
        losses = {term.name: term.loss() for term in (self.interior, self.walls)}
        total = self.balancer(losses)
        values = {name: loss.item() for name, loss in losses.items()} | {"loss": total.item()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            name = "total" if bad[0] == "loss" else bad[0]
            self.problem = f"the {name} loss is {values[bad[0]]} at step {self.steps + 1}"
            return values
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.steps += 1
        return values

    def state(self) -> dict[str, Any]:
        """A copy of all that belongs to one step, as the checkpoint holds it."""
        return copy.deepcopy(
            {
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "balancer": self.balancer.state_dict(),
                "steps": self.steps,
                "next_start": {"interior": self.start, "walls": self.wall_start},
            }
        )

    @torch.no_grad()
    def prediction(self) -> Tensor:
        """The network on the grid, (201 * 201, 1)."""
        return self.net(self.grid.to(**self.where)).cpu().double()

    def look(self, values: dict[str, float]) -> float:
        """Measure the error, keep the history and, where all is well, the network."""
        error = training.relative_l2(self.prediction(), self.exact)
        if not math.isfinite(error):
            self.problem = f"the network is not finite at step {self.steps}"
            return error
        self.history.append(
            {"step": self.steps, "seconds": self.seconds, **values, "relative_l2": error}
        )
        self.good = self.state()
        return error

    def run(self, progress: training.Progress | None = None) -> None:
        """Train until the steps or seconds are used up, a loss is not finite, or Ctrl-C."""
        config, begin = self.config, time.perf_counter()
        every = max(1, min(100, config.steps // 20))
        with training.Interrupt() as interrupt:
            while self.problem is None and not self.interrupted:
                fraction = max(self.steps / config.steps, self.seconds / config.seconds)
                if fraction >= 1:
                    break
                values = self.step(fraction)
                shown = {"loss": values["loss"]}
                if self.problem is None and (self.steps == 1 or self.steps % every == 0):
                    shown["error"] = self.look(values)
                self.seconds = time.perf_counter() - begin
                if progress is not None:
                    fraction = max(self.steps / config.steps, self.seconds / config.seconds)
                    progress.update(fraction, self.steps, **shown)
                self.interrupted = interrupt.requested
        if self.problem is None and (not self.history or self.history[-1]["step"] < self.steps):
            self.look(values)
        if self.problem is not None:
            self.net.load_state_dict(self.good["net"])
            self.optimizer.load_state_dict(self.good["optimizer"])
            self.steps = self.good["steps"]

    def metrics(self) -> dict[str, Any]:
        """The errors on the grid, and what they depend on."""
        found = self.prediction()
        device = self.where["device"]
        return {
            "relative_l2": training.relative_l2(found, self.exact),
            "max_error": training.max_error(found, self.exact),
            "nrmse": training.nrmse(found, self.exact),
            "seconds": self.seconds,
            "steps": self.steps,
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "threads": torch.get_num_threads(),
            "interrupted": self.interrupted,
            "problem": self.problem,
            "seed": self.config.seed,
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "colloc": cc.__version__,
            },
            "config": {
                **asdict(self.config),
                "output": str(self.config.output),
                # JSON has no infinity.
                "seconds": None if math.isinf(self.config.seconds) else self.config.seconds,
            },
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """All results, every file whole or not there; the metrics last."""
        metrics = self.metrics()
        shape = (len(self.axes[0]), len(self.axes[1]))
        found, truth = self.prediction().reshape(shape), self.exact.reshape(shape)
        training.save_checkpoint(
            folder / "checkpoint.pt",
            {
                **(self.state() if self.problem is None else self.good),
                "config": {**asdict(self.config), "output": str(self.config.output)},
                "versions": metrics["versions"],
            },
        )
        training.write_grid(
            folder / "solution.vtu",
            self.axes,
            {"exact": truth, "network": found, "error": found - truth},
        )
        training.plot_solution(
            folder / "solution.png",
            self.axes,
            truth,
            found,
            title=f"Helmholtz, {self.steps} steps, {self.seconds:.0f} s: "
            f"relative L2 error {metrics['relative_l2']:.3g}",
        )
        names = ("step", "loss", "interior", "walls", "relative_l2")
        steps, total, interior, walls, error = (
            [row[name] for row in self.history] for name in names
        )
        training.plot_history(
            folder / "loss.png",
            steps,
            {"total, weighted": total, "interior": interior, "walls": walls},
            errors={"relative L2": error},
        )
        training.write_text(
            folder / "history.json", json.dumps(self.history, indent=1, allow_nan=False) + "\n"
        )
        training.write_text(
            folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n"
        )
        return metrics


def main() -> int:
    try:
        for module, purpose in EXTRAS:
            training.require(module, purpose)
        import tyro

        config = tyro.cli(Config)
        folder = training.output_folder(config.output, space=20_000_000)
        run = Training(config)
    except (ValueError, OSError, ImportError) as error:
        print(f"helmholtz: {error}", file=sys.stderr)
        return 2
    print(
        f"training on {run.where['device']}, {torch.get_num_threads()} threads; results: {folder}",
        flush=True,
    )
    with training.Progress() as progress:
        run.run(progress)
    failure = f"helmholtz: stopped because {run.problem}"
    advice = "Try a smaller --learning-rate or --slope."
    if not run.history:
        print(f"{failure}; there is nothing to write. {advice}", file=sys.stderr)
        return 1
    try:
        metrics = run.write(folder)
    except OSError as error:
        print(f"helmholtz: could not write all results to {folder}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"helmholtz: aborted; {folder} may lack results of this run", file=sys.stderr)
        return 130
    print(
        f"relative L2 error {metrics['relative_l2']:.4f}, largest error "
        f"{metrics['max_error']:.4f}, {metrics['steps']} steps in {metrics['seconds']:.1f} s; "
        f"metrics, pictures, checkpoint and VTK file are in {folder}"
    )
    if run.problem is not None:
        print(f"{failure}; the results are the last good network's. {advice}", file=sys.stderr)
        return 1
    return 130 if run.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
