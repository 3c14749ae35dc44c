"""A physics-informed network for the Helmholtz equation on a square.

    lap u + k^2 u = f   in [-1, 1]^2,      u = 0 on the walls,      k = 1,

with f = (1 - 17 pi^2) sin(pi x) sin(4 pi y), so that u = sin(pi x) sin(4 pi y) is known and the
error can be shown.

    python examples/helmholtz.py --output runs/demo                    all options: --help
    python examples/helmholtz.py --boundary hard --form first

``--boundary soft``: u is the network, the walls enter as a penalty. ``hard``: u = phi N is exactly
0 on the walls, whatever the weights. ``--form second``: lap u by the network's second derivatives.
``first``: q, two more outputs of the network, stands for grad u; the residuals are
div q + k^2 u - f and q - grad u. See helmholtz_problem.py.

``--balancer``: how the two losses of soft walls are weighed; without it by fixed numbers. The
weights move with Adam and stay as they are for L-BFGS.

Adam takes new points every step. What is left of the run after ``--adam`` of it is L-BFGS's, on
points that stay. Options that are not given are those found best for the boundary and the form.

The run ends after ``--steps`` or ``--seconds``, whichever comes first; the learning rate falls
along with what is nearer its end, so that a slow machine finishes with a small one too. Results
are written at the end, after Ctrl-C (exit code 130; a second Ctrl-C aborts), and after a loss that
is not finite (exit code 1, with the last good network).
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
import torch
from colloc import training
from common import check_device, command, facts, pick_device
from helmholtz_problem import SCALE, exact, make_balancer, make_field, make_terms
from torch import Tensor

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
    "meshio": "writing VTK files",
}

BLOCK = 10  # iterations of L-BFGS between two looks at the clock

#: What options are where they are not given, by boundary and form.
DEFAULTS: dict[tuple[str, str], dict[str, float]] = {
    ("soft", "second"): {"slope": 3.0, "points": 1024, "learning_rate": 3e-3, "adam": 1.0},
    ("soft", "first"): {"slope": 3.0, "points": 512, "learning_rate": 1e-2, "adam": 0.3},
    ("hard", "second"): {"slope": 3.0, "points": 512, "learning_rate": 5e-3, "adam": 0.4},
    ("hard", "first"): {"slope": 3.0, "points": 512, "learning_rate": 1e-2, "adam": 0.3},
}


@dataclass(frozen=True)
class Config:
    """Solve the Helmholtz problem with a physics-informed network."""

    output: Path = Path("runs/helmholtz")
    """folder of the results"""
    boundary: Literal["soft", "hard"] = "soft"
    """how the walls enter: by a penalty, or exactly"""
    form: Literal["second", "first"] = "second"
    """order of the equation's derivatives; "first": the gradient is an output as well"""
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
    slope: float | None = None
    """first value of the slopes; larger ones start with finer detail"""
    points: int | None = None
    """interior points a step of Adam"""
    fixed_points: int = 1024
    """interior points of L-BFGS"""
    boundary_points: int = 256
    """boundary points a step"""
    boundary_weight: float = 10.0
    """weight of the walls' loss"""
    balancer: Literal[
        "sum",
        "ntk",
        "lr-annealing",
        "gradient-norm",
        "gradnorm",
        "uncertainty",
        "softadapt",
        "relobralo",
        "resnorm",
    ] = "sum"
    """rule for the weights of the losses; "sum": fixed ones"""
    update_every: int = 10
    """steps between two updates of the rule's weights"""
    tensorboard: bool = False
    """curves of losses, weights and error for TensorBoard as well"""
    gradient_weight: float = 0.3
    """of the loss of q - grad u, in the first-order form"""
    adam: float | None = None
    """share of the run before L-BFGS, up to 1"""
    learning_rate: float | None = None
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
        for name, value in DEFAULTS[self.boundary, self.form].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        sizes = ("steps", "width", "depth", "points", "fixed_points", "boundary_points")
        for name in (*sizes, "update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        weights = ("boundary_weight", "gradient_weight")
        for name in ("seconds", "slope", *weights, "adam", "learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if self.adam > 1:
            raise ValueError(f"adam: expected at most 1, got {self.adam}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected 0 to 2^63 - 1, got {self.seed}.")
        check_device(self.device)


class Training:
    """The network, its terms, the training loop, and the comparison with the exact u."""

    def __init__(self, config: Config) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        device = pick_device(config.device)
        self.where: dict[str, Any] = {"device": device, "dtype": getattr(torch, config.dtype)}
        self.square = cc.geometry.Rectangle((-1, -1), (1, 1))
        outputs = 3 if config.form == "first" else 1
        self.net = cc.nn.MLP(
            in_features=2,
            out_features=outputs,
            hidden_features=config.width,
            hidden_layers=config.depth,
            activation=config.activation,
            adaptive=False if config.adaptive == "none" else config.adaptive,
            slope=1.0 if config.adaptive == "none" else config.slope,
            **self.where,
        )
        self.lbfgs: torch.optim.LBFGS | None = None

        form = (config.boundary, config.form)
        self.field = make_field(self.net, *form)
        self.start = self.wall_start = 0
        self.terms = make_terms(self.field, *self.next_points(), *form, config.gradient_weight)
        # The residual is 17 pi^2 times as large as u; fixed weights bring both to one scale.
        fixed = {"interior": outputs / SCALE, "walls": config.boundary_weight}
        self.balancer = make_balancer(
            config.balancer,
            self.net,
            {term.name: fixed[term.name] for term in self.terms},
            config.update_every,
            config.seed,
        )
        self.balancer.to(device)
        trained = [*self.net.parameters(), *self.balancer.parameters()]
        self.optimizer = torch.optim.Adam(trained, lr=config.learning_rate)

        axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
        self.axes = (axis, axis)
        self.grid = torch.cartesian_prod(axis, axis)
        self.exact = exact(self.grid)
        self.steps, self.seconds = 0, 0.0
        self.interrupted = False
        self.failure: str | None = None
        self.history: list[dict[str, float]] = []
        self.good = self.state()

    def next_points(self, count: int = 0) -> tuple[cc.geometry.Points, cc.geometry.Points]:
        """The next stretch of the scrambled Halton sequence, inside and on the walls."""
        c = self.config
        inside = self.square.sample(count or c.points, self.start, seed=c.seed, **self.where)
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

    def total(self) -> tuple[Tensor, dict[str, float]]:
        """The loss; it and its terms as numbers, or `problem` where they are not finite."""
        losses = {term.name: term.loss() for term in self.terms}
        total = self.balancer(losses, self.steps, terms=self.terms)
        values = {name: loss.item() for name, loss in losses.items()} | {"loss": total.item()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            name = "total" if bad[0] == "loss" else bad[0]
            self.failure = f"the {name} loss is {values[bad[0]]} at step {self.steps + 1}"
        return total, values

    def step(self, fraction: float) -> dict[str, float]:
        """A step of Adam on new points or a block of L-BFGS's iterations; the losses before."""
        if fraction >= self.config.adam:
            return self.block()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(fraction / self.config.adam)
        for term, points in zip(self.terms, self.next_points(), strict=False):
            term.points = points
        total, values = self.total()
        if self.failure is None:
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            self.steps += 1
        return values

    def block(self) -> dict[str, float]:
        """Ten iterations of L-BFGS, or as many as are left."""
        count = min(BLOCK, self.config.steps - self.steps)
        if self.lbfgs is None:
            self.balancer.eval()  # a line search needs weights that stay
            new = self.next_points(self.config.fixed_points)
            for term, points in zip(self.terms, new, strict=False):
                term.points = points
            self.lbfgs = torch.optim.LBFGS(
                self.net.parameters(),
                max_iter=BLOCK,
                max_eval=2 * BLOCK,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                line_search_fn="strong_wolfe",
            )
        seen: list[dict[str, float]] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            total, values = self.total()
            if self.failure is None:
                total.backward()
            seen.append(values)
            return total.detach()

        self.lbfgs.param_groups[0]["max_iter"] = count
        self.lbfgs.step(closure)
        self.steps += count
        return seen[0]

    def state(self) -> dict[str, Any]:
        """A copy of all that belongs to one step, as the checkpoint holds it. What L-BFGS knows of
        earlier steps is left out: it starts anew."""
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
        """u on the grid, (201 * 201, 1)."""
        return self.field(self.grid.to(**self.where))[:, :1].cpu().double()

    @torch.no_grad()
    def boundary_error(self, count: int = 2000) -> float:
        """The largest |u| at random points of the walls."""
        wall = self.square.boundary.sample(
            count, method="uniform", seed=self.config.seed, **self.where
        )
        return self.field(wall.x)[:, 0].abs().max().item()

    def look(self, values: dict[str, float]) -> float:
        """Measure the error, keep the history and, where all is well, the network."""
        error = training.relative_l2(self.prediction(), self.exact)
        if not math.isfinite(error):
            self.failure = f"the network is not finite at step {self.steps}"
            return error
        weights = {f"weight of {name}": w for name, w in self.balancer.weights.items()}
        row = {"step": self.steps, "seconds": self.seconds, **values, "relative_l2": error}
        self.history.append(row | weights)
        self.good = self.state()
        return error

    def run(self, progress: training.Progress | None = None) -> None:
        """Train until the steps or seconds are used up, a loss is not finite, or Ctrl-C."""
        config, begin = self.config, time.perf_counter()
        every = max(1, min(100, config.steps // 20))
        with training.Interrupt() as interrupt:
            while self.failure is None and not self.interrupted:
                fraction = max(self.steps / config.steps, self.seconds / config.seconds)
                if fraction >= 1:
                    break
                before = self.steps // every
                values = self.step(fraction)
                shown = {"loss": values["loss"]}
                if self.failure is None and (self.steps == 1 or self.steps // every > before):
                    shown["error"] = self.look(values)
                self.seconds = time.perf_counter() - begin
                if progress is not None:
                    fraction = max(self.steps / config.steps, self.seconds / config.seconds)
                    progress.update(fraction, self.steps, **shown)
                self.interrupted = interrupt.requested
        if self.failure is None and (not self.history or self.history[-1]["step"] < self.steps):
            self.look(values)
        if self.failure is not None:
            self.net.load_state_dict(self.good["net"])
            self.optimizer.load_state_dict(self.good["optimizer"])
            self.steps = self.good["steps"]

    def metrics(self) -> dict[str, Any]:
        """The errors on the grid, and what they depend on."""
        found = self.prediction()
        return {
            "relative_l2": training.relative_l2(found, self.exact),
            "max_error": training.max_error(found, self.exact),
            "nrmse": training.nrmse(found, self.exact),
            "boundary_error": self.boundary_error(),
            "seconds": self.seconds,
            "steps": self.steps,
            "interrupted": self.interrupted,
            "problem": self.failure,
            **facts(self.config, self.where),
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """All results, every file whole or not there; the metrics last."""
        metrics = self.metrics()
        shape = (len(self.axes[0]), len(self.axes[1]))
        found, truth = self.prediction().reshape(shape), self.exact.reshape(shape)
        training.save_checkpoint(
            folder / "checkpoint.pt",
            {
                **(self.state() if self.failure is None else self.good),
                "config": metrics["config"],
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
            title=f"Helmholtz, {self.config.boundary} walls, {self.config.form}-order form, "
            f"{self.steps} steps, {self.seconds:.0f} s: "
            f"relative L2 error {metrics['relative_l2']:.3g}",
        )
        labels = {"loss": "total, weighted"} | {term.name: term.name for term in self.terms}
        training.plot_history(
            folder / "loss.png",
            [row["step"] for row in self.history],
            {label: [row[name] for row in self.history] for name, label in labels.items()},
            errors={"relative L2": [row["relative_l2"] for row in self.history]},
            weights=self.weight_curves(),
        )
        if self.config.tensorboard:
            self.write_tensorboard(folder / "tensorboard")
        training.write_text(
            folder / "history.json", json.dumps(self.history, indent=1, allow_nan=False) + "\n"
        )
        training.write_text(
            folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n"
        )
        return metrics

    def weight_curves(self) -> dict[str, list[float]]:
        """The weights of the terms over the run, where a rule moves them."""
        if self.config.balancer == "sum":
            return {}
        names = [term.name for term in self.terms]
        return {name: [row[f"weight of {name}"] for row in self.history] for name in names}

    def write_tensorboard(self, folder: Path) -> None:
        """The curves of the pictures as scalars."""
        names = [term.name for term in self.terms]
        with training.TensorBoard(folder) as board:
            for row in self.history:
                board.log(
                    int(row["step"]),
                    loss={name: row[name] for name in (*names, "loss")},
                    weight={name: row[f"weight of {name}"] for name in names},
                    error={"relative_l2": row["relative_l2"]},
                )

    def summary(self, metrics: dict[str, Any]) -> str:
        """The metrics in a sentence."""
        return (
            f"relative L2 error {metrics['relative_l2']:.4f}, largest error "
            f"{metrics['max_error']:.4f}, on the walls {metrics['boundary_error']:.2g}; "
            f"{metrics['steps']} steps in {metrics['seconds']:.1f} s"
        )


def main() -> int:
    """The command; its exit code."""
    advice = "Try a smaller --learning-rate or --slope."
    return command("helmholtz", Config, Training, EXTRAS, advice)


if __name__ == "__main__":
    sys.exit(main())
