"""A physics-informed network for the Helmholtz equation on a square.

    lap u + k^2 u = f   in [-1, 1]^2,      u = 0 on the walls,      k = 1,

with f = (1 - 17 pi^2) sin(pi x) sin(4 pi y), so that u = sin(pi x) sin(4 pi y) is known and the
error can be shown.

    python examples/helmholtz.py --output runs/demo                    all options: --help
    python examples/helmholtz.py --boundary hard --form first
    python examples/helmholtz.py --output runs/demo --resume           go on after an interruption
    torchrun --nproc-per-node 2 examples/helmholtz.py                  two processes

``--boundary soft``: u is the network, the walls enter as a penalty. ``hard``: u = phi N is exactly
0 on the walls, whatever the weights. ``--form second``: lap u by the network's second derivatives.
``first``: q, two more outputs of the network, stands for grad u; the residuals are
div q + k^2 u - f and q - grad u. See helmholtz_problem.py.

``--balancer``: how the two losses of soft walls are weighed; without it by fixed numbers. The
weights move with Adam and stay as they are for L-BFGS.

``--graph`` captures Adam's steps as CUDA graphs, where there is a GPU.

Adam takes new points every step. What is left of the run after ``--adam`` of it is L-BFGS's, on
points that stay. A step is one of the optimiser: one of L-BFGS is ten iterations. Options that are
not given are those found best for the boundary and the form.

The run ends after ``--steps`` or ``--seconds``, whichever comes first; the learning rate falls
along with what is nearer its end, so that a slow machine finishes with a small one too. Results
are written at the end, after Ctrl-C (exit code 130; a second Ctrl-C aborts), and after a loss that
is not finite (exit code 1, with the last good network): pictures, a file for ParaView,
metrics.json, metrics.jsonl with a line for every look, and checkpoints.

``--resume`` goes on from the last checkpoint in ``--output``: bit for bit the run that was never
stopped, where its steps and not its seconds set the learning rate. Without it a run starts anew;
the checkpoints of the one that was there before are kept in ``earlier-1`` and so on.
"""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import colloc as cc
import torch
from colloc import training
from common import facts, pick_device
from helmholtz_config import Config
from helmholtz_problem import SCALE, StagePoints, exact, make_balancer, make_field, make_terms
from helmholtz_results import (
    check_resumable,
    forget_after,
    put_back,
    set_aside,
    summary,
    write_results,
)
from torch import Tensor

EXTRAS = {
    "tyro": "the command line",
    "tqdm": "the progress bar",
    "matplotlib": "plotting",
    "meshio": "writing VTK files",
}

ITERATIONS = 10  # of L-BFGS in a step, between two looks at the clock


class Training:
    """The network, its terms, the trainer, and the comparison with the exact u.

    Args:
        config: the options.
        output: folder of checkpoints and metrics; None: nothing is written.
        show: whether to show progress.
    """

    def __init__(self, config: Config, output: Path | None = None, show: bool = False) -> None:
        self.config, self.output = config, output
        self.trainer: Any = None  # its parts ask it for the stage and the seconds
        device = pick_device(config.device)
        training.start_processes(device)
        torch.manual_seed(config.seed)
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
        form = (config.boundary, config.form)
        self.field = make_field(self.net, *form)
        samplers = self.make_samplers()
        first = (samplers["interior"](0), samplers["walls"](0))
        self.terms = make_terms(self.field, *first, *form, config.gradient_weight)
        # The residual is 17 pi^2 times as large as u; fixed weights bring both to one scale.
        fixed = {"interior": outputs / SCALE, "walls": config.boundary_weight}
        names = [term.name for term in self.terms]
        self.balancer = make_balancer(
            config.balancer,
            self.net,
            {name: fixed[name] for name in names},
            config.update_every,
            config.seed,
        ).to(device)

        axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
        self.axes = (axis, axis)
        self.grid = torch.cartesian_prod(axis, axis)
        self.exact = exact(self.grid)

        self.moved: Path | None = None
        if output is not None and config.resume:
            check_resumable(output)
        elif output is not None:
            self.moved = set_aside(output)
        every = max(1, min(100, config.steps // 20))
        self.trainer = training.Trainer(
            self.terms,
            self.net,
            self.make_stages(),
            {name: samplers[name] for name in names},
            self.balancer,
            evaluate=lambda: {"relative_l2": self.error()},
            log_every=every,
            save_every=every,
            seconds=None if math.isinf(config.seconds) else config.seconds,
            output=output,
            resume=config.resume and output is not None,
            tensorboard=config.tensorboard and output is not None,
            graph=config.graph,
            config=config.saved(),
            progress=show,
        )
        self.failure: str | None = None
        self.steps = 0
        self.good: tuple[int, dict[str, Any]] | None = None

    # ---- the trainer's parts ---------------------------------------------------------------------

    def make_samplers(self) -> dict[str, StagePoints]:
        """Scrambled Halton sequences inside and on the walls."""
        c = self.config
        halton, options = cc.sampling.Halton, {"seed": c.seed, **self.where}
        inside = [halton(self.square, n, **options) for n in (c.points, c.fixed_points)]
        wall = halton(self.square.boundary, c.boundary_points, **options)
        return {
            "interior": StagePoints(self.stage, inside),
            "walls": StagePoints(self.stage, [wall, wall]),
        }

    def stage(self) -> int:
        """0 for Adam, 1 for L-BFGS."""
        return 0 if self.trainer is None else self.trainer.state.stage

    def make_stages(self) -> list[training.Stage]:
        """Adam with a falling rate, then L-BFGS on points that stay."""
        c = self.config
        trained = [*self.net.parameters(), *self.balancer.parameters()]
        self.optimizer = torch.optim.Adam(trained, lr=c.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: self.learning_rate(step) / c.learning_rate
        )
        stages = [training.Stage(self.optimizer, c.adam_steps, schedule, until=c.adam)]
        if c.adam_steps < c.steps:
            lbfgs = torch.optim.LBFGS(
                self.net.parameters(),
                max_iter=ITERATIONS,
                max_eval=2 * ITERATIONS,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                line_search_fn="strong_wolfe",
            )
            stages.append(training.Stage(lbfgs, c.steps - c.adam_steps))
        return stages

    def learning_rate(self, step: int) -> float:
        """Adam's, after so many steps and what seconds have passed."""
        c = self.config
        fraction = max(step / c.steps, self.seconds / c.seconds)
        return c.rate(step, fraction / c.adam)

    # ---- the run ---------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Spent in training."""
        return 0.0 if self.trainer is None else self.trainer.state.seconds

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended the run."""
        return self.trainer.interrupted

    def run(self) -> None:
        """Train until the steps or seconds are used up, a loss is not finite, or Ctrl-C."""
        trainer = self.trainer
        if trainer.state.step > 0:  # resumed
            self.remember(trainer.state.step, self.error())
        try:
            for state in trainer:
                if state.step % trainer.evaluate_every == 0:
                    self.remember(state.step, state.errors["relative_l2"])
        except training.NonFiniteError as error:
            self.failure = str(error).split(". ", maxsplit=1)[0]
        self.steps = trainer.state.step
        if self.steps > 0 and math.isfinite(self.error()):
            return
        if self.failure is None:
            self.failure = f"step {self.steps}: the network is not finite"
        self.steps = 0
        if self.good is not None:
            self.steps, state = self.good
            self.net.load_state_dict(state)
            if self.output is not None and trainer.processes.first:
                forget_after(self.output, self.steps)

    def remember(self, step: int, error: float) -> None:
        """Keep the network, where all is well."""
        if math.isfinite(error):
            self.good = step, copy.deepcopy(self.net.state_dict())

    # ---- what was found --------------------------------------------------------------------------

    @torch.no_grad()
    def prediction(self) -> Tensor:
        """u on the grid, (201 * 201, 1)."""
        return self.field(self.grid.to(**self.where))[:, :1].cpu().double()

    def error(self) -> float:
        """The relative L2 error on the grid."""
        return training.relative_l2(self.prediction(), self.exact)

    @torch.no_grad()
    def boundary_error(self, count: int = 2000) -> float:
        """The largest |u| at random points of the walls."""
        wall = self.square.boundary.sample(
            count, method="uniform", seed=self.config.seed, **self.where
        )
        return self.field(wall.x)[:, 0].abs().max().item()

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
            "processes": self.trainer.processes.count,
            "interrupted": self.interrupted,
            "problem": self.failure,
            **facts(self.config, self.where),
        }


def train(run: Training, folder: Path) -> int:
    """Train and write the results; the exit code."""
    first = run.trainer.processes.first
    run.run()
    if not first:  # it has nothing to write
        return _code(run)
    said = f"helmholtz: stopped because of {run.failure}"
    advice = "Try a smaller --learning-rate or --slope."
    if run.steps == 0:
        if not run.config.resume:
            put_back(folder, run.moved)
        print(f"{said}; there is nothing to write. {advice}", file=sys.stderr)
        return 1
    metrics = write_results(run, folder)
    print(f"{summary(metrics)}; results are in {folder}")
    if run.failure is not None:
        print(f"{said}; the results are the last good network's. {advice}", file=sys.stderr)
    return _code(run)


def _code(run: Training) -> int:
    return 1 if run.failure is not None else 130 if run.interrupted else 0


def main() -> int:
    """The command. The exit code: 0; 1 where training failed or results could not be written; 2
    for wrong options; 130 after Ctrl-C."""
    try:
        for module, purpose in EXTRAS.items():
            training.require(module, purpose)
        import tyro

        config = tyro.cli(Config)
        if config.tensorboard:
            training.require("tensorboard", "--tensorboard", "tensorboard")
        folder = training.output_folder(config.output, space=50_000_000)
        run = Training(config, folder, show=True)
    except (ValueError, OSError, ImportError) as error:
        print(f"helmholtz: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("helmholtz: aborted", file=sys.stderr)
        return 130
    count = run.trainer.processes.count
    if run.trainer.processes.first:
        processes = f"{count} processes with " if count > 1 else ""
        print(
            f"training on {run.where['device']}, {processes}{torch.get_num_threads()} threads; "
            f"results: {folder}",
            flush=True,
        )
        if run.moved is not None:
            print(f"checkpoints of the run that was there before: {run.moved}", flush=True)
    try:
        return train(run, folder)
    except OSError as error:
        print(f"helmholtz: could not write all results to {folder}: {error}", file=sys.stderr)
        return 1
    except (training.ProcessError, ValueError) as error:  # another run has taken the folder
        print(f"helmholtz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"helmholtz: aborted; {folder} may lack results of this run", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
