"""Samplers in two processes that talk to each other."""

from __future__ import annotations

import pytest
import torch
from colloc.geometry import Disk
from colloc.sampling import Halton, LatinHypercube

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed package"
)
MAKE = (Halton, LatinHypercube)


def made():
    return [one(Disk((0, 0), 1), 33, seed=2, dtype=torch.float64) for one in MAKE]


def work(rank, folder):
    torch.set_num_threads(1)
    samplers = made()  # before the processes know of each other
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2
    )
    found = [(points.x, points.measure) for points in (sampler(3) for sampler in samplers)]
    refused = ""
    try:
        Halton(Disk((0, 0), 1), 1)
    except ValueError as error:
        refused = str(error)
    torch.save({"points": found, "refused": refused}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_points_of_one(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for k, sampler in enumerate(made()):
        alone = sampler(3)
        assert len(alone) == 33
        for rank in (0, 1):
            x, measure = found[rank]["points"][k]
            assert torch.equal(x, alone.x[rank::2])
            assert torch.equal(measure, alone.measure[rank::2])
    assert all("n: expected at least a point for each of 2" in one["refused"] for one in found)
