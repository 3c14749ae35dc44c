"""The Helmholtz example: its accuracy after fixed steps, its files, interruption, failure."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import colloc as cc
import pytest
import torch
from captured import waits_of
from colloc import training
from colloc.ops import mlp_jet
from example_modules import load

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "helmholtz.py"
FILES = [
    "checkpoints",
    "loss.png",
    "metrics.json",
    "metrics.jsonl",
    "solution.png",
    "solution.vtu",
]


for part in ("common", "helmholtz_config", "helmholtz_problem", "helmholtz_results"):
    load(part)
config_of, problem = sys.modules["helmholtz_config"], sys.modules["helmholtz_problem"]
helmholtz = load("helmholtz_example", SCRIPT)


def needs_extras():
    for module in ("matplotlib", "meshio", "tqdm", "tyro"):
        pytest.importorskip(module)


def start(folder, *options):
    needs_extras()
    # One thread: the machine that runs the tests may be busy.
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--output", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


@pytest.fixture
def command(monkeypatch):
    """The command in this process, where torch is imported already; its exit code."""

    def call(folder, *options):
        needs_extras()
        monkeypatch.setattr(sys, "argv", ["helmholtz", "--output", str(folder), *options])
        try:
            return helmholtz.main()
        except SystemExit as error:  # options that tyro refuses
            return error.code

    return call


def newest(folder):
    """What the newest checkpoint holds."""
    found = training.RunFolder(folder).newest()
    assert found is not None
    return found[1]


SMALL = ("--points", "64", "--boundary-points", "16", "--width", "8", "--depth", "1")


def test_the_source_belongs_to_the_solution():
    x = (2 * torch.rand(50, 2, dtype=torch.float64) - 1).requires_grad_()
    residual = cc.pde.helmholtz(1.0, problem.source)
    found = residual(cc.jet(problem.exact, x, "laplacian"), x)
    assert found.abs().max() < 1e-11
    wall = cc.geometry.Rectangle((-1, -1), (1, 1)).boundary.sample(50, dtype=torch.float64)
    assert problem.exact(wall.x).abs().max() < 1e-14


@pytest.mark.parametrize("boundary", ["soft", "hard"])
def test_the_exact_field_has_no_residual(boundary):
    def field(x):
        a, b = math.pi * x[:, :1], 4 * math.pi * x[:, 1:]
        q = [math.pi * torch.cos(a) * torch.sin(b), 4 * math.pi * torch.sin(a) * torch.cos(b)]
        return torch.cat([problem.exact(x), *q], dim=1)

    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    inside = square.sample(50, dtype=torch.float64)
    wall = square.boundary.sample(50, dtype=torch.float64)
    for form in ("second", "first"):
        of = field if form == "first" else problem.exact
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nested autograd, for lack of a network
            for term in problem.make_terms(of, inside, wall, boundary, form, 0.3):
                assert term().abs().max() < 1e-10
    # what is 0 along the walls in the hard first-order form is 0 there in truth
    level = wall.normal[:, 1:].abs() == 1
    along = torch.where(level, field(wall.x)[:, 1:2], field(wall.x)[:, 2:])
    assert along.abs().max() < 1e-13


# Seeds 0 to 4 give 0.024 to 0.127 and 0.18 to 0.63.
@pytest.mark.parametrize("form,bound", [("second", 0.25), ("first", 0.7)])
def test_hard_walls_are_exact_and_the_error_falls(form, bound, tmp_path):
    config = helmholtz.Config(
        boundary="hard",
        form=form,
        steps=56,  # 45 of Adam, 11 of L-BFGS
        seconds=math.inf,
        width=32,
        points=256,
        fixed_points=512,
        adam=0.8,
        dtype="float64",
    )
    run = helmholtz.Training(config, tmp_path)
    before = run.error()
    run.run()
    metrics = run.metrics()
    assert metrics["steps"] == 56 and metrics["problem"] is None
    assert newest(tmp_path)["stage"] == [1, 45] and len(run.terms[0].x) == 512
    assert metrics["boundary_error"] == 0.0
    edge = (run.grid.abs() == 1).any(dim=1)
    assert run.prediction()[edge].abs().max() == 0.0
    assert metrics["relative_l2"] < bound < 1.0 < before
    history = training.read_metrics(tmp_path / "metrics.jsonl")
    assert history[-1]["loss"] < 0.1 * history[0]["loss"]
    assert [term.name for term in run.terms] == ["interior"]


def test_hard_walls_write_every_file(tmp_path):
    needs_extras()
    config = helmholtz.Config(
        boundary="hard", form="first", steps=12, width=8, depth=1, points=64, fixed_points=64
    )
    run = helmholtz.Training(config, tmp_path)
    run.run()
    metrics = helmholtz.write_results(run, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
    assert metrics["steps"] == 12 and metrics["boundary_error"] == 0.0
    again = helmholtz.Training(helmholtz.Config(**metrics["config"] | {"seconds": 1.0}))
    again.net.load_state_dict(newest(tmp_path)["net"])
    assert torch.equal(again.prediction(), run.prediction())


def test_hard_first_order_fields_have_no_gradient_along_the_walls():
    run = helmholtz.Training(helmholtz.Config(boundary="hard", form="first", width=8))
    wall = run.square.boundary.sample(40)
    u = cc.jet(run.field, wall.x, order=1)
    along = torch.stack([-wall.normal[:, 1], wall.normal[:, 0]], dim=1)
    assert ((u.value[:, 1:] * along).sum(1)).abs().max() == 0.0
    assert u.value[:, 1:].abs().max() > 0.1


@pytest.mark.parametrize("boundary", ["soft", "hard"])
@pytest.mark.parametrize("form", ["second", "first"])
def test_options_left_out_are_the_variants(boundary, form):
    config = helmholtz.Config(boundary=boundary, form=form, slope=2.0)
    known = config_of.DEFAULTS[boundary, form]
    assert config.slope == 2.0 and config.points == known["points"]
    assert config.learning_rate == known["learning_rate"] and config.adam == known["adam"]


@pytest.mark.slow
def test_accuracy_after_fixed_steps():
    # Seeds 0 to 4 gave 0.0129, 0.0131, 0.0165, 0.0123, 0.0097 when the bound was set.
    config = helmholtz.Config(steps=800, seconds=math.inf, points=512, boundary_points=128)
    run = helmholtz.Training(config)
    run.run()
    metrics = run.metrics()
    assert metrics["steps"] == 800 and not metrics["interrupted"]
    assert metrics["relative_l2"] < 0.025
    assert metrics["nrmse"] == pytest.approx(metrics["relative_l2"], rel=0.01)
    assert metrics["max_error"] < 0.1


def test_equal_seeds_give_equal_networks():
    config = helmholtz.Config(steps=5, seconds=math.inf, width=8, depth=1, points=32)
    weights = []
    for _ in range(2):
        run = helmholtz.Training(config)
        run.run()
        weights.append(run.net.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_the_learning_rate_follows_what_ends_first():
    config = helmholtz.Config(steps=1000, seconds=10.0, adam=0.5, width=8, depth=1)
    high, low = config.learning_rate, config.final_learning_rate
    assert config.rate(500, 0.0) == pytest.approx(high)
    assert config.rate(500, 1.0) == config.rate(500, 2.0) == pytest.approx(low)
    assert config.rate(9, 0.0) == pytest.approx(0.1 * high)  # it warms up
    run = helmholtz.Training(config)
    half = (high + low) / 2
    assert run.learning_rate(250) == pytest.approx(half)  # of the 500 steps that are Adam's
    run.trainer.state.seconds = 2.5
    assert run.learning_rate(100) == pytest.approx(half)
    run.trainer.state.seconds = 5.0
    assert run.learning_rate(250) == pytest.approx(low)


def test_the_optimiser_has_that_rate():
    config = helmholtz.Config(steps=120, seconds=math.inf, width=8, depth=1, points=32)
    run = helmholtz.Training(config)
    for state in run.trainer:  # what the next step will have
        wanted = config.rate(state.step, state.step / 120)
        assert state.learning_rate == pytest.approx(wanted)
    assert state.step == 120 and wanted == pytest.approx(config.final_learning_rate)


def test_a_run_ends_when_its_seconds_are_used_up(tmp_path):
    config = helmholtz.Config(
        steps=10**6, seconds=0.5, adam=0.5, width=8, depth=1, points=32, fixed_points=48
    )
    run = helmholtz.Training(config, tmp_path)
    run.run()
    assert 0.5 <= run.seconds < 5.0 and 0 < run.steps < 10**6
    assert run.failure is None and not run.interrupted
    stage, first = newest(tmp_path)["stage"]
    assert stage == 1 and 0 < first < run.steps and len(run.terms[0].x) == 48


def test_command_writes_every_file(tmp_path, command, capsys):
    folder = tmp_path / "new"
    assert command(folder, "--steps", "12", *SMALL) == 0
    out = capsys.readouterr().out
    assert sorted(p.name for p in folder.iterdir()) == FILES
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("relative_l2", "max_error", "nrmse", "boundary_error", "seconds"):
        assert isinstance(metrics[name], float) and math.isfinite(metrics[name])
    assert metrics["steps"] == 12 and metrics["interrupted"] is False
    assert {"python", "torch", "numpy", "colloc"} <= set(metrics["versions"])
    assert metrics["device"] == "cpu" or torch.cuda.is_available()
    assert f"{metrics['relative_l2']:.4f}" in out and str(folder) in out

    # the checkpoint holds the network whose error was reported
    state = newest(folder)
    config = helmholtz.Config(**{k: v for k, v in state["config"].items()})
    again = helmholtz.Training(config)
    again.net.load_state_dict(state["net"])
    again.optimizer.load_state_dict(state["stages"][0]["optimizer"])
    assert training.relative_l2(again.prediction(), again.exact) == pytest.approx(
        metrics["relative_l2"], rel=1e-4
    )
    import meshio

    mesh = meshio.read(folder / "solution.vtu")
    assert set(mesh.point_data) == {"exact", "network", "error"}
    assert len(mesh.points) == 201 * 201


def assert_interrupted(folder):
    assert sorted(p.name for p in folder.iterdir()) == FILES
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["interrupted"] is True and 0 < metrics["steps"] < 1000000


def test_ctrl_c_stops_the_script_cleanly_and_keeps_the_results(tmp_path):
    process = start(tmp_path, "--steps", "1000000", "--seconds", "100", *SMALL)
    assert "training on" in process.stdout.readline()
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert_interrupted(tmp_path)


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes longer than training does here."""
    monkeypatch.setattr(training, "plot_solution", lambda path, *_, **__: path.touch())
    monkeypatch.setattr(training, "plot_history", lambda path, *_, **__: path.touch())


@pytest.mark.usefixtures("no_pictures")
def test_sigterm_stops_the_command_cleanly_and_keeps_the_results(tmp_path, command, monkeypatch):
    rate = helmholtz.Training.learning_rate

    def interrupted(run, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return rate(run, step)

    monkeypatch.setattr(helmholtz.Training, "learning_rate", interrupted)
    assert command(tmp_path, "--steps", "1000000", "--seconds", "100", *SMALL) == 130
    assert_interrupted(tmp_path)


@pytest.mark.usefixtures("no_pictures")
def test_a_loss_that_is_not_finite_stops_and_keeps_the_good_network(tmp_path, command, capsys):
    assert command(tmp_path, "--steps", "3000", "--learning-rate", "1e6", *SMALL) == 1
    assert "stopped because" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["problem"] and math.isfinite(metrics["relative_l2"])
    net = newest(tmp_path)["net"]
    assert all(torch.isfinite(value).all() for value in net.values())


@pytest.mark.parametrize(
    "options,message",
    [
        (("--steps", "0"), "steps: expected at least 1, got 0"),
        (("--seconds", "-1"), "seconds: expected a number > 0, got -1"),
        (("--learning-rate", "nan"), "learning_rate: expected a number > 0, got nan"),
        (("--activation", "relu"), "relu"),
        (("--adam", "1.5"), "adam: expected at most 1, got 1.5"),
        (("--seed", "-1"), "seed: expected 0 to 2^63 - 1, got -1"),
    ],
)
def test_wrong_options_are_refused(tmp_path, command, capsys, options, message):
    assert command(tmp_path / "never", *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "never").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(tmp_path, command, capsys):
    assert command(tmp_path / "never", "--device", "cuda") == 2
    assert "torch sees no GPU here" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("module", ["tyro", "tqdm", "matplotlib", "meshio"])
def test_a_missing_extra_is_named(monkeypatch, capsys, module):
    needs_extras()
    monkeypatch.setitem(sys.modules, module, None)  # makes its import fail
    assert helmholtz.main() == 2
    message = capsys.readouterr().err
    assert f"needs the package {module}: pip install {module}, or" in message
    assert "pip install 'colloc[examples]'" in message


def test_without_a_good_network_earlier_results_stay(tmp_path, command, capsys):
    (tmp_path / "metrics.json").write_text("earlier")
    broken = ("--steps", "10", "--learning-rate", "1e38", *SMALL)
    assert command(tmp_path, *broken) == 1
    assert "nothing to write" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "earlier"
    # those of a whole run, with what its trainer has written
    assert command(tmp_path, "--steps", "2", *SMALL) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*[!k]") if path.is_file()}
    assert command(tmp_path, *broken) == 1
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*[!k]") if path.is_file()}
    assert after == before and len(before) >= 6  # all but run.lock


def test_a_disk_that_fills_up_is_named(tmp_path, command, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "write_grid", full)
    assert command(tmp_path, "--steps", "2", *SMALL) == 1
    message = capsys.readouterr().err
    assert "could not write all results" in message and "No space left" in message


def test_a_file_in_the_way_is_named(tmp_path, command, capsys):
    (tmp_path / "file").write_text("mine")
    assert command(tmp_path / "file", "--steps", "1") == 2
    assert "where a file is in the way" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("boundary", ["soft", "hard"])
@pytest.mark.parametrize("form", ["first", "second"])
def test_a_captured_step_leaves_the_host_alone(boundary, form, monkeypatch):
    monkeypatch.setattr(mlp_jet, "tiled", lambda net: False)  # as on a GPU: layer by layer
    run = helmholtz.Training(
        helmholtz.Config(boundary=boundary, form=form, width=8, depth=2, points=16, adam=0.5)
    )
    run.trainer.fixed = True
    assert waits_of(run.trainer, monkeypatch) == []


def test_graph_needs_a_gpu(command, capsys, tmp_path):
    assert command(tmp_path, "--graph", "--device", "cpu") == 2
    assert "helmholtz: graph: expected a network on an NVIDIA GPU" in capsys.readouterr().err
