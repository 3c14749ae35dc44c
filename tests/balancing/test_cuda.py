"""Balancers on a GPU: no waiting for it, and steps captured in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from balancing.rules import F64, RULES, Model

pytestmark = pytest.mark.cuda
LOSS_RULES = ["SoftAdapt", "ReLoBRaLo", "ResNorm", "HomoscedasticUncertainty"]


def captured(call, warm_ups=3):
    """``call`` as a CUDA graph; its output."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_ups):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    return graph, out


@pytest.mark.parametrize("name", LOSS_RULES)
def test_loss_rules_move_in_a_graph(name):
    model, rule = Model(), RULES[name](Model())
    there, other = copy.deepcopy(model).cuda(), copy.deepcopy(rule).cuda()
    places = [buffer.data_ptr() for buffer in other.buffers()]
    k, step = torch.zeros((), dtype=F64).cuda(), torch.zeros((), dtype=torch.int64).cuda()
    graph, total = captured(lambda: other(there.losses(k), step))
    rule(model.losses(0.0), 0)  # the warm-ups were one step
    for number in range(1, 6):
        k.fill_(number)
        step.fill_(number)
        graph.replay()
        expected = rule(model.losses(float(number)), number)
        torch.testing.assert_close(total.cpu(), expected.detach(), rtol=1e-9, atol=1e-12)
        found, wanted = list(other.weights.values()), list(rule.weights.values())
        assert found == pytest.approx(wanted, rel=1e-9)
    assert places == [buffer.data_ptr() for buffer in other.buffers()]


@pytest.mark.parametrize("name", ["LRAnnealing", "GradientNormBalance", "GradNorm"])
def test_gradient_rules_are_updated_outside_of_a_graph(name):
    model = Model().cuda()
    rule = RULES[name](model).cuda()
    rule.update(model.losses())
    graph, total = captured(lambda: rule(model.losses()).detach(), warm_ups=0)
    for _ in range(2):
        rule.update(model.losses())
        graph.replay()
        losses = [loss.item() for loss in model.losses().values()]
        weighted = sum(w * x for w, x in zip(rule.weights.values(), losses, strict=True))
        assert total.item() == pytest.approx(weighted, rel=1e-9)
    assert int(rule.updates) == 3


@pytest.mark.parametrize("name", [*LOSS_RULES, "LRAnnealing", "GradientNormBalance", "GradNorm"])
def test_nothing_waits_for_the_gpu(name):
    model = Model().cuda()
    rule = RULES[name](model).cuda()
    step = torch.ones((), dtype=torch.int64, device="cuda")
    rule(model.losses(), 0).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        rule(model.losses(), step).backward()
        rule(model.losses(), 2).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
