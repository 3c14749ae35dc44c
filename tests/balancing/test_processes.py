"""Every rule in two processes: the weights of both are those of one that has all points."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc import balancing
from torch import nn
from two_processes import run_two

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed package"
)
F64 = torch.float64
NAMES = ["inside", "wall"]
STEPS = 2


class Losses(nn.Module):
    """Two terms on the points r, r + R, ... of process r of R."""

    def __init__(self, rank=0, count=1):
        super().__init__()
        torch.manual_seed(0)
        self.net = cc.nn.MLP(2, 1, 8, 2, "tanh", dtype=F64)
        x = torch.rand(40, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
        x = x[x[:, 1].argsort()]  # every other point has its share of all times
        self.terms = [
            cc.Term("inside", self.net, x[rank::count], lambda u, x: u.laplacian - 1),
            cc.Term("wall", self.net, x[rank:20:count], lambda u, x: u.value - x[:, :1], order=0),
        ]

    def forward(self):
        return {term.name: term.loss() for term in self.terms}


def make(net):
    return {
        "LRAnnealing": balancing.LRAnnealing(NAMES, "inside", net),
        "GradientNormBalance": balancing.GradientNormBalance(NAMES, net),
        "GradNorm": balancing.GradNorm(NAMES, net, lr=0.1),
        "NTK": balancing.NTK(NAMES),
        "NTK, peer": balancing.NTK(NAMES, peer=True),
        "SoftAdapt": balancing.SoftAdapt(NAMES),
        "ReLoBRaLo": balancing.ReLoBRaLo(NAMES, beta=0.5),
        "ResNorm": balancing.ResNorm(NAMES, lr=0.1),
        "HomoscedasticUncertainty": balancing.HomoscedasticUncertainty(NAMES),
        "Causal": balancing.Causal(1, 0.0, 1.0, slices=4),
    }


def run(rank, count):
    """For each rule its weights after every step, and the parameters at the end."""
    found = {}
    for name in make(Losses().net):
        losses = Losses(rank, count)
        rule = make(losses.net)[name]
        module = nn.parallel.DistributedDataParallel(losses) if count > 1 else losses
        parameters = [*losses.net.parameters(), *rule.parameters()]
        weights = []
        for step in range(STEPS):
            values = module()
            if name == "Causal":
                total = rule(losses.terms[0]) + 0 * sum(values.values())
                weights.append(rule.weights.tolist())
            else:
                total = rule(values, step, terms=losses.terms)
                weights.append(list(rule.weights.values()))
            for p in parameters:
                p.grad = None
            total.backward()
            with torch.no_grad():
                for p in parameters:
                    p.sub_(1e-3 * p.grad)
        found[name] = (weights, [p.detach().clone() for p in losses.net.parameters()])
    return found


def work(rank, folder):
    torch.save(run(rank, 2), f"{folder}/{rank}.pt")


def test_two_processes_have_the_weights_of_one(tmp_path):
    run_two(work, tmp_path)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    alone = run(0, 1)
    for name, (weights, parameters) in alone.items():
        assert found[0][name][0] == found[1][name][0], f"{name}: the processes differ"
        torch.testing.assert_close(
            torch.tensor(found[0][name][0]), torch.tensor(weights), rtol=1e-9, atol=0, msg=name
        )
        for ours, theirs in zip(found[0][name][1], parameters, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
