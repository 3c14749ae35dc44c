"""The command ``colloc``: ``colloc info`` says what is installed and what to do about it; plot,
compare and evaluate look at runs and exported fields."""

from __future__ import annotations

import argparse
import platform
import re
import sys

from colloc import _commands

#: The extras that users have something of.
_EXTRAS = ("examples", "export", "mesh", "tensorboard")


def _info() -> int:
    try:
        import torch
    except ImportError:
        print("torch: not installed. Install it first: pip install torch")
        return 1
    print(f"Python   {platform.python_version()} ({sys.executable})")
    print(f"torch    {torch.__version__} (CUDA {torch.version.cuda or 'none: a CPU build'})")
    try:
        import colloc
        from colloc import _C, _load
    except ImportError as error:
        print(f"colloc   does not load: {error}")
        return 1
    build = _C.build_info()
    print(
        f"colloc   {colloc.__version__}, built against torch {build['torch']} "
        f"by {build['compiler']}"
    )
    print(
        f"CPU      kernels for {_C.cpu_capability()} in use; this processor has "
        f"{', '.join(_C.available_cpu_capabilities())} (COLLOC_CPU_CAPABILITY chooses), "
        f"{torch.get_num_threads()} threads"
    )
    if _load.cuda_problem is None:
        print(f"CUDA     library loaded ({build['cuda']})")
    else:
        print(f"CUDA     library not loaded: {_load.cuda_problem}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            print(
                f"GPU {index}    {facts.name}, compute capability {facts.major}.{facts.minor}, "
                f"{facts.total_memory / 2**30:.0f} GiB"
            )
    else:
        print("GPU      none that torch can use" + _gpu_advice(torch.version.cuda))
    print(f"extras   {_extras_state()}")
    return 0


def _extras_state() -> str:
    """Which packages of the extras are not installed, and how to get them."""
    from importlib import metadata

    try:
        listed = metadata.requires("colloc") or []
    except metadata.PackageNotFoundError:
        return "not known: colloc is not installed as a package"
    missing: dict[str, list[str]] = {}
    for requirement in listed:
        found = re.match(r"([\w.-]+).*extra *== *['\"]([\w-]+)['\"]", requirement)
        if found is None or found[2] not in _EXTRAS:
            continue
        try:
            metadata.version(found[1])
        except metadata.PackageNotFoundError:
            missing.setdefault(found[2], []).append(found[1])
    if not missing:
        return f"all installed: {', '.join(_EXTRAS)}"
    each = [f"{', '.join(names)} (pip install 'colloc[{e}]')" for e, names in missing.items()]
    return f"not installed: {'; '.join(each)}"


def _gpu_advice(cuda: str | None) -> str:
    if cuda is None:
        return "; with an NVIDIA GPU, install a CUDA build of torch, then reinstall colloc"
    return "; if there is an NVIDIA GPU, check its driver with nvidia-smi"


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the command ``colloc``."""
    parser = argparse.ArgumentParser(prog="colloc", description="Physics-informed training tools.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "info", help="versions, CPU and GPU state, and what to do if one is missing"
    )
    _commands.add(commands)
    found = parser.parse_args(arguments)
    return _info() if found.command == "info" else _commands.run(found)


if __name__ == "__main__":
    raise SystemExit(main())
