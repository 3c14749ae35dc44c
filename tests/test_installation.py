"""The installation: CPU capabilities, `colloc info`, what is said when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import colloc
import pytest
import torch
from colloc import _C, _load
from colloc.cli import main


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_fresh_process():
    """The best capability is the default, and denormals survive the import: a library built with
    -ffast-math would flush them for the whole process."""
    done = python(
        "import os, numpy as np; os.environ.pop('COLLOC_CPU_CAPABILITY', None); import colloc; "
        "print(colloc._C.cpu_capability(), np.float64(1e-310) * np.float64(0.5) > 0)"
    )
    assert done.stdout.split() == [_C.available_cpu_capabilities()[-1], "True"], done.stderr
    assert _C.available_cpu_capabilities()[0] == "baseline"


@pytest.mark.parametrize("name", _C.available_cpu_capabilities())
def test_environment_chooses_the_capability(name):
    # The compiled module alone, as the import of torch takes seconds.
    torch_library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    code = (
        f"import ctypes, sys; ctypes.CDLL({str(torch_library)!r}); "
        f"sys.path.insert(0, {str(Path(_C.__file__).parent)!r}); "
        "import _C; print(_C.cpu_capability())"
    )
    done = python(code, COLLOC_CPU_CAPABILITY=name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == name


def test_unknown_capability_is_refused_with_what_there_is():
    done = python("import colloc", COLLOC_CPU_CAPABILITY="avx9000")
    assert done.returncode != 0
    for part in ("COLLOC_CPU_CAPABILITY", "'avx9000'", *_C.available_cpu_capabilities()):
        assert part in done.stderr


def test_info_says_what_there_is(capsys):
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert torch.__version__ in said
    assert colloc.__version__ in said
    assert f"kernels for {_C.cpu_capability()} in use" in said
    if _load.cuda_problem is not None:
        assert f"library not loaded: {_load.cuda_problem}" in said


def test_info_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "colloc", "info"],
        env={**os.environ, "COLLOC_CPU_CAPABILITY": "baseline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "CUDA" in done.stdout and "GPU" in done.stdout
    assert "kernels for baseline in use" in done.stdout


def test_missing_library_says_how_to_build(monkeypatch):
    monkeypatch.setattr(_load, "_find", lambda name: None)
    with pytest.raises(ImportError, match=r"libcolloc_ops\.so is missing.*make build"):
        _load.load()


def test_old_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ImportError, match=r"torch >= 2\.11, got 2\.9\.1"):
        _load.load()


def test_unreadable_library_names_the_fix(monkeypatch, tmp_path):
    broken = tmp_path / "libcolloc_ops.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(_load, "_find", lambda name: broken)
    with pytest.raises(ImportError, match=r"does not load with torch .* Rebuild it"):
        _load.load()


def test_cuda_absence_is_explained():
    if _load.cuda_problem is None:
        pytest.skip("the CUDA library is loaded here")
    if torch.version.cuda is None:
        assert "CPU build" in _load.cuda_problem
    else:
        assert "nvcc" in _load.cuda_problem or "does not load" in _load.cuda_problem


def test_version_is_that_of_the_package():
    try:
        installed = metadata.version("colloc")
    except metadata.PackageNotFoundError:
        pytest.skip("run from the source tree, not installed")
    assert installed == colloc.__version__
