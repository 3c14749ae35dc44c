"""The trainer does what a plain loop does, and stops where it should."""

from __future__ import annotations

import math
import os
import signal

import colloc as cc
import pytest
import torch
from colloc.training import NonFiniteError, Stage, schedules
from training.problems import F64, NAMES, SQUARE, adam, network, rules, samplers, stages, terms
from training.problems import trainer as make


def plainly(rule, steps, clip=None, schedule=None):
    """The same run as a loop of one's own: losses after each step, the network."""
    net = network()
    balancer = rules(net)[rule]
    problem, chosen = terms(net), samplers()
    optimizer = adam(net, *balancer.parameters())
    moved = schedule(optimizer) if schedule else None
    found = []
    for step in range(steps):
        for term in problem:
            term.points = chosen[term.name](step)
        losses = {term.name: term.loss() for term in problem}
        total = balancer(losses, step, terms=problem)
        optimizer.zero_grad()
        total.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([*net.parameters(), *balancer.parameters()], clip)
        optimizer.step()
        if moved:
            moved.step()
        found.append(total.item())
    return found, net


@pytest.mark.parametrize("rule", list(rules(network())))
def test_a_run_is_that_of_a_plain_loop(rule):
    trainer = make(rule)
    found = [float(state.total.detach()) for state in trainer]
    expected, net = plainly(rule, 12)
    assert found == expected
    assert all(
        torch.equal(p, q) for p, q in zip(trainer.net.parameters(), net.parameters(), strict=True)
    )


def test_schedule_and_clipping():
    def schedule(optimizer):
        return schedules.cosine(optimizer, 12, final=0.1, warm_up=3)

    trainer = make(
        "Sum", lambda net: [Stage(o := adam(net), 12, schedule(o), clip=0.3)]
    )  # fmt: skip
    found = [float(state.total) for state in trainer]
    expected, net = plainly("Sum", 12, 0.3, schedule)
    assert found == pytest.approx(expected, rel=1e-12)
    for p, q in zip(trainer.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0)


def test_schedules():
    def rates(make, count):
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], 2.0)
        moved, found = make(optimizer), []
        for _ in range(count):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            moved.step()
        return found

    found = rates(lambda o: schedules.exponential(o, 10, 0.01), 12)
    assert found[0] == 2 and found[5] == pytest.approx(0.2) and found[10] == found[11]
    found = rates(lambda o: schedules.cosine(o, 10, 0.1, warm_up=4), 12)
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[7] == pytest.approx(1.1) and found[10] == found[11] == pytest.approx(0.2)
    assert rates(lambda o: schedules.decay(o, 0.5, 4), 9)[8] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="warm_up: expected fewer than steps"):
        rates(lambda o: schedules.cosine(o, 3, warm_up=3), 1)


def test_lbfgs_keeps_points_and_weights():
    trainer = make("ReLoBRaLo", stages)
    seen = []
    for state in trainer:
        seen.append((state.stage, trainer.terms[0].x.clone(), state.weights, float(state.total)))
    assert [stage for stage, *_ in seen] == [0] * 12 + [1] * 4
    first = seen[12]
    for stage, x, weights, _ in seen[12:]:
        assert stage == 1 and torch.equal(x, first[1]) and weights == first[2]
    assert torch.equal(first[1], samplers()["interior"](12).x)
    assert not torch.equal(seen[10][1], seen[11][1]) and seen[10][2] != seen[11][2]
    assert seen[-1][3] < seen[12][3]


def test_a_stage_ends_at_its_share_of_the_run():
    def made(net):
        one, two = stages(net, 10, 10)
        one.until = 0.25
        return [one, two]

    trainer = make("Sum", made)
    seen = [state.stage for state in trainer]
    assert seen == [0] * 5 + [1] * 15  # the last one goes on to the end
    trainer = make("Sum", made, seconds=1000.0)
    trainer.state.seconds = trainer._own_seconds = 600.0
    assert next(iter(trainer)).stage == 1


def test_terms_without_a_sampler_keep_their_points():
    net = network()
    problem = terms(net)
    before = problem[1].points
    cc.training.Trainer(
        problem, net, adam(net), {"interior": samplers()["interior"]}, steps=2, progress=False
    ).run()
    assert problem[1].points is before


def test_it_ends_with_a_target_and_with_time():
    errors = iter([3.0, 2.0, 0.5, 0.1])
    trainer = make(evaluate=lambda: next(errors), evaluate_every=2, target=1.0, steps=100)
    assert trainer.run().step == 6 and trainer.state.errors == {"error": 0.5}
    assert make(steps=10**6, seconds=0.2).run().step < 10**6
    with pytest.raises(ValueError, match="target: expected None without evaluate"):
        make(target=0.1)


def test_an_interrupt_ends_it_after_a_step(tmp_path):
    trainer = make(steps=10**6, output=tmp_path)
    for state in trainer:
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
    assert trainer.interrupted and state.step == 4
    assert trainer.folder.checkpoints()[0][0] == 4


def spoiled(at, kind, folder):
    """A trainer whose walls, or whose gradient, are NaN at a step."""
    trainer = make("Sum", steps=20, output=folder)
    wall, step = trainer.terms[1], iter(range(100))
    factor = torch.tensor(math.nan, dtype=F64)

    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * factor

    def residual(u, x):
        if next(step) != at:
            return u.value
        return u.value * factor if kind == "loss" else Spoil.apply(u.value)

    wall.residual = residual
    return trainer


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_what_is_not_finite_stops_it_before_the_step(kind, tmp_path):
    trainer = spoiled(6, kind, tmp_path)
    trainer._writes = True
    match = "loss of term 'walls', nan" if kind == "loss" else "norm of the gradients, nan"
    with pytest.raises(NonFiniteError, match=f"step 7: not finite: {match}"):
        trainer.run()
    alike = make("Sum", steps=6)
    alike.run()
    for p, q in zip(trainer.net.parameters(), alike.net.parameters(), strict=True):
        assert torch.equal(p, q)
    step, path = trainer.folder.checkpoints()[0]
    assert step == 6
    saved = cc.training.load_checkpoint(path)
    assert all(torch.isfinite(value).all() for value in saved["net"].values())


def test_a_line_search_that_is_not_finite_is_taken_back():
    trainer = make("Sum", lambda net: stages(net, 2, 5))
    calls = iter(range(1000))
    plain = trainer.terms[1].residual
    trainer.terms[1].residual = lambda u, x: plain(u, x) * (math.nan if next(calls) > 12 else 1.0)
    with pytest.raises(NonFiniteError, match="not finite"):
        trainer.run()
    assert all(torch.isfinite(p).all() for p in trainer.net.parameters())


def test_rolling_back(tmp_path):
    trainer = make("Sum", steps=20, output=tmp_path, on_nonfinite="rollback", save_every=4)
    bad = iter([6, 9])
    plain, at = trainer.terms[1].residual, [next(bad)]

    def residual(u, x):
        if trainer.state.step == at[0]:
            at[0] = next(bad, -1)
            return plain(u, x) * math.nan
        return plain(u, x)

    trainer.terms[1].residual = residual
    with pytest.warns(UserWarning, match="step 7: not finite.*Back to step 4, with 0.5"):
        trainer.run()
    assert trainer.state.step == 20
    assert trainer.stages[0].optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 / 4)
    trainer = make("Sum", steps=5, on_nonfinite="rollback")
    trainer.terms[1].residual = lambda u, x: u.value * math.nan
    with pytest.warns(UserWarning, match="Back to step 0"), pytest.raises(NonFiniteError):
        trainer.run()


# ---- torch.compile ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["ReLoBRaLo", "LRAnnealing", "NTK"])
def test_compiled_steps(rule):
    torch.compiler.reset()
    plain = make(rule, importance=True)
    compiled = make(rule, importance=True, compile=True)
    for one, other in zip(plain, compiled, strict=True):
        assert float(other.total) == pytest.approx(float(one.total), rel=1e-9)
        if one.step == 1:
            places = [(term.x.data_ptr(), term.points.measure.data_ptr()) for term in
                      compiled.terms]  # fmt: skip
    assert other.weights == pytest.approx(one.weights, rel=1e-9)
    assert one.weights != {"interior": 1.0, "walls": 1.0}
    now = [(term.x.data_ptr(), term.points.measure.data_ptr()) for term in compiled.terms]
    assert now == places


# ---- precision ----------------------------------------------------------------------------------


def first_order(dtype=torch.float32):
    net = network(dtype, outputs=3)
    equation = cc.pde.poisson(source, first_order=True)
    inside = SQUARE.sample(50, dtype=dtype)
    wall = SQUARE.boundary.sample(20, dtype=dtype)
    return net, [
        cc.Term("interior", net, inside, equation),
        cc.Term("walls", net, wall, lambda u, x: u[:, 0].value, order=0),
    ]


def source(x):
    return torch.sin(math.pi * x[:, :1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_first_order_forms_in_lower_precision(precision):
    net, problem = first_order()
    trainer = cc.training.Trainer(
        problem, net, adam(net), steps=30, precision=precision, progress=False
    )
    first = next(iter(trainer)).total.item()
    last = trainer.run().total.item()
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert math.isfinite(last) and last < first


def test_second_derivatives_in_lower_precision_are_refused():
    net = network(torch.float32)
    with pytest.raises(ValueError, match="float64 with term 'interior' of order"):
        cc.training.Trainer(terms(net, torch.float32), net, adam(net), steps=1,
                            precision="bfloat16")  # fmt: skip
    net = network()
    with pytest.raises(ValueError, match="net: expected a network in float32"):
        cc.training.Trainer(terms(net), net, adam(net), steps=1, precision="float32")


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes,error,match",
    [
        ({"problem": []}, ValueError, "problem: expected at least one term"),
        ({"problem": "x"}, TypeError, "problem: expected a list of terms"),
        ({"problem": "twice"}, ValueError, "two named 'interior'"),
        ({"sampler": lambda step: None}, TypeError, "sampler: expected a dict of samplers"),
        ({"sampler": {"wall": len}}, ValueError, "sampler: expected names of terms"),
        ({"optimizer": []}, ValueError, "optimizer: expected an optimiser or at least one stage"),
        ({"optimizer": 3}, TypeError, "optimizer: expected a torch optimiser"),
        ({"steps": None}, ValueError, "steps: expected a number"),
        ({"steps": 0}, ValueError, "steps: expected an integer >= 1"),
        ({"clip": -1.0}, ValueError, "clip: expected"),
        ({"resume": True}, ValueError, "output: expected a folder, since resume=True"),
        ({"graph": True}, ValueError, "graph: expected a network on an NVIDIA GPU"),
        ({"precision": "half"}, ValueError, "precision: expected one of"),
        ({"balancer": "uncertainty"}, ValueError, "has the parameters of Homoscedastic"),
    ],
)
def test_what_is_refused(changes, error, match):
    net = network()
    arguments = {"problem": terms(net), "net": net, "optimizer": adam(net), "steps": 1} | changes
    if arguments["problem"] == "twice":
        arguments["problem"] = terms(net)[:1] * 2
    if arguments.get("balancer") == "uncertainty":
        arguments["balancer"] = cc.balancing.HomoscedasticUncertainty(NAMES)
    with pytest.raises(error, match=match):
        cc.training.Trainer(**arguments)


def test_stages_that_are_refused():
    net = network()
    lbfgs = torch.optim.LBFGS(net.parameters())
    with pytest.raises(ValueError, match="clip: expected None with LBFGS"):
        Stage(lbfgs, 3, clip=1.0)
    with pytest.raises(ValueError, match="schedule: expected None or a schedule of this stage"):
        Stage(lbfgs, 3, schedules.decay(adam(net)))
    with pytest.raises(ValueError, match="steps: expected None, as each stage has its own"):
        cc.training.Trainer(terms(net), net, [Stage(lbfgs, 3)], steps=3)
