"""What the commands ``colloc plot``, ``compare`` and ``evaluate`` do; what they need is imported
when they run."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    plot = commands.add_parser("plot", help="curves of a run: losses, weights, errors")
    plot.add_argument("run", help="a trainer's output folder")
    plot.add_argument("--output", help="the picture (.png, .pdf, .svg); default: RUN/curves.png")
    compare = commands.add_parser("compare", help="curves of several runs, and a table")
    compare.add_argument("runs", nargs="+", metavar="run", help="trainers' output folders")
    compare.add_argument("--output", default="compare.png", help="default: compare.png")
    for one in (plot, compare):
        one.add_argument("--by", choices=("step", "seconds"), default="step", help="the abscissa")
        one.add_argument("--title", help="a line above the picture")
    evaluate = commands.add_parser("evaluate", help="values of an exported field at points")
    evaluate.add_argument("file", help="an exported field (.pt2, .onnx)")
    evaluate.add_argument("--points", required=True, help=".csv or .npy, a row for each point")
    evaluate.add_argument("--output", required=True, help=".csv, .npy or .vtu")
    evaluate.add_argument("--names", help="of the values, u,v,p; default: u, or u0,u1,...")
    evaluate.add_argument("--chunk", type=int, default=65536, help="points at a time")


def run(arguments: argparse.Namespace) -> int:
    """Carry out a command: 0, or 2 after an error, which is one line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _warn
        try:
            {"plot": _plot, "compare": _compare, "evaluate": _evaluate}[arguments.command](
                arguments
            )
        except (OSError, ValueError, TypeError, ImportError, OverflowError) as error:
            print(f"colloc {arguments.command}: {error}", file=sys.stderr)
            return 2
    return 0


def _warn(message: Warning | str, *rest: Any, **more: Any) -> None:
    print(f"WARNING: {message}", file=sys.stderr)


def _plot(arguments: argparse.Namespace) -> None:
    from colloc.training.curves import plot_run, read_run

    found = read_run(arguments.run)
    folder = Path(arguments.run)
    folder = folder if folder.is_dir() else folder.parent
    output = arguments.output or folder / "curves.png"
    plot_run(output, found, by=arguments.by, title=arguments.title)
    print(output)


def _compare(arguments: argparse.Namespace) -> None:
    from colloc.training.curves import compare_runs, read_run, table

    runs = [read_run(path) for path in arguments.runs]
    print(table(runs))
    compare_runs(arguments.output, runs, by=arguments.by, title=arguments.title)
    print(arguments.output)


def _evaluate(arguments: argparse.Namespace) -> None:
    from colloc.training.evaluate import evaluate_file

    names = None if arguments.names is None else arguments.names.split(",")
    count, _ = evaluate_file(
        arguments.file, arguments.points, arguments.output, chunk=arguments.chunk, names=names
    )
    print(f"{arguments.output}: values at {count} points")
