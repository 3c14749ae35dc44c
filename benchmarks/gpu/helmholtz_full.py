"""The Helmholtz example at its source's full size: 6 x 512, 20,000 steps, error after every 500.

    python -m benchmarks.gpu_campaign helmholtz                          all variants, on a GPU
    python -m benchmarks.gpu.helmholtz_full campaign.json picture.png    what they have found

Settings are the source's (PhysicsNeMo-Sym's examples of Helmholtz: soft walls, NTK weights, hard
walls with the first-order form): SiLU with weight norm, Adam, gradients clipped, losses as
integrals, the interior's weighted by the distance to the walls, 1000 batches of points drawn
beforehand and gone through again and again. NTK's weights are Wang, Yu and Perdikaris' traces.

Products are float32 ("soft-float32"), TF32, or of lower precision by autocast, see ``VARIANTS``.

Seconds are of training alone: the GPU is waited for before and after every stretch between two
evaluations; the first ``WARM_UP`` steps, with the capture, are left out. NTK's updates are in.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import colloc as cc
import torch
from torch import Tensor

WARM_UP = 10
LEARNING_RATE, DECAY, DECAY_STEPS, CLIP = 1e-3, 0.95, 200, 0.5
COMPATIBILITY = 0.5  # weight of q - grad u
NTK_EVERY = 1000  # steps
SEED = 0
#: What the source reports: errors relative to the standard deviation of u, which is its norm's.
PEER: dict[str, dict[str, Any]] = {
    "soft": {"error": 9e-3, "largest error": 0.04},
    "ntk": {"largest error": 0.006},
    "hard-first": {"error": 1.6e-3},
    "hard-first-amp": {"seconds": "25 % fewer than soft"},
}


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    width: int = 512
    depth: int = 6
    points: int = 4000
    wall_points: int = 800
    batches: int = 1000
    steps: int = 20_000
    every: int = 500
    """steps between evaluations"""
    seconds: float = 1e9
    """of training, if fewer than the variant's"""


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    label: str
    hard: bool = False
    """walls by an ansatz and the first-order form; else by a penalty and the second-order form"""
    ntk: bool = False
    products: str = "high"
    """torch's float32 matrix products: "highest" is float32, "high" is TF32"""
    precision: str | None = None
    """autocast"""
    seconds: float = 45.0
    """of training at most"""


#: In the order of running; the last one has a capture that may fail.
VARIANTS = {
    "soft": Variant("soft, second order, TF32"),
    "ntk": Variant("soft, second order, TF32, NTK", ntk=True),
    "hard-first": Variant("hard, first order, TF32", hard=True),
    "soft-float32": Variant("soft, second order, float32", products="highest", seconds=20.0),
    "hard-first-amp": Variant("hard, first order, bfloat16", hard=True, precision="bfloat16"),
    "hard-first-float16": Variant("hard, first order, float16", hard=True, precision="float16"),
}


# ---- the problem ---------------------------------------------------------------------------------


def exact(x: Tensor) -> Tensor:
    """u at points (N, 2), (N, 1)."""
    return torch.sin(math.pi * x[:, :1]) * torch.sin(4 * math.pi * x[:, 1:])


def source(x: Tensor) -> Tensor:
    """f = lap u + u."""
    return (1 - 17 * math.pi**2) * exact(x)


def first_order(u: Any, x: Tensor) -> Tensor:
    """The residuals (N, 3), so scaled that their squares have the source's weights. Numbers are
    made on the device: a captured step must not copy from the host."""
    rows = _FIRST(u, x)
    inside = (1 - x.abs().amax(dim=1, keepdim=True)).clamp(min=0)
    return torch.cat((rows[:, :1] * inside.sqrt(), rows[:, 1:] * math.sqrt(COMPATIBILITY)), dim=1)


_FIRST = cc.pde.helmholtz(1.0, source, first_order=True)
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))
AREA, LENGTH = 4.0, 8.0


class Batches:
    """Batches of Halton points that were made beforehand, one after another, again and again."""

    def __init__(self, sampler: Callable[[int], cc.geometry.Points], count: int) -> None:
        self.batches = [sampler(k) for k in range(count)]

    def __call__(self, step: int) -> cc.geometry.Points:
        return self.batches[step % len(self.batches)]


@lru_cache(maxsize=2)
def batches(boundary: bool, points: int, count: int, device: str) -> Batches:
    """The same for all variants."""
    where = SQUARE.boundary if boundary else SQUARE
    sampler = cc.sampling.Halton(where, points, seed=SEED, dtype=torch.float32, device=device)
    return Batches(sampler, count)


def make(variant: Variant, size: Size, device: str) -> tuple[Any, torch.nn.Module]:
    """A trainer, and the field that it trains."""
    torch.manual_seed(SEED)
    net = cc.nn.MLP(
        2, 3 if variant.hard else 1, size.width, size.depth, "silu", weight_norm=True,
        dtype=torch.float32, device=device,
    )  # fmt: skip
    field: torch.nn.Module = net
    samplers = {"interior": batches(False, size.points, size.batches, device)}
    if variant.hard:
        walls = [cc.boundary.Dirichlet(SQUARE.boundary, 0.0, components=0)]
        field = cc.boundary.Ansatz(net, walls)
        terms = [cc.Term("interior", field, samplers["interior"](0), first_order, order=1)]
        weights = {"interior": 3 * AREA}  # a term's loss is the mean of its three columns
    else:
        samplers["walls"] = batches(True, size.wall_points, size.batches, device)
        equation = cc.pde.helmholtz(1.0, source)
        inside, wall = samplers["interior"](0), samplers["walls"](0)
        terms = [
            cc.Term("interior", net, inside, equation, weight=cc.pde.distance_weight),
            cc.Term("walls", net, wall, lambda u, x: u.value, order=0),
        ]
        weights = {"interior": AREA, "walls": LENGTH}
    balancer: torch.nn.Module = cc.balancing.Sum(weights)
    if variant.ntk:
        balancer = cc.balancing.NTK(list(weights), update_every=NTK_EVERY)
    gpu = device != "cpu"
    adam = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=gpu, capturable=gpu)
    trainer = cc.training.Trainer(
        terms, net, adam, samplers, balancer, steps=size.steps, clip=CLIP,
        precision=variant.precision,
        schedule=cc.training.schedules.decay(adam, DECAY, DECAY_STEPS), graph=gpu,
        log_every=size.every, save_every=10**9, progress=False,
    )  # fmt: skip
    return trainer, field


# ---- a run ---------------------------------------------------------------------------------------


@contextmanager
def _products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Errors:
    """Those of u on a grid of 201 x 201 points, and on the walls."""

    def __init__(self, device: str) -> None:
        axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        self.exact = exact(grid).to(device)
        self.grid = grid.float().to(device)
        self.walls = (self.grid.abs() == 1).any(dim=1, keepdim=True)

    @torch.no_grad()
    def __call__(self, field: torch.nn.Module) -> dict[str, float]:
        with _products("highest"):
            found = field(self.grid)[:, :1].double()
        difference = found - self.exact
        return {
            "relative_l2": float(difference.norm() / self.exact.norm()),
            "largest error": float(difference.abs().max()),
            "boundary error": float(found[self.walls].abs().max()),
        }


def _now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def train(
    name: str,
    size: Size,
    device: str,
    look: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:
    """One variant: its curve, and seconds. ``look``: called with them after every evaluation."""
    variant = VARIANTS[name]
    limit = min(size.seconds, variant.seconds)
    found: dict[str, Any] = {
        "variant": asdict(variant), "size": asdict(size), "seed": SEED, "device": device,
        "learning rate": f"{LEARNING_RATE:g}, times {DECAY}^(step / {DECAY_STEPS})", "clip": CLIP,
        "peer": PEER.get(name, {}), "curve": [], "ended": "",
    }  # fmt: skip
    curve: list[dict[str, Any]] = found["curve"]
    with _products(variant.products):
        begin = _now(device)
        trainer, field = make(variant, size, device)
        errors = Errors(device)
        found["seconds before"] = _now(device) - begin
        seconds, timed, begin = 0.0, 0, _now(device)
        steps = iter(trainer)
        try:
            for state in steps:
                step = state.step
                if step == WARM_UP:
                    begin, timed = _now(device), step
                    continue
                if step % size.every and step < size.steps:
                    continue
                took = _now(device) - begin
                seconds += took
                row = {"step": step, "seconds": seconds, "each": took / max(1, step - timed)}
                row |= errors(field) | {"loss": float(state.total), "weights": state.weights}
                curve.append(row)
                each = statistics.median(row["each"] for row in curve)
                found |= {"seconds": seconds, "seconds a step": each, "ended": state.ended}
                look(found)
                if seconds >= limit and not state.ended:
                    found["ended"] = f"limit of {limit:g} s"
                    break
                begin, timed = _now(device), step
        except cc.training.NonFiniteError as error:
            found["ended"] = str(error)
        finally:
            steps.close()  # type: ignore[attr-defined]  # iter(trainer) is typed Iterator; it is a generator
        if device != "cpu":
            found["memory"] = torch.cuda.max_memory_allocated()
            found["seconds of a replay"] = _replay(trainer)
    return found


def _replay(trainer: Any, count: int = 50) -> float | None:
    """Of the captured step alone, without the host's part; it moves the network on."""
    graph = next((c.graph for c in trainer._steps._captured.values() if c.graph), None)
    if graph is None:
        return None
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / count / 1000


def run(name: str, record: dict[str, Any], save: Callable[[], None], seconds: float) -> None:
    """One variant of the campaign, into ``record["helmholtz"]``, which ``save`` writes after every
    evaluation. ``seconds``: left to the campaign. In the environment ``HELMHOLTZ_STEPS``: fewer
    steps."""
    kept = record.setdefault("helmholtz", {})
    steps = int(os.environ.get("HELMHOLTZ_STEPS", Size.steps))

    def look(found: dict[str, Any]) -> None:
        kept[name] = found
        save()

    torch.cuda.reset_peak_memory_stats()
    try:
        kept[name] = train(name, Size(steps=steps, seconds=max(1.0, seconds - 10)), "cuda", look)
        print(table({name: kept[name]}), flush=True)
    finally:
        save()
        torch.cuda.empty_cache()


# ---- what is shown -------------------------------------------------------------------------------


def table(runs: dict[str, Any]) -> str:
    """Markdown: all runs, and their seconds a step beside the soft ones'."""
    lines = [
        "| variant | relative L2 | largest error | on the walls | steps | seconds | ms a step "
        "(median) | replay alone, ms | of soft TF32 | of soft float32 | ended by |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in runs.items():
        label, replay = VARIANTS[name].label, found.get("seconds of a replay")
        if not found["curve"]:
            lines.append(f"| {label} |" + " |" * 9 + f" {found['ended']} |")
            continue
        last, each = found["curve"][-1], found["seconds a step"]
        cells = [label]
        cells += [f"{last[key]:.2g}" for key in ("relative_l2", "largest error", "boundary error")]
        cells += [str(last["step"]), f"{found['seconds']:.1f}", f"{1e3 * each:.3f}"]
        cells.append(f"{1e3 * replay:.3f}" if replay else "")
        for base in ("soft", "soft-float32"):
            there = runs.get(base, {}).get("seconds a step")
            cells.append(f"{each / there:.2f}" if there else "")
        lines.append("| " + " | ".join([*cells, found["ended"]]) + " |")
    return "\n".join(lines)


def plot(record: dict[str, Any], path: Path | str) -> None:
    """The curves of ``record["helmholtz"]``: error over steps and seconds, walls, NTK's weights;
    dotted: the source's errors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = {name: run for name, run in record["helmholtz"].items() if run["curve"]}
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    ((by_step, by_second), (walls, weights)) = figure.subplots(2, 2)
    for k, (name, variant) in enumerate(VARIANTS.items()):
        if name not in runs:
            continue
        style = {"color": f"C{k}", "linestyle": "--" if "float" in name else "-", "lw": 1.4}
        step, second, error, wall = (
            [row[key] for row in runs[name]["curve"]]
            for key in ("step", "seconds", "relative_l2", "boundary error")
        )
        by_step.plot(step, error, label=variant.label, **style)
        by_second.plot(second, error, **style)
        if max(wall) > 0:
            walls.plot(step, wall, **style)
        if "error" in PEER.get(name, {}):
            by_step.axhline(PEER[name]["error"], color=f"C{k}", linestyle=":", lw=1)
    if "ntk" in runs:
        curve = runs["ntk"]["curve"]
        for color, row in (("black", "interior"), ("gray", "walls")):
            values = [one["weights"][row] for one in curve]
            weights.plot([one["step"] for one in curve], values, color=color, label=row)
        weights.legend(fontsize=8)
    for axes, title, label in (
        (by_step, "relative L2 error of u (dotted: the source's)", "steps"),
        (by_second, "relative L2 error of u", "seconds of training"),
        (walls, "largest |u| on the walls (hard ones: 0)", "steps"),
        (weights, "NTK weights of the losses", "steps"),
    ):
        axes.set(title=title, xlabel=label, yscale="log")
        axes.grid(alpha=0.3, which="both", lw=0.5)
    by_step.legend(fontsize=8)
    size = next(iter(runs.values()))["size"] if runs else asdict(Size())
    what = f"Helmholtz, {size['depth']} x {size['width']}, {size['points']} points a step"
    figure.suptitle(f"{what}  {record.get('facts', {}).get('gpu') or ''}")
    figure.savefig(path, dpi=110)


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print("usage: benchmarks.gpu.helmholtz_full campaign.json [picture.png]", file=sys.stderr)
        return 2
    record = json.loads(Path(sys.argv[1]).read_text())
    print(table(record["helmholtz"]))
    if len(sys.argv) == 3:
        plot(record, sys.argv[2])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
