"""A long run needs no more memory than a short one."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from colloc.training._state import memory
from training.problems import trainer as make


def tensors():
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)  # isinstance would import what is lazy
    return sum(type(one) in kinds for one in gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no resident size to be read")
def test_memory_is_flat(tmp_path):
    trainer = make(
        "ReLoBRaLo", importance=True, steps=400, output=tmp_path, log_every=20, save_every=100,
        evaluate=lambda: float(trainer.net(trainer.terms[0].x).square().mean()),
    )  # fmt: skip
    found = {}
    for state in trainer:
        if state.step in (100, 250, 400):
            found[state.step] = tensors(), memory(torch.device("cpu"))
    counts, sizes = zip(*found.values(), strict=True)
    assert len(set(counts)) == 1, counts
    # Of 150 steps: 3 kB a step would be too much.
    assert sizes[2] - sizes[1] < 2**20 * 0.4, sizes
