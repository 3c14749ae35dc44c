"""Runs that are resumed with other stages, what they are at their end, and lines of a stage."""

from __future__ import annotations

import pytest
import torch
from colloc.training import RunFolder, Stage, read_metrics, save_checkpoint
from training.problems import adam, stages
from training.problems import trainer as make
from training.test_resume import alike, stopped


def steps_of(path):
    return [row["step"] for row in read_metrics(path / "metrics.jsonl")]


def as_before(path):
    """Make the newest checkpoint one of the code before."""
    file, saved = RunFolder(path).newest()
    for key in ("learning_rate", "last", "errors_step", "named_parameters"):
        del saved[key]
    for stage in saved["stages"]:
        del stage["places"], stage["steps"]
    save_checkpoint(file, saved)


# ---- what a finished run is ----------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [None, stages])
def test_a_finished_run_has_its_losses(optimizer, tmp_path):
    errors = iter([3.0, 2.0])
    first = make(optimizer=optimizer, output=tmp_path, evaluate=lambda: next(errors, 1.0))
    first.run()
    assert first.state.errors_step == first.state.step
    again = make(optimizer=optimizer, output=tmp_path, resume=True, evaluate=lambda: 9.0)
    for state in (again.state, again.run()):
        assert state.ended == "steps" and list(state.losses) == ["interior", "walls"]
        assert all(torch.equal(state.losses[k], loss) for k, loss in first.state.losses.items())
        assert torch.equal(state.total, first.state.total) and float(state.total) > 0
        assert state.learning_rate == first.state.learning_rate
        assert state.errors == {"error": 1.0} and state.errors_step == state.step
    as_before(tmp_path)
    assert make(optimizer=optimizer, output=tmp_path, resume=True).run().losses == {}


def test_losses_of_more_processes_are_averaged(tmp_path):
    trainer = make(output=tmp_path, steps=4)
    trainer.run()

    def gather(value):
        other = value | {"total": 3 * value["total"]}
        return [value, other | {"losses": {k: 3 * v for k, v in value["losses"].items()}}]

    trainer.processes.count, trainer.processes.gather = 2, gather  # as if
    trainer.save()
    with pytest.warns(UserWarning, match="of 2 processes, this run has 1"):
        state = make(output=tmp_path, resume=True, steps=4).state
    assert float(state.total) == pytest.approx(2 * float(trainer.state.total))
    assert float(state.losses["walls"]) == pytest.approx(2 * float(trainer.state.losses["walls"]))


def test_the_step_of_errors():
    seen = []
    trainer = make(evaluate=lambda: 1.0, evaluate_every=4, steps=10)
    assert trainer.state.errors_step == 0
    seen = [state.errors_step for state in trainer]
    assert seen == [0, 0, 0, 4, 4, 4, 4, 8, 8, 10]


# ---- stages of a resumed run ---------------------------------------------------------------------


@pytest.mark.parametrize("at", [5, 12])
@pytest.mark.parametrize("old", [False, True])
def test_a_stage_is_added(at, old, tmp_path):
    alone = make(optimizer=stages)
    alone.run()
    stopped(at, tmp_path, optimizer=lambda net: stages(net)[:1])
    if old:
        as_before(tmp_path)
    resumed = make(output=tmp_path, resume=True, optimizer=stages)
    seen = [(state.step, state.stage, state.stage_start) for state in resumed]
    wanted = [(k, int(k > 12), 12 if k > 12 else 0) for k in range(at + 1, 17)]
    assert seen == wanted and resumed.state.ended == "steps"
    alike(resumed, alone)


def test_more_steps_in_the_stage_that_it_is_in(tmp_path):
    alone = make(optimizer=lambda net: stages(net, 15, 4))
    alone.run()
    stopped(12, tmp_path, optimizer=stages)  # at the end of the first
    resumed = make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 15, 4))
    assert [state.stage for state in resumed] == [0] * 3 + [1] * 4
    alike(resumed, alone)
    # The last one, too, when all was done; and fewer, but not fewer than were made.
    longer = make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 15, 6))
    assert [state.stage for state in longer] == [1] * 2 and longer.state.step == 21
    with pytest.raises(ValueError, match=r"optimizer\[1\]\.steps: expected at least the .* 6, got"):
        make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 15, 5))


def test_fewer_steps_in_the_stage_that_it_is_in(tmp_path):
    stopped(7, tmp_path, optimizer=stages)
    with pytest.raises(ValueError, match=r"optimizer\[0\]\.steps: expected at least the .* 7, got"):
        make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 6, 4))
    resumed = make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 7, 4))
    assert [state.stage for state in resumed] == [1] * 4


@pytest.mark.parametrize("at", [14, 16])
@pytest.mark.parametrize("first", [11, 20])
def test_a_stage_that_is_over_keeps_its_steps(at, first, tmp_path):
    stopped(at, tmp_path, optimizer=stages)
    match = r"optimizer\[0\]\.steps: expected the checkpoint's 12, as that .* optimizer\[1\]"
    with pytest.raises(ValueError, match=match):
        make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, first, 8))
    if at == 14:  # nothing was changed by the attempt
        assert make(output=tmp_path, resume=True, optimizer=stages).run().step == 16
    as_before(tmp_path)
    if first == 20:  # it does not say: as before
        assert make(output=tmp_path, resume=True, optimizer=lambda net: stages(net, 20)).run()


def test_fewer_or_other_stages_are_refused(tmp_path):
    stopped(5, tmp_path, optimizer=stages)
    match = "optimizer: expected the checkpoint's 2 stages, or more, got 1. Give those that it has"
    with pytest.raises(ValueError, match=match):
        make(output=tmp_path, resume=True)
    with pytest.raises(ValueError, match="optimizer: expected the checkpoint's Adam, got LBFGS"):
        make(output=tmp_path, resume=True, optimizer=lambda net: stages(net)[::-1] * 2)


def test_a_last_stage_that_began_early_is_resumed(tmp_path):
    def made(*more):
        def of(net):
            one, two = stages(net, 10, 10)
            one.until = 0.25
            return [one, two, *(Stage(adam(net), k) for k in more)]

        return of

    options = {"rule": "Sum", "save_every": 100, "output": tmp_path}
    assert make(optimizer=made(), **options).run().stage_start == 5  # 15 steps of 10 in it
    again = make(optimizer=made(), resume=True, **options)
    assert again.run().step == 20
    resumed = make(optimizer=made(3), resume=True, **options)
    assert [state.stage for state in resumed] == [2] * 3


# ---- lines of a stage ----------------------------------------------------------------------------


def test_a_stage_has_lines_of_its_own(tmp_path):
    def made(net):
        one, two = stages(net, 12, 6)
        two.log_every, two.evaluate_every = 1, 3
        return [one, two]

    looked = []
    trainer = make(optimizer=made, output=tmp_path, log_every=7, evaluate_every=5,
                   evaluate=lambda: looked.append(trainer.state.step) or 1.0)  # fmt: skip
    trainer.run()
    # The first step, the multiples, the last of each stage.
    assert steps_of(tmp_path) == [1, 7, 12, 13, 14, 15, 16, 17, 18]
    assert looked == [5, 10, 15, 18]
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["errors_step"] for row in rows] == [0, 5, 10, 10, 10, 15, 15, 15, 18]


def test_evaluate_every_follows_the_stages_lines():
    def made(net):
        one, two = stages(net, 6, 4)
        two.log_every = 2
        return [one, two]

    looked = []
    trainer = make("Sum", made, log_every=3,
                   evaluate=lambda: looked.append(trainer.state.step) or 1.0)  # fmt: skip
    trainer.run()
    assert looked == [3, 6, 8, 10]


def test_a_stage_that_ends_early_has_a_last_line(tmp_path):
    def made(net):
        one, two = stages(net, 10, 10)
        one.until = 0.25
        return [one, two]

    make("Sum", made, output=tmp_path, log_every=100).run()
    assert steps_of(tmp_path) == [1, 5, 20]


@pytest.mark.parametrize("name", ["log_every", "evaluate_every"])
def test_intervals_that_are_refused(name):
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], 1.0)
    with pytest.raises(ValueError, match=f"{name}: expected an integer >= 1"):
        Stage(optimizer, 3, **{name: 0})
