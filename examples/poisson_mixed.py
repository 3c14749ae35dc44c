"""The Poisson equation with Dirichlet, Neumann and Robin conditions that hold exactly.

    -lap u = f,    u = g,    du/dn = h,    du/dn + c u = h    (n outward)

``--problem lshape``: [0,2]^2 without [1,2]^2, f = 1. u = x (2 - x) on y = 0, du/dn = 1 on x = 2,
du/dn + 2 u = 1 on x = 0, u = 0 elsewhere. ``--problem plate``: [-1,1]^2 without the disk of radius
0.4, f = 0. u = 0 on x = -1, u = 1 + y on x = 1, du/dn = 0 on y = -1 and y = 1, du/dn + 3 u = 2 on
the hole. The error is measured against finite elements (examples/data), which training never sees.

    python examples/poisson_mixed.py --problem plate --output runs/plate    all options: --help

The field u meets the conditions whatever the weights: see poisson_problems.py. The loss is that of
the first-order form, q = grad u being outputs of the network too: the integral of (div q + f)^2 +
|grad u - q|^2, and of (q . n + c u - h)^2 over the Neumann and Robin parts, which is about q alone.
The points stay the same, so that the jets of phi are computed once, and L-BFGS can be used after a
few steps of Adam. The run ends after ``--iterations`` or ``--seconds``; Ctrl-C and exit codes are
as in helmholtz.py.
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
from colloc import training
from colloc.boundary import Dirichlet
from colloc.jets import Jet
from common import check_device, command, facts, pick_device
from poisson_problems import field, lshape, plate
from torch import Tensor

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
}
DATA = Path(__file__).parent / "data"
BLOCK = 10  # iterations of L-BFGS between two looks at the clock


@dataclass(frozen=True)
class Config:
    """Solve a Poisson problem whose mixed boundary conditions hold exactly."""

    problem: Literal["lshape", "plate"] = "lshape"
    """which one"""
    output: Path = Path("runs/poisson_mixed")
    """folder of the results"""
    iterations: int = 3000
    """steps of Adam and iterations of L-BFGS at most"""
    seconds: float = 150.0
    """seconds of training at most"""
    adam: int = 100
    """steps of Adam before L-BFGS"""
    learning_rate: float = 3e-3
    """largest learning rate of Adam"""
    history: int = 300
    """steps that L-BFGS remembers"""
    width: int = 32
    """neurons in a hidden layer"""
    depth: int = 5
    """hidden layers"""
    activation: Literal["tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus"] = "sin"
    """activation function, with a trainable slope for each layer"""
    slope: float = 1.5
    """first value of the slopes"""
    points: int = 2000
    """interior points"""
    boundary_points: int = 300
    """points on the Neumann and Robin parts"""
    joint_weight: float = 1.0
    """the interior loss is weighted by (distance to a joint)^joint_weight near the joints"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float64"
    """precision; L-BFGS gets further in float64"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        for name in ("iterations", "history", "width", "depth", "points", "boundary_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        if self.adam < 0:
            raise ValueError(f"adam: expected at least 0, got {self.adam}.")
        for name in ("seconds", "slope", "learning_rate"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if not self.joint_weight >= 0 or math.isinf(self.joint_weight):
            raise ValueError(f"joint_weight: expected a number >= 0, got {self.joint_weight}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected 0 to 2^63 - 1, got {self.seed}.")
        check_device(self.device)


class Training:
    """The field, its terms, the training loop, and the comparison with the reference."""

    def __init__(self, config: Config) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        device = pick_device(config.device)
        self.where: dict[str, Any] = {"device": device, "dtype": getattr(torch, config.dtype)}
        self.problem = {"lshape": lshape, "plate": plate}[config.problem]()
        net = cc.nn.MLP(
            in_features=2,
            out_features=3,
            hidden_features=config.width,
            hidden_layers=config.depth,
            activation=config.activation,
            adaptive="layer",
            slope=config.slope,
            **self.where,
        )
        self.field = field(net, self.problem)
        self.adam = torch.optim.Adam(self.field.parameters(), lr=config.learning_rate)
        self.lbfgs = torch.optim.LBFGS(
            self.field.parameters(),
            max_iter=BLOCK,
            max_eval=3 * BLOCK,
            history_size=config.history,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
        self.terms = self.make_terms()
        # The sum of integrals: a term's loss is the mean over its points and columns.
        self.balancer = cc.balancing.Sum(
            {"inside": 3.0 * self.problem.shape.measure}
            | {f"q on {name}": 2.0 * c.part.measure for name, c in self.problem.natural.items()}
        )

        with np.load(DATA / self.problem.reference) as data:
            self.x = torch.from_numpy(data["x"]).to(**self.where)
            self.exact = torch.from_numpy(data["u"]).reshape(-1, 1)
        self.iterations, self.seconds = 0, 0.0
        self.interrupted = False
        self.failure: str | None = None
        self.history: list[dict[str, float]] = []
        self.good = self.state()

    def make_terms(self) -> list[cc.Term]:
        """The equation, and q . n on the Neumann and Robin parts, on fixed Halton points."""
        config, problem = self.config, self.problem
        inside = problem.shape.sample(config.points, seed=config.seed, **self.where)
        joints = torch.tensor(problem.joints, **self.where)
        distance = torch.cdist(inside.x, joints).amin(dim=1, keepdim=True)
        terms = [
            cc.Term(
                "inside",
                self.field,
                inside,
                cc.pde.poisson(-problem.f, first_order=True),
                order=1,
                weight=(2 * distance).clamp(max=1) ** config.joint_weight,
            )
        ]
        whole = sum(condition.part.measure for condition in problem.natural.values())
        for name, condition in problem.natural.items():
            count = max(1, round(config.boundary_points * condition.part.measure / whole))
            wall = condition.part.sample(count, seed=config.seed, **self.where)
            c, h = condition.c.at(wall.x), condition.h.at(wall.x)

            def flux(
                u: Jet, x: Tensor, n: Tensor = wall.normal, c: Tensor = c, h: Tensor = h
            ) -> Tensor:
                return (u.value[:, 1:] * n).sum(1, keepdim=True) + c * u.value[:, :1] - h

            terms.append(cc.Term(f"q on {name}", self.field, wall, flux, order=0))
        return terms

    def total(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its terms."""
        losses = {term.name: term.loss() for term in self.terms}
        return self.balancer(losses), losses

    def closure(self) -> Tensor:
        """The loss, with its gradients."""
        self.adam.zero_grad()
        total, _ = self.total()
        total.backward()
        return total

    def step(self) -> float:
        """One step of Adam or a block of L-BFGS iterations; the loss before it."""
        if self.iterations >= self.config.adam:
            self.iterations += BLOCK
            return self.lbfgs.step(self.closure).item()
        # A linear warm-up of 50 steps, and a half cosine down to a hundredth.
        cosine = 0.5 * (1 + math.cos(math.pi * self.iterations / self.config.adam))
        for group in self.adam.param_groups:
            rate = self.config.learning_rate * (0.01 + 0.99 * cosine)
            group["lr"] = min(1.0, (self.iterations + 1) / 50) * rate
        self.iterations += 1
        return self.adam.step(self.closure).item()

    def state(self) -> dict[str, Any]:
        """A copy of the weights and of how many iterations they took."""
        return copy.deepcopy({"field": self.field.state_dict(), "iterations": self.iterations})

    @torch.no_grad()
    def prediction(self) -> Tensor:
        """u at the points of the reference, (4000, 1)."""
        return self.field(self.x)[:, :1].cpu().double()

    def condition_errors(self, count: int = 1000) -> dict[str, float]:
        """The largest error of each boundary condition at random points of its part."""
        errors = {}
        for name, condition in (self.problem.dirichlet | self.problem.natural).items():
            wall = condition.part.sample(count, method="uniform", **self.where)
            with torch.no_grad():
                u = cc.jet(self.field, wall.x, order=1, piece=wall.piece)[:, 0]
            if isinstance(condition, Dirichlet):
                rest = u.value - condition.g.at(wall.x)
            else:
                slope = (u.grad[:, 0] * wall.normal).sum(1, keepdim=True)
                rest = slope + condition.c.at(wall.x) * u.value - condition.h.at(wall.x)
            errors[name] = rest.abs().max().item()
        return errors

    @torch.no_grad()
    def look(self) -> dict[str, float]:
        """Measure losses and error, keep the history and, where all is well, the field."""
        total, losses = self.total()
        values = {"loss": total.item()} | {name: loss.item() for name, loss in losses.items()}
        values["relative_l2"] = training.relative_l2(self.prediction(), self.exact)
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            self.failure = f"{bad[0]} is {values[bad[0]]} at iteration {self.iterations}"
        else:
            at = {"iteration": self.iterations, "seconds": self.seconds}
            self.history.append(at | values)
            self.good = self.state()
        return {"loss": values["loss"], "error": values["relative_l2"]}

    def fraction(self) -> float:
        return max(self.iterations / self.config.iterations, self.seconds / self.config.seconds)

    def run(self, progress: training.Progress | None = None) -> None:
        """Train until the iterations or seconds are used up, a loss is not finite, or Ctrl-C."""
        begin, looked = time.perf_counter(), -math.inf
        with training.Interrupt() as interrupt:
            while self.failure is None and not self.interrupted and self.fraction() < 1:
                loss = self.step()
                shown = {"loss": loss}
                if not math.isfinite(loss):
                    self.failure = f"loss is {loss} at iteration {self.iterations}"
                elif self.iterations - looked >= 5 * BLOCK:
                    looked = self.iterations
                    shown = self.look()
                self.seconds = time.perf_counter() - begin
                if progress is not None:
                    progress.update(self.fraction(), self.iterations, **shown)
                self.interrupted = interrupt.requested
        if self.failure is None and self.good["iterations"] < self.iterations:
            self.look()
        if self.failure is not None:
            self.field.load_state_dict(self.good["field"])
            self.iterations = self.good["iterations"]

    def metrics(self) -> dict[str, Any]:
        """The errors, how well the conditions hold, and what they depend on."""
        found = self.prediction()
        return {
            "relative_l2": training.relative_l2(found, self.exact),
            "max_error": training.max_error(found, self.exact),
            "condition_errors": self.condition_errors(),
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
        self.plot(
            folder / "solution.png",
            f"Poisson, {self.config.problem}, {self.iterations} iterations, {self.seconds:.0f} s: "
            f"relative L2 error {metrics['relative_l2']:.2g}",
        )
        losses = ("loss", *(term.name for term in self.terms))
        training.plot_history(
            folder / "loss.png",
            [row["iteration"] for row in self.history],
            {name: [row[name] for row in self.history] for name in losses},
            errors={"relative L2": [row["relative_l2"] for row in self.history]},
        )
        for name, content in (("history", self.history), ("metrics", metrics)):
            text = json.dumps(content, indent=1, allow_nan=False)
            training.write_text(folder / f"{name}.json", text + "\n")
        return metrics

    def plot(self, path: Path, title: str) -> None:
        """Reference, network and their difference at the reference's points."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        x, truth = self.x.cpu().double(), self.exact[:, 0]
        found = self.prediction()[:, 0]
        error = found - truth
        worst, limits = error.abs().max().item(), (truth.min().item(), truth.max().item())
        figure = Figure(figsize=(13.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = (
            ("finite elements", truth, "viridis", limits),
            ("network", found, "viridis", limits),
            (f"difference, at most {worst:.2g}", error, "RdBu_r", (-worst, worst)),
        )
        for axes, panel in zip(figure.subplots(1, 3), panels, strict=True):
            name, values, colours, (low, high) = panel
            shown = axes.scatter(
                x[:, 0], x[:, 1], c=values, s=9, cmap=colours, vmin=low, vmax=high, linewidths=0
            )
            axes.set(title=name, xlabel="x", ylabel="y", aspect="equal")
            figure.colorbar(shown, ax=axes, shrink=0.85)
        figure.suptitle(title)
        with training.atomic_path(path) as aside:
            figure.savefig(aside, dpi=130)

    def summary(self, metrics: dict[str, Any]) -> str:
        """The metrics in a sentence."""
        return (
            f"relative L2 error {metrics['relative_l2']:.5f}, largest error "
            f"{metrics['max_error']:.4f}; boundary conditions hold to "
            f"{max(metrics['condition_errors'].values()):.1e}; {metrics['iterations']} iterations "
            f"in {metrics['seconds']:.1f} s"
        )


def main() -> int:
    """The command; its exit code."""
    return command("poisson_mixed", Config, Training, EXTRAS)


if __name__ == "__main__":
    sys.exit(main())
