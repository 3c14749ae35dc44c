"""colloc: physics-informed training in plain PyTorch, with every derivative and every scheme
computed by kernels made for it. ``import colloc as cc``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colloc import _load

_load.load()

from colloc import balancing, boundary, geometry, jets, nn, ntk, ops, pde, sampling  # noqa: E402
from colloc._C import build_info as _build_info  # noqa: E402
from colloc.jets import Jet, jet  # noqa: E402
from colloc.pde import Term  # noqa: E402

if TYPE_CHECKING:
    from colloc import training

__version__: str = _build_info()["version"]

__all__ = [
    "Jet",
    "Term",
    "__version__",
    "balancing",
    "boundary",
    "geometry",
    "jet",
    "jets",
    "nn",
    "ntk",
    "ops",
    "pde",
    "sampling",
    "training",
]


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: nothing else needs it.
    if name == "training":
        import importlib

        return importlib.import_module("colloc.training")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "training"})
