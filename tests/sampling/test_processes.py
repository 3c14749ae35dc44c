"""Samplers in two processes that talk to each other."""

from __future__ import annotations

import pytest
import torch
from colloc.geometry import Disk
from colloc.sampling import Halton, LatinHypercube
from two_processes import run_two

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed package"
)
MAKE = (Halton, LatinHypercube)


def made():
    return [one(Disk((0, 0), 1), 33, seed=2, dtype=torch.float64) for one in MAKE]


#: Made while this file is imported: before the processes know of each other.
SAMPLERS = made()


def work(rank, folder):
    found = [(points.x, points.measure) for points in (sampler(3) for sampler in SAMPLERS)]
    refused = ""
    try:
        Halton(Disk((0, 0), 1), 1)
    except ValueError as error:
        refused = str(error)
    torch.save({"points": found, "refused": refused}, f"{folder}/{rank}.pt")


def test_two_processes_have_the_points_of_one(tmp_path):
    run_two(work, tmp_path)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for k, sampler in enumerate(made()):
        alone = sampler(3)
        assert len(alone) == 33
        for rank in (0, 1):
            x, measure = found[rank]["points"][k]
            assert torch.equal(x, alone.x[rank::2])
            assert torch.equal(measure, alone.measure[rank::2])
    assert all("n: expected at least a point for each of 2" in one["refused"] for one in found)
