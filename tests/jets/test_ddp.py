"""A loss made of jets in a module under DistributedDataParallel, two processes on the CPU."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from torch import nn
from two_processes import run_two

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed package"
)


class Loss(nn.Module):
    """The mean square of a residual: what a rank contributes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = cc.nn.MLP(2, 1, 16, 2, "tanh", "layer", dtype=torch.float64)

    def forward(self, x):
        u = cc.jet(self.net, x, "laplacian")
        return (u.laplacian + u.value).square().mean()


def points():
    return torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def work(rank, folder):
    module = nn.parallel.DistributedDataParallel(Loss())
    for _ in range(2):  # the second step goes through buckets that DDP has rebuilt
        module.zero_grad()
        module(points()[rank::2]).backward()
    torch.save([p.grad for p in module.parameters()], f"{folder}/{rank}.pt")


def test_two_processes_average_their_gradients(tmp_path):
    run_two(work, tmp_path)
    alone = Loss()
    alone(points()).backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, parameter in zip(found, alone.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-12, atol=1e-12)
