"""Steps that are left out, left by an error, and resumed with tensors of several dtypes."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.training import NonFiniteError, RunFolder, Stage, Trainer, save_checkpoint
from colloc.training._steps import Steps
from colloc.training.precision import FIRST_SCALE, LEAST_SCALE
from training.problems import F64, SQUARE, adam, network
from training.problems import trainer as make
from training.test_resume import alike

F32 = torch.float32

# ---- float16: gradients that are finite at no scale ----------------------------------------------


def scaled(bad, **options):
    """In float16; gradients are NaN in the steps of ``bad``, losses are finite."""
    net = network(F32)

    def plain(u, x):
        nan = torch.sqrt(0 * u.value) if trainer.state.step in bad else 0.0
        return 0.01 * u.value + nan  # 65536 is not too much for it

    term = cc.Term("a", net, SQUARE.sample(33), plain, order=0)
    options = {"steps": 600, "precision": "float16", "progress": False} | options
    trainer = Trainer([term], net, adam(net), **options)
    return trainer


def test_gradients_that_no_scale_makes_finite_end_the_run(tmp_path):
    trainer = scaled(range(1000), output=tmp_path)
    before = [p.detach().clone() for p in trainer.net.parameters()]
    match = r"step 31: not finite: norm of the gradients with .* by 6e-05, nan\. .*torch.sqrt at 0"
    with pytest.raises(NonFiniteError, match=match):
        trainer.run()
    assert trainer.state.ended == "not finite" and trainer.state.step == 30
    assert all(torch.equal(p, q) for p, q in zip(trainer.net.parameters(), before, strict=True))
    # Mended, it goes on with a scale at which gradients do not underflow.
    again = scaled([], output=tmp_path, resume=True, steps=40)
    assert again.state.step == 30 and again.precision.scaler.get_scale() == FIRST_SCALE
    assert again.run().ended == "steps"
    assert not torch.equal(next(iter(again.net.parameters())), before[0])


def test_gradients_that_are_not_finite_again_and_again_end_it_too():
    trainer = scaled(range(0, 1000, 2))  # every other step is made, and the scale goes down
    with pytest.raises(NonFiniteError, match="step 61: not finite: norm of the gradients"):
        trainer.run()


def test_gradients_that_a_lower_scale_makes_finite_do_not(recwarn):
    trainer = scaled(range(5, 30), steps=50)  # as if: after 25 halvings they do not overflow
    before = next(iter(trainer.net.parameters())).detach().clone()
    assert trainer.run().ended == "steps" and not recwarn.list
    assert LEAST_SCALE < trainer.precision.scaler.get_scale() < FIRST_SCALE
    assert not torch.equal(next(iter(trainer.net.parameters())), before)


def test_a_rollback_begins_with_the_first_scale():
    trainer = scaled(range(10, 1000), on_nonfinite="rollback")
    with pytest.warns(UserWarning) as said, pytest.raises(NonFiniteError, match="step 41"):
        trainer.run()
    backs = [str(one.message) for one in said if "Back to step 0" in str(one.message)]
    assert len(backs) == 3 and "step 41: not finite: norm of the gradients" in backs[0]
    assert trainer.precision.scaler.get_scale() == FIRST_SCALE


def test_a_gpu_notes_such_steps_and_is_not_waited_for():
    trainer = scaled(range(1000), steps=60, log_every=50)
    steps = trainer._steps
    steps.deferred = True  # as if
    trainer._first = cc.training._saved.collect(trainer)
    seen = []
    with pytest.raises(NonFiniteError, match=r"step 31: not finite: norm of .* 6e-05, nan"):
        for state in trainer:
            seen.append(state.step)
    assert seen == list(range(1, 50))  # found at the line of metrics
    assert steps.first_bad() is None


def test_a_loss_of_another_process_leaves_the_scaler_at_its_beginning():
    trainer = scaled(())
    steps: Steps = trainer._steps
    steps.processes.count = 2  # as if

    def average(parameters, shared):
        shared[0] = bad

    steps.processes.average_gradients = average
    for bad in (1.0, 0.0):
        found = steps.plain(trainer.stages[0], 0, [0.0] * 5)
        assert (found is None) == bool(bad)


# ---- what is resumed is bit-equal ----------------------------------------------------------------


def of_two_dtypes(make_optimizer, rule, **options):
    """A float32 network with weights of points or losses in float64."""
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, 8, 2, "tanh")
    term = cc.Term("a", net, SQUARE.sample(33), cc.pde.poisson(1.0))
    if rule == "SelfAdaptive":
        one = cc.balancing.SelfAdaptive(33)
        chosen = {"point_rules": {"a": one}}
    else:
        one = cc.balancing.HomoscedasticUncertainty(["a"])
        chosen = {"balancer": one}
    optimizer = make_optimizer([*net.parameters(), *one.parameters()])
    return Trainer([term], net, optimizer, steps=9, progress=False, **chosen, **options)


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)


def wide(parameters):  # moments in another dtype than the parameters'
    optimizer = torch.optim.SGD(parameters, 1e-3, momentum=0.9)
    for p in parameters:
        optimizer.state[p]["more"] = [{"deep": torch.tensor([1 / 3], dtype=F64)}, (1, None)]
    return optimizer


@pytest.mark.parametrize("rule", ["SelfAdaptive", "Homoscedastic"])
@pytest.mark.parametrize("make_optimizer", [lbfgs, torch.optim.NAdam, wide])
@pytest.mark.parametrize("old", [False, True])
def test_parameters_of_two_dtypes(make_optimizer, rule, old, tmp_path):
    options = {"make_optimizer": make_optimizer, "rule": rule}
    alone = of_two_dtypes(**options)
    alone.run()
    for state in of_two_dtypes(output=tmp_path, **options):
        if state.step == 4:
            break
    if old:  # a checkpoint of the code before does not say the dtypes
        file, saved = RunFolder(tmp_path).newest()
        del saved["stages"][0]["dtypes"]
        save_checkpoint(file, saved)
    resumed = of_two_dtypes(output=tmp_path, resume=True, **options)
    resumed.run()
    alike(resumed, alone)
    for p, q in zip(*(one.stages[0].parameters() for one in (alone, resumed)), strict=True):
        assert torch.equal(p, q)
        if make_optimizer is wide:
            deep = resumed.stages[0].optimizer.state[q]["more"]
            assert torch.equal(deep[0]["deep"], torch.tensor([1 / 3], dtype=F64))
            assert deep[1] == (1, None)


def test_nadam_with_parameters_without_dimensions(tmp_path):
    def run(at=None, **options):
        torch.manual_seed(0)
        net = cc.nn.MLP(2, 1, 8, 2, "tanh", adaptive="layer", dtype=F64)
        assert any(p.ndim == 0 for p in net.parameters())
        term = cc.Term("a", net, SQUARE.sample(33, dtype=F64), cc.pde.poisson(1.0))
        trainer = Trainer([term], net, torch.optim.NAdam(net.parameters()), steps=9,
                          progress=False, **options)  # fmt: skip
        for state in trainer:
            if state.step == at:
                break
        return trainer

    alone = run()
    run(3, output=tmp_path)
    alike(run(output=tmp_path, resume=True), alone)


@pytest.mark.parametrize("old", [False, True])
def test_a_state_goes_along_with_parameters_of_another_dtype(old):
    def stage(dtype):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.ones(3, dtype=dtype))
        p.grad = torch.full_like(p, 0.1)
        return Stage(torch.optim.Adam([p]), 3)

    first, second = stage(F32), stage(F64)
    first.optimizer.step()
    saved = first.state_dict()
    if old:
        del saved["dtypes"]
    second.load_state_dict(saved)
    second.optimizer.step()
    (p,) = second.parameters()
    assert second.optimizer.state[p]["exp_avg"].dtype == F64


# ---- an error within a step ----------------------------------------------------------------------


class Halving(torch.optim.Optimizer):
    """Needs a closure, moves before it, and changes its state and its rate in place."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 1e-2})
        for p in self.param_groups[0]["params"]:
            self.state[p]["sums"] = (torch.zeros_like(p),)

    def step(self, closure):
        for _ in range(3):
            with torch.enable_grad():
                closure()
            for p in self.param_groups[0]["params"]:
                (sums,) = self.state[p]["sums"]
                p.data.sub_(sums.add_(p.grad), alpha=self.param_groups[0]["lr"])
            self.param_groups[0]["lr"] *= 0.99


def wolfe(net):
    return [Stage(torch.optim.LBFGS(net.parameters(), max_iter=4, history_size=3,
                                    line_search_fn="strong_wolfe"), 6)]  # fmt: skip


def fixed(net):
    return [Stage(torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4, history_size=3), 6)]


def halving(net):
    return [Stage(Halving(net.parameters()), 6)]


@pytest.mark.parametrize("optimizer", [wolfe, fixed, halving])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [2, 15])
def test_an_error_within_a_step_leaves_what_was_before(optimizer, error, at, tmp_path):
    alone = make("Sum", optimizer)
    alone.run()
    trainer, left = make("Sum", optimizer, output=tmp_path), [at]
    plain = trainer.terms[1].residual

    def residual(u, x):
        left[0] -= 1
        if left[0] == 0:
            raise error("once")
        return plain(u, x)

    trainer.terms[1].residual = residual
    with pytest.raises(error, match="once"):
        trainer.run()
    assert (trainer.state.step == 0) == (at == 2) and trainer.state.step < 6
    trainer.run()
    alike(trainer, alone)


# ---- what a stage refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "match"),
    [
        ("resample", "yes", TypeError, "resample: expected True, False or None, got 'yes'"),
        ("resample", 1, TypeError, "resample: expected True, False or None, got 1"),
        ("until", 2.0, ValueError, r"until: expected a share of the run, in \(0, 1\], got 2\. .*"),
        ("until", 0, ValueError, "until: expected a number > 0"),
    ],
)
def test_options_that_are_refused(name, value, error, match):
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], 1.0)
    with pytest.raises(error, match=match):
        Stage(optimizer, 3, **{name: value})
    assert Stage(optimizer, 3, until=1, resample=False).until == 1.0
