"""A run folder is for one run at a time, and nothing in it is lost."""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import shutil
import signal

import pytest
from colloc.training import RunFolder, TensorBoard, folder_lock, read_metrics
from colloc.training.folder_lock import FolderLock
from training.problems import trainer as make

WANTED = "output: expected a folder that no other run"


def stopped(folder, at, **options):
    trainer = make(output=folder, **options)
    for state in trainer:
        if state.step == at:
            break
    return trainer


def child(work):
    """The number of a process that does ``work`` and then waits to be killed."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:  # no torch here: threads do not survive a fork
        try:
            work()
            os.write(theirs, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(theirs)
    assert os.read(ours, 1) == b"x"
    os.close(ours)
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# ---- one at a time -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.1)


def test_a_folder_of_another_process(tmp_path):
    before = stopped(tmp_path, 6, log_every=1, save_every=100)
    path = tmp_path / "checkpoints" / "run.lock"
    lock = FolderLock(path, tmp_path)
    pid = child(lock.__enter__)
    try:
        RunFolder(tmp_path).log({"step": 7})  # what the other one has written since
        for made in (lambda: make(output=tmp_path, resume=True), before.run, before.save):
            with pytest.raises(ValueError, match=f"{WANTED} uses, got {re.escape(str(tmp_path))}, "
                               rf"in use by process {pid} on .*, since 20\d\d-"):  # fmt: skip
                made()
        assert read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == 7
    finally:
        kill(pid)
    with pytest.raises(ValueError, match=rf"{WANTED} has used since.*by process {pid}.*resume=T"):
        before.run()
    assert make(output=tmp_path, resume=True).run().step == 12  # at once
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == [1, 2, 3, 4, 5, 6, 10, 12]


def test_a_childs_child_keeps_no_lock(tmp_path):
    lock = FolderLock(tmp_path / "run.lock", tmp_path)
    with lock:
        pid = child(lambda: None)  # as a worker that outlives a killed run
    try:
        with FolderLock(tmp_path / "run.lock", tmp_path):
            pass
    finally:
        kill(pid)


def test_trainers_of_one_process(tmp_path):
    first = stopped(tmp_path, 3)
    second = make(output=tmp_path, resume=True)  # as in a notebook, without the end of the first
    third = make(output=tmp_path, resume=True)
    assert first.run().step == 12  # nobody has written in between
    for old in (second, third):
        with pytest.raises(ValueError, match=r"another Trainer of this process.*resume=True"):
            old.run()
    going = iter(make(output=tmp_path, resume=True, steps=20))
    next(going)
    with pytest.raises(ValueError, match=r"in use by another Trainer of.*Leave its loop first"):
        make(output=tmp_path, resume=True, steps=20)
    del going
    assert make(output=tmp_path, resume=True, steps=20).run().step == 20


def test_a_folder_that_another_run_has_made_anew(tmp_path):
    loop = iter(make(steps=9, output=tmp_path / "run", save_every=2))
    next(loop)
    shutil.rmtree(tmp_path / "run")
    make(steps=3, output=tmp_path / "run").run()
    with pytest.raises(ValueError, match="removed since and used by another Trainer"):
        for _ in loop:
            pass
    assert [step for step, _ in RunFolder(tmp_path / "run").checkpoints()] == [3]


@pytest.mark.parametrize("missing", ["fcntl", "flock"])
def test_systems_without_locks(tmp_path, missing, monkeypatch):
    def flock(file, kind):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    if missing == "fcntl":
        monkeypatch.setattr(folder_lock, "fcntl", None)
    else:
        monkeypatch.setattr(folder_lock.fcntl, "flock", flock)
    first = stopped(tmp_path, 3)
    assert make(output=tmp_path, resume=True).run().step == 12
    with pytest.raises(ValueError, match="has used since"):
        first.run()


# ---- what is in the folder -----------------------------------------------------------------------


def test_metrics_without_checkpoints_are_not_lost(tmp_path):
    stopped(tmp_path, 3, log_every=1)
    RunFolder(tmp_path).checkpoints()[0][1].unlink()
    with pytest.raises(ValueError, match=r"output: expected a folder without metrics, or resume="
                       r"True, which keeps them aside, got .*jsonl with 3 lines"):  # fmt: skip
        make(output=tmp_path)
    for number in (1, 2):
        make(output=tmp_path, resume=True)  # changes nothing
        assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
        stopped(tmp_path, 3, resume=True, log_every=1)
        aside = read_metrics(tmp_path / f"metrics-{number}.jsonl")
        assert [row["step"] for row in aside] == [1, 2, 3]
        RunFolder(tmp_path).checkpoints()[0][1].unlink()


def test_curves_for_tensorboard_go_on(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"log_every": 1, "tensorboard": True, "evaluate": lambda: {"l2": 0.5}}
    with pytest.raises(ValueError, match="output: expected a folder, since tensorboard=True"):
        make(**options)
    stopped(tmp_path, 7, **options)
    RunFolder(tmp_path).checkpoints()[0][1].unlink()  # as if killed at step 7
    trainer = make(output=tmp_path, resume=True, on_nonfinite="rollback", **options)
    plain, spoilt = trainer.terms[1].residual, iter([False] * 5 + [True])  # in step 10, once
    trainer.terms[1].residual = lambda u, x: plain(u, x) * (math.nan if next(spoilt, 0) else 1)
    with pytest.warns(UserWarning, match="Back to step 8"):
        trainer.run()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 13))
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    wanted = {"run/total": [row["loss"] for row in rows]}
    wanted["run/learning_rate"] = [row["learning_rate"] for row in rows]
    for group, curve in (("losses", "loss"), ("weights", "weight"), ("errors", "error")):
        wanted |= {f"{curve}/{n}": [row[group][n] for row in rows] for n in rows[0][group]}
    assert sorted(found.Tags()["scalars"]) == sorted(wanted) and "error/l2" in wanted
    for name, values in wanted.items():
        read = found.Scalars(name)
        assert [event.step for event in read] == list(range(1, 13)), name
        assert [event.value for event in read] == pytest.approx(values, rel=1e-6)


def test_a_full_disk_for_the_curves(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def full(board):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TensorBoard, "flush", full)
    with pytest.warns(UserWarning, match="the curves for TensorBoard could not be written"):
        assert make(output=tmp_path, tensorboard=True, steps=3).run().step == 3


# ---- why it ended --------------------------------------------------------------------------------


def test_a_run_that_was_over_is_over(tmp_path):
    errors = itertools.chain([3.0, 0.5], itertools.repeat(0.2))
    options = {"output": tmp_path, "evaluate": lambda: next(errors), "evaluate_every": 3}
    options |= {"steps": 50, "save_every": 100, "resume": True}
    trainer = make(target=1.0, **options)
    assert trainer.state.ended == "" and trainer.run().ended == "target"
    for again in (trainer, make(target=1.0, **options)):  # of this process, and resumed
        assert (again.run().step, again.state.ended) == (6, "target")
    trainer = make(target=0.4, **options)
    assert trainer.state.ended == "target"  # why the checkpoint's run ended
    assert (trainer.run().step, trainer.state.ended) == (9, "target")
    trainer = make(seconds=trainer.state.seconds / 2, **options)
    assert (trainer.run().step, trainer.state.ended) == (9, "seconds")
    trainer = make(**options)
    for state in trainer:
        if state.step == 12:
            break
    assert state.ended == ""
    for state in trainer:
        if state.step == 13:
            trainer.stop()
    assert (state.step, state.ended, trainer.interrupted) == (14, "stopped", False)
    for state in trainer:
        if state.step == 15:
            os.kill(os.getpid(), signal.SIGINT)
    assert (state.step, state.ended, trainer.interrupted) == (16, "interrupted", True)
    trainer = make(**options)
    assert trainer.state.ended == "interrupted"
    assert (trainer.run().step, trainer.state.ended) == (50, "steps")
    assert make(**options).run().ended == "steps"
