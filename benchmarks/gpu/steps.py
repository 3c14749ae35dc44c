"""Whole training steps on a GPU: called from Python, and as one CUDA graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import colloc as cc
import torch
from colloc.ops import _mlp_jet_fused as fused

from benchmarks import step
from benchmarks.gpu.ceilings import seconds
from benchmarks.gpu.timing import Call, compare_on_gpu
from benchmarks.harness import Comparison, compare

#: (case of benchmarks.step, points) -> goals against nested autograd.
STEPS: dict[tuple[str, int], float | None] = {
    ("helmholtz-2d-64", 2000): 10.0,
    ("helmholtz-2d-64", 100_000): None,
    ("helmholtz-2d-128", 2000): None,
    ("helmholtz-2d-128", 100_000): None,
    ("navier-stokes-2d-128", 20_000): None,
    ("helmholtz-2d-512", 2000): 3.0,
    ("helmholtz-2d-512", 20_000): None,
}
LAYERS = "colloc, layer by layer"
TF32 = "colloc, TF32"
LAYERS_TF32 = "colloc, layer by layer, TF32"


class Precision:
    """A step with torch's matrix products in another precision."""

    def __init__(self, call: Call, precision: str) -> None:
        self.call, self.precision = call, precision

    def __call__(self) -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)
        try:
            self.call()
        finally:
            torch.set_float32_matmul_precision(before)


class Layers:
    """A step with the path layer by layer, where there is a fused one."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __call__(self) -> None:
        before, fused.enabled = fused.enabled, False
        try:
            self.call()
        finally:
            fused.enabled = before


#: What our contenders do around a step.
OURS: dict[str, Callable[[Call], Call]] = {
    step.OURS: lambda call: call,
    LAYERS: Layers,
    TF32: lambda call: Precision(call, "high"),
    LAYERS_TF32: lambda call: Layers(Precision(call, "high")),
}


def contenders(name: str, points: int, labels: tuple[str, ...]) -> tuple[dict[str, Call], Any]:
    """Checked and warmed up; the errors in float32 against nested autograd in float64."""
    case = replace(step.CASES[name], points=points)
    full = step.Contenders(case, torch.float32, "cuda")
    exact = step.Contenders(case, torch.float64, "cuda").make(step.EAGER)
    ready: dict[str, Call] = {}
    errors: dict[str, Any] = {}
    for label in labels:
        around = OURS.get(label)
        try:
            made = full.make(label if around is None else step.OURS)
            call: Call = made if around is None else around(made)
            gradients = made.gradients if around is None else around(made.gradients)
            gradients()
            errors[label] = error_of(made, exact)
            call()
            call()
            ready[label] = call
        except Exception as error:  # a contender that does not compile is recorded as such
            if around is not None:
                raise
            errors[label] = f"{type(error).__name__}: {str(error)[:200]}"
    return ready, errors


def error_of(made: step.Step, exact: step.Step) -> float:
    """The largest error of a parameter's gradient that ``made`` has left, by norms."""
    exact.gradients()
    worst = 0.0
    norms = [p.grad.norm().item() for p in exact.parameters]
    for mine, theirs, norm in zip(made.parameters, exact.parameters, norms, strict=True):
        difference = (mine.grad.double() - theirs.grad).norm().item()
        worst = max(worst, difference / max(norm, 1e-3 * max(norms)))
    return worst


def run(rounds: int, names: list[str] | None = None, compiled: bool = True) -> Iterator[Comparison]:
    """The comparisons of cases ``name@points``."""
    labels = [*OURS, step.EAGER, step.TAYLOR]
    if compiled:
        labels += [step.COMPILED, step.COMPILED_TAYLOR]
    for (name, points), bar in STEPS.items():
        if names and f"{name}@{points}" not in names:
            continue
        with step.compiler(torch.get_num_threads()):
            ready, errors = contenders(name, points, tuple(labels))
            case = replace(step.CASES[name], points=points)
            yield from compare_on_gpu(
                f"step {name}@{points}",
                case.work,
                ready,
                bars={step.EAGER: bar} if bar else None,
                rounds=rounds,
                notes={"error of gradients": errors},
            )
        torch.cuda.empty_cache()


def million(points: int = 1_000_000) -> dict[str, dict[str, float]]:
    """Our step on many points: seconds and bytes of GPU memory at most."""
    found = {}
    for name in ("helmholtz-2d-64", "helmholtz-2d-128", "helmholtz-2d-512"):
        case = replace(step.CASES[name], points=points)
        made = step.Contenders(case, torch.float32, "cuda").make(step.OURS)
        made()
        torch.cuda.reset_peak_memory_stats()
        took = seconds(made, 5)
        found[f"{name}@{points}"] = {
            "seconds": took,
            "memory": float(torch.cuda.max_memory_allocated()),
        }
        del made
        torch.cuda.empty_cache()
    return found


def run_trainer(rounds: int) -> Iterator[Comparison]:
    """Complete steps of a trainer: new Halton points, two terms, ReLoBRaLo, Adam."""

    def steps(graph: bool) -> Call:
        torch.manual_seed(0)
        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        net = cc.nn.MLP(2, 1, 64, 6, "silu", device="cuda")
        samplers = {
            "interior": cc.sampling.Halton(square, 2000, device="cuda"),
            "walls": cc.sampling.Halton(square.boundary, 500, device="cuda"),
        }
        terms = [
            cc.Term("interior", net, samplers["interior"](0), cc.pde.helmholtz(1.0, step._source)),
            cc.Term("walls", net, samplers["walls"](0), lambda u, x: u.value, order=0),
        ]
        trainer = cc.training.Trainer(
            terms,
            net,
            torch.optim.Adam(net.parameters(), 1e-3, fused=True, capturable=True),
            samplers,
            cc.balancing.ReLoBRaLo(["interior", "walls"]),
            steps=10**9,
            log_every=10**6,
            save_every=10**6,
            graph=graph,
            progress=False,
        )
        state = iter(trainer)
        for _ in range(10):
            next(state)
        return lambda: next(state)

    yield compare(
        "trainer, 6 x 64, N = 2000 + 500",
        "new Halton points, two terms, ReLoBRaLo, Adam: complete steps as they are called",
        {"Trainer(graph=True)": steps(True), "Trainer": steps(False)},
        rounds=rounds,
        device="cuda",
    )


os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "8")
