"""What a trainer writes: checkpoints, lines of metrics, curves; all by the first process alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from colloc._checks import fail
from colloc.training._extras import require
from colloc.training.folder_lock import FolderLock
from colloc.training.processes import Processes
from colloc.training.run_folder import RunFolder, complaining
from colloc.training.tensorboard import TensorBoard


class Output:
    """The folder of a run, or nothing at all.

    Until :meth:`claimed` is entered no file is changed; what a resumed run has to cut off is cut
    then, and other runs are kept out as long.

    Args:
        path: the folder, or None.
        keep: checkpoints that stay.
        tensorboard: whether there are curves for TensorBoard.
        processes: of the run. What is wrong in the first is raised in all of them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        keep: int,
        tensorboard: bool,
        processes: Processes,
    ) -> None:
        self.path, self.keep, self._processes = path, keep, processes
        self.folder: RunFolder | None = None
        self._lock: FolderLock | None = None
        self._curves = tensorboard
        self._board: TensorBoard | None = None
        self._board_from: int | None = None
        self._cut: int | None = None

    def open(self, resume: bool) -> dict[str, Any] | None:
        """The state to go on from, in all processes; None: from the beginning.

        Raises:
            ValueError, OSError: the folder cannot be used, or another run uses it.
            ImportError: the package tensorboard is not installed.
        """
        if self.path is None:
            for name, value in (("resume", resume), ("tensorboard", self._curves)):
                if value:
                    fail("output", f"a folder, since {name}=True", "None",
                         f"Give one, or leave out {name}.")  # fmt: skip
            return None
        newest = None
        with self._shared():
            if self._processes.first:
                if self._curves:  # now, and not with the first line
                    require("tensorboard", "tensorboard=True", "tensorboard")
                self.folder = RunFolder(self.path, self.keep)
                self._lock = FolderLock(self.folder.checkpoints_path / "run.lock", self.path)
                if resume:
                    newest = self.folder.newest()
                else:
                    self._check_new(self.folder)
        found: dict[str, Any] | None = self._processes.from_first(newest and newest[1])
        self._cut = 0 if found is None else int(found["step"])
        return found

    def _check_new(self, folder: RunFolder) -> None:
        count = len(folder.checkpoints())
        if count:
            fail("output", "a folder without checkpoints, or resume=True",
                 f"{folder.path} with {count} of them")  # fmt: skip
        lines = len(folder.rows()) if folder.metrics_path.exists() else 0
        if lines:
            fail("output", "a folder without metrics, or resume=True, which keeps them aside",
                 f"{folder.metrics_path} with {lines} lines")  # fmt: skip

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """What the first process cannot do is an error in all of them."""
        problem: Exception | None = None
        try:
            yield
        except (OSError, ValueError, TypeError, ImportError) as error:
            problem = error
        told = self._processes.from_first(problem)
        if told is not None:
            raise told

    # ---- while a run goes on ---------------------------------------------------------------------

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder is this run's, in all processes together.

        Raises:
            ValueError: another run uses it, or has used it since.
            OSError: the lines of metrics behind the checkpoint cannot be cut off.
        """
        if self.path is None:
            yield
            return
        with ExitStack() as stack:
            with self._shared():
                if self.folder is not None and self._lock is not None:
                    stack.enter_context(self._lock)
                    self._begin(self.folder)
            stack.callback(self._close_board)
            yield

    def _begin(self, folder: RunFolder) -> None:
        """Lines of steps that will be made again go; a run from the beginning keeps them aside."""
        if self._cut is None:
            return
        if self._cut == 0:
            folder.put_metrics_aside()
        else:
            folder.forget_after(self._cut)
        self._board_from = self._cut + 1
        self._cut = None

    def log(self, row: dict[str, Any]) -> None:
        """A line of metrics, and a point of each curve."""
        if self.folder is None:
            return
        with complaining("the line of metrics"):
            self.folder.log(row)
        if self._curves:
            with complaining("the curves for TensorBoard"):
                self._draw(self.folder, row)

    def _draw(self, folder: RunFolder, row: dict[str, Any]) -> None:
        run = {"total": row["loss"], "learning_rate": row["learning_rate"]}
        try:
            if self._board is None:
                self._board = TensorBoard(folder.path / "tensorboard", self._board_from)
                self._board_from = None
            self._board.log(
                row["step"], loss=row["losses"], weight=row["weights"], error=row["errors"],
                parameter=row["parameters"], run=run,
            )  # fmt: skip
            self._board.flush()
        except OSError:
            self._close_board()  # its thread is dead; the next line begins a file
            raise

    def _close_board(self) -> None:
        with suppress(OSError):
            if self._board is not None:
                self._board.close()
        self._board = None

    def forget_after(self, step: int) -> None:
        """Drop lines and points of steps that will be made again."""
        if self.folder is not None:
            with complaining("the file of metrics"):
                self.folder.forget_after(step)
        self._close_board()
        self._board_from = step + 1

    def save(self, step: int, state: dict[str, Any]) -> Path | None:
        """A checkpoint; its path in the first process.

        Raises:
            OSError: the disk is full or the folder is gone.
            ValueError: another run uses the folder, or has used it since.
        """
        if self.folder is None or self._lock is None:
            return None
        with self._lock:
            return self.folder.save(step, state)

    def newest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint, in all processes."""
        found = None if self.folder is None else self.folder.newest()
        state: dict[str, Any] | None = self._processes.from_first(found and found[1])
        return state
