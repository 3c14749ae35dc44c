"""The Helmholtz example's variants after equal wall time: which error is left.

    python -m benchmarks.helmholtz [--seconds 30] [--seeds 3] [--threads 1] [--output FOLDER]

Every variant trains for the same seconds from every seed, with the example's own settings; for each
seed the order is drawn anew, so that a slow phase of a shared machine hits all alike. The baseline
is the example as it is without options: soft walls, second-order form, Adam. Since the hard
variants end with L-BFGS, soft walls that do so too are there as well; each of its iterations counts
as a step here.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import facts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from helmholtz import ITERATIONS, Config, Training

BASELINE = "soft, second-order"
WITH_LBFGS = "soft, second-order, L-BFGS"
VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    WITH_LBFGS: {"adam": 0.5},
    "hard, second-order": {"boundary": "hard"},
    "hard, first-order": {"boundary": "hard", "form": "first"},
}
BAR = 5.0


def train(name: str, seed: int, seconds: float) -> dict[str, Any]:
    """One run, and what is left of the error."""
    run = Training(
        Config(seconds=seconds, steps=1_000_000, seed=seed, device="cpu", **VARIANTS[name])
    )
    before = time.process_time()
    run.run()
    spent = time.process_time() - before
    if run.interrupted:
        raise KeyboardInterrupt
    keys = ("relative_l2", "max_error", "boundary_error", "seconds", "problem", "config")
    metrics = run.metrics()
    state = run.trainer.state
    by_lbfgs = max(0, run.steps - state.stage_start) if state.stage == 1 else 0
    found = {"variant": name, "seed": seed, "cpu": spent}
    found["steps"] = run.steps + (ITERATIONS - 1) * by_lbfgs
    return found | {key: metrics[key] for key in keys}


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: medians over the seeds, and how many times smaller than the baselines' they are."""
    of = {name: [run for run in runs if run["variant"] == name] for name in VARIANTS}
    medians = {
        name: statistics.median(run["relative_l2"] for run in found) for name, found in of.items()
    }
    lines = [
        "| variant | relative L2 error, seed by seed | median | soft / this | soft with L-BFGS / "
        "this | largest error on the walls | steps | CPU time a step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in of.items():
        ratios = [f"{medians[base] / medians[name]:.1f}x" for base in (BASELINE, WITH_LBFGS)]
        if name.startswith("hard"):
            met = medians[BASELINE] >= BAR * medians[name]
            ratios[0] += f" (bar {BAR:g}x: {'met' if met else 'NOT met'})"
        cells = [
            name,
            ", ".join(f"{run['relative_l2']:.2g}" for run in found),
            f"{medians[name]:.2g}",
            *ratios,
            f"{max(run['boundary_error'] for run in found):.2g}",
            f"{statistics.median(run['steps'] for run in found):.0f}",
            f"{1e3 * statistics.median(run['cpu'] / run['steps'] for run in found):.0f} ms",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.helmholtz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=3, help="0 to this one less")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/local"), help="folder of results"
    )
    arguments = parser.parse_args()
    for name in ("seconds", "seeds", "threads"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: expected more than 0, got {getattr(arguments, name)}")
    torch.set_num_threads(arguments.threads)
    train(BASELINE, 0, 1.0)  # the library loads, caches fill
    runs: list[dict[str, Any]] = []
    shuffle = random.Random(0)
    for seed in range(arguments.seeds):
        order = list(VARIANTS)
        shuffle.shuffle(order)
        for name in order:
            runs.append(train(name, seed, arguments.seconds))
            found = runs[-1]
            print(
                f"seed {seed}, {name}: {found['relative_l2']:.2g} after {found['steps']} steps, "
                f"{found['seconds']:.0f} s, {found['cpu']:.0f} s of CPU",
                flush=True,
            )
    made = table(runs)
    print(f"\n{made}\n")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "helmholtz.json"
    record = {
        "facts": facts(),
        "seconds": arguments.seconds,
        "threads": arguments.threads,
        "runs": runs,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    said = ", ".join(f"{key} {value}" for key, value in record["facts"].items() if value)
    title = f"## helmholtz\n{said}\n\n{arguments.seconds:g} s, {arguments.threads} thread(s) each"
    path.with_suffix(".md").write_text(f"{title}\n\n{made}\n")
    print(f"saved {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
