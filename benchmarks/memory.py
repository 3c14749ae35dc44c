"""Whether a long run needs more memory than a short one: ``python -m benchmarks.memory``.

A problem of two terms at 4 x 64 with 500 + 128 new points every step, NTK weights every 100 steps,
evaluations, checkpoints and TensorBoard. Every 1000 steps: the resident size of the process, what
of glibc's heap is in use, and the number of tensors that Python holds.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import tempfile

import colloc as cc
import torch
from colloc.training._state import memory

MIB = 2**20
NAMES = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "k")


class Heap(ctypes.Structure):
    """What glibc says of its heap, struct mallinfo2."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in NAMES)


def make(folder: str, steps: int) -> cc.training.Trainer:
    """The run."""
    torch.manual_seed(0)
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    net = cc.nn.MLP(2, 1, 64, 4, "tanh")
    samplers = {
        "interior": cc.sampling.Halton(square, 500),
        "walls": cc.sampling.Halton(square.boundary, 128),
    }
    terms = [
        cc.Term("interior", net, samplers["interior"](0), cc.pde.poisson(lambda x: x[:, :1])),
        cc.Term("walls", net, samplers["walls"](0), lambda u, x: u.value, order=0),
    ]
    return cc.training.Trainer(
        terms, net, torch.optim.Adam(net.parameters(), 1e-3), samplers,
        cc.balancing.NTK(["interior", "walls"], update_every=100), steps=steps, output=folder,
        evaluate=lambda: float(net(terms[0].x).abs().mean()), log_every=100, save_every=500,
        tensorboard=True, progress=False,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    heap = ctypes.CDLL(None).mallinfo2
    heap.restype = Heap
    with tempfile.TemporaryDirectory() as folder:
        for state in make(folder, steps):
            if state.step % 1000 == 0:
                gc.collect()
                tensors = sum(type(one) is torch.Tensor for one in gc.get_objects())
                print(
                    f"step {state.step}: resident {memory(torch.device('cpu')) / MIB:.1f} MiB, "
                    f"heap {heap().used / MIB:.3f} MiB, {tensors} tensors",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
