"""The Helmholtz example in two processes, gone on with, and what stays of runs in its folder."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from colloc.training import RunFolder, read_metrics
from example_modules import load

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "helmholtz.py"
# Odd numbers of points: the processes' shares differ.
SMALL = (
    "--seconds", "inf", "--device", "cpu", "--dtype", "float64", "--width", "16", "--depth", "2",
    "--points", "63", "--fixed-points", "65", "--boundary-points", "17",
)  # fmt: skip


for part in ("common", "helmholtz_config", "helmholtz_problem", "helmholtz_results"):
    load(part)
helmholtz = load("helmholtz")


@pytest.fixture(autouse=True)
def _extras():
    for module in ("matplotlib", "meshio", "tqdm", "tyro"):
        pytest.importorskip(module)


def torchrun(folder, *options, limit=150):
    """The command in two processes of one thread; what they print. They end with this."""
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    process = subprocess.Popen(
        [sys.executable, *launcher, str(SCRIPT), "--output", str(folder), *SMALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    return out


def same_bits(one, other):
    if isinstance(one, dict):
        return set(one) == set(other) and all(same_bits(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_bits, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.fixture
def command(monkeypatch):
    """The command in this process, where torch is imported already; its exit code."""
    for name in ("plot_solution", "plot_history", "write_grid"):  # they take longer than training
        monkeypatch.setattr(helmholtz.training, name, lambda *_, **__: None)

    def call(folder, *options):
        monkeypatch.setattr(sys, "argv", ["helmholtz", "--output", str(folder), *SMALL, *options])
        return helmholtz.main()

    return call


def newest(folder):
    """What the newest checkpoint holds, without the time that was spent."""
    _, state = RunFolder(folder).newest()
    return {
        name: state[name] for name in ("step", "stage", "net", "stages", "balancer", "samplers")
    }


def lines(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in ("seconds", "memory")} for row in rows]


@pytest.mark.skipif(
    os.name != "posix" or not torch.distributed.is_available(), reason="torchrun with gloo"
)
def test_two_processes_have_the_losses_of_one(tmp_path, command):
    # 18 steps of Adam, 2 of L-BFGS: each of its iterations makes a difference ten times as large.
    options = ("--steps", "20", "--adam", "0.9", "--balancer", "relobralo", "--update-every", "2")
    out = torchrun(tmp_path / "two", *options)
    assert out.count("training on cpu, 2 processes") == 1 and out.count("results are in") == 1
    assert '"processes": 2' in (tmp_path / "two" / "metrics.json").read_text()
    assert command(tmp_path / "one", *options) == 0
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [row["step"] for row in one] == [row["step"] for row in two] == list(range(1, 21))
    for mine, theirs in zip(two, one, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-11, abs=0)
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=1e-11, abs=0)
    assert one[-1]["weights"] != one[2]["weights"] and one[-1]["loss"] < one[0]["loss"]


def test_a_run_that_goes_on_is_bit_for_bit_the_one_that_was_never_stopped(
    tmp_path, command, monkeypatch, capsys
):
    options = ("--steps", "20", "--adam", "0.7", "--balancer", "relobralo", "--update-every", "2")
    assert command(tmp_path / "whole", *options) == 0
    whole = newest(tmp_path / "whole")
    assert whole["step"] == 20 and whole["stage"] == [1, 14]
    error = helmholtz.Training.error
    for at in (9, 17):  # within Adam's steps, and within those of L-BFGS
        folder = tmp_path / str(at)

        def stopping(run, at=at):
            if run.trainer.state.step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return error(run)

        with monkeypatch.context() as patch:
            patch.setattr(helmholtz.Training, "error", stopping)
            assert command(folder, *options) == 130
        assert at <= newest(folder)["step"] <= at + 1
        assert command(folder, *options, "--resume") == 0
        assert same_bits(newest(folder), whole)
        assert lines(folder) == lines(tmp_path / "whole")
    assert command(folder, *options, "--resume", "--seed", "1") == 2
    assert "resume: expected the checkpoint's points" in capsys.readouterr().err


def test_a_run_starts_anew_and_keeps_the_earlier_ones_aside(tmp_path, command, capsys):
    for steps in ("3", "2", "4"):
        assert command(tmp_path, "--steps", steps) == 0
        capsys.readouterr()
    places = {"earlier-1": 3, "earlier-2": 2, ".": 4}
    assert {name: newest(tmp_path / name)["step"] for name in places} == places
    rows = {name: read_metrics(tmp_path / name / "metrics.jsonl") for name in places}
    assert {name: len(one) for name, one in rows.items()} == places
    # A run that ends before its first checkpoint takes nothing along, and hides nothing.
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "metrics.jsonl").unlink()
    assert command(tmp_path, "--resume") == 2
    assert "earlier-1, earlier-2" in capsys.readouterr().err
    assert command(tmp_path, "--steps", "1") == 0
    assert {newest(tmp_path / name)["step"] for name in ("earlier-1", "earlier-2")} == {2, 3}
    assert not (tmp_path / "earlier-3").exists()


def test_a_folder_in_use_is_refused(tmp_path, command, capsys):
    assert command(tmp_path, "--steps", "2") == 0
    small = {"points": 63, "fixed_points": 65, "boundary_points": 17, "width": 16, "depth": 2}
    config = helmholtz.Config(resume=True, dtype="float64", device="cpu", **small)
    other = helmholtz.Training(config, tmp_path)
    loop = iter(other.trainer)
    next(loop)
    for options in ((), ("--resume",)):
        assert command(tmp_path, "--steps", "9", *options) != 0
        assert "in use" in capsys.readouterr().err
    loop.close()
    assert newest(tmp_path)["step"] == 3


class Breaking(torch.nn.Module):
    """A sum that is NaN from the eighth step on."""

    def __init__(self):
        super().__init__()
        self.weights = {"interior": 1.0, "walls": 1.0}

    def forward(self, losses, step, *, terms):
        return (math.nan if step >= 7 else 1.0) * sum(losses.values())


def test_after_a_failure_the_state_is_of_one_step(tmp_path, monkeypatch):
    config = helmholtz.Config(steps=40, seconds=math.inf, width=8, depth=1, points=32)
    monkeypatch.setattr(helmholtz, "make_balancer", lambda *_: Breaking())
    run = helmholtz.Training(config, tmp_path / "a")
    run.run()
    assert "total loss, nan" in run.failure and "step 8" in run.failure
    state = newest(tmp_path / "a")
    assert run.steps == 7 == state["step"] == run.metrics()["steps"]
    adam = run.optimizer.state_dict()["state"]
    assert {int(s["step"]) for s in adam.values()} == {7}
    saved = state["stages"][0]["optimizer"]["state"]
    assert {int(s["step"]) for s in saved.values()} == {7}
    assert all(torch.equal(value, run.net.state_dict()[k]) for k, value in state["net"].items())
    # Measured every second step: 6 is the last one before a network that is not finite.
    error = helmholtz.Training.error
    monkeypatch.setattr(
        helmholtz.Training,
        "error",
        lambda run: error(run) if run.trainer.state.step < 7 else math.nan,
    )
    run = helmholtz.Training(config, tmp_path / "b")
    run.run()
    state = newest(tmp_path / "b")
    assert run.steps == 6 == state["step"] and "step 8" in run.failure
    assert read_metrics(tmp_path / "b" / "metrics.jsonl")[-1]["step"] == 6
    assert all(torch.equal(value, run.net.state_dict()[k]) for k, value in state["net"].items())
    saved = state["stages"][0]["optimizer"]["state"]
    assert {int(s["step"]) for s in saved.values()} == {6}
