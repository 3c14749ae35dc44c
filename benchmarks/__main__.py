"""``python -m benchmarks [NAME ...]``: run benchmarks, print tables, keep JSON and Markdown.

``NAME:PART`` runs a part of a benchmark that has parts, e.g. ``step:helmholtz-2d-128``.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from benchmarks.harness import FEWEST_ROUNDS, Comparison, save, table

NAMES = {
    "halton": "benchmarks.ops.halton",
    "importance": "benchmarks.ops.importance",
    "sampling": "benchmarks.sampling",
    "adaptive_activation": "benchmarks.ops.adaptive_activation",
    "balancing": "benchmarks.balancing",
    "distance": "benchmarks.ops.distance",
    "signed_distance": "benchmarks.ops.signed_distance",
    "ntk": "benchmarks.ops.ntk",
    "mixed_precision": "benchmarks.mixed_precision",
    "new_points": "benchmarks.new_points",
    "step": "benchmarks.step",
}


def notes(comparisons: list[Comparison]) -> str:
    """The notes that are text, each once (Markdown)."""
    found = [
        f"- {key}: {text}"
        for comparison in comparisons
        for key, text in comparison.notes.items()
        if isinstance(text, str)
    ]
    return "\n".join(dict.fromkeys(found))


def _options(name: str, arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Any:
    """The benchmark's module, what its run() takes, and the name of its record."""
    base, _, part = name.partition(":")
    if base not in NAMES:
        parser.error(f"NAME: expected some of {', '.join(NAMES)}, got {name}")
    module = importlib.import_module(NAMES[base])
    parts = getattr(module, "PARTS", ())
    options = {"rounds": arguments.rounds, "device": arguments.device}
    if part and part not in parts:
        known = ", ".join(f"{base}:{known}" for known in parts) or f"{base} without parts"
        parser.error(f"NAME: expected some of {known}, got {name}")
    if part:
        options["parts"] = [part]
    if parts and arguments.threads is not None:
        options["threads"] = arguments.threads
    return module, options, name.replace(":", "-")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME[:PART]", help=f"of {', '.join(NAMES)}; all"
    )
    parser.add_argument("--rounds", type=int, default=21, help=f"at least {FEWEST_ROUNDS}")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the step benchmark (2)")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/local"), help="folder of results"
    )
    parser.add_argument("--check", action="store_true", help="fail where a bar is not met")
    arguments = parser.parse_args()
    if arguments.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds: expected at least {FEWEST_ROUNDS}, got {arguments.rounds}")
    if arguments.threads is not None and arguments.threads < 1:
        parser.error(f"--threads: expected at least 1, got {arguments.threads}")
    chosen = [_options(name, arguments, parser) for name in arguments.names or NAMES]
    missed = []
    for module, options, name in chosen:
        comparisons: list[Comparison] = []
        path = None
        for comparison in module.run(**options):
            comparisons.append(comparison)
            print(table(comparison), end="\n\n", flush=True)
            missed += [
                f"{comparison.name} against {ratio.other}: {ratio.median:.2f}x, bar {ratio.bar:g}x"
                for ratio in comparison.ratios
                if ratio.met is False
            ]
            missed += comparison.notes.get("missed", [])
            path = save(arguments.output, name, comparisons)  # so far: the next may take long
        said = notes(comparisons)
        if path and said:
            print(said, end="\n\n")
            with path.with_suffix(".md").open("a") as file:
                file.write(f"\n{said}\n")
        print(f"saved {path}\n", flush=True)
    for line in missed:
        print(f"bar not met: {line}")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
