"""The Helmholtz example at full size: every variant in small, and what a captured step may do."""

from __future__ import annotations

import json
import sys
from typing import Any

import colloc as cc
import pytest
import torch
from captured import Waits, waits_of
from colloc.ops import mlp_jet

from benchmarks.gpu import helmholtz_full as benchmark
from benchmarks.gpu.helmholtz_full import VARIANTS, Size, Variant, make, train

#: Every evaluation is after the same batch.
SMALL = Size(width=16, depth=2, points=64, wall_points=16, batches=2, steps=30, every=10)


@pytest.fixture(scope="module")
def record():
    return {"helmholtz": {name: train(name, SMALL, "cpu") for name in VARIANTS}}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_train(name, record):
    found = record["helmholtz"][name]
    assert [row["step"] for row in found["curve"]] == [20, 30] and found["ended"] == "steps"
    before, last = found["curve"]
    assert last["loss"] < before["loss"]
    assert (last["boundary error"] == 0) is VARIANTS[name].hard
    # The steps before the 10th are not timed.
    assert found["seconds"] == pytest.approx(10 * sum(row["each"] for row in found["curve"]))


def test_losses_are_the_integrals_of_the_source():
    for variant in (Variant("soft"), Variant("hard", hard=True)):
        trainer, field = make(variant, SMALL, "cpu")
        next(iter(trainer))
        trainer, field = make(variant, SMALL, "cpu")  # the same network, before the step
        points = benchmark.batches(False, 64, 2, "cpu")(0)
        x, f = points.x, benchmark.source(points.x)
        u = cc.jet(field, x, 1 if variant.hard else "laplacian")
        inside = points.distance[:, 0]
        if variant.hard:
            q = u.value[:, 1:]
            equation = u.d(0)[:, 1:2] + u.d(1)[:, 2:3] + u.value[:, :1] - f
            total = 4 * (inside * equation[:, 0].square()).mean()
            total = total + 4 * 0.5 * (q - u.grad[:, 0]).square().sum(1).mean()
        else:
            wall = benchmark.batches(True, 16, 2, "cpu")(0).x
            total = 4 * (inside * (u.laplacian + u.value - f)[:, 0].square()).mean()
            total = total + 8 * field(wall).square().mean()
        torch.testing.assert_close(next(iter(trainer)).total, total.detach(), rtol=1e-5, atol=0)


def test_a_limit_ends_a_run_and_is_said(record):
    seen: list[int] = []
    size = Size(**{**record["helmholtz"]["soft"]["size"], "seconds": 1e-9})
    found = train("soft", size, "cpu", lambda run: seen.append(len(run["curve"])))
    assert found["ended"] == "limit of 1e-09 s" and seen == [1]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_captured_step_leaves_the_host_alone(name, monkeypatch):
    monkeypatch.setattr(mlp_jet, "tiled", lambda net: False)  # as on a GPU: layer by layer
    trainer, _ = make(VARIANTS[name], SMALL, "cpu")
    assert waits_of(trainer, monkeypatch) == []


def test_what_waits_is_noticed():
    with Waits() as waits:
        torch.zeros(2, 2)[0, 1] = 1
    assert waits.found


def test_pictures_and_tables(record, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "campaign.json", tmp_path / "curves.png"
    broken = {"curve": [], "ended": "step 3: not finite"}
    runs: dict[str, Any] = {**record["helmholtz"], "hard-first": broken}
    path.write_text(json.dumps({"helmholtz": runs}))
    monkeypatch.setattr(sys, "argv", ["helmholtz_full", str(path), str(picture)])
    assert benchmark.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(VARIANTS) and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| soft, second order, TF32 |") and "| 1.00 |" in lines[2]
    assert picture.stat().st_size > 10_000


@pytest.mark.cuda
@pytest.mark.parametrize("name", VARIANTS)
def test_captured(name):
    found = train(name, SMALL, "cuda")
    assert found["curve"][-1]["loss"] < found["curve"][0]["loss"]
    assert found["seconds of a replay"] > 0


@pytest.mark.cuda
def test_what_an_ansatz_keeps_is_not_captured():
    """Weights that are updated before the captured step look at the same points."""

    def losses(graph):
        torch.manual_seed(0)
        net = cc.nn.MLP(2, 3, 16, 2, device="cuda")
        walls = [cc.boundary.Dirichlet(benchmark.SQUARE.boundary, 0.0, components=0)]
        points = benchmark.batches(False, 64, 2, "cuda")
        field = cc.boundary.Ansatz(net, walls)
        terms = [cc.Term("interior", field, points(0), benchmark.first_order, order=1)]
        adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True, capturable=True)
        trainer = cc.training.Trainer(
            terms, net, adam, {"interior": points}, cc.balancing.NTK(["interior"]), steps=12,
            graph=graph, progress=False,
        )  # fmt: skip
        return [float(state.total) for state in trainer]

    assert losses(True) == pytest.approx(losses(False), rel=1e-4)
