"""Runs that are killed at any moment: what was saved is whole, and the run goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from colloc.training import RunFolder, load_checkpoint, read_metrics
from training.problems import trainer as make

STEPS = 100_000
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch
torch.set_num_threads(1)
from training.problems import trainer
made = trainer(output=sys.argv[1], resume=True, steps={STEPS}, save_every=10, log_every=5)
print("started", flush=True)
made.run()
"""


def start(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n", process.stderr.read()
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed(number, tmp_path):
    pause = random.Random(7)
    reached = 0
    for _ in range(2):
        process = start(tmp_path)
        time.sleep(0.4 + pause.random() * 0.4)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == (-number if number == signal.SIGKILL else 0), said
        found = RunFolder(tmp_path).checkpoints()
        assert found and found[0][0] >= reached
        for step, path in found:
            assert load_checkpoint(path)["step"] == step
        if number == signal.SIGTERM:  # not one step is lost
            assert read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == found[0][0]
        reached = found[0][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = make(output=tmp_path, resume=True, steps=STEPS, save_every=10)
    assert resumed.state.step == reached > 0
    alone = make(steps=reached)
    alone.run()
    for p, q in zip(resumed.net.parameters(), alone.net.parameters(), strict=True):
        assert torch.equal(p, q)
