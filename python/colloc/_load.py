"""Loads the compiled libraries, and says what to do when one is missing or does not load."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

MINIMUM_TORCH = (2, 11)

#: Why the CUDA library is not loaded, or None when it is.
cuda_problem: str | None = None


def _torch_release() -> tuple[int, ...]:
    parts = torch.__version__.split("+")[0].split(".")[:2]
    return tuple(int(part) for part in parts)


def _find(name: str) -> Path | None:
    """The library beside this package (in an editable install, where the build put it)."""
    from colloc import __path__ as folders

    for folder in folders:
        candidate = Path(folder) / name
        if candidate.is_file():
            return candidate
    # An editable install keeps the Python files in the source tree and the binaries in
    # site-packages, beside the module _C.
    try:
        from colloc import _C
    except ImportError:
        return None
    candidate = Path(_C.__file__).parent / name
    return candidate if candidate.is_file() else None


def load() -> None:
    """Load libcolloc_ops, and libcolloc_cuda where torch is a CUDA build."""
    global cuda_problem  # noqa: PLW0603 - set once, while the package is imported
    if _torch_release() < MINIMUM_TORCH:
        raise ImportError(
            f"colloc needs torch >= {MINIMUM_TORCH[0]}.{MINIMUM_TORCH[1]}, got {torch.__version__}."
            " Upgrade with: pip install --upgrade torch"
        )
    try:
        from colloc import _C
    except ImportError as error:
        raise ImportError(
            "colloc's compiled module does not load: "
            f"{error}. Python and torch are those of {sys.prefix} (torch {torch.__version__}). "
            "In a source tree run `make build`; elsewhere reinstall colloc into this environment."
        ) from error

    library = _find("libcolloc_ops.so")
    if library is None:
        raise ImportError(
            "colloc is not built: libcolloc_ops.so is missing. In a source tree run `make build`; "
            "elsewhere reinstall colloc."
        )
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        raise ImportError(
            f"{library} does not load with torch {torch.__version__}: {error}. Rebuild it against "
            "this torch (`make build`, or reinstall colloc with --no-build-isolation)."
        ) from error

    problem = _C.cpu_capability_problem()
    if problem:
        raise ImportError(
            "COLLOC_CPU_CAPABILITY: expected one of "
            f"{', '.join(_C.available_cpu_capabilities())} on this processor, got {problem!r}. "
            "Unset it to let colloc choose."
        )

    cuda_problem = _load_cuda()


def _load_cuda() -> str | None:
    """Load the CUDA library; the reason as a sentence if that is not possible."""
    from colloc import _C

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a CPU build; install a CUDA build of torch first"
    library = _find("libcolloc_cuda.so")
    if library is None:
        return (
            f"the CUDA library was {_C.build_info()['cuda']}; with nvcc of CUDA "
            f"{torch.version.cuda.split('.')[0]} on the PATH, reinstall colloc with "
            "--no-build-isolation"
        )
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        return f"{library} does not load: {error}; rebuild colloc against this torch"
    return None
