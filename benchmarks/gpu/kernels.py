"""``python -m benchmarks.gpu.kernels``: microseconds of each of our kernels, by torch's profiler.

Of a training step at 100,000 and 2000 points, and of importance sampling with 1e7 rows and draws;
docs/performance.md quotes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import step
from benchmarks.ops import importance

CALLS = 5


def kernels(call: Callable[[], object]) -> dict[str, tuple[float, int]]:
    """For the body of each kernel: microseconds of a launch, and launches a call."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()
    ours: dict[str, tuple[float, int]] = {}
    for event in found.key_averages():
        body = re.search(r"colloc::(\w+Body)", event.key)
        if body is not None:
            before, launches = ours.get(body[1], (0.0, 0))
            ours[body[1]] = before + event.self_device_time_total, launches + event.count
    return {name: (total / count, count // CALLS) for name, (total, count) in ours.items()}


def show(name: str, call: Callable[[], object]) -> None:
    """One line."""
    parts = [f"{body} {each:.1f} x {count}" for body, (each, count) in kernels(call).items()]
    print(f"{name}: {', '.join(parts)}", flush=True)


def main() -> int:
    if not torch.cuda.is_available():
        print("kernels: torch sees no NVIDIA GPU here; see `colloc info`")
        return 2
    for name in ("helmholtz-2d-64", "helmholtz-2d-128", "navier-stokes-2d-128"):
        for points in (2000, 100_000):
            case = replace(step.CASES[name], points=points)
            made = step.Contenders(case, torch.float32, "cuda").make(step.OURS)
            show(f"{name}@{points}", made)
    n = 10_000_000
    rows = torch.randn(n, 4, device="cuda")
    area = 0.1 + torch.rand(n, 1, device="cuda")
    for scheme in ("stratified", "multinomial"):
        show(f"importance, {scheme}", lambda scheme=scheme: importance.ours(rows, area, n, scheme))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
