"""Rules of points within a trainer: weights that climb, weights of time slices."""

from __future__ import annotations

from pathlib import Path

import colloc as cc
import pytest
import torch
from colloc.training import Stage, Trainer
from training.problems import F64, SQUARE, adam, network, samplers, terms

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def parts(seed=0):
    """Network, terms, samplers, rules, and one optimiser of two rates."""
    net = network()
    chosen, problem = samplers(), terms(net)
    problem[1].points = SQUARE.boundary.sample(21, dtype=F64, seed=seed)
    rules = {
        "interior": cc.balancing.Causal(1, -1.0, 1.0, slices=4, epsilon=0.5),
        "walls": cc.balancing.SelfAdaptive(21),
    }
    groups = [{"params": net.parameters()}, {"params": rules["walls"].parameters(), "lr": 5e-2}]
    return net, problem, {"interior": chosen["interior"]}, rules, torch.optim.Adam(groups, 1e-3)


def make(seed=0, lbfgs=3, **options):
    net, problem, chosen, rules, optimizer = parts(seed)
    found = [Stage(optimizer, 12)]
    if lbfgs:
        found.append(Stage(torch.optim.LBFGS(net.parameters(), max_iter=3), lbfgs))
    return Trainer(problem, net, found, chosen, point_rules=rules, progress=False, **options)


def state_of(trainer):
    rules = trainer.point_rules
    mine = {**trainer.net.state_dict(), "lambdas": rules["walls"].lambdas.detach()}
    return {name: value.clone() for name, value in mine.items()} | {
        "slices": rules["interior"].weights.clone()
    }


def alike(one, other):
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_is_that_of_a_plain_loop():
    trainer = make(lbfgs=0)
    trainer.run()
    net, problem, chosen, rules, optimizer = parts()
    for step in range(12):
        problem[0].points = chosen["interior"](step)
        total = rules["interior"](problem[0]) + rules["walls"](problem[1])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    found = state_of(trainer)
    alike(net.state_dict(), found)
    assert torch.equal(rules["walls"].lambdas, found["lambdas"])
    assert torch.equal(rules["interior"].weights, found["slices"])
    # Up, and the more so where the residuals are large: they start at 1 and cannot fall.
    assert (found["lambdas"] > 1.2).all() and len(set(found["lambdas"].flatten().tolist())) > 15
    assert found["slices"][0] == 1 and 0 < found["slices"][-1] < 1


@pytest.mark.parametrize("at", [7, 13])
def test_they_are_resumed(at, tmp_path):
    alone = make()
    for state in alone:
        if state.step == 12:
            before = state_of(alone)
    found = state_of(alone)
    # Weights stay where a line search compares values; the network does not.
    assert all(torch.equal(before[name], found[name]) for name in ("lambdas", "slices"))
    assert not torch.equal(before["0.weight"], found["0.weight"])
    for state in make(output=tmp_path):
        if state.step == at:
            break
    resumed = make(output=tmp_path, resume=True)
    assert resumed.run().step == 15
    alike(found, state_of(resumed))
    with pytest.raises(ValueError, match=r"problem: expected the checkpoint's points in term 'wal"):
        make(1, output=tmp_path, resume=True)


def test_a_group_that_climbs():
    """Weights of points as a parameter of one's own, in a group with maximize=True."""

    class Weighting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.root = torch.nn.Parameter(torch.ones(21, 1, dtype=F64))

        def forward(self, points):
            return self.root.square()

    net, weighting = network(), Weighting()
    problem = terms(net)
    problem[1].weight = weighting
    groups = [{"params": net.parameters()},
              {"params": weighting.parameters(), "lr": 0.05, "maximize": True}]  # fmt: skip
    trainer = Trainer(problem, net, torch.optim.Adam(groups, 1e-3), steps=5, progress=False)
    trainer.run()
    assert (weighting.root > 1.1).all()


def test_what_is_refused():
    net, problem, chosen, rules, optimizer = parts()

    def trainer(rules, chosen=chosen, optimizer=optimizer):
        Trainer(problem, net, optimizer, chosen, point_rules=rules, steps=1)

    with pytest.raises(ValueError, match=r"sampler\['walls'\]: expected none, as SelfAdaptive"):
        trainer(rules, samplers())
    with pytest.raises(ValueError, match=r"has the parameters of SelfAdaptive, lambdas.*\*rule"):
        trainer(rules, optimizer=adam(net))
    with pytest.raises(ValueError, match="point_rules: expected names of terms, 'interior'"):
        trainer({"wall": rules["walls"]})
    with pytest.raises(TypeError, match="point_rules: expected a dict of rules of points"):
        trainer(rules["walls"])


def test_the_example_in_the_docs(tmp_path, monkeypatch):
    section = DOCS.read_text(encoding="utf-8").split("## Weights of points")[1]
    code = section.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    sooner = code.replace("causal.epsilon < 1:", "causal.epsilon < 0.1:")
    assert sooner != code
    found = {}
    exec(sooner, found)
    assert found["state"].ended == "stopped" and found["causal"].epsilon == 0.1
    assert found["adaptive"].weights.min() > 1


def test_lbfgs_alone_looks_at_the_slices_first():
    net, problem, chosen, rules, _ = parts()
    lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=3)
    causal = {"interior": rules["interior"]}
    Trainer(problem, net, lbfgs, chosen, steps=1, point_rules=causal, progress=False).run()
    weights = rules["interior"].weights
    other = cc.balancing.Causal(1, -1.0, 1.0, slices=4, epsilon=0.5)
    net, problem, chosen, _, _ = parts()
    problem[0].points = chosen["interior"](0)
    other(problem[0])
    assert (weights[1:] > 0).all() and torch.equal(weights, other.weights)


def test_an_assigned_epsilon_compiles_once():
    _, problem, *_ = parts()
    causal = cc.balancing.Causal(1, -1.0, 1.0, slices=4, epsilon=0.01)
    compiled = torch.compile(lambda: causal(problem[0]), fullgraph=True)
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for epsilon in (0.01, 0.1, 1.0):
            causal.epsilon = epsilon
            compiled()
            found = causal.weights.clone()
            causal(problem[0])
            torch.testing.assert_close(found, causal.weights, rtol=1e-12, atol=0)
            assert causal.state_dict()["_extra_state"] == {"epsilon": epsilon}
