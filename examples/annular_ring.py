"""The flow through a channel around a ring by a physics-informed network.

    python examples/annular_ring.py --output runs/ring                    all options: --help
    python examples/annular_ring.py --preset full --balancer uncertainty  the source's sizes
    torchrun --nproc-per-node 2 examples/annular_ring.py                  two processes

Terms for the equation, the walls, the inlet, the outlet and the flux, soft walls; Adam or SOAP,
then, where it is asked for, L-BFGS on points that stay. See annular_ring_problem.py. ``--preset
quick`` is for two cores and twenty minutes: the viscosity falls from 0.05 to 0.01 over most of the
run, the equation is weighed evenly, the flux is asked for through 16 cross sections. ``full`` has
the sizes and weights of the source: 6 x 512 neurons, 4096 points, 200,000 steps, weights by the
distance to the wall, the flux through the outlet, Adam.

``--resume`` goes on from the last checkpoint in ``--output``: bit for bit the run that was never
stopped, where its steps and not its seconds set learning rate and viscosity. Ctrl-C writes one
(exit code 130). Results: checkpoints, metrics.jsonl, metrics.json, curves, pictures of u, v, p,
their errors and streamlines, and a file for ParaView.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import colloc as cc
import torch
from annular_ring_pictures import write_pictures
from annular_ring_problem import REFERENCE, Reference, Viscosity, Weights, make_problem
from colloc import training
from common import check_device, pick_device

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
    "meshio": "writing VTK files",
}


@dataclass(frozen=True)
class Config:
    """Solve for the flow around a ring with a physics-informed network."""

    output: Path = Path("runs/annular_ring")
    """folder of the results"""
    preset: Literal["quick", "full"] = "quick"
    """sizes that are not given: for two cores and twenty minutes, or the source's"""
    width: int | None = None
    """neurons in a hidden layer"""
    depth: int | None = None
    """hidden layers"""
    activation: Literal["tanh", "sin", "silu", "gelu", "stan"] | None = None
    """activation function"""
    slope: float | None = None
    """first value of the activation's slopes, one a layer"""
    interior: int | None = None
    """points of a step inside; the walls get a quarter, inlet and outlet a sixty-fourth"""
    steps: int | None = None
    """steps of Adam at most"""
    seconds: float | None = None
    """seconds of training at most"""
    optimizer: Literal["adam", "soap"] | None = None
    """the first optimiser; soap: Adam in the eigenbasis of Shampoo, of the package
    pytorch-optimizer"""
    adam: float = 0.9
    """share of the run, by time, after which L-BFGS takes over"""
    lbfgs: int | None = None
    """steps of L-BFGS at most, 20 iterations each; 0: the first optimiser alone"""
    learning_rate: float | None = None
    """first learning rate of the first optimiser"""
    viscosity: float | None = None
    """first viscosity; it falls to 0.01"""
    continuation: float = 0.7
    """share of the first optimiser's part of the run in which it falls"""
    weighting: Literal["distance", "even"] | None = None
    """weight of the equation: the distance to the wall, or the same everywhere"""
    walls: float | None = None
    """weight of no slip, inlet and outlet"""
    flux: float | None = None
    """weight of the flux"""
    sections: int | None = None
    """cross sections through which the flux is asked for; 0: the outlet alone"""
    balancer: Literal["sum", "uncertainty", "gradnorm", "lr-annealing", "gradient-norm"] = "sum"
    """rule for the weights of the losses"""
    momentum: float = 1.0
    """factor of the momentum equations, in their loss"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision"""
    compile: bool = False
    """the losses through torch.compile"""
    graph: bool = False
    """whole steps as CUDA graphs"""
    resume: bool = False
    """go on from the last checkpoint in the output folder"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "interior", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}.")
        if self.interior is not None and self.interior < 64:
            raise ValueError(f"interior: expected at least 64, got {self.interior}.")
        if self.viscosity is not None and not 0.01 <= self.viscosity < math.inf:
            raise ValueError(f"viscosity: expected at least 0.01, got {self.viscosity}.")
        for name in ("walls", "flux", "slope", "learning_rate", "momentum"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        for name in ("adam", "continuation"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}: expected more than 0, up to 1, got {getattr(self, name)}."
                )
        if self.sections is not None and not 0 <= self.sections <= 64:
            raise ValueError(f"sections: expected 0 to 64, got {self.sections}.")
        check_device(self.device)

    @property
    def first_share(self) -> float:
        """The first optimiser's share of the seconds."""
        return self.adam if self.lbfgs and self.seconds else 1.0

    def first_part(self, state: training.State) -> float:
        """How much of the first optimiser's part is done, by steps or by seconds."""
        assert self.steps
        by_time = state.seconds / (self.seconds * self.first_share) if self.seconds else 0.0
        return 1.0 if state.stage > 0 else min(1.0, max(state.step / self.steps, by_time))

    def complete(self) -> Config:
        """With what the preset says."""
        return replace(
            self, **{k: v for k, v in PRESETS[self.preset].items() if getattr(self, k) is None}
        )


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "width": 64,
        "depth": 4,
        "activation": "sin",
        "slope": 3.0,
        "interior": 1024,
        "steps": 1_000_000,
        "seconds": 1080.0,
        "optimizer": "soap",
        "lbfgs": 0,
        "learning_rate": 5e-3,
        "viscosity": 0.05,
        "weighting": "even",
        "walls": 20.0,
        "flux": 10.0,
        "sections": 16,
    },
    "full": {
        "width": 512,
        "depth": 6,
        "activation": "silu",
        "slope": 1.0,
        "interior": 4096,
        "steps": 200_000,
        "optimizer": "adam",
        "lbfgs": 0,
        "learning_rate": 1e-3,
        "viscosity": 0.01,
        "weighting": "distance",
        "walls": 1.0,
        "flux": 0.1,
        "sections": 0,
    },
}


def make_balancer(name: str, names: list[str], net: torch.nn.Module) -> torch.nn.Module:
    """The rule of an option."""
    rules = cc.balancing
    if name == "uncertainty":
        return rules.HomoscedasticUncertainty(names)
    if name == "gradnorm":
        return rules.GradNorm(names, net)
    if name == "lr-annealing":
        return rules.LRAnnealing(
            names, "interior", net.parameters(), statistic="mean", update_every=10
        )
    if name == "gradient-norm":
        return rules.GradientNormBalance(names, net.parameters(), update_every=10)
    return rules.Sum(dict.fromkeys(names, 1.0))


def make_optimizer(c: Config, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The first optimiser."""
    assert c.learning_rate is not None
    if c.optimizer == "adam":
        return torch.optim.Adam(parameters, c.learning_rate, fused=True)
    training.require("pytorch_optimizer", "--optimizer soap")
    from pytorch_optimizer import SOAP

    return SOAP(
        parameters, c.learning_rate, betas=(0.95, 0.95), weight_decay=0.0, precondition_frequency=5
    )


def make_stages(
    c: Config, net: torch.nn.Module, balancer: torch.nn.Module
) -> tuple[list[training.Stage], list[training.Trainer]]:
    """The first optimiser with a falling rate, then L-BFGS; the rate asks the trainer, once it is
    in the list."""
    assert c.steps is not None
    first = make_optimizer(c, [*net.parameters(), *balancer.parameters()])
    made: list[training.Trainer] = []
    if c.preset == "full":
        schedule = training.schedules.decay(first, 0.95, 2000)
    else:
        schedule = torch.optim.lr_scheduler.LambdaLR(
            first, lambda k: 0.03 ** c.first_part(made[0].state) if made else 1.0
        )
    stages = [training.Stage(first, c.steps, schedule, clip=1.0, until=c.first_share)]
    if c.lbfgs:
        lbfgs = torch.optim.LBFGS(
            net.parameters(), max_iter=20, history_size=50, tolerance_grad=0.0,
            tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        stages.append(training.Stage(lbfgs, c.lbfgs))
    return stages, made


def train(c: Config) -> int:
    """One run; the exit code."""
    assert c.width and c.depth and c.interior and c.activation and c.slope
    assert c.viscosity and c.walls and c.flux and c.sections is not None
    where: dict[str, Any] = {"device": pick_device(c.device), "dtype": getattr(torch, c.dtype)}
    training.start_processes(where["device"])
    torch.manual_seed(c.seed)
    net = cc.nn.MLP(
        2, 3, c.width, c.depth, c.activation, "layer", slope=c.slope, **where
    )  # fmt: skip
    sizes = {
        "interior": c.interior,
        "no_slip": c.interior // 4,
        "inlet": max(16, c.interior // 64),
        "outlet": max(16, c.interior // 64),
        "flux": max(64, c.interior // 16, 16 * c.sections),
    }
    weights = Weights(c.weighting == "distance", c.walls, c.flux, c.sections, c.momentum)
    viscosity = Viscosity(c.viscosity, where)
    terms, samplers = make_problem(net, sizes, c.seed, where, weights, viscosity)
    reference = Reference(REFERENCE, where)
    balancer = make_balancer(c.balancer, [term.name for term in terms], net)
    stages, made = make_stages(c, net, balancer)
    trainer = training.Trainer(
        terms, net, stages, samplers, balancer, evaluate=lambda: reference.errors(net),
        evaluate_every=500, seconds=c.seconds, output=c.output, resume=c.resume,
        compile=c.compile, graph=c.graph, config=_plain(asdict(c)),
    )  # fmt: skip
    made.append(trainer)
    viscosity.follow(c.first_part(trainer.state) / c.continuation)
    try:
        for state in trainer:
            viscosity.follow(c.first_part(state) / c.continuation)
    except (training.NonFiniteError, training.ProcessError) as error:
        print(f"annular_ring: {error}", file=sys.stderr)
        return 1
    state = trainer.state
    if trainer.processes.first:
        errors = reference.errors(net)
        write_results(c, trainer, reference, errors)
        said = ", ".join(f"{name} {value:.3f}" for name, value in errors.items())
        print(
            f"errors in the peer's metric: {said}; {state.step} steps in {state.seconds:.0f} s; "
            f"results are in {c.output}"
        )
    return 130 if trainer.interrupted else 0


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without what may differ in a run that goes on."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if k != "resume"}


def write_results(
    c: Config, trainer: training.Trainer, reference: Reference, errors: dict[str, float]
) -> None:
    """Pictures, the file for ParaView, and the metrics last."""
    write_pictures(c.output, trainer.net, reference)
    rows = training.read_metrics(c.output / "metrics.jsonl")
    names = [term.name for term in trainer.terms]
    training.plot_history(
        c.output / "loss.png",
        [row["step"] for row in rows],
        {"total, weighted": [row["loss"] for row in rows]}
        | {name: [row["losses"][name] for row in rows] for name in names},
        errors={name: [row["errors"].get(name, float("nan")) for row in rows] for name in errors},
        weights={}
        if c.balancer == "sum"
        else {name: [row["weights"][name] for row in rows] for name in names},
    )
    metrics = {
        "errors": errors,
        "steps": trainer.state.step,
        "seconds": trainer.state.seconds,
        "processes": trainer.processes.count,
        "threads": torch.get_num_threads(),
        "device": str(trainer.device),
        "config": _plain(asdict(c)),
        "versions": {"torch": str(torch.__version__), "colloc": cc.__version__},
    }
    training.write_text(c.output / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def main() -> int:
    """The command; its exit code."""
    try:
        for module, purpose in EXTRAS.items():
            training.require(module, purpose)
        import tyro

        config = tyro.cli(Config).complete()
        return train(config)
    except (ValueError, OSError, ImportError) as error:
        print(f"annular_ring: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("annular_ring: aborted; the last checkpoint is there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
