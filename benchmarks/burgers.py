"""Burgers' equation on points of several kinds: which error is left after equal iterations.

    python -m benchmarks.burgers [--seeds 3] [--threads 1] [--output FOLDER]

Settings are those of examples/burgers.py without options, the same for every scheme and seed; only
``--sampling`` differs. A seed gives all schemes the same network at the start. For each seed the
order is drawn anew. Beside the errors stand those of Wu et al., Computer Methods in Applied
Mechanics and Engineering 403 (2023) 115671, whose runs were longer, RAD's much longer (see
examples/burgers.py). "Reproduced" is a median within a factor of 3 of the published figure, and an
order of two schemes if their medians have it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import facts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from burgers import Config, Training

#: Published relative L2 errors, from the worst to the best; the first is the baseline.
PUBLISHED: dict[str, float] = {"uniform": 0.133, "halton": 0.0451, "rad": 0.0002}
FACTOR = 3.0
#: Settings of every run. They were chosen before any schemes were compared.
SETTINGS: dict[str, Any] = {
    "iterations": 5000,
    "adam": 0.5,
    "learning_rate": 1e-3,
    "history": 100,
    "points": 2000,
    "pool": 100_000,
    "refresh_every": 200,
    "width": 64,
    "depth": 3,
    "dtype": "float64",
    "device": "cpu",
}


def train(sampling: str, seed: int, **options: Any) -> dict[str, Any]:
    """One run, and what is left of the error."""
    run = Training(Config(sampling=sampling, seed=seed, **{**SETTINGS, **options}))
    before = time.process_time()
    run.run()
    spent = time.process_time() - before
    if run.interrupted:
        raise KeyboardInterrupt
    metrics = run.metrics()
    keys = (
        "relative_l2",
        "max_error",
        "residual_rms",
        "points",
        "seconds",
        "iterations",
        "problem",
    )
    found = {key: metrics[key] for key in (*keys, "config")}
    errors = [(row["iteration"], row["relative_l2"]) for row in run.history]
    return {"sampling": sampling, "seed": seed, "cpu": spent, **found, "errors": errors}


def by_scheme(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each scheme that has any, in the order of their seeds."""
    found = {
        name: sorted((r for r in runs if r["sampling"] == name), key=lambda r: r["seed"])
        for name in PUBLISHED
    }
    return {name: group for name, group in found.items() if group}


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The median error of each scheme."""
    return {
        name: statistics.median(run["relative_l2"] for run in group)
        for name, group in by_scheme(runs).items()
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: errors, their medians, and what was published."""
    middle = medians(runs)
    lines = [
        "| points | relative L2 error, seed by seed | median | baseline / this | published | "
        "size | wall time, CPU time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, group in by_scheme(runs).items():
        ratio = middle[name] / PUBLISHED[name]
        times = f"{ratio:.2g}x" if ratio >= 1 else f"1/{1 / ratio:.2g}"
        near = 1 / FACTOR <= ratio <= FACTOR
        failed = [str(run["seed"]) for run in group if run["problem"]]
        cells = [
            name + (f" (stopped early: seed {', '.join(failed)})" if failed else ""),
            ", ".join(f"{100 * run['relative_l2']:.3g} %" for run in group),
            f"{100 * middle[name]:.3g} %",
            f"{middle['uniform'] / middle[name]:.3g}x" if "uniform" in middle else "",
            f"{100 * PUBLISHED[name]:.3g} %",
            f"{times} of it: {'reproduced' if near else 'not reproduced'}",
            f"{statistics.median(run['seconds'] for run in group):.0f} s, "
            f"{statistics.median(run['cpu'] for run in group):.0f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def orders(runs: list[dict[str, Any]]) -> list[str]:
    """For each two schemes a line: whether the published order of their errors came out."""
    groups, middle = by_scheme(runs), medians(runs)
    said = []
    for worse, better in combinations(groups, 2):
        pairs = list(zip(groups[worse], groups[better], strict=False))
        count = sum(a["relative_l2"] > b["relative_l2"] for a, b in pairs)
        verdict = "reproduced" if middle[worse] > middle[better] else "not reproduced"
        said.append(
            f"- {better} has a smaller error than {worse}: {verdict} by the medians "
            f"({count} of {len(pairs)} seeds)"
        )
    return said


def save(folder: Path, runs: list[dict[str, Any]], threads: int, settings: dict[str, Any]) -> Path:
    """Write burgers.json (everything) and burgers.md (the table); the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "burgers.json"
    record = {
        "facts": facts(),
        "threads": threads,
        "settings": settings,
        "published": PUBLISHED,
        "runs": runs,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    said = ", ".join(f"{key} {value}" for key, value in record["facts"].items() if value)
    title = f"## burgers\n{said}\n\n{settings['iterations']} iterations, {threads} thread(s) each"
    path.with_suffix(".md").write_text(
        "\n\n".join([title, table(runs), "\n".join(orders(runs))]) + "\n"
    )
    return path


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.burgers", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="0 to this one less")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--sampling", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED), help="which"
    )
    parser.add_argument(
        "--iterations", type=int, default=SETTINGS["iterations"], help="fewer for a trial"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/local"), help="folder of results"
    )
    arguments = parser.parse_args()
    for name in ("seeds", "threads", "iterations"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name}: expected at least 1, got {getattr(arguments, name)}")
    torch.set_num_threads(arguments.threads)
    settings = {**SETTINGS, "iterations": arguments.iterations}
    runs: list[dict[str, Any]] = []
    shuffle = random.Random(0)
    for seed in range(arguments.seeds):
        order = [name for name in PUBLISHED if name in arguments.sampling]
        shuffle.shuffle(order)
        for name in order:
            runs.append(train(name, seed, iterations=arguments.iterations))
            found = runs[-1]
            print(
                f"seed {seed}, {name}: {100 * found['relative_l2']:.3g} % after "
                f"{found['iterations']} iterations, {found['seconds']:.0f} s, "
                f"{found['cpu']:.0f} s of CPU",
                flush=True,
            )
            path = save(arguments.output, runs, arguments.threads, settings)  # so far
    print("\n" + table(runs) + "\n")
    print("\n".join(orders(runs)) + "\n")
    print(f"saved {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
