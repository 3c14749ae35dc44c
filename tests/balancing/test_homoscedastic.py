"""HomoscedasticUncertainty: golden values, bounds, what does not move s."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from colloc.balancing import HomoscedasticUncertainty
from colloc.balancing.homoscedastic import HomoscedasticState, homoscedastic

F64 = torch.float64
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "balancers.json").read_text())


def tensor(values):
    return torch.tensor(values, dtype=F64)


@pytest.mark.parametrize("case", GOLDEN["homoscedastic"])
def test_golden(case):
    weights, _, slope = homoscedastic(
        tensor(case["L"]), HomoscedasticState(tensor(case["log_var"]))
    )
    torch.testing.assert_close(weights, tensor(case["dV_dL"]), rtol=1e-10, atol=0)
    torch.testing.assert_close(slope, tensor(case["dV_dlogvar"]), rtol=1e-10, atol=1e-15)
    rule = HomoscedasticUncertainty(list("abc"))
    rule.log_variance.data.copy_(tensor(case["log_var"]))
    losses = [tensor(value).requires_grad_() for value in case["L"]]
    total = rule(dict(zip("abc", losses, strict=True)))
    total.backward()
    assert total.item() == pytest.approx(case["value"], rel=1e-12)
    torch.testing.assert_close(rule.log_variance.grad, tensor(case["dV_dlogvar"]))
    assert [x.grad.item() for x in losses] == pytest.approx(case["dV_dL"], rel=1e-12)
    assert list(rule.weights.values()) == pytest.approx(case["dV_dL"], rel=1e-12)


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "LBFGS"])
def test_a_loss_of_zero_does_not_diverge(optimiser):
    rule = HomoscedasticUncertainty(["a", "b"])
    options = {"SGD": {"lr": 5.0, "momentum": 0.9}, "Adam": {"lr": 1.0}, "LBFGS": {"lr": 1.0}}
    step = getattr(torch.optim, optimiser)(rule.parameters(), **options[optimiser])
    losses = {"a": tensor(0.0), "b": tensor(1e-30)}

    def closure():
        step.zero_grad()
        total = rule(losses)
        total.backward()
        return total

    for _ in range(300):
        assert math.isfinite(step.step(closure).item())
    rule(losses)
    torch.testing.assert_close(rule.log_variance.data, tensor([-20.0, -20.0]))
    assert max(rule.weights.values()) == pytest.approx(math.exp(20) / 2)
    # And it comes back when the losses are no longer 0: the next step is inward.
    losses.update(a=tensor(2.0), b=tensor(0.5))
    torch.optim.SGD(rule.parameters(), lr=1e-8).step(closure)
    assert (rule.log_variance > -20.0).all()


def test_gradients_at_the_bounds():
    rule = HomoscedasticUncertainty(list("abcd"))
    rule.log_variance.data.copy_(tensor([-20.0, -20.0, 20.0, 20.0]))
    # Outward, inward, outward, inward.
    losses = dict(zip("abcd", map(tensor, (0.0, 1.0, 1e30, 0.0)), strict=True))
    rule(losses).backward()
    found = rule.log_variance.grad
    assert found[0] == 0 and found[2] == 0
    assert found[1] == pytest.approx(0.5 - math.exp(20) / 2) and found[3] == 0.5
    rule.log_variance.data.fill_(35.0)
    rule(losses)
    assert (rule.log_variance == 20.0).all()


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_moves_nothing(bad):
    rule = HomoscedasticUncertainty(["a", "b"])
    total = rule({"a": tensor(3.0), "b": tensor(bad)})
    total.backward()
    assert not math.isfinite(total.item())
    assert (rule.log_variance.grad == 0).all()


def test_gradient_between_updates():
    rule = HomoscedasticUncertainty(["a"], update_every=3)
    found = []
    for step in (1, 1, 2, 3, 3, 4):  # a step that is evaluated again has the same gradient
        rule.log_variance.grad = None
        rule({"a": tensor(3.0)}, step).backward()
        found.append(rule.log_variance.grad.item())
    assert found == [-1.0, -1.0, 0.0, -1.0, -1.0, 0.0]
    counted = HomoscedasticUncertainty(["a"], update_every=2)
    moved = []
    for _ in range(4):
        counted.log_variance.grad = None
        counted({"a": tensor(3.0)}).backward()
        moved.append(bool(counted.log_variance.grad != 0))
    assert moved == [True, False, True, False]
    counted.eval()
    total = counted({"a": tensor(3.0)})
    assert not total.requires_grad and total.item() == 1.5
