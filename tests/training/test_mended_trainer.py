"""Balancers in float16 and compiled, what torch.compile counts, samplers that see a broken field,
evaluations that fail, and mistakes that were not named."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.training import NonFiniteError, RunFolder, Trainer, read_metrics
from training.problems import F64, NAMES, SQUARE, adam, network, samplers, terms
from training.problems import trainer as make

COMPILED = pytest.mark.filterwarnings("ignore:.*_prims_common:FutureWarning")
SAME = {"rtol": 1e-9, "atol": 0}


def first_order():
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 3, 32, 2, "tanh")
    inside, walls = SQUARE.sample(200), SQUARE.boundary.sample(50)
    return net, [
        cc.Term("interior", net, inside, cc.pde.poisson(1.0, first_order=True)),
        cc.Term("walls", net, walls, lambda u, x: u[:, 0].value, order=0),
    ]


GRADIENT_RULES = {
    "GradNorm": lambda net, **options: cc.balancing.GradNorm(NAMES, net, **options),
    "LRAnnealing": lambda net: cc.balancing.LRAnnealing(NAMES, "interior", net),
    "GradientNormBalance": lambda net: cc.balancing.GradientNormBalance(NAMES, net),
}


# ---- float16 -------------------------------------------------------------------------------------


@COMPILED
@pytest.mark.parametrize(
    "rule,compiled", [*((rule, False) for rule in GRADIENT_RULES), ("GradNorm", True)]
)
def test_weights_in_float16_are_those_of_float32(rule, compiled):
    found = []
    for precision in (None, "float16"):
        net, problem = first_order()
        balancer = GRADIENT_RULES[rule](net)
        chosen = {"compile": compiled and precision is not None, "precision": precision}
        Trainer(problem, net, adam(net), None, balancer, steps=20, progress=False, **chosen).run()
        assert getattr(balancer, "gradient_scale", None) is None  # not outside of the trainer
        found.append(balancer.weights["walls"])
    rel = 3e-3 if rule == "GradNorm" else 0.05  # 0.0114 is how far its weight has moved
    assert found[1] == pytest.approx(found[0], rel=rel)


def test_a_balancer_sees_losses_without_the_scale():
    class Sees(cc.balancing.GradNorm):
        def forward(self, losses, step=None, *, terms=None):
            assert float(self.gradient_scale) > 1000
            seen.append(losses["interior"].item())
            return super().forward(losses, step, terms=terms)

    seen = []
    net, problem = first_order()
    parts = {"precision": "float16", "progress": False}
    trainer = Trainer(problem, net, adam(net), None, Sees(NAMES, net), steps=2, **parts)
    for state in trainer:
        assert seen[-1] == pytest.approx(state.losses["interior"].item())
        assert seen[-1] < 10 and state.total.item() < 10


# ---- torch.compile -------------------------------------------------------------------------------


@COMPILED
@pytest.mark.parametrize("every", [1, 2])
def test_gradnorm_is_the_same_when_compiled(every):
    found = []
    for compiled in (False, True):
        net = network()
        balancer = cc.balancing.GradNorm(NAMES, net, lr=0.1, update_every=every)
        trainer = Trainer(terms(net), net, adam(net), samplers(), balancer, steps=5,
                          compile=compiled, progress=False)  # fmt: skip
        found.append(torch.stack([state.total for state in trainer]))
        found[-1] = torch.cat([found[-1], balancer.weight])
    torch.testing.assert_close(found[0], found[1], **SAME)
    assert abs(balancer.weights["walls"] - 1) > 0.01


def test_gradnorm_is_the_same_where_a_graph_is_captured():
    """As its body runs: the step's number is a tensor, and the update was made outside."""
    found = []
    for outside in (False, True):
        net = network()
        trainer = Trainer(terms(net), net, adam(net), None, cc.balancing.GradNorm(NAMES, net, lr=1),
                          steps=4, progress=False)  # fmt: skip
        losses = trainer._losses
        for step in range(4):
            if outside:
                losses.update(step)
                with losses.still():
                    found.append(losses(torch.tensor(step))[1])
            else:
                found.append(losses(step)[1])
    torch.testing.assert_close(found[:4], found[4:], **SAME)
    assert not trainer.balancer.outside


@COMPILED
def test_each_trainer_has_compilations_of_its_own():
    with torch._dynamo.config.patch(recompile_limit=1):
        for width in (4, 5, 6):
            net = cc.nn.MLP(2, 1, width, 1, "tanh", dtype=F64)
            Trainer(terms(net), net, adam(net), steps=1, compile=True, progress=False).run()


@COMPILED
def test_points_that_grow_now_and_then_are_compiled_again():
    found = []
    for compiled in (False, True):
        net = network()
        problem = terms(net)
        grows = cc.sampling.RARD(SQUARE, problem[0], 33, added=5, refresh_every=130, seed=1,
                                 dtype=F64)  # fmt: skip
        trainer = Trainer(problem, net, adam(net), {"interior": grows}, steps=265,
                          compile=compiled, progress=False)  # fmt: skip
        with torch._dynamo.config.patch(recompile_limit=1):
            found.append(torch.stack([state.total for state in trainer]))
        assert problem[0].x.shape[0] == 43
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=0)


@COMPILED
def test_what_changes_at_every_step_is_named():
    net, count = network(), [0]

    def counts(u, x):
        count[0] += 1
        return count[0] * u.value

    with torch._dynamo.config.patch(recompile_limit=1):
        grows = {"interior": lambda step: torch.rand(5 + step, 2, dtype=F64)}
        with pytest.raises(ValueError, match=r"compile: expected as many points .*Keep the number"):
            Trainer(terms(net), net, adam(net), grows, steps=5, compile=True, progress=False).run()
        problem = [cc.Term("a", net, SQUARE.sample(9, dtype=F64), counts, order=0)]
        with pytest.raises(ValueError, match="compile: expected losses that read the same number"):
            Trainer(problem, net, adam(net), steps=5, compile=True, progress=False).run()


@COMPILED
def test_mistakes_in_points_are_named_as_without_compile():
    net = network()
    wrong = {
        r"sampler\['interior'\]: expected at least one point": lambda step: torch.rand(0, 2),
        "x: expected points with 2 inputs": lambda step: torch.rand(5, 3, dtype=F64),
        r"sampler\['interior'\]: points: expected": lambda step: torch.rand(5),
    }
    for message, sampler in wrong.items():
        chosen = {"interior": sampler}
        with pytest.raises(ValueError, match=message):
            Trainer(terms(net), net, adam(net), chosen, steps=1, compile=True, progress=False).run()


def test_a_graph_is_captured_anew_for_points_in_other_memory():
    trainer = make("Sum", steps=3, compile=True)
    forgotten = []
    trainer.graph, trainer._steps.forget_graphs = True, lambda: forgotten.append(1)
    trainer._place(trainer.stage)
    trainer.state.step = 1
    trainer._place(trainer.stage)
    before = len(forgotten)
    trainer.samplers["interior"] = cc.sampling.Halton(SQUARE, 40, dtype=F64)
    trainer.state.step = 2
    trainer._place(trainer.stage)
    assert len(forgotten) == before + 1


# ---- samplers that look at the field -------------------------------------------------------------


class Breaks(torch.optim.Adam):
    """The 7th step of all fills a parameter with something."""

    made = 0

    def step(self, closure=None):
        found = super().step(closure)
        self.made += 1
        if self.made == 7:
            with torch.no_grad():
                self.param_groups[0]["params"][-2].fill_(self.value)
        return found


def broken_run(kind, value=math.inf, **options):
    net = network()
    problem = terms(net)
    kinds = {
        "Halton": lambda: cc.sampling.Halton(SQUARE, 33, seed=1, dtype=F64),
        "R3": lambda: cc.sampling.R3(SQUARE, problem[0], 33, seed=1, dtype=F64),
        "importance": lambda: cc.sampling.ImportanceSampler(
            SQUARE, problem[0], 33, seed=1, refresh_every=1, dtype=F64
        ),
    }
    optimizer = Breaks(net.parameters(), 1e-3)
    optimizer.value = value
    return Trainer(problem, net, optimizer, {"interior": kinds[kind]()}, steps=12, save_every=5,
                   progress=False, **options)  # fmt: skip


@pytest.mark.parametrize("value", [math.inf, 1.7e308])  # finite, and a residual that is not
@pytest.mark.parametrize("kind", ["Halton", "R3", "importance"])
def test_going_back_with_a_sampler_that_looks_at_the_field(kind, value, tmp_path):
    for output in (None, tmp_path / "a"):
        trainer = broken_run(kind, value, on_nonfinite="rollback", output=output)
        with pytest.warns(UserWarning, match="step 8: not finite: .*Back to step"):
            state = trainer.run()
        assert state.step == 12 and math.isfinite(state.total) and trainer.rollbacks == 1
    trainer = broken_run(kind, value, output=tmp_path / "b")
    with pytest.raises(NonFiniteError, match="step 8: not finite: loss of term 'interior'"):
        trainer.run()
    assert trainer.state.ended == "not finite"
    assert RunFolder(tmp_path / "b").newest()[1]["step"] == 7


def test_other_errors_of_a_sampler_stay():
    net = network()
    for error in (ValueError("full"), RuntimeError("gone")):

        def fails(step, error=error):
            if step == 2:
                raise error
            return SQUARE.sample(9, dtype=F64)

        trainer = Trainer(terms(net), net, adam(net), {"interior": fails}, steps=4,
                          on_nonfinite="rollback", progress=False)  # fmt: skip
        with pytest.raises(type(error)) as caught:
            trainer.run()
        assert caught.value is error and trainer.state.step == 2 and trainer.rollbacks == 0


# ---- evaluations that fail -----------------------------------------------------------------------


class Evaluates:
    """Fails at its second call."""

    def __init__(self, fails=True):
        self.calls, self.fails = 0, fails

    def __call__(self):
        self.calls += 1
        drawn = float(torch.rand(()))
        if self.fails and self.calls == 2:
            raise RuntimeError("no reference")
        return drawn


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("steps", [10, 17])  # at the last step, too
def test_a_failed_evaluation_is_made_up_for(steps, resumed, tmp_path):
    torch.manual_seed(3)
    whole = make(steps=steps, evaluate=Evaluates(fails=False), output=tmp_path / "whole")
    torch.manual_seed(3)
    whole.run()
    options = {"steps": steps, "output": tmp_path / "failed"}
    trainer = make(evaluate=Evaluates(), **options)
    torch.manual_seed(3)
    with pytest.raises(RuntimeError, match="no reference"):
        trainer.run()
    assert trainer.state.ended == "evaluate failed" and trainer.state.step == 10
    if resumed:
        trainer = make(evaluate=Evaluates(fails=False), resume=True, **options)
    assert next(seen := (state.step for state in trainer)) == 10
    assert trainer.state.errors_step == 10 and list(seen) == list(range(11, steps + 1))
    assert trainer.state.ended == "steps"
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "failed")]
    for key in ("step", "loss", "errors", "errors_step", "weights"):
        assert [row[key] for row in rows[0]] == [row[key] for row in rows[1]], key
    again = make(evaluate=Evaluates(fails=False), resume=True, **options)
    assert list(again) == [] and again.evaluate.calls == 0


def test_the_target_of_a_failed_evaluation(tmp_path):
    options = {"steps": 20, "target": 0.0, "output": tmp_path}

    def fails():
        raise RuntimeError("no reference")

    with pytest.raises(RuntimeError, match="no reference"):
        make(evaluate=fails, **options).run()
    trainer = make(evaluate=lambda: 0.0, resume=True, **options)
    assert [state.step for state in trainer] == [5] and trainer.state.ended == "target"
    trainer = make(evaluate=lambda: 0.0, resume=True, **options)
    assert list(trainer) == [] and trainer.state.ended == "target"


# ---- mistakes ------------------------------------------------------------------------------------


def test_a_network_that_is_not_trained():
    net, other = network(), network()
    with pytest.raises(ValueError, match=r"net: expected the network that the optimiser changes, "
                       r"got MLP, of which no .*Pass the network"):  # fmt: skip
        Trainer(terms(net), other, adam(net), steps=1, progress=False)
    other.requires_grad_(False)  # one that stays as it is
    Trainer(terms(net), other, adam(net), steps=1, progress=False).run()


def test_an_output_that_is_no_path():
    for output in (5, b"runs", True):
        with pytest.raises(TypeError, match=r"output: expected a folder's path .*runs/first"):
            make(steps=1, output=output)
