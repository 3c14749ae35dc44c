"""What helmholtz.py writes, and how it treats what is in its folder already."""

from __future__ import annotations

import itertools
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


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier run has left in the folder to ``earlier-1``, ``earlier-2`` or so on: a
    trainer refuses it. By the first process; where to, or None.

    Raises:
        ValueError: a run still uses the folder.
        OSError: it cannot be moved.
    """
    processes = training.Processes()
    moved: Path | None = None
    problem: Exception | None = None
    try:
        if processes.first and _has_run(folder):
            with FolderLock(folder / "checkpoints" / "run.lock", folder):
                if _has_run(folder):  # nobody else was faster
                    numbers = (folder / f"{EARLIER}-{k}" for k in itertools.count(1))
                    moved = next(path for path in numbers if not path.exists())
                    moved.mkdir()
                    _move(folder, moved)
    except (OSError, ValueError) as error:
        problem = error
    moved, problem = processes.from_first((moved, problem))  # nobody looks at it before that
    if problem is not None:
        raise problem
    return moved


def put_back(folder: Path, moved: Path | None) -> None:
    """Leave the folder as it was before a run that has no results; ``moved``: what
    :func:`set_aside` has returned."""
    for name in TRAINERS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if moved is not None:
        _move(moved, folder)
        moved.rmdir()


def check_resumable(folder: Path) -> None:
    """A run to go on from that was set aside is not to be overlooked.

    Raises:
        ValueError: the folder has no run, but earlier ones.
    """
    earlier = sorted(path.name for path in folder.glob(f"{EARLIER}-*") if _has_run(path))
    if earlier and not _has_run(folder):
        raise ValueError(
            f"resume: expected checkpoints in {folder}, got none, but those of earlier runs in "
            f"{', '.join(earlier)}. Move what is in one of them back to {folder}."
        )


def _has_run(folder: Path) -> bool:
    metrics = folder / "metrics.jsonl"
    there = any((folder / "checkpoints").glob("step-*.pt"))
    return there or (metrics.is_file() and metrics.stat().st_size > 0)


def _move(source: Path, target: Path) -> None:
    for name in TRAINERS:
        if (source / name).exists():
            (source / name).rename(target / name)


def forget_after(folder: Path, step: int) -> None:
    """Drop what a trainer has kept of steps after the last good one."""
    kept = training.RunFolder(folder)
    for at, path in kept.checkpoints():
        if at > step:
            path.unlink()
    kept.forget_after(step)
