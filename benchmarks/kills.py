"""A run that is killed again and again: ``python -m benchmarks.kills [--kills 50]``.

A small problem is trained with a checkpoint every 10 steps. SIGKILL comes at a random moment, the
run is resumed, and so on. After every kill each checkpoint must load, and the newest must be no
older than before; in the end the parameters must be, bit for bit, those of a run that nobody
killed.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import colloc as cc
import torch

ENDLESS = 10**7


def make(folder: Path | None, steps: int) -> cc.training.Trainer:
    """A Poisson problem with new points every step and weights that move."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    net = cc.nn.MLP(2, 1, 16, 2, "tanh")
    samplers = {
        "interior": cc.sampling.Halton(square, 64, seed=1),
        "walls": cc.sampling.Halton(square.boundary, 32, seed=2),
    }
    terms = [
        cc.Term("interior", net, samplers["interior"](0), cc.pde.poisson(lambda x: x[:, :1])),
        cc.Term("walls", net, samplers["walls"](0), lambda u, x: u.value, order=0),
    ]
    return cc.training.Trainer(
        terms,
        net,
        torch.optim.Adam(net.parameters(), 1e-3),
        samplers,
        cc.balancing.ReLoBRaLo(["interior", "walls"]),
        steps=steps,
        save_every=10,
        log_every=5,
        output=folder,
        resume=folder is not None,
        progress=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help="(of the processes that are killed)")
    arguments = parser.parse_args()
    if arguments.train:
        trainer = make(arguments.train, ENDLESS)
        print("started", flush=True)
        trainer.run()
        return 0
    pause, reached, unusable = random.Random(arguments.seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kill in range(1, arguments.kills + 1):
            command = [sys.executable, "-W", "error", "-m", "benchmarks.kills", "--train", name]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            if process.stdout.readline() != "started\n":
                process.wait()
                print(f"after kill {kill - 1}: the run does not go on")
                return 1
            time.sleep(pause.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            found = cc.training.RunFolder(folder).checkpoints()
            steps = []
            for step, path in found:
                try:
                    steps.append(cc.training.load_checkpoint(path)["step"])
                except ValueError as error:
                    print(f"kill {kill}: {step}: {error}")
            if len(steps) < len(found) or (found and found[0][0] < reached):
                unusable += 1
            reached = found[0][0] if found else 0
        resumed, alone = make(folder, reached), make(None, reached)
    alone.run()
    same = all(
        torch.equal(p, q)
        for p, q in zip(resumed.net.parameters(), alone.net.parameters(), strict=True)
    )
    print(
        f"{arguments.kills} kills, {reached} steps: {unusable} unusable; "
        f"{'bit for bit' if same else 'NOT'} the run that nobody killed"
    )
    return 0 if same and not unusable else 1


if __name__ == "__main__":
    raise SystemExit(main())
