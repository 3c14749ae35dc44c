"""What helmholtz.py writes, and how it treats what is in its folder already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colloc import training
from colloc.training.folder_lock import FolderLock

if TYPE_CHECKING:
    from helmholtz import Training

EARLIER = "earlier"
TRAINERS = ("checkpoints", "metrics.jsonl", "tensorboard")  # what a trainer has in its folder


def write_results(run: Training, folder: Path) -> dict[str, Any]:
    """All results, every file whole or not there; the metrics last."""
    metrics, config = run.metrics(), run.config
    shape = (len(run.axes[0]), len(run.axes[1]))
    found, truth = run.prediction().reshape(shape), run.exact.reshape(shape)
    training.write_grid(
        folder / "solution.vtu",
        run.axes,
        {"exact": truth, "network": found, "error": found - truth},
    )
    training.plot_solution(
        folder / "solution.png",
        run.axes,
        truth,
        found,
        title=f"Helmholtz, {config.boundary} walls, {config.form}-order form, "
        f"{metrics['steps']} steps, {metrics['seconds']:.0f} s: "
        f"relative L2 error {metrics['relative_l2']:.3g}",
    )
    curves = training.read_run(folder)
    training.plot_history(
        folder / "loss.png",
        curves.step,
        {"total, weighted": curves.loss} | curves.losses,
        errors={"relative L2": curves.errors["relative_l2"]} if curves.errors else {},
        weights=curves.weights if config.balancer != "sum" else {},  # those do not move
    )
    training.write_text(
        folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    )
    return metrics


def summary(metrics: dict[str, Any]) -> str:
    """The metrics in a sentence."""
    return (
        f"relative L2 error {metrics['relative_l2']:.4f}, largest error "
        f"{metrics['max_error']:.4f}, on the walls {metrics['boundary_error']:.2g}; "
        f"{metrics['steps']} steps in {metrics['seconds']:.1f} s"
    )


def set_aside(folder: Path) -> bool:
    """Move what a trainer has left in the folder to ``earlier``: another one would refuse it.

    The first process does. Whether there was something.

    Raises:
        ValueError: a run still uses the folder.
    """
    processes = training.Processes()
    there = [name for name in TRAINERS if (folder / name).exists()] if processes.first else []
    if there:
        with FolderLock(folder / "checkpoints" / "run.lock", folder):
            earlier = folder / EARLIER
            if earlier.exists():
                shutil.rmtree(earlier)
            earlier.mkdir()
            for name in there:
                (folder / name).rename(earlier / name)
    return bool(processes.from_first(bool(there)))  # nobody looks at the folder before that


def put_back(folder: Path, moved: bool) -> None:
    """Leave the folder as it was before a run that has no results; ``moved``: what
    :func:`set_aside` has returned."""
    for name in TRAINERS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if moved and (folder / EARLIER / name).exists():
            (folder / EARLIER / name).rename(path)
    if moved:
        (folder / EARLIER).rmdir()


def forget_after(folder: Path, step: int) -> None:
    """Drop what a trainer has kept of steps after the last good one."""
    kept = training.RunFolder(folder)
    for at, path in kept.checkpoints():
        if at > step:
            path.unlink()
    kept.forget_after(step)
