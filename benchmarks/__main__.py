"""``python -m benchmarks [NAME ...]``: run benchmarks, print tables, keep JSON and Markdown."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.harness import FEWEST_ROUNDS, save, table

NAMES = {
    "halton": "benchmarks.ops.halton",
    "adaptive_activation": "benchmarks.ops.adaptive_activation",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--rounds", type=int, default=21, help=f"at least {FEWEST_ROUNDS}")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/local"), help="folder of results"
    )
    parser.add_argument("--check", action="store_true", help="fail where a bar is not met")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"NAME: expected some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    if arguments.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds: expected at least {FEWEST_ROUNDS}, got {arguments.rounds}")
    missed = []
    for name in arguments.names or NAMES:
        module = importlib.import_module(NAMES[name])
        comparisons = module.run(rounds=arguments.rounds, device=arguments.device)
        for comparison in comparisons:
            print(table(comparison), end="\n\n", flush=True)
            missed += [
                f"{comparison.name} against {ratio.other}: {ratio.median:.2f}x, bar {ratio.bar:g}x"
                for ratio in comparison.ratios
                if ratio.met is False
            ]
        print(f"saved {save(arguments.output, name, comparisons)}\n", flush=True)
    for line in missed:
        print(f"bar not met: {line}")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
