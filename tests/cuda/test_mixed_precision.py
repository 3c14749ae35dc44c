"""On a GPU: jets of 16 bits, and those of wide perceptrons under autocast. Skipped where there is
none."""

from __future__ import annotations

import copy

import colloc as cc
import pytest
import torch
from colloc.ops.jet_activation import jet_size

pytestmark = pytest.mark.cuda

GPU = "cuda"
OPS = torch.ops.colloc
low = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])


def near(found, expected):
    """The same but for roundings of nearly the same float32."""
    assert found.device.type == GPU and found.dtype == expected.dtype
    unit = torch.finfo(found.dtype).eps
    torch.testing.assert_close(found.cpu().float(), expected.float(), rtol=unit, atol=1e-5)
    assert (found.cpu() == expected).float().mean() > 0.98


@low
@pytest.mark.parametrize("kind", cc.ops.KINDS)
@pytest.mark.parametrize("order,n", [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4), ("laplacian", 2)])
@pytest.mark.parametrize("points,width", [(1, 2), (33, 130), (50, 7)])  # 7: widened first
def test_ops(kind, order, n, points, width, dtype):
    jet = (points, jet_size(str(order), n), width)
    for with_columns in (False, True):
        full = torch.randn(jet).to(dtype)
        y = full[:, 0].float() if with_columns else full
        g = torch.randn(jet).to(dtype)
        columns = torch.randn(n, width).to(dtype) if with_columns else None
        beta = torch.randn(width) if kind == "stan" else None
        arrays, form = (columns, torch.randn(width), beta), (kind, str(order), n)
        moved = [None if t is None else t.to(GPU) for t in arrays]
        here, there = (*arrays, *form), (*moved, *form)
        near(OPS.jet_activation(y.to(GPU), *there), OPS.jet_activation(y, *here))
        found = OPS.jet_activation_backward(g.to(GPU), y.to(GPU), *there)
        expected = OPS.jet_activation_backward(g, y, *here)
        near(found[0], expected[0])
        near(found[1], expected[1])
        if beta is not None:
            torch.testing.assert_close(found[2].cpu(), expected[2], rtol=1e-5, atol=1e-5)
        found = OPS.jet_activation_tangent(g.to(GPU), y.to(GPU), *there)
        near(found, OPS.jet_activation_tangent(g, y, *here))


def test_memory_that_no_pair_of_numbers_begins():
    dense = torch.randn(3 * 3 * 8 + 1, device=GPU).bfloat16()[1:].view(3, 3, 8)
    expected = OPS.jet_activation(dense.clone(), None, None, None, "tanh", "1", 2)
    assert torch.equal(OPS.jet_activation(dense, None, None, None, "tanh", "1", 2), expected)


def network(kind="tanh"):
    torch.manual_seed(0)
    return cc.nn.MLP(2, 3, 256, 3, kind).to(GPU)


def step(net, x, dtype=None):
    with torch.autocast(GPU, dtype or torch.bfloat16, enabled=dtype is not None):
        components = cc.jet(net, x, 1).components
        loss = components.float().square().mean()
    wanted = [x, *(p for p in net.parameters() if p.requires_grad)]
    # float16 has gradients of 1 / N with a factor alone
    scale = 1024.0
    found = torch.autograd.grad(scale * loss, wanted, allow_unused=True)
    return components.detach(), [g / scale for g in found if g is not None]


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


@low
@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_a_wide_network(kind, dtype):
    net, x = network(kind), torch.rand(1000, 2, device=GPU, requires_grad=True)
    components, gradients = step(net, x, dtype)
    assert components.dtype == dtype
    expected, theirs = step(copy.deepcopy(net).double(), x.detach().double().requires_grad_())
    bar = 10 * torch.finfo(dtype).eps
    assert relative(components, expected) < bar
    for one, other in zip(gradients, theirs, strict=True):
        assert one.dtype == torch.float32 and relative(one, other) < 2 * bar


def test_a_step_does_not_wait_and_can_be_captured():
    net, x = network(), torch.rand(300, 2, device=GPU, requires_grad=True)
    step(net, x, torch.bfloat16)
    torch.cuda.set_sync_debug_mode("error")
    try:
        expected = step(net, x, torch.bfloat16)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(net, x, torch.bfloat16)
    graph.replay()
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        assert torch.equal(one, other)


def test_a_narrow_network_stays_on_its_kernel():
    net, x = cc.nn.MLP(2, 1, 64, 3).to(GPU), torch.rand(300, 2, device=GPU)
    expected = cc.jet(net, x, 1).components
    with torch.autocast(GPU, torch.bfloat16):
        found = cc.jet(net, x, 1).components
    assert torch.equal(found, expected.bfloat16())
