"""Whole training steps on a GPU: called from Python, and as one CUDA graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks import step
from benchmarks.gpu.timing import Call, compare_on_gpu
from benchmarks.harness import Comparison

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
        from colloc.ops import mlp_jet

        before = getattr(mlp_jet, "FUSED", False)
        mlp_jet.FUSED = False  # type: ignore[attr-defined]
        try:
            self.call()
        finally:
            mlp_jet.FUSED = before  # type: ignore[attr-defined]


def contenders(name: str, points: int, labels: tuple[str, ...]) -> tuple[dict[str, Call], Any]:
    """Checked and warmed up; the errors in float32 against nested autograd in float64."""
    case = replace(step.CASES[name], points=points)
    full = step.Contenders(case, torch.float32, "cuda")
    exact = step.Contenders(case, torch.float64, "cuda").make(step.EAGER)
    ready: dict[str, Call] = {}
    errors: dict[str, Any] = {}
    for label in labels:
        base = step.OURS if label in (LAYERS, TF32) else label
        try:
            made = full.make(base)
            call: Call = made
            if label == LAYERS:
                call = Layers(made)
                with_gradients = Layers(lambda made=made: made.gradients())
            elif label == TF32:
                call = Precision(made, "high")
                with_gradients = Precision(lambda made=made: made.gradients(), "high")
            else:
                with_gradients = made.gradients
            with_gradients()
            errors[label] = error_of(made, exact)
            call()
            call()
            ready[label] = call
        except Exception as error:  # a contender that does not compile is recorded as such
            if base == step.OURS:
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
    labels = [step.OURS, LAYERS, TF32, step.EAGER, step.TAYLOR]
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


os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "8")
