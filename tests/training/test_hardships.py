"""What may happen to a trainer: nothing is lost."""

from __future__ import annotations

import gc
import math
import os
import pathlib
import shutil
import signal
import warnings

import colloc as cc
import pytest
import torch
from colloc.training import Interrupt, NonFiniteError, RunFolder, Stage, Trainer, schedules
from torch.optim import lr_scheduler
from training.problems import F64, SQUARE, adam, network, samplers, stages, terms
from training.problems import trainer as make


def stopped(trainer, at):
    for state in trainer:
        if state.step == at:
            break


def spoil(trainer, *steps):  # the walls are NaN there, once each
    plain, left = trainer.terms[1].residual, list(steps)

    def residual(u, x):
        if trainer.state.step in left:
            left.remove(trainer.state.step)
            return plain(u, x) * math.nan
        return plain(u, x)

    trainer.terms[1].residual = residual
    return trainer


def steps_of(folder):
    return [step for step, _ in RunFolder(folder).checkpoints()]


# ---- all that is trained is in the checkpoints ---------------------------------------------------


class Weighting(torch.nn.Module):
    """Weights of points with a parameter, a buffer and a state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.spread = torch.nn.Parameter(torch.ones(20, 1, dtype=F64))
        self.extra = 0

    def forward(self, points):
        self.calls += 1
        self.extra += 1
        return self.spread.square() * self.calls

    def get_extra_state(self):
        return {"extra": self.extra}

    def set_extra_state(self, state):
        self.extra = state["extra"]


def composed(**options):
    """Two networks, an unknown coefficient and a weighting, in one optimiser of several rates."""
    net, weighting = network(), Weighting()
    second = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    ).double()
    unknown = torch.nn.Parameter(torch.tensor(1.0, dtype=F64))
    x = samplers(20)["interior"](0)
    problem = [
        cc.Term("a", net, x, lambda u, x: unknown * u.value - 1, order=0, weight=weighting),
        cc.Term("b", second, x, lambda u, x: u.value - 2, order=0),
    ]
    groups = [
        {"params": net.parameters()},
        {"params": second.parameters(), "lr": 1e-2},
        {"params": [unknown, weighting.spread], "lr": 1e-1},
    ]
    trainer = Trainer(problem, net, torch.optim.AdamW(groups, 1e-3), steps=10, progress=False,
                      **options)  # fmt: skip
    return trainer, {"net": net, "second": second, "weighting": weighting}, unknown


def test_all_that_is_trained_is_resumed(tmp_path):
    alone, modules, unknown = composed()
    alone.run()
    stopped(composed(output=tmp_path)[0], 5)
    resumed, others, other = composed(output=tmp_path, resume=True)
    resumed.run()
    assert torch.equal(unknown, other) and other.item() != 1.0
    for name, module in modules.items():
        theirs = others[name].state_dict()
        for key, value in module.state_dict().items():
            assert value == theirs[key] if "extra" in key else torch.equal(value, theirs[key])
    net, x = network(), samplers(20)["interior"](0)
    with pytest.raises(ValueError, match="problem: expected terms with the checkpoint's modules"):
        problem = [cc.Term(n, net, x, lambda u, x: u.value, order=0) for n in "ab"]
        Trainer(problem, net, adam(net), steps=10, output=tmp_path, resume=True, progress=False)


def test_a_network_around_the_trained_one_is_saved_once():
    net = network()
    field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(SQUARE.boundary, 0.0)])
    term = cc.Term("a", field, SQUARE.sample(20, dtype=F64), cc.pde.poisson(torch.zeros_like))
    trainer = Trainer([term], net, adam(net), steps=1, progress=False)
    assert cc.training._saved.collect(trainer)["modules"] == {}


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.Adagrad, torch.optim.Rprop])
def test_optimizers_with_a_state_of_other_kinds_are_resumed(kind, tmp_path):
    def optimizer(net):
        return [Stage(kind(net.parameters()), 8)]

    alone = make("Sum", optimizer)
    alone.run()
    stopped(make("Sum", optimizer, output=tmp_path), 3)
    resumed = make("Sum", optimizer, output=tmp_path, resume=True)
    resumed.run()
    for p, q in zip(alone.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(p, q)


# ---- checkpoints ---------------------------------------------------------------------------------


def test_what_a_checkpoint_cannot_hold_is_said_at_once(tmp_path):
    with pytest.raises(TypeError, match=r"config: expected tensors, numbers, strings"):
        make(output=tmp_path, config={"mesh": pathlib.Path("a")})


def test_a_damaged_checkpoint_does_not_push_out_whole_ones(tmp_path):
    make(output=tmp_path).run()
    RunFolder(tmp_path).checkpoints()[0][1].write_bytes(b"no")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stopped(make(output=tmp_path, resume=True, keep=1), 10)
    assert steps_of(tmp_path) == [12, 10]


def test_an_error_in_evaluate_loses_no_steps(tmp_path):
    def evaluate():
        raise KeyError("exact")

    with pytest.raises(KeyError):
        make(output=tmp_path, steps=7, evaluate=evaluate, save_every=100).run()
    assert steps_of(tmp_path) == [5]


def test_a_disk_that_was_full_at_the_end(tmp_path, monkeypatch):
    def full(path, state):
        raise OSError(28, "No space left on device")

    trainer = make(output=tmp_path, steps=3)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(cc.training.run_folder, "save_checkpoint", full)
        trainer.run()
    trainer.run()
    assert steps_of(tmp_path) == [3]


def test_another_optimizer_schedule_or_network(tmp_path):
    def one(kind, schedule):
        return lambda net: [Stage(o := kind(net.parameters(), 1e-3), 12, schedule(o))]

    stopped(make("Sum", one(torch.optim.SGD, lambda o: lr_scheduler.StepLR(o, 3)),
                 output=tmp_path), 5)  # fmt: skip
    with pytest.raises(ValueError, match="optimizer: expected the checkpoint's SGD, got Adam"):
        make("Sum", output=tmp_path, resume=True)
    with pytest.raises(ValueError, match="schedule: expected the checkpoint's StepLR, got Lambda"):
        make("Sum", one(torch.optim.SGD, schedules.decay), output=tmp_path, resume=True)
    net = cc.nn.MLP(2, 1, 8, 2, dtype=F64)
    with pytest.raises(ValueError, match="net: expected the checkpoint's network, got size"):
        Trainer(terms(net), net, torch.optim.SGD(net.parameters()), samplers(), steps=12,
                output=tmp_path, resume=True)  # fmt: skip


def test_an_extra_evaluation_leaves_random_numbers():
    trainer = make(steps=10, evaluate=lambda: float(torch.rand(())), evaluate_every=4)
    for state in trainer:
        if state.step == 5:
            torch.manual_seed(3)
            os.kill(os.getpid(), signal.SIGTERM)
    assert state.step == 6
    found = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(3))


# ---- going back ----------------------------------------------------------------------------------

SCHEDULES = {
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.CosineAnnealingLR(o, 20)], [3]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 1e-4, 1e-2, cycle_momentum=False),
}


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.filterwarnings("ignore")
def test_rolling_back_halves_the_rates_of_a_schedule(name):
    def optimizer(net):
        o = adam(net)
        return [Stage(o, 9, SCHEDULES[name](o)), Stage(o, 1)]  # one optimiser in two stages

    def rates(*bad):
        trainer = spoil(make("Sum", optimizer, on_nonfinite="rollback"), *bad)
        return [float(state.learning_rate) for state in trainer]

    assert rates(2)[-8:] == pytest.approx([rate / 2 for rate in rates()[-8:]])


@pytest.mark.filterwarnings("ignore:step .*not finite")
def test_rolling_back_twice_to_a_beginning_with_momentum():
    def found(*bad):
        net = network()
        optimizer, problem = adam(net), terms(net)
        Trainer(problem, net, optimizer, samplers(), steps=3, progress=False).run()
        trainer = Trainer(problem, net, optimizer, samplers(), steps=8, progress=False,
                          on_nonfinite="rollback")  # fmt: skip
        first = trainer._first["stages"][0]["optimizer"]["state"][0]["exp_avg"]
        before = first.clone()
        spoil(trainer, *bad).run()
        return torch.equal(first, before)

    assert found(3, 5)


@pytest.mark.filterwarnings("ignore:step .*not finite")
def test_rolling_back_writes_each_step_once(tmp_path):
    spoil(make("Sum", steps=8, on_nonfinite="rollback", output=tmp_path, log_every=1), 6).run()
    rows = cc.training.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))


@pytest.mark.filterwarnings("ignore")
def test_rolling_back_without_the_folder(tmp_path):
    trainer = spoil(make("Sum", steps=8, on_nonfinite="rollback", output=tmp_path / "a"), 6)
    with pytest.raises(FileNotFoundError):  # of the last checkpoint
        for state in trainer:
            if state.step == 5 and not trainer.rollbacks:
                shutil.rmtree(tmp_path / "a")
    assert trainer.state.step == 8 and trainer.rollbacks == 1


def test_leaving_the_loop_keeps_nothing_that_is_spoiled(tmp_path):
    trainer = make("Sum", output=tmp_path, log_every=100)
    trainer._steps.deferred = True  # as on a GPU, where nobody has looked yet
    plain = trainer.terms[1].residual
    trainer.terms[1].residual = lambda u, x: plain(u, x) * (
        1 if trainer.state.step < 5 else math.nan
    )
    stopped(trainer, 7)
    assert steps_of(tmp_path) == [4]


def test_a_line_search_that_is_not_finite_leaves_no_history(tmp_path):
    trainer = make("Sum", lambda net: stages(net, 2, 5), output=tmp_path, save_every=100)
    plain, calls = trainer.terms[1].residual, iter(range(1000))
    trainer.terms[1].residual = lambda u, x: plain(u, x) * (1 if next(calls) < 8 else math.nan)
    with pytest.raises(NonFiniteError):
        trainer.run()
    saved = cc.training.load_checkpoint(RunFolder(tmp_path).checkpoints()[0][1])
    assert saved["stages"][1]["optimizer"]["state"] == {}


# ---- ends ----------------------------------------------------------------------------------------


def test_a_run_out_of_time_stays_in_its_stage():
    trainer = make("Sum", lambda net: stages(net, 10**6, 5), seconds=0.02)
    assert trainer.run().stage == 0


def test_handlers_of_two_runs_side_by_side():
    before = signal.getsignal(signal.SIGINT)
    try:
        for _ in zip(make(steps=2), make(steps=3), strict=False):
            pass
        gc.collect()
        assert signal.getsignal(signal.SIGINT) == before
        one, two = Interrupt(), Interrupt()
        with one, Interrupt() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert one.requested and inner.requested
            assert signal.getsignal(signal.SIGINT) == before
        one = Interrupt()
        with one:
            two.__enter__()
        os.kill(os.getpid(), signal.SIGINT)
        assert two.requested and not one.requested
        assert signal.getsignal(signal.SIGINT) == before
        two.__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) == before
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_in_the_last_step_is_not_forgotten():
    trainer = make("Sum", steps=3)
    plain = trainer.samplers["walls"]
    trainer.samplers["walls"] = lambda step: (
        os.kill(os.getpid(), signal.SIGINT) if step == 2 else None, plain(step)
    )[1]  # fmt: skip
    trainer.run()
    assert trainer.interrupted


# ---- fixed addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_points_at_fixed_addresses_are_nobody_elses(plain):
    def points(seed):
        found = cc.sampling.Halton(SQUARE, 20, dtype=F64, seed=seed)(0)
        return found.x if plain else found

    net, shared = network(), points(0)
    x = shared if plain else shared.x
    before = x.clone()
    problem = [cc.Term(name, net, shared, lambda u, x: u.value, order=0) for name in "abc"]
    chosen = {"a": lambda step: points(1), "b": lambda step: points(2)}
    trainer = Trainer(problem, net, adam(net), chosen, steps=3, compile=True, progress=False)
    trainer._place(trainer.stage)
    a, b, c = (term.x for term in problem)
    assert torch.equal(c, before) and torch.equal(x, before)
    assert not torch.equal(a, b) and not torch.equal(a, c)
    trainer.samplers["a"] = lambda step: before.numpy()
    trainer.state.step = 1
    with pytest.raises(TypeError, match="points of term 'a': expected a sample of"):
        trainer._place(trainer.stage)
