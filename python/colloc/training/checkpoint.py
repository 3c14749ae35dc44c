"""Checkpoints that are whole, and that load without running code."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from colloc.training.atomic import atomic_path


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Save tensors, ``state_dict``s, numbers, strings and containers of them, atomically.

    Written aside, synced and renamed: a checkpoint of that name is always whole.

    Raises:
        TypeError: ``state`` holds something that :func:`load_checkpoint` would refuse.
        OSError: the folder is missing or not writable, or the disk is full.
    """
    if not isinstance(state, dict):
        raise TypeError(f"state: expected a dict, got {type(state).__name__}.")
    # By way of memory: torch reports a full disk as a RuntimeError that doesn't say so.
    data = io.BytesIO()
    torch.save(state, data)
    data.seek(0)
    try:
        torch.load(data, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            "state: expected tensors, numbers, strings and dicts, lists or tuples of them "
            f"(what loads without running code), got more: {_reason(error)}"
        ) from error
    with atomic_path(path) as aside:
        aside.write_bytes(data.getbuffer())


def load_checkpoint(
    path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Load what :func:`save_checkpoint` wrote; no code in the file is run.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a checkpoint, got {path}, which is not there.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"path: expected a checkpoint, got {path}, which is damaged or something else "
            f"({_reason(error)}). Use an earlier checkpoint."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"path: expected a checkpoint with a dict, got a {type(state).__name__}.")
    return state


def _reason(error: Exception) -> str:
    """The telling line of torch's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0].split(". Please")[0]
