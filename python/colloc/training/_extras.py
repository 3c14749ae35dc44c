"""Packages that only plots, meshes, exports and progress bars need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, purpose: str, extra: str = "examples") -> Any:
    """Import an optional package, or say how to get it.

    Args:
        module: its name.
        purpose: what needs it.
        extra: the extra of this package that has it.

    Raises:
        ImportError: it is not installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        others = "examples use" if extra == "examples" else f"the extra {extra} has"
        raise ImportError(
            f"{purpose} needs the package {package}: pip install {package}, or all that {others} "
            f"by pip install 'colloc[{extra}]' (in a checkout '.[{extra}]') ({error})"
        ) from error
