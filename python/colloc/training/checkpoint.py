"""Checkpoints that are whole, and that load without running code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from colloc.training.atomic import atomic_path

_MARK = b"colloc sha256 "
_DIGITS = 64


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Save tensors, ``state_dict``s, numbers, strings and containers of them, atomically.

    Written aside, synced and renamed: a checkpoint of that name is always whole. The file is
    one of ``torch.save`` with the SHA-256 of its bytes at the end, as the comment of the zip
    archive: plain ``torch.load(path, weights_only=True)`` reads it too.

    Raises:
        TypeError: ``state`` holds something that :func:`load_checkpoint` would refuse.
        OSError: the folder is missing or not writable, or the disk is full.
    """
    data = serialised(state)
    with atomic_path(path) as aside:
        aside.write_bytes(_signed(data))


def serialised(state: dict[str, Any], name: str = "state") -> bytes:
    """The bytes of a state; ``name`` is what an error calls it.

    Raises:
        TypeError: it holds something that :func:`load_checkpoint` would refuse.
    """
    if not isinstance(state, dict):
        raise TypeError(f"{name}: expected a dict, got {type(state).__name__}.")
    # By way of memory: torch reports a full disk as a RuntimeError that doesn't say so.
    data = io.BytesIO()
    torch.save(state, data)
    data.seek(0)
    try:
        torch.load(data, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            f"{name}: expected tensors, numbers, strings and dicts, lists or tuples of them "
            f"(what loads without running code), got more: {_reason(error)}"
        ) from error
    return data.getvalue()


def load_checkpoint(
    path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Load what :func:`save_checkpoint` wrote; no code in the file is run.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged (one wrong bit is noticed), or no checkpoint, or its
            tensors cannot go to ``device``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a checkpoint, got {path}, which is not there.")
    try:
        _check_whole(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what damaged bytes raise cannot be foretold
        if isinstance(error, (PermissionError, MemoryError)):
            raise
        raise ValueError(
            f"path: expected a checkpoint, got {path}, which is damaged or something else "
            f"({_reason(error)}). Use an earlier checkpoint."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"path: expected a checkpoint with a dict, got {path} with a {type(state).__name__}."
        )
    return state


def _signed(archive: bytes) -> bytes:
    """A zip archive without a comment, with the SHA-256 of all before it as its comment."""
    length = len(_MARK) + _DIGITS
    archive = archive[:-2] + length.to_bytes(2, "little")  # the last field is the comment's size
    return archive + _MARK + hashlib.sha256(archive).hexdigest().encode()


def _check_whole(path: Path) -> None:
    """ValueError if the file is not what was written.

    Of a file without our comment, as torch.save writes them, zip's own checksums are compared.
    """
    tail = len(_MARK) + _DIGITS
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - tail, 0))
        comment = file.read()
        if not comment.startswith(_MARK):
            with zipfile.ZipFile(file) as archive:
                wrong = archive.testzip()
                if wrong is not None or archive.comment:
                    raise ValueError(f"wrong checksum of {wrong or 'the file'}")
            return
        file.seek(0)
        digest, left = hashlib.sha256(), size - tail
        while left > 0:
            block = file.read(min(left, 2**20))
            if not block:
                break
            digest.update(block)
            left -= len(block)
    if digest.hexdigest().encode() != comment[len(_MARK) :]:
        raise ValueError("wrong checksum")


def _reason(error: Exception) -> str:
    """The telling line of torch's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0].split(". Please")[0]
