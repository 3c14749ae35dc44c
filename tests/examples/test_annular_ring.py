"""The annular ring: its problem, its files, resuming."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from colloc import training
from example_modules import load

SCRIPT = Path(__file__).parents[2] / "examples" / "annular_ring.py"
FILES = [
    "checkpoints",
    "errors.png",
    "fields.png",
    "loss.png",
    "metrics.json",
    "metrics.jsonl",
    "solution.vtu",
    "streamlines.png",
]
SMALL = ("--interior", "64", "--width", "8", "--depth", "1", "--device", "cpu")


load("common")
problem = load("annular_ring_problem")
pictures = load("annular_ring_pictures")
ring = load("annular_ring")


@pytest.fixture
def command(monkeypatch):
    for module in ("matplotlib", "meshio", "tqdm", "tyro"):
        pytest.importorskip(module)

    def call(folder, *options):
        monkeypatch.setattr(sys, "argv", ["annular_ring", "--output", str(folder), *options])
        try:
            return ring.main()
        except SystemExit as error:  # options that tyro refuses
            return error.code

    return call


class Poiseuille(torch.nn.Module):
    """The flow of a straight channel: what flows in on the left goes on."""

    def forward(self, x):
        zero = torch.zeros_like(x[:, :1])
        return torch.cat((1.5 * (1 - x[:, 1:] ** 2), zero, -0.03 * (x[:, :1] - problem.END)), dim=1)


@pytest.mark.filterwarnings("ignore:cc.jet")
def test_terms_of_a_flow_that_is_known():
    sizes = {"interior": 300, "no_slip": 200, "inlet": 20, "outlet": 20, "flux": 64}
    where = {"dtype": torch.float64, "device": "cpu"}
    terms, samplers = problem.make_problem(Poiseuille(), sizes, 0, where)
    by_name = {term.name: term for term in terms}
    sections = problem.Weights(sections=6)
    fluxes = problem.make_problem(Poiseuille(), sizes, 0, where, sections)[0][-1]
    assert fluxes().shape == (6, 1) and fluxes().abs().max() < 1e-14
    for count in (1, 2, 3, 8):
        at = problem.Sections.of(count, 4, where).x[:, 0]
        assert at.max() == problem.END and len(at.unique()) == count
    for name in ("interior", "inlet", "outlet"):
        assert by_name[name]().abs().max() < 1e-12, name
    assert by_name["flux"]().abs().max() < 2e-3  # a mean over Halton points
    wall = by_name["no_slip"]
    straight = (wall.x[:, 1].abs() == 1) & (wall.x[:, 0].abs() > 3**0.5)
    assert straight.sum() > 20 and wall()[straight].abs().max() < 1e-12
    assert wall()[~straight].abs().max() > 0.1
    assert set(samplers) == {"interior", "no_slip", "inlet", "outlet"}


def test_the_reference_leaves_out_the_corners():
    reference = problem.Reference(problem.REFERENCE, {"dtype": torch.float64, "device": "cpu"})
    assert 2000 < len(reference.x) < 2500 and reference.x[:, 0].max() < 6.3
    exact = torch.cat([reference.values[name] for name in problem.OUTPUTS], dim=1)
    errors = reference.errors(type("Net", (torch.nn.Module,), {"forward": lambda _, x: exact})())
    assert max(errors.values()) == 0.0


def test_files_and_resuming(command, tmp_path, capsys):
    adam = (*SMALL, "--lbfgs", "0")
    assert command(tmp_path, "--steps", "4", *adam) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    first = json.loads((tmp_path / "metrics.json").read_text())
    assert first["steps"] == 4 and set(first["errors"]) == {"u", "v", "p"}
    assert "errors in the peer's metric" in capsys.readouterr().out
    assert command(tmp_path, "--steps", "4", *adam) == 2
    assert "resume=True" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="another config"):
        assert command(tmp_path, "--steps", "6", "--resume", *adam) == 0
    assert training.read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == 6


def test_the_viscosity_falls_and_resumes(command, tmp_path, monkeypatch):
    pytest.importorskip("pytorch_optimizer")
    monkeypatch.setattr(ring, "write_pictures", lambda *_: None)
    seen = []
    follow = problem.Viscosity.follow

    def spy(self, fraction):
        follow(self, fraction)
        seen.append(self.value.item())

    monkeypatch.setattr(problem.Viscosity, "follow", spy)
    steps = training.Trainer.__iter__

    def four(self):
        for state in steps(self):
            if state.step == 4:
                self.stop()
            yield state

    options = ("--steps", "10", "--seconds", "1e9", *SMALL)
    assert command(tmp_path / "whole", *options) == 0
    whole, seen[:] = list(seen), []
    falling = [0.05 * 0.2 ** min(k / 7, 1.0) for k in range(11)]
    assert whole == pytest.approx(falling, rel=1e-6)
    with monkeypatch.context() as stopped:
        stopped.setattr(training.Trainer, "__iter__", four)
        assert command(tmp_path / "parts", *options) == 0
    assert len(seen) < 8
    del seen[:]
    assert command(tmp_path / "parts", *options, "--resume") == 0
    assert seen == whole[-len(seen) :]
    one, two = (
        training.RunFolder(tmp_path / name).newest()[1]["net"] for name in ("whole", "parts")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_lbfgs_takes_over(command, tmp_path, monkeypatch):
    monkeypatch.setattr(ring, "write_pictures", lambda *_: None)
    options = ("--steps", "3", "--lbfgs", "2", "--seconds", "60")
    assert command(tmp_path, *options, *SMALL) == 0
    rows = training.read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["step"] == 5


@pytest.mark.parametrize("rule", ["uncertainty", "gradnorm", "lr-annealing", "gradient-norm"])
def test_rules(rule, command, tmp_path, monkeypatch):
    monkeypatch.setattr(ring, "write_pictures", lambda *_: None)
    monkeypatch.setattr(training, "plot_history", lambda *_, **__: None)
    options = ("--steps", "3", "--lbfgs", "0", "--balancer", rule, "--momentum", "1e-4")
    assert command(tmp_path, *options, *SMALL) == 0
    weights = training.read_metrics(tmp_path / "metrics.jsonl")[-1]["weights"]
    assert set(weights.values()) != {1.0}


def test_wrong_options(command, tmp_path, capsys):
    assert command(tmp_path / "never", "--interior", "8") == 2
    assert "interior: expected at least 64" in " ".join(capsys.readouterr().err.split())
    assert command(tmp_path / "never", "--momentum", "-1") == 2
    assert "momentum: expected a number > 0, got -1" in " ".join(capsys.readouterr().err.split())
    assert command(tmp_path / "never", "--graph", *SMALL) == 2
    assert "graph: expected a network on an NVIDIA GPU" in capsys.readouterr().err
