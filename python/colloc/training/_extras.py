"""Packages that only plots, meshes and progress bars need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, purpose: str) -> Any:
    """Import an optional package, or say how to get it.

    Raises:
        ImportError: it is not installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(
            f"{purpose} needs the package {package}: pip install {package}, or all that examples "
            f"use by pip install 'colloc[examples]' (in a checkout '.[examples]') ({error})"
        ) from error
