"""No call of an op leaves memory behind, that of its strings included."""

from __future__ import annotations

import ctypes
import gc

import colloc as cc
import pytest
import torch

NAMES = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "used",
    "free",
    "keep",
)
CALLS = 500


class Heap(ctypes.Structure):
    """What glibc says of its heap, struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]  # noqa: RUF012 - ctypes wants a list


def used() -> int:
    """Bytes of the heap in use."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        pytest.skip("needs mallinfo2 of glibc 2.33")
    ask.restype = Heap
    gc.collect()
    return ask().used


def calls():
    x = torch.rand(16, 2, dtype=torch.float64)
    net = cc.nn.MLP(2, 1, 8, 2, "tanh").double()
    piece = cc.boundary.Segment((0, 0), (1, 1))
    pieces = torch.tensor([piece.numbers], dtype=torch.float64)
    probabilities = torch.full((16,), 1 / 16, dtype=torch.float64)
    slope = torch.ones((), dtype=torch.float64, requires_grad=True)

    def jet():
        cc.jet(net, x, order="laplacian").laplacian.square().mean().backward()

    def activation():
        cc.ops.adaptive_activation(x, slope, "tanh").sum().backward()

    return {
        "jet": jet,
        "activation": activation,
        "distance": lambda: cc.ops.distance(x, pieces, order="laplacian"),
        "importance": lambda: cc.ops.importance_sample(probabilities, 8, seed=0),
    }


@pytest.mark.parametrize("name", ["jet", "activation", "distance", "importance"])
def test_nothing_is_left(name):
    call = calls()[name]
    for _ in range(50):
        call()
    grown = []
    for _ in range(3):  # what is left by every call is there each time; others' caches are not
        before = used()
        for _ in range(CALLS):
            call()
        grown.append(used() - before)
    assert min(grown) < 8 * CALLS, grown  # the string of one call is 32 bytes and more
