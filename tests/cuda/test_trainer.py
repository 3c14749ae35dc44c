"""The trainer on a GPU: captured steps equal plain ones, weights move, what is resumed is equal."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.training import NonFiniteError
from training.problems import F64, NAMES, SQUARE, network, rules, source

pytestmark = pytest.mark.cuda
# The fused optimiser takes a captured rate in float32: six digits of it.
GPU = {"dtype": F64, "device": "cuda"}


def make(rule="ReLoBRaLo", importance=False, steps=12, schedule=False, **options):
    net = network().cuda()
    balancer = rules(net)[rule].cuda()
    samplers = {
        "interior": cc.sampling.Halton(SQUARE, 63, seed=1, **GPU),
        "walls": cc.sampling.Halton(SQUARE.boundary, 21, seed=2, **GPU),
    }
    terms = [
        cc.Term("interior", net, samplers["interior"](0), cc.pde.poisson(source)),
        cc.Term("walls", net, samplers["walls"](0), lambda u, x: u.value, order=0, weight=5.0),
    ]
    if importance:
        samplers["interior"] = cc.sampling.ImportanceSampler(
            SQUARE, terms[0], 63, 200, refresh_every=5, seed=3, **GPU
        )
    adam = torch.optim.Adam(
        [*net.parameters(), *balancer.parameters()], 1e-3, fused=True, capturable=True
    )
    moved = cc.training.schedules.cosine(adam, steps, 0.1, 3) if schedule else None
    return cc.training.Trainer(
        terms, net, adam, samplers, balancer, steps=steps, schedule=moved, log_every=5,
        save_every=4, progress=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("rule", ["Sum", "ReLoBRaLo", "SoftAdapt", "LRAnnealing", "NTK",
                                  "HomoscedasticUncertainty"])  # fmt: skip
def test_captured_steps(rule):
    plain, graph = make(rule, True, schedule=True), make(rule, True, schedule=True, graph=True)
    for one, other in zip(plain, graph, strict=True):
        assert float(other.total) == pytest.approx(float(one.total), rel=1e-7)
    assert other.weights == pytest.approx(one.weights, rel=1e-7)
    if rule != "Sum":
        assert set(one.weights.values()) != {1.0}
    for p, q in zip(plain.net.parameters(), graph.net.parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-6, atol=1e-8)
    assert float(other.learning_rate) == pytest.approx(float(one.learning_rate))


def test_with_clipping():
    plain, graph = make(clip=0.1), make(clip=0.1, graph=True)
    plain.run()
    graph.run()
    for p, q in zip(plain.net.parameters(), graph.net.parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("graph", [False, True])
def test_resuming(graph, tmp_path):
    alone = make(importance=True, graph=graph)
    alone.run()
    for state in make(importance=True, graph=graph, output=tmp_path):
        if state.step == 6:
            break
    resumed = make(importance=True, graph=graph, output=tmp_path, resume=True)
    assert resumed.state.step == 6
    resumed.run()
    for p, q in zip(alone.net.parameters(), resumed.net.parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("graph", [False, True])
def test_not_finite(graph, tmp_path):
    trainer = make("Sum", steps=40, graph=graph, output=tmp_path)
    sampler = trainer.samplers["walls"]

    def spoiled(step):
        points = sampler(step)
        if step == 17:
            points.x.fill_(math.nan)
        return points

    trainer.samplers["walls"] = spoiled
    with pytest.raises(NonFiniteError, match="step 18: not finite: loss of term 'walls', nan"):
        trainer.run()
    assert trainer.state.step == 16
    assert all(torch.isfinite(p).all() for p in trainer.net.parameters())


def test_lbfgs_on_a_gpu():
    trainer = make("Sum", steps=4)
    stage = cc.training.Stage(torch.optim.LBFGS(trainer.net.parameters(), max_iter=3), 3)
    trainer.stages.append(stage)
    trainer.total_steps = 7
    assert trainer.run().step == 7 and trainer.state.stage == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision(precision):
    net = network(torch.float32, outputs=3).cuda()
    inside, wall = (s.sample(500, device="cuda") for s in (SQUARE, SQUARE.boundary))
    terms = [
        cc.Term("interior", net, inside, cc.pde.poisson(source, first_order=True)),
        cc.Term("walls", net, wall, lambda u, x: u[:, 0].value, order=0),
    ]
    adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    trainer = cc.training.Trainer(
        terms, net, adam, steps=50, precision=precision, progress=False
    )  # fmt: skip
    losses = [float(state.total) for state in trainer]
    assert math.isfinite(losses[-1]) and losses[-1] < losses[0]


def test_a_compiled_run():
    torch.compiler.reset()
    plain, compiled = make(importance=True), make(importance=True, compile=True)
    for one, other in zip(plain, compiled, strict=True):
        assert float(other.total) == pytest.approx(float(one.total), rel=1e-7)
    assert list(one.weights) == NAMES and other.weights == pytest.approx(one.weights, rel=1e-7)
