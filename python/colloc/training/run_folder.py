"""The folder of a run: checkpoints of which the last few are kept, and a line of metrics a look."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colloc._checks import check_int
from colloc.training.atomic import output_folder, write_text
from colloc.training.checkpoint import load_checkpoint, save_checkpoint

_NAME = re.compile(r"step-(\d+)\.pt")


class RunFolder:
    """``checkpoints/step-000000123.pt`` and ``metrics.jsonl`` below a folder.

    Args:
        path: the folder; made where it is missing.
        keep: how many checkpoints stay, >= 1. An older one is removed only after a newer one is
            whole on the disk.

    Raises:
        NotADirectoryError, OSError: the folder cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str], keep: int = 3) -> None:
        self.path = output_folder(path)
        self.keep = check_int("keep", keep, minimum=1)
        self.checkpoints_path = output_folder(self.path / "checkpoints")
        self.metrics_path = self.path / "metrics.jsonl"

    # ---- checkpoints -----------------------------------------------------------------------------

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Steps and files, the newest first; none where the folder is gone."""
        if not self.checkpoints_path.is_dir():
            return []
        found = [
            (int(match.group(1)), path)
            for path in self.checkpoints_path.iterdir()
            if (match := _NAME.fullmatch(path.name))
        ]
        return sorted(found, reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint, whole or not at all, then remove those that are too many.

        Raises:
            OSError: the disk is full or the folder is gone; what was saved before is still there.
        """
        path = self.checkpoints_path / f"step-{step:09d}.pt"
        save_checkpoint(path, state)
        # A newer one that is there is damaged: it does not count.
        whole = [old for at, old in self.checkpoints() if at <= step]
        for old in whole[self.keep :]:
            old.unlink(missing_ok=True)
        for left in self.checkpoints_path.glob(".step-*.pt"):  # of a process that was killed
            left.unlink(missing_ok=True)
        return path

    def newest(self, device: Any = "cpu") -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that is whole, and its state; None where there is none.

        One that is damaged is named, loudly, and the one before it is used.

        Raises:
            ValueError: there are checkpoints, and all are damaged.
        """
        found, problems = self.checkpoints(), []
        for _, path in found:
            try:
                return path, load_checkpoint(path, device)
            except ValueError as error:
                problems.append(str(error))
                text = f"checkpoint {path} is damaged and is not used: {error}"
                warnings.warn(text, stacklevel=3)
                print(f"WARNING: {text}", file=sys.stderr, flush=True)
        if problems:
            raise ValueError(
                f"output: expected a checkpoint that is whole in {self.checkpoints_path}, got "
                f"{len(problems)} damaged ones. Start anew in another folder."
            )
        return None

    # ---- metrics ---------------------------------------------------------------------------------

    def log(self, row: dict[str, Any]) -> None:
        """Append a line of JSON; numbers that are not finite become null."""
        line = json.dumps(_finite(row), allow_nan=False)
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All lines that are whole."""
        return read_metrics(self.metrics_path)

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps after ``step``, and a last one that is not whole."""
        if self.metrics_path.exists():
            kept = [row for row in self.rows() if row.get("step", 0) <= step]
            write_text(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept))

    def put_metrics_aside(self) -> None:
        """Lines of a run that left no checkpoint stay, as ``metrics-1.jsonl`` and so on."""
        if self.metrics_path.exists() and self.metrics_path.stat().st_size:
            numbers = (self.path / f"metrics-{k}.jsonl" for k in itertools.count(1))
            self.metrics_path.rename(next(path for path in numbers if not path.exists()))


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; one that was cut off (a full disk, a killed process) is
    left out, with a warning unless it is the last.

    Raises:
        FileNotFoundError: there is no such file.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line else None
        except json.JSONDecodeError:
            row = None
            if number < len(lines):
                warnings.warn(f"{path}: line {number} is no JSON and is left out.", stacklevel=2)
        if isinstance(row, dict):
            rows.append(row)
    return rows


@contextmanager
def complaining(what: str, *more: type[Exception]) -> Iterator[None]:
    """A full disk does not end a run that still computes: it says so, and goes on. ``more`` are
    other errors of that kind."""
    kinds: tuple[type[Exception], ...] = (OSError, *more)
    try:
        yield
    except kinds as error:
        text = f"{what} could not be written ({error}); what was saved before is still there"
        warnings.warn(text, stacklevel=3)
        print(f"WARNING: {text}", file=sys.stderr, flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
