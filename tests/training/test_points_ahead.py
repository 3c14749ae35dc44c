"""A trainer that takes the points of many steps at once has those that it would have one by one."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.training import _steps, _trainer_checks
from training.problems import NAMES, SQUARE, network, samplers, stages, terms
from training.problems import trainer as make

HALTON = cc.sampling.Halton


class Alone:
    """A sampler that can be asked for single steps only."""

    def __init__(self, sampler):
        self.sampler, self.asked = sampler, []

    def __call__(self, step):
        self.asked.append(step)
        return self.sampler(step)

    def __getattr__(self, name):  # also hands on points_ahead, which is not its own
        return getattr(self.sampler, name)


class OfStage:
    """A sampler for each stage, which says itself that it can make steps at once."""

    def __init__(self, stage, made):
        self.stage, self.samplers = stage, made

    def __call__(self, step):
        return self.samplers[self.stage()](step)

    def points_ahead(self, step, steps, memory):
        return self.samplers[self.stage()].points_ahead(step, steps, memory)


def seen(trainer):
    """All points and losses of a run."""
    found = []
    for state in trainer:
        for term in trainer.terms:
            points = term.points
            columns = (points.x, points.normal, points.measure, points.distance, points.piece)
            found += [column.clone() for column in columns if column is not None]
        found += [state.total.detach().clone(), *(p.detach().clone() for p in
                  trainer.net.parameters())]  # fmt: skip
    return found


def alike(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def plain(chosen, steps=70, graph=False):
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 2**-10, foreach=False)  # also in float32
    return cc.training.Trainer(
        terms(net), net, optimizer, chosen, cc.balancing.ReLoBRaLo(NAMES), steps=steps,
        graph=graph, progress=False,
    )  # fmt: skip


@pytest.fixture
def single_calls(monkeypatch):
    """The steps that samplers of Halton's sequence were called for."""
    found = []
    call = cc.sampling.Sampler.__call__

    def watched(self, step):
        found.append(step)
        return call(self, step)

    monkeypatch.setattr(cc.sampling.Sampler, "__call__", watched)
    return found


@pytest.mark.parametrize("graph", [False, True])
def test_points_and_losses_are_those_of_single_steps(graph, single_calls, monkeypatch):
    class NoGraph:
        """Runs a captured step as it is, on points at the places where they were."""

        def __init__(self, body, device):
            self.body, self.number = body, torch.zeros((), dtype=torch.int64)
            self.places = None

        def __call__(self, step):
            places = [term.x.data_ptr() for term in trainer.terms]
            places += [term.points.measure.data_ptr() for term in trainer.terms]
            assert self.places in (None, places)
            self.places = places
            return self.body(self.number.fill_(step))

    monkeypatch.setattr(_steps, "Captured", NoGraph)
    monkeypatch.setattr(_trainer_checks, "check_graph", lambda *arguments: None)
    alone = {name: Alone(sampler) for name, sampler in samplers().items()}
    expected = seen(plain(alone))
    assert alone["walls"].asked == list(range(70))
    trainer = plain(samplers(), graph=graph)
    single_calls.clear()
    assert alike(seen(trainer), expected)
    assert single_calls == []
    assert alike(seen(plain(samplers(), 66, graph)), expected[: len(expected) // 70 * 66])
    assert sorted(set(single_calls) - {0}) == [64, 65]  # too few to be made at once


def test_points_can_be_written_to_and_another_sampler_comes_into_use():
    other = HALTON(SQUARE, 63, dtype=torch.float64, seed=8)
    trainer = plain(samplers(), 9)
    for state in trainer:
        points = trainer.terms[0].points
        sampler = trainer.samplers["interior"]
        assert torch.equal(points.x, sampler(state.step - 1).x)
        assert torch.equal(points.measure, sampler(0).measure)
        points.x.zero_(), points.measure.zero_()
        if state.step == 3:
            trainer.samplers["interior"] = other
    assert trainer.samplers["interior"] is other


def test_a_seed_that_is_loaded_counts_at_once():
    uniform = cc.sampling.Uniform(SQUARE, 63, dtype=torch.float64)
    state = cc.sampling.Uniform(SQUARE, 63, dtype=torch.float64).state_dict()
    trainer = plain({"interior": uniform}, 8)
    for found in trainer:
        assert torch.equal(trainer.terms[0].x, uniform(found.step - 1).x)
        if found.step == 3:
            uniform.load_state_dict(state)
    assert uniform.seed == state["seed"]


def test_samplers_of_stages_may_say_that_they_can(single_calls):
    def run(kind):
        trainer = make("Sum", lambda net: stages(net, 6, 6))
        trainer.stages[1].resample = True
        made = [HALTON(SQUARE, n, dtype=torch.float64, seed=n) for n in (63, 31)]
        sampler = OfStage(lambda: trainer.state.stage, made)
        trainer.samplers["interior"] = kind(sampler)
        return seen(trainer)

    single_calls.clear()
    expected = run(Alone)
    assert len(single_calls) == 14  # 12, and the first of each of two terms
    single_calls.clear()
    assert alike(run(lambda sampler: sampler), expected) and len(single_calls) == 2


def test_going_back_makes_them_anew():
    def run(kind):
        trainer = make("Sum", steps=12, on_nonfinite="rollback")
        for name, sampler in trainer.samplers.items():
            trainer.samplers[name] = kind(sampler)
        residual, calls = trainer.terms[1].residual, iter(range(99))
        trainer.terms[1].residual = lambda u, x: residual(u, x) * (
            float("nan") if next(calls) == 5 else 1.0
        )
        with pytest.warns(UserWarning, match="Back to step 0"):
            return seen(trainer)

    assert alike(run(lambda sampler: sampler), run(Alone))


@pytest.mark.parametrize("seed", [None, torch.tensor([1, 2])])
def test_no_more_than_a_stage_needs(seed):
    class Counted:
        def __init__(self, sampler):
            self.sampler, self.asked, self.seed = sampler, [], seed

        def __call__(self, step):
            return self.sampler(step)

        def points_ahead(self, step, steps, memory):
            self.asked.append((step, steps))
            return self.sampler.points_ahead(step, steps, memory)

    net, made = network(), {name: Counted(sampler) for name, sampler in samplers().items()}
    rates = [torch.optim.SGD(net.parameters(), 2**-10) for _ in range(2)]
    parts = [cc.training.Stage(rates[0], 5), cc.training.Stage(rates[1], 66)]
    cc.training.Trainer(terms(net), net, parts, made, progress=False).run()
    for sampler in made.values():
        assert sampler.asked == [(0, 5), (5, 64)]
