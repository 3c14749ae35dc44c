"""On a GPU: ops ntk_trace and ntk_gram_block, traces and Gram matrices equal what the CPU gives.
Skipped where there is none."""

from __future__ import annotations

import copy

import colloc as cc
import pytest
import torch

pytestmark = pytest.mark.cuda

F64 = torch.float64
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])


def close(found, expected, dtype):
    assert found.is_cuda and found.shape == expected.shape
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    scale = expected.abs().max() if expected.numel() else 1.0
    assert expected.numel() == 0 or (found.cpu() - expected).abs().max() <= tolerance * scale


@DTYPES
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (65, 4, 3, 7), (7, 13, 9, 1), (3000, 4, 64, 64), (0, 4, 3, 2)]
)
def test_ops(sizes, dtype):
    points, size, inputs, outputs = sizes
    h = torch.randn(points, size, inputs, dtype=dtype)
    zbar = torch.randn(points, size, outputs, dtype=dtype)
    there = [h.cuda(), zbar.cuda()]
    close(cc.ops.ntk_trace(*there), cc.ops.ntk_trace(h, zbar), dtype)
    part = [t[:70] for t in (h, zbar)]
    expected = cc.ops.ntk_gram_block(h, zbar, *part)
    close(cc.ops.ntk_gram_block(*there, *(t.cuda() for t in part)), expected, dtype)


@DTYPES
@pytest.mark.parametrize("adaptive", [False, "global", "neuron"], ids=str)
def test_trace_and_gram(adaptive, dtype):
    net = cc.nn.MLP(2, 1, 32, 3, "tanh", adaptive, dtype=dtype)
    there, x = copy.deepcopy(net).cuda(), torch.rand(50, 2, dtype=dtype)

    def residual(u, x):
        return torch.cat((u.laplacian, u.value * x[:, :1]), 1)

    close(cc.ntk.diagonal(there, x.cuda(), residual), cc.ntk.diagonal(net, x, residual), dtype)
    close(cc.ntk.gram(there, x.cuda(), residual), cc.ntk.gram(net, x, residual), dtype)
