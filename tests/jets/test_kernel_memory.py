"""What jets keep for their backward, and that it changes no bit."""

from __future__ import annotations

import gc
from pathlib import Path

import colloc as cc
import pytest
import torch
from colloc.ops import mlp_jet
from reference.compare import network

F64 = torch.float64


@pytest.mark.parametrize("order", ["laplacian", "grad_laplacian"])
def test_recomputing_gives_the_same_bits(order, path):
    net, x = network(2, 2, 32, 3, "silu"), torch.randn(300, 2, dtype=F64)
    results = []
    per_point = 8 * (32 + 2 * 32 * (4 if order == "laplacian" else 8))
    for budget in (1 << 30, 100 * per_point, 0):
        before = cc.jets.set_memory_budget(budget)
        try:
            jet = cc.jet(net, x, order)
            found = torch.autograd.grad(jet.components.square().sum(), list(net.parameters()))
            results.append((jet.components, *found))
        finally:
            cc.jets.set_memory_budget(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_same_bits_every_time(path):
    net, x = network(2, 1, 48, 3, "tanh", "neuron", torch.float32), torch.rand(1000, 2)

    def step():
        loss = cc.jet(net, x, "laplacian").laplacian.square().mean()
        return torch.autograd.grad(loss, list(net.parameters()))

    first = step()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, step(), strict=True))


def test_no_graph_no_memory(path):
    net, x = network(2, 1), torch.randn(5, 2, dtype=F64)
    with torch.no_grad():
        assert not cc.jet(net, x, 2).components.requires_grad
    with torch.inference_mode():
        assert cc.jet(net, x, 2).components.is_inference()


def test_nothing_is_kept_without_gradients(path, monkeypatch):
    seen, forward = [], mlp_jet.forward
    monkeypatch.setattr(
        mlp_jet, "forward", lambda net, kept, low: seen.append(kept) or forward(net, kept, low)
    )
    net, x = network(2, 1), torch.randn(4, 2, dtype=F64)
    with torch.no_grad():
        cc.jet(net, x, 2)
    cc.jet(net, x, 2)
    assert seen == [0, 4]


def test_memory_budget():
    before = cc.jets.set_memory_budget(123)
    assert cc.jets.set_memory_budget(before) == 123
    with pytest.raises(ValueError, match="size"):
        cc.jets.set_memory_budget(-1)
    with pytest.raises(ValueError, match="device"):
        cc.jets.set_memory_budget(1, "tpu")


def test_memory_is_used_again_and_released():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    gc.collect()  # graphs of other tests give their memory back now, not between two steps
    cc.jets.release_memory()
    net, x = network(2, 1, 128, 4, "tanh", dtype=torch.float32), torch.rand(8000, 2)

    def step():
        jet = cc.jet(net, x, "laplacian")
        kept = jet.components.grad_fn.next_functions[0][0].saved_tensors[1]
        jet.laplacian.square().mean().backward()
        return kept.data_ptr()

    first = step()
    assert step() == first  # the same memory, given back after the backward
    before = resident()
    cc.jets.release_memory()
    assert before - resident() > 30 << 20
    both = [cc.jet(net, x, "laplacian") for _ in range(2)]  # two at a time do not share it
    gradients = [torch.autograd.grad(jet.laplacian.sum(), net[0].weight)[0] for jet in both]
    assert torch.equal(*gradients)
