"""Files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends without an error.

    The data are written to a new file in the same folder with the same suffix, synced to the
    disk, and renamed over ``path`` in one step, so that a crash, a full disk or a power cut
    leaves the old file or the new one, never half of either. After an error in the block the
    new file is removed and ``path`` is as it was.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: it is not writable.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path: expected a file in an existing folder, got {path}. Make {path.parent} first."
        )
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes files private; give this one the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically (UTF-8); see :func:`atomic_path`."""
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def output_folder(path: str | os.PathLike[str], *, space: int = 0) -> Path:
    """Make a folder for results and check that files can be written there.

    Args:
        path: the folder; its parents are made too.
        space: bytes that must be free on its disk.

    Raises:
        NotADirectoryError: a file is in the way.
        OSError: the folder can't be made or written to, or the disk is too full.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"output: expected a folder, got {folder}, where a file is in the way. Remove it or "
            "choose another folder."
        ) from error
    except OSError as error:
        raise OSError(
            f"output: expected a folder that can be made, got {folder}: {error.strerror}. "
            "Choose another folder."
        ) from error
    try:
        handle, name = tempfile.mkstemp(dir=folder)
    except OSError as error:
        raise OSError(
            f"output: expected a folder that can be written to, got {folder}: {error.strerror}. "
            "Choose another folder."
        ) from error
    os.close(handle)
    os.unlink(name)
    free = shutil.disk_usage(folder).free
    if free < space:
        raise OSError(
            f"output: expected a disk with {space / 1e6:.0f} MB free, got {folder} with "
            f"{free / 1e6:.0f} MB. Make room or choose another folder."
        )
    return folder


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
