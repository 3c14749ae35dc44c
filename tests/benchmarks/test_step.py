"""The training-step benchmark: every contender computes the same loss and gradients."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as entry
from benchmarks import step as benchmark
from benchmarks.peers.products import MatrixProducts
from benchmarks.step import (
    CASES,
    COMPILED,
    COMPILED_TAYLOR,
    COMPILED_WHOLE,
    EAGER,
    OURS,
    TAYLOR,
    Step,
    compiler,
    difference,
    prepare,
)
from benchmarks.step_memory import PeakMemory, memory_table


def contenders(name: str, layers: int | None = None) -> benchmark.Contenders:
    case = replace(CASES[name], points=32, width=16, layers=layers or CASES[name].layers)
    return benchmark.Contenders(case, torch.float64)


@pytest.mark.parametrize("label", [OURS, TAYLOR])
@pytest.mark.parametrize("name", CASES)
def test_contenders_agree_with_nested_autograd(name, label):
    made = contenders(name)
    assert difference(made.make(label), made.make(EAGER)) < 1e-12


@pytest.mark.parametrize("label", [COMPILED, COMPILED_WHOLE, COMPILED_TAYLOR])
def test_compiled_contenders_agree(label):
    made = contenders("helmholtz-2d-128", layers=2)
    with compiler(torch.get_num_threads()):
        step = made.make(label, "aot_eager")
        assert difference(step, made.make(EAGER)) < 1e-12
        step()  # a second one, with the optimiser's: compiled once
        step()


@pytest.mark.parametrize("name", ["navier-stokes-2d-128", "gradient-helmholtz-2d-128"])
def test_compiled_taylor_mode_of_other_problems(name):
    made = contenders(name, layers=2)
    with compiler(torch.get_num_threads()):
        assert difference(made.make(COMPILED_TAYLOR, "aot_eager"), made.make(EAGER)) < 1e-12


@pytest.mark.parametrize("name", ["helmholtz-2d-128", "helmholtz-3d-128", "navier-stokes-2d-128"])
def test_losses_are_those_of_the_equations(name):
    """Against derivatives by torch.func, written apart from the contenders."""
    made = contenders(name)
    net, x = made.net, made.x

    def at(point):
        return net(point.unsqueeze(0)).squeeze(0)

    value = net(x)
    grad = torch.func.vmap(torch.func.jacrev(at))(x)
    lap = torch.func.vmap(torch.func.hessian(at))(x).diagonal(dim1=2, dim2=3).sum(-1)
    if name.startswith("helmholtz"):
        d = x.shape[1]
        f = (1 - d * torch.pi**2) * torch.sin(torch.pi * x).prod(1, keepdim=True)
        expected = (lap + value - f).square().mean()
    else:
        (u, v), p = grad[:, :2].unbind(1), grad[:, 2]
        expected = torch.zeros((), dtype=torch.float64)
        for i, w in enumerate((u, v)):
            convection = value[:, 0] * w[:, 0] + value[:, 1] * w[:, 1]
            expected = expected + (convection + p[:, i] - 0.01 * lap[:, i]).square().mean()
        expected = expected + (u[:, 0] + v[:, 1]).square().mean()
    torch.testing.assert_close(made.make(EAGER).gradients(), expected.detach())


def test_steps_train_and_stay_together():
    made = contenders("helmholtz-2d-128")
    ours, eager = made.make(OURS), made.make(EAGER)
    before = ours.gradients().item()
    for _ in range(5):
        ours()
        eager()
    assert difference(ours, eager) < 1e-8
    assert ours.gradients().item() < before
    assert eager.x.grad is None


def test_a_difference_is_found():
    made = contenders("helmholtz-2d-128")

    def wrong(net, x, f):
        return made.problem.taylor(net, x, f) * 1.001

    def lost(net, x, f):
        return made.problem.taylor(net, x, f) * torch.nan

    net = benchmark.plain_network(made.net)
    for loss in (wrong, lost):
        assert difference(Step(loss, net, made.x, made.data), made.make(EAGER)) > 1e-4


def test_what_does_not_compile_is_said(monkeypatch):
    def broken(loss, backend):
        del loss, backend
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(benchmark, "_compile", broken)
    monkeypatch.setattr(benchmark, "FLOAT32_TOLERANCE", 1.0)
    case = replace(CASES["helmholtz-2d-128"], points=32, width=16)
    ready, missing = prepare("x", case, "cpu")
    assert set(missing) == {COMPILED, COMPILED_WHOLE, COMPILED_TAYLOR}
    assert missing[COMPILED] == "RuntimeError: no compiler here"
    assert next(iter(ready)) == OURS
    monkeypatch.setitem(CASES, "helmholtz-2d-128", case)
    result = benchmark.time_case("helmholtz-2d-128", rounds=15, device="cpu", threads=1)
    assert "NOT TIMED, RuntimeError: no compiler here" in result.work
    assert {ratio.other for ratio in result.ratios if ratio.bar} == {EAGER, benchmark.PRODUCTS}


def test_products_are_those_of_the_hidden_layers():
    made = contenders("helmholtz-3d-128")
    products = made.products()
    assert products.h.shape == (5 * 32, 16) and products.layers == 3
    products()
    torch.testing.assert_close(products.gradient, products.delta.t() @ products.h)
    assert MatrixProducts(8, 4, 2, torch.float32).operations() == 3 * 2 * 2 * 8 * 4 * 4


def test_peak_memory_sees_what_was_freed():
    extras = []
    for _ in range(3):  # what earlier tests held may go back to the system in the meantime
        with PeakMemory() as memory:
            held = torch.ones(8 << 20)
            del held
        extras.append(memory.extra)
    assert 30 << 20 < max(extras) < 100 << 20


def test_memory_bars():
    def of(label, points, extra, peak):
        return {"contender": label, "points": points, "extra_mib": extra, "peak_mib": peak}

    good = [of(EAGER, 30_000, 1000, 1300), of(OURS, 30_000, 99, 400)]
    good.append(of(OURS, 1_000_000, 1500, 1900))
    text, missed = memory_table(good)
    assert not missed and "0.099 of eager" in text and "under 2 GB in all: met" in text
    bad = [good[0], of(OURS, 30_000, 101, 400), of(OURS, 1_000_000, 1700, 2000)]
    bad.append({"contender": COMPILED, "points": 30_000, "failed": "exit status 1: no"})
    text, missed = memory_table(bad)
    assert len(missed) == 2 and "exit status 1: no" in text


def test_parts_are_run_by_name(monkeypatch, tmp_path, capsys):
    case = replace(CASES["helmholtz-2d-64-n128"], points=32, width=16)
    monkeypatch.setitem(CASES, "helmholtz-2d-64-n128", case)
    monkeypatch.setattr(benchmark, "STEPS", (OURS, EAGER))
    arguments = ["step:helmholtz-2d-64-n128", "--rounds", "15", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments, "--output", str(tmp_path)])
    assert entry.main() == 0
    assert "### step:helmholtz-2d-64-n128" in capsys.readouterr().out
    text = (tmp_path / "step-helmholtz-2d-64-n128.md").read_text()
    assert "1 thread, cpu, 15 rounds" in text and "- colloc: residual in torch" in text
    assert (tmp_path / "step-helmholtz-2d-64-n128.json").exists()


@pytest.mark.parametrize("name", ["nothing", "step:nothing", "halton:nothing"])
def test_unknown_names_are_refused(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["benchmarks", name])
    with pytest.raises(SystemExit):
        entry.main()
    assert "NAME: expected some of" in capsys.readouterr().err
