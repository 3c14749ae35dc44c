"""Mistakes that a trainer names."""

from __future__ import annotations

from types import SimpleNamespace

import colloc as cc
import pytest
import torch
from colloc.training import Stage, Trainer
from colloc.training._trainer_checks import check_graph
from torch.optim import lr_scheduler
from training.problems import F64, NAMES, SQUARE, adam, network, terms
from training.problems import trainer as make


@pytest.mark.parametrize(
    "found,error", [(None, TypeError), ({}, ValueError), (torch.ones(2), TypeError),
                    ({"a": "b"}, TypeError)]
)  # fmt: skip
def test_what_evaluate_returns(found, error):
    with pytest.raises(error, match="evaluate: expected to return a number or a dict"):
        make(steps=2, evaluate=lambda: found, target=0.1).run()


def test_parts_that_do_not_fit():
    wanted = "optimizer: expected parameters that the losses depend on, got Adam"
    net, other = network().requires_grad_(False), torch.nn.Linear(2, 1).double()
    problem = [cc.Term("a", network(), SQUARE.sample(9, dtype=F64), lambda u, x: u.value, order=0)]
    for optimizer in (torch.optim.Adam(other.parameters()), [Stage(adam(other), 2)]):
        steps = None if isinstance(optimizer, list) else 2
        with pytest.raises(ValueError, match=f"{wanted} with none of them"):
            Trainer(problem, net, optimizer, steps=steps, progress=False).run()
    net = network()
    with pytest.raises(TypeError, match=r"sampler\['walls'\]: points: expected a sample"):
        Trainer(terms(net), net, adam(net), {"walls": lambda step: None}, steps=1).run()
    with torch.no_grad(), pytest.raises(ValueError, match=rf"{wanted}.*switched off"):
        make("Sum", steps=2).run()
    with pytest.raises(ValueError, match="net: expected a module with parameters"):
        Trainer(terms(net), torch.nn.Identity(), adam(net), steps=1)
    with pytest.raises(TypeError, match=r"balancer: .*Fixed weights are cc.balancing.Sum"):
        Trainer(terms(net), net, adam(net), steps=1, balancer={"interior": 1.0})
    with pytest.raises(TypeError, match=r"optimizer: .*Make one: Adam\(net.parameters"):
        Trainer(terms(net), net, torch.optim.Adam, steps=1)


def test_pairs_that_do_not_go_together():
    net = network(torch.float32)
    lbfgs = torch.optim.LBFGS(net.parameters())
    problem = [cc.Term("a", net, SQUARE.sample(9), lambda u, x: u.value, order=0)]
    with pytest.raises(ValueError, match="precision: expected one without a gradient scaler"):
        Trainer(problem, net, [Stage(lbfgs, 2)], precision="float16")
    optimizer = adam(net)
    scaled, card = SimpleNamespace(scaler=object()), torch.device("cuda")
    with pytest.raises(ValueError, match=r"graph: .*got Adam without fused=True.*or bfloat16"):
        check_graph(card, [Stage(optimizer, 2)], scaled)
    check_graph(card, [Stage(torch.optim.Adam(net.parameters(), fused=True), 2)], scaled)
    with pytest.raises(ValueError, match="schedule: expected one that goes by steps"):
        Stage(optimizer, 3, lr_scheduler.ReduceLROnPlateau(optimizer))


def test_a_balancer_of_ones_own():
    class Own(torch.nn.Module):
        def forward(self, losses, step, terms):
            return sum(losses[name] for name in NAMES)

    net = network()
    trainer = Trainer(terms(net), net, adam(net), balancer=Own(), steps=2, progress=False)
    assert trainer.run().weights == {}
