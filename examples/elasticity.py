"""A plate with a hole under tension, by plane elasticity in first-order form.

    python examples/elasticity.py --output runs/elasticity              all options: --help
    python examples/elasticity.py --conditions penalty

Outputs are the displacements u, v and the stresses s_xx, s_yy, s_xy. What is given on the straight
edges holds exactly, on whole lines; the traction on the hole is a term. Adam on new points at every
step, then L-BFGS on points that stay; the run ends after its steps or ``--seconds``. The errors are
those against Kirsch's solution, see elasticity_problem.py. ``--conditions penalty`` has terms for
the edges, too: after as many steps more than twice the error of the stresses.

``--resume`` goes on from the last checkpoint in ``--output``: bit for bit the run that was never
stopped, where its steps and not its seconds end the stages. Ctrl-C writes one (exit code 130).
Results: checkpoints, metrics.jsonl, metrics.json, curves, and a picture of s_xx.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import colloc as cc
import numpy as np
import torch
from colloc import training
from common import check_device, facts, pick_device
from elasticity_problem import (
    CONCENTRATION,
    GIVEN,
    OUTPUTS,
    RADIUS,
    SIDE,
    TENSION,
    exact,
    geometry,
    make_field,
    make_terms,
)
from torch import Tensor, nn

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
}


@dataclass(frozen=True)
class Config:
    """Solve for displacements and stresses of a plate with a hole."""

    output: Path = Path("runs/elasticity")
    """folder of the results"""
    conditions: Literal["exact", "penalty"] = "exact"
    """how the conditions on the straight edges enter"""
    adam: int = 100
    """steps of Adam at most, in up to a quarter of the seconds"""
    lbfgs: int = 500
    """steps of L-BFGS at most, 20 iterations each"""
    seconds: float = 60.0
    """seconds of training at most"""
    learning_rate: float = 5e-3
    """largest learning rate of Adam"""
    history: int = 300
    """iterations that L-BFGS remembers"""
    width: int = 32
    """neurons in a hidden layer"""
    depth: int = 4
    """hidden layers"""
    activation: Literal["tanh", "sin", "silu", "gelu", "sigmoid", "softplus"] = "sin"
    """activation function, with a trainable slope for each layer"""
    slope: float = 1.5
    """first value of the slopes"""
    points: int = 2000
    """points of a step, in the plate"""
    boundary_points: int = 128
    """points of a step, on the hole and on each edge with a penalty"""
    boundary_weight: float = 10.0
    """weight of the hole's integral and of the penalties', against the equation's"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float64"
    """precision; L-BFGS gets further in float64"""
    resume: bool = False
    """go on from the last checkpoint in the output folder"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        for name in ("adam", "lbfgs", "history", "width", "depth", "points", "boundary_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        for name in ("seconds", "learning_rate", "slope", "boundary_weight"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0 to 2^32 - 1, got {self.seed}.")
        check_device(self.device)


class Reference:
    """Kirsch's solution at points of the plate, and how far a field is from it."""

    def __init__(self, where: dict[str, Any], count: int = 4000) -> None:
        x = geometry().sample(count, dtype=torch.float64).x
        self.x, self.exact = x.to(**where), exact(x)
        self.top = torch.tensor([[0.0, RADIUS]], **where)

    @torch.no_grad()
    def concentration(self, field: nn.Module) -> float:
        """s_xx / T at the top of the hole."""
        return field(self.top)[0, OUTPUTS.index("s_xx")].item() / TENSION

    @torch.no_grad()
    def errors(self, field: nn.Module) -> dict[str, float]:
        """Relative errors: in L2 of both displacements and of all stresses, and at the top."""
        found = field(self.x).cpu().double()
        return {
            "displacements": training.relative_l2(found[:, :2], self.exact[:, :2]),
            "stresses": training.relative_l2(found[:, 2:], self.exact[:, 2:]),
            "concentration": abs(self.concentration(field) / CONCENTRATION - 1),
        }


def make_stages(c: Config, field: nn.Module) -> list[training.Stage]:
    """Adam with a falling rate, then L-BFGS."""
    adam = torch.optim.Adam(field.parameters(), c.learning_rate)
    falling = training.schedules.cosine(adam, c.adam, final=0.02, warm_up=min(20, c.adam - 1))
    lbfgs = torch.optim.LBFGS(
        field.parameters(), max_iter=20, history_size=c.history, tolerance_grad=0.0,
        tolerance_change=0.0, line_search_fn="strong_wolfe",
    )  # fmt: skip
    return [
        training.Stage(adam, c.adam, falling, until=0.25 if c.seconds < math.inf else 1.0),
        training.Stage(lbfgs, c.lbfgs, log_every=5),  # a step is 20 iterations
    ]


def make_trainer(c: Config, reference: Reference, where: dict[str, Any]) -> training.Trainer:
    """The field, its terms, and the loop."""
    torch.manual_seed(c.seed)
    net = cc.nn.MLP(
        2, len(OUTPUTS), c.width, c.depth, c.activation, "layer", slope=c.slope, **where
    )
    penalties = tuple(GIVEN) if c.conditions == "penalty" else ()
    field = net if penalties else make_field(net)
    terms, samplers, weights = make_terms(
        field, c.points, c.boundary_points, penalties, c.seed, where
    )
    for name in ("hole", *penalties):
        weights[name] *= c.boundary_weight
    return training.Trainer(
        terms, field, make_stages(c, field), samplers, cc.balancing.Sum(weights),
        evaluate=lambda: reference.errors(field), log_every=50, save_every=100,
        seconds=None if math.isinf(c.seconds) else c.seconds, output=c.output, resume=c.resume,
        config={k: v for k, v in facts(c, where)["config"].items() if k != "resume"},
    )  # fmt: skip


def train(c: Config) -> int:
    """One run; the exit code."""
    where: dict[str, Any] = {"device": pick_device(c.device), "dtype": getattr(torch, c.dtype)}
    reference = Reference(where)
    trainer = make_trainer(c, reference, where)
    try:
        state = trainer.run()
    except training.NonFiniteError as error:
        print(f"elasticity: {error}", file=sys.stderr)
        return 1
    errors = reference.errors(trainer.net)
    concentration = reference.concentration(trainer.net)
    said = (
        f"relative L2 error of displacements {errors['displacements']:.5f}, of stresses "
        f"{errors['stresses']:.5f}, stress at the hole's top {concentration:.3f} T (exact: "
        f"{CONCENTRATION:g} T); {state.step} steps in {state.seconds:.0f} s"
    )
    plot_stress(c.output / "stress.png", trainer.net, where, said)
    curves = training.read_run(c.output)
    training.plot_history(
        c.output / "loss.png",
        curves.step,
        {"total, weighted": curves.loss} | curves.losses,
        errors=curves.errors,
    )
    metrics = {
        "errors": errors,
        "concentration": concentration,
        "steps": state.step,
        "seconds": state.seconds,
        "ended": state.ended,
        **facts(c, where),
    }
    text = json.dumps(metrics, indent=2, allow_nan=False)
    training.write_text(c.output / "metrics.json", text + "\n")
    print(f"{said}; results are in {c.output}")
    return 130 if trainer.interrupted else 0


@torch.no_grad()
def plot_stress(
    path: Path, field: nn.Module, where: dict[str, Any], title: str, count: int = 201
) -> None:
    """s_xx: exact, network and their difference, without the hole."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axis = torch.linspace(0, SIDE, count, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    inside, line = x.norm(dim=1) >= RADIUS, axis.numpy()

    def on_grid(values: Tensor) -> Any:
        whole = torch.full((count * count,), torch.nan, dtype=torch.float64)
        whole[inside] = values[:, OUTPUTS.index("s_xx")].cpu().double()
        return whole.reshape(count, count).T.numpy()

    truth, found = on_grid(exact(x[inside])), on_grid(field(x[inside].to(**where)))
    error = found - truth
    worst = float(np.nanmax(np.abs(error)))
    figure = Figure(figsize=(13.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("exact s_xx", truth, "viridis", (0.0, CONCENTRATION * TENSION)),
        ("network s_xx", found, "viridis", (0.0, CONCENTRATION * TENSION)),
        (f"network - exact, at most {worst:.2g}", error, "RdBu_r", (-worst, worst)),
    )
    for axes, panel in zip(figure.subplots(1, 3), panels, strict=True):
        name, values, colours, (low, high) = panel
        shown = axes.pcolormesh(
            line, line, values, cmap=colours, vmin=low, vmax=high, shading="nearest"
        )
        axes.set(title=name, xlabel="x", ylabel="y", aspect="equal")
        figure.colorbar(shown, ax=axes, shrink=0.85)
    figure.suptitle(title, fontsize="medium")
    with training.atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)


def main() -> int:
    """The command. The exit code: 0; 1 where training failed; 2 for wrong options or where
    results could not be written; 130 after Ctrl-C."""
    try:
        for module, purpose in EXTRAS.items():
            training.require(module, purpose)
        import tyro

        return train(tyro.cli(Config))
    except (ValueError, OSError, ImportError) as error:
        print(f"elasticity: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("elasticity: aborted; the last checkpoint is there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
