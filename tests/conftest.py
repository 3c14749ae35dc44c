"""Fixtures of all tests: seeds, the CPU capabilities, and the `cuda` marker."""

from __future__ import annotations

import gc
import os

# Several processes with several threads each would take each other's time.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import colloc
import pytest
import torch
from colloc import _C, _load


def pytest_collection_modifyitems(items):
    reason = None
    if not torch.cuda.is_available():
        reason = "no GPU that torch can use"
    elif _load.cuda_problem is not None:
        reason = f"no CUDA library: {_load.cuda_problem}"
    if reason:
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session):
    """The garbage collector need not look through all modules and tests again and again: they
    stay. Cycles that a test leaves are found as before."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _freeze():
    """What a file of tests leaves behind, torch's compiler above all, stays as well."""
    yield
    gc.collect()
    gc.freeze()


def pytest_report_header(config):
    del config
    return f"colloc {colloc.__version__}, torch {torch.__version__}, CPU {_C.cpu_capability()}"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def capability(request):
    """Every instruction set of this processor in turn."""
    if request.param not in _C.available_cpu_capabilities():
        pytest.skip(f"{request.param} is not available here")
    before = _C.cpu_capability()
    _C.set_cpu_capability(request.param)
    yield request.param
    _C.set_cpu_capability(before)
