"""Every rule of loss weighting on the Helmholtz problem with soft walls: which error is left after
equal steps.

    python -m benchmarks.weighting [--seeds 3] [--only RULE ...] [--output FOLDER] [--resume]

The problem of the source (lap u + u = f on [-1, 1]^2, u = sin(pi x) sin(4 pi y), weight of the
interior the distance to the wall, losses that are integrals, Adam with an exponential schedule,
clipped gradients), scaled to two cores. All rules have the baseline's network, points, schedule
and seeds; a rule's own options are its defaults. The baseline is the plain sum.

Two more tables ask whether a rule rescues an equation whose loss is multiplied by 1e-4, as in the
claim, and by 1e-8: here the equation's loss is about 1e4 times the walls' to begin with, so that
only the second leaves it 1e-4 of theirs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import colloc as cc
import torch
from torch import Tensor, nn

from benchmarks.harness import facts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from helmholtz_problem import exact, source

#: The baseline's settings, chosen for the plain sum alone.
SETTINGS: dict[str, Any] = {
    "hidden_features": 64,
    "hidden_layers": 3,
    "activation": "sin",
    "adaptive": "layer",
    "slope": 3.0,
    "interior": 512,
    "walls": 128,
    "learning_rate": 5e-3,
    "final_learning_rate": 3e-5,
    "clip": 0.5,
    "steps": 10_000,
    "dtype": "float32",
}
#: Between two updates of the rules that take gradients or rows.
EVERY = 10
#: The source: largest error 0.04 without and 0.006 with weights by the NTK.
FACTOR = 6.7
#: What the baseline must reach for the comparison to say something.
BASELINE_ERROR = 0.06
NAMES = ("interior", "walls")
BASELINE = "Sum"

Make = Callable[[nn.Module, int], nn.Module]
B = cc.balancing
RULES: dict[str, Make] = {
    BASELINE: lambda net, seed: B.Sum(dict.fromkeys(NAMES, 1.0)),
    "NTK": lambda net, seed: B.NTK(NAMES, update_every=EVERY),
    "LRAnnealing": lambda net, seed: B.LRAnnealing(
        NAMES, "interior", net.parameters(), update_every=EVERY
    ),
    "LRAnnealing, mean": lambda net, seed: B.LRAnnealing(
        NAMES, "interior", net.parameters(), statistic="mean", update_every=EVERY
    ),
    "GradientNormBalance": lambda net, seed: B.GradientNormBalance(
        NAMES, net.parameters(), update_every=EVERY
    ),
    "HomoscedasticUncertainty": lambda net, seed: B.HomoscedasticUncertainty(NAMES),
    "SoftAdapt": lambda net, seed: B.SoftAdapt(NAMES),
    "ReLoBRaLo": lambda net, seed: B.ReLoBRaLo(NAMES, seed=seed),
    "GradNorm": lambda net, seed: B.GradNorm(NAMES, net),
    "ResNorm": lambda net, seed: B.ResNorm(NAMES),
}
#: Rules that can rescue a term that is scaled down: those that look at gradients or at rows.
RESCUES = (BASELINE, "GradNorm", "LRAnnealing", "NTK")
SCALED_DOWN = (1e-4, 1e-8)


def interior_weight(points: cc.geometry.Points) -> Tensor:
    """The distance to the wall times the square's area: the loss is an integral."""
    return 4.0 * cc.pde.distance_weight(points)


class Problem:
    """The network, its terms and the comparison with the exact u."""

    def __init__(self, seed: int, scale: float, settings: dict[str, Any]) -> None:
        torch.manual_seed(seed)
        where = {"dtype": getattr(torch, settings["dtype"])}
        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        options = {k: settings[k] for k in ("activation", "adaptive", "slope")}
        size = (settings["hidden_features"], settings["hidden_layers"])
        self.net = cc.nn.MLP(2, 1, *size, **options, **where)
        sampling = cc.sampling
        self.samplers = (
            sampling.Halton(square, settings["interior"], seed=seed, **where),
            sampling.Halton(square.boundary, settings["walls"], seed=seed, **where),
        )
        inside, wall = (sampler(0) for sampler in self.samplers)
        equation = cc.pde.helmholtz(1.0, source)
        self.terms = [
            cc.Term("interior", self.net, inside, equation, weight=interior_weight),
            cc.Term("walls", self.net, wall, lambda u, x: u.value, order=0, weight=8.0),
        ]
        if scale != 1.0:
            self.terms[0].weight = lambda points: scale * interior_weight(points)

    def losses(self, step: int) -> dict[str, Tensor]:
        for term, sampler in zip(self.terms, self.samplers, strict=True):
            term.points = sampler(step)
        return {term.name: term.loss() for term in self.terms}

    @torch.no_grad()
    def errors(self) -> dict[str, float]:
        axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        truth = exact(grid)
        found = self.net(grid.to(next(self.net.parameters()).dtype)).double()
        difference = found - truth
        return {
            "relative_l2": float(difference.norm() / truth.norm()),
            "max_error": float(difference.abs().max()),
        }


def train(
    rule: str, seed: int, scale: float = 1.0, settings: dict[str, Any] = SETTINGS
) -> dict[str, Any]:
    """One run, and what is left of the error."""
    problem = Problem(seed, scale, settings)
    balancer = RULES[rule](problem.net, seed)
    groups = [{"params": list(problem.net.parameters())}]
    if own := list(balancer.parameters()):
        groups.append({"params": own})
    optimizer = torch.optim.Adam(groups, settings["learning_rate"])
    steps, first = settings["steps"], settings["learning_rate"]
    ratio = settings["final_learning_rate"] / first
    begin, spent = time.perf_counter(), time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = first * ratio ** (step / steps)
        total = balancer(problem.losses(step), step, terms=problem.terms)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(problem.net.parameters(), settings["clip"])
        optimizer.step()
        if not math.isfinite(total.item()):
            break
    return {
        "rule": rule,
        "seed": seed,
        "scale": scale,
        "steps": step + 1,
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - spent,
        "weights": balancer.weights,
        **problem.errors(),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a line for each rule, errors seed by seed, medians, and the baseline's by them."""
    named = {rule: [run for run in runs if run["rule"] == rule] for rule in RULES}
    base = statistics.median(run["max_error"] for run in named[BASELINE])
    lines = [
        "| rule | largest error, seed by seed | median | plain sum / this | relative L2 error, "
        "seed by seed | median | CPU time a step | last weights (walls / interior) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule, found in named.items():
        if not found:
            continue
        largest = [run["max_error"] for run in found]
        relative = [run["relative_l2"] for run in found]
        ratios = [run["weights"]["walls"] / run["weights"]["interior"] for run in found]
        cells = [
            rule,
            ", ".join(f"{e:.2g}" for e in largest),
            f"{statistics.median(largest):.2g}",
            f"{base / statistics.median(largest):.2g}x",
            ", ".join(f"{e:.2g}" for e in relative),
            f"{statistics.median(relative):.2g}",
            f"{1e3 * statistics.median(run['cpu'] / run['steps'] for run in found):.1f} ms",
            f"{statistics.median(ratios):.2g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(runs: list[dict[str, Any]]) -> str:
    """Whether the source's claims came out."""
    plain = [run for run in runs if run["scale"] == 1.0]
    median = {
        rule: statistics.median(run["max_error"] for run in plain if run["rule"] == rule)
        for rule in {run["rule"] for run in plain}
    }
    said = []
    if BASELINE in median:
        met = median[BASELINE] <= BASELINE_ERROR
        said.append(
            f"baseline: largest error {median[BASELINE]:.2g}, wanted at most {BASELINE_ERROR}: "
            f"{'reached' if met else 'NOT reached'}"
        )
    if {BASELINE, "NTK"} <= set(median):
        factor = median[BASELINE] / median["NTK"]
        said.append(
            f"NTK weights cut the largest error by {factor:.2g}, the source's {FACTOR:g}: "
            f"{'reproduced' if factor >= FACTOR else 'not reproduced'}"
        )
    for scale in SCALED_DOWN:
        scaled = [run for run in runs if run["scale"] == scale]
        of = {
            rule: statistics.median(run["relative_l2"] for run in scaled if run["rule"] == rule)
            for rule in {run["rule"] for run in scaled}
        }
        for rule in RESCUES:
            if rule != BASELINE and {BASELINE, rule} <= set(of):
                rescued = of[rule] < 0.2 * of[BASELINE]
                said.append(
                    f"equation times {scale:g}: relative L2 error {of[BASELINE]:.2g}, with {rule} "
                    f"{of[rule]:.2g}: {'rescued' if rescued else 'not reproduced'}"
                )
    return "\n".join(f"- {line}" for line in said)


def save(runs: list[dict[str, Any]], folder: Path) -> str:
    """JSON and Markdown of what has been run so far; the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    known = facts()
    record = {"facts": known, "settings": SETTINGS, "every": EVERY, "runs": runs}
    (folder / "weighting.json").write_text(json.dumps(record, indent=2) + "\n")
    parts = [
        "## weighting",
        ", ".join(f"{key} {value}" for key, value in known.items() if value) + ", 1 thread",
        ", ".join(f"{key} {value}" for key, value in SETTINGS.items()),
    ]
    titles = {scale: f"The equation times {scale:g}" for scale in SCALED_DOWN}
    for scale, title in ({1.0: "Equal steps"} | titles).items():
        chosen = [run for run in runs if run["scale"] == scale]
        if any(run["rule"] == BASELINE for run in chosen):
            parts += [f"### {title}", table(chosen)]
    parts.append(verdicts(runs))
    text = "\n\n".join(parts) + "\n"
    (folder / "weighting.md").write_text(text)
    return text


def jobs(seeds: int, only: Iterable[str]) -> list[tuple[str, int, float]]:
    """Rule, seed and scale of each run."""
    chosen = set(only) or set(RULES)
    found = [(rule, seed, 1.0) for seed in range(seeds) for rule in RULES if rule in chosen]
    return found + [
        (rule, seed, scale)
        for scale in SCALED_DOWN
        for seed in range(seeds)
        for rule in RESCUES
        if rule in chosen
    ]


def earlier(folder: Path) -> list[dict[str, Any]]:
    """The runs of an earlier call with the same settings."""
    path = folder / "weighting.json"
    if not path.exists():
        return []
    record: dict[str, Any] = json.loads(path.read_text())
    if record["settings"] != SETTINGS or record["every"] != EVERY:
        raise SystemExit(f"{path}: made with other settings; leave out --resume")
    found: list[dict[str, Any]] = record["runs"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.weighting", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="0 to this one less")
    parser.add_argument("--only", nargs="*", default=[], choices=list(RULES), metavar="RULE")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/local"))
    parser.add_argument("--resume", action="store_true", help="keep the runs that are there")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {arguments.seeds}")
    torch.set_num_threads(1)
    runs = earlier(arguments.output) if arguments.resume else []
    done = {(run["rule"], run["seed"], run["scale"]) for run in runs}
    text = save(runs, arguments.output) if runs else ""
    for rule, seed, scale in jobs(arguments.seeds, arguments.only):
        if (rule, seed, scale) in done:
            continue
        runs.append(train(rule, seed, scale))
        found = runs[-1]
        print(
            f"{rule}, seed {seed}, equation times {scale:g}: largest error "
            f"{found['max_error']:.2g}, relative {found['relative_l2']:.2g}, {found['cpu']:.0f} s",
            flush=True,
        )
        text = save(runs, arguments.output)
    print(f"\n{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
