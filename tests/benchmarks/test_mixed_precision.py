"""The contenders of the benchmark of mixed precision do the same work."""

from __future__ import annotations

import colloc as cc
import torch
from torch import nn

from benchmarks import mixed_precision as m


def test_contenders_agree():
    torch.manual_seed(0)
    net = cc.nn.MLP(2, m.OUTPUTS, 64, 3, "silu")
    plain, x = nn.Sequential(*net), 2 * torch.rand(50, 2) - 1
    contenders = {
        m.OURS: m.ours(net, x, True),
        m.WIDE: m.ours(net, x, False),
        m.NESTED: m.nested(plain, x, True),
        m.NESTED_WIDE: m.nested(plain, x, False),
    }
    found = m.errors(contenders, net, x)
    for label in (m.WIDE, m.NESTED_WIDE):
        assert found[f"error of the gradient, {label}"] < 1e-5
    for label in (m.OURS, m.NESTED):
        assert 1e-5 < found[f"error of the gradient, {label}"] < 0.05
    assert next(net.parameters()).dtype == torch.float32
