"""What is said of rows that are not finite."""

from __future__ import annotations

import copy
import math

import colloc as cc
import pytest
import torch
from colloc.training import NonFiniteError, Stage, Trainer
from training.problems import F64, adam, network, samplers, stages, terms
from training.problems import trainer as make

SQUARE = cc.geometry.Rectangle((0, 0), (1, 1))


def singular(seed=None, sampled=False, optimizer=None, residual=None, **options):
    """u_x / x, with points of which the first is in the corner unless they have a seed."""
    net = network()
    halton = cc.sampling.Halton(SQUARE, 63, dtype=F64, seed=seed)
    term = cc.Term("interior", net, halton(0), residual or (lambda u, x: u.d(0) / x[:, :1]), 1)
    chosen = {} if sampled else {"interior": halton}
    made = adam(net) if optimizer is None else optimizer(net)
    steps = 3 if optimizer is None else None
    return Trainer([term], net, made, chosen, steps=steps, progress=False, **options)


def said(trainer):
    with pytest.raises(NonFiniteError) as caught:
        trainer.run()
    return str(caught.value)


WHERE = "In term 'interior' 1 of 63 rows is not finite, at x = (0, 0). "


@pytest.mark.parametrize("optimizer", [None, lambda net: stages(net)[1:]])
@pytest.mark.parametrize("sampled", [False, True])
def test_the_first_step_names_the_point(optimizer, sampled):
    text = said(singular(sampled=sampled, optimizer=optimizer))
    assert text.startswith("step 1: not finite: loss of term 'interior', inf. " + WHERE)
    assert "seed=0" in text and "another form" in text and "learning rate" not in text


def test_a_seed_is_not_advised_where_there_is_one():
    def residual(u, x):
        return u.value / (x[:, :1] > 0.5).to(x.dtype)

    text = said(singular(4, residual=residual))
    assert "rows are not finite, the first at x = (0" in text
    assert "seed" not in text and "another form" in text


def test_rows_of_which_none_is_finite():
    text = said(singular(residual=lambda u, x: u.value * math.nan))
    assert "In term 'interior' all rows are not finite, the first at x = (0, 0)." in text
    assert "No step was made before" in text and "learning rate" not in text and "seed" not in text


def test_integral_rows_have_points():
    net = network()
    points = cc.sampling.Halton(SQUARE, 63, dtype=F64)(0)
    term = cc.Term("interior", net, points, lambda u, x: u.value / x[:, :1], 0,
                   reduce=lambda rows: rows.mean(0, keepdim=True))  # fmt: skip
    assert WHERE in said(Trainer([term], net, adam(net), steps=1, progress=False))
    assert term.reduce is not None


def test_a_later_step_names_the_point_and_the_rate():
    def residual(u, x):
        factor = torch.ones_like(x[:, :1])
        factor[5] = math.nan if trainer.state.step == 2 else 1.0
        return u.value * factor

    trainer = singular(1, residual=residual)
    text = said(trainer)
    x = ", ".join(f"{v:.6g}" for v in trainer.terms[0].x[5].tolist())
    assert f"step 3: not finite: loss of term 'interior', nan. In term 'interior' 1 of 63 rows is "\
           f"not finite, at x = ({x})." in text  # fmt: skip
    assert "Try a smaller learning rate, clip=1.0, or write the residual there" in text


def test_no_clipping_is_advised_where_there_can_be_none():
    trainer = make("Sum", lambda net: [Stage(adam(net), 2), *stages(net)[1:]])
    plain = trainer.terms[1].residual
    trainer.terms[1].residual = lambda u, x: plain(u, x) * (
        1 if trainer.state.step < 3 else math.nan
    )
    text = said(trainer)
    assert "Try a smaller learning rate, or look at that term." in text


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, StopIteration])
def test_the_evaluation_never_hides_the_error(error):
    calls = []

    def residual(u, x):
        calls.append(torch.is_grad_enabled())
        if len(calls) > 1:
            raise error("no more")
        return u.value * math.nan

    text = said(singular(residual=residual))
    assert calls == [True, False]  # once, without gradients
    assert "step 1: not finite: loss of term 'interior', nan. No step was made before" in text


def test_random_numbers_and_the_checkpoint_stay(tmp_path):
    def residual(u, x):
        return u.value * torch.rand(()) / (trainer.state.step < 2)

    trainer = singular(1, residual=residual, output=tmp_path)
    torch.manual_seed(3)
    said(trainer)
    found = torch.rand(3)
    torch.manual_seed(3)
    for _ in range(3):  # as many as steps were tried
        torch.rand(())
    assert torch.equal(found, torch.rand(3))


@pytest.mark.filterwarnings("ignore:step 1. not finite")
def test_going_back_says_it_too():
    with (
        pytest.warns(UserWarning, match=r"1 of 63 rows is not finite.* Back to step 0, with 0\.5"),
        pytest.raises(NonFiniteError, match="seed=0"),
    ):
        singular(on_nonfinite="rollback").run()


def test_a_gpu_that_has_gone_back_to_the_step():
    trainer = singular()
    trainer._steps.deferred = True  # as on a GPU
    trainer._first = copy.deepcopy(cc.training._saved.collect(trainer))
    text = said(trainer)
    assert WHERE in text and "seed=0" in text


def test_nothing_is_looked_for_in_several_processes():
    net = network()
    trainer = Trainer(terms(net), net, adam(net), samplers(), steps=1, progress=False)
    trainer._steps.problem = "loss of term 'walls', nan"
    trainer.terms[1].residual = lambda u, x: u.value * math.nan
    assert len(cc.training._bad_rows.bad_rows(trainer)) == 1
    trainer.processes.count = 2  # as if
    assert cc.training._bad_rows.bad_rows(trainer) == []
