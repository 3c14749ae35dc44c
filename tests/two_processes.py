"""Two processes that talk to each other, for tests; with a limit of time."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import torch


def run_two(work, folder, seconds=180):
    """``work(rank, folder)`` in two processes of one gloo group.

    Raises:
        AssertionError: they take longer than ``seconds``; both are killed.
        torch.multiprocessing.ProcessRaisedException: one of them failed.
    """
    started = torch.multiprocessing.spawn(_run, (work, str(folder)), nprocs=2, join=False)
    end = time.monotonic() + seconds
    try:
        while not started.join(timeout=1):
            assert time.monotonic() < end, "the two processes wait for each other"
    finally:
        for process in started.processes:
            process.kill()


def _run(rank, work, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2,
        timeout=timedelta(seconds=120),
    )  # fmt: skip
    work(rank, folder)
    Path(folder, f"done-{rank}").touch()
    while not Path(folder, f"done-{1 - rank}").exists():
        time.sleep(0.01)
    # Destroying the group, at exit as well, can wait for ever in DistributedDataParallel.
    os._exit(0)
