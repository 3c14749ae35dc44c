"""What the examples share: the command from its options to its exit code, and facts of a run."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import colloc as cc
import numpy as np
import torch
from colloc import training


class Run(Protocol):
    """A training run, as the examples write it."""

    where: dict[str, Any]  # device and dtype
    history: list[dict[str, float]]  # what was measured on the way
    failure: str | None  # why it stopped early
    interrupted: bool  # by Ctrl-C

    def run(self, progress: training.Progress | None = None) -> None:
        """Train."""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all results; the metrics."""

    def summary(self, metrics: dict[str, Any]) -> str:
        """The metrics in a sentence."""


def command(
    name: str,
    config: type,
    make: Callable[[Any], Run],
    extras: Mapping[str, str],
    advice: str = "",
) -> int:
    """Options to ``config``, training, results. The exit code: 0; 1 where training failed or
    results could not be written; 2 for wrong options; 130 after Ctrl-C.

    Args:
        name: of the example, in its messages.
        config: the class of its options, with a field ``output``.
        make: from options to the run.
        extras: modules that it needs besides, and for what.
        advice: what to try where training failed.
    """
    try:
        for module, purpose in extras.items():
            training.require(module, purpose)
        import tyro

        options = tyro.cli(config)
        folder = training.output_folder(options.output, space=20_000_000)
        run = make(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    print(
        f"training on {run.where['device']}, {torch.get_num_threads()} threads; results: {folder}",
        flush=True,
    )
    with training.Progress() as progress:
        run.run(progress)
    failure = f"{name}: stopped because {run.failure}"
    if not run.history:
        print(f"{failure}; there is nothing to write. {advice}".rstrip(), file=sys.stderr)
        return 1
    try:
        metrics = run.write(folder)
    except OSError as error:
        print(f"{name}: could not write all results to {folder}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: aborted; {folder} may lack results of this run", file=sys.stderr)
        return 130
    print(f"{run.summary(metrics)}; results are in {folder}")
    if run.failure is not None:
        kept = f"{failure}; the results are the last good network's. {advice}"
        print(kept.rstrip(), file=sys.stderr)
        return 1
    return 130 if run.interrupted else 0


def pick_device(device: str) -> str:
    """ "auto" as the device that it stands for."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Refuse "cuda" where torch sees no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device: expected one that torch can use, got cuda, and torch sees no GPU here. "
            "Use --device cpu."
        )


def facts(config: Any, where: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's figures depend on: machine, versions, options."""
    device = where["device"]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "colloc": cc.__version__,
        },
        "config": {
            **asdict(config),
            "output": str(config.output),
            # JSON has no infinity.
            "seconds": None if math.isinf(config.seconds) else config.seconds,
        },
    }
