"""LRAnnealing, GradientNormBalance and GradNorm: golden values, which gradients are taken, and a
total that has them already."""

from __future__ import annotations

import json
import math
from pathlib import Path

import colloc as cc
import pytest
import torch
from balancing.rules import RULES, Model
from colloc import balancing
from colloc.balancing.gradient_norm_balance import (
    GradientNormBalanceState,
    gradient_norm_balance,
)
from colloc.balancing.gradients import last_weight
from colloc.balancing.gradnorm import GradNormState, GradNormValues, gradnorm, gradnorm_objective
from colloc.balancing.lr_annealing import GradientStatistics, LRAnnealingState, lr_annealing
from torch import nn

F64 = torch.float64
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "balancers.json").read_text())
gradient_rules = pytest.mark.parametrize("name", ["LRAnnealing", "GradientNormBalance", "GradNorm"])


def tensor(values):
    return torch.tensor(values, dtype=F64)


def linear(gradients, values=None):
    """A parameter, and losses whose gradients by it are the rows of ``gradients``."""
    rows = tensor(gradients)
    p = nn.Parameter(torch.zeros(rows.shape[1], dtype=F64))
    names = list("abcdefg")[: len(rows)]
    values = [0.0] * len(rows) if values is None else values
    return p, {n: (p * r).sum() + v for n, r, v in zip(names, rows, values, strict=True)}


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["lr_annealing"])
def test_lr_annealing_golden(case):
    sizes = tensor(case["grads"]).abs()
    state = LRAnnealingState(tensor(case["lam_prev"]))
    top = getattr(sizes[case["ref"]], {"max": "max", "mean": "mean"}[case["stat_ref"]])()
    weights, _ = lr_annealing(
        GradientStatistics(top, sizes.mean(1)),
        state,
        index=case["ref"],
        alpha=case["alpha"],
        eps=case["eps"],
    )
    torch.testing.assert_close(weights, tensor(case["lam"]), rtol=1e-10, atol=0)
    if case["eps"]:
        return
    p, losses = linear(case["grads"])
    rule = balancing.LRAnnealing(list(losses), "a", [p], case["alpha"], case["stat_ref"])
    rule.weight.copy_(state.weight)
    rule(losses)
    assert list(rule.weights.values()) == pytest.approx(case["lam"], rel=1e-10)


@pytest.mark.parametrize("case", GOLDEN["gradnorm"])
def test_gradnorm_golden(case):
    norms = tensor(case["gradW"]).norm(dim=1)
    values, z = GradNormValues(tensor(case["L"]), norms), tensor(case["z"])
    state = GradNormState(z, tensor(case["L0"]))
    objective, slope, _ = gradnorm_objective(values, z, state.initial, case["alpha"])
    assert objective.item() == pytest.approx(case["L_gn_at_exp"], rel=1e-10)
    expected = tensor(case["dLgn_dw"]) * tensor(case["w"])
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=0)
    weights, _ = gradnorm(values, state, alpha=case["alpha"], lr=case["lr"])
    wanted = tensor(case["w_after_exp_sgd_renorm"])
    torch.testing.assert_close(weights, wanted, rtol=1e-10, atol=0)
    p, losses = linear(case["gradW"], case["L"])
    rule = balancing.GradNorm(list(losses), [p], case["alpha"], case["lr"])
    rule.z.copy_(z)
    rule.weight.copy_(z.exp())
    rule.initial.copy_(state.initial)
    total = rule(losses)
    assert total.item() == pytest.approx((tensor(case["w"]) * tensor(case["L"])).sum().item())
    assert list(rule.weights.values()) == pytest.approx(wanted.tolist(), rel=1e-10)
    # A rule whose last step was too long: no weight falls to 0.
    for _ in range(200):
        balanced, state = gradnorm(values, state, alpha=case["alpha"], lr=1e6)
        assert balanced.min() >= math.exp(-30) * 0.999 and balanced.sum() < 3.0001


def test_gradient_norm_balance():
    values, state = tensor([1.0, 4.0, 0.0]), GradientNormBalanceState(tensor([1.0, 1.0, 7.0]))
    weights, _ = gradient_norm_balance(values, state, alpha=0.1)
    torch.testing.assert_close(weights, tensor([0.9 + 0.5, 0.9 + 0.125, 7.0]))
    p, losses = linear([[3.0, 4.0], [0.0, 10.0]])
    rule = balancing.GradientNormBalance(["a", "b"], [p], alpha=1.0)
    rule(losses)
    assert list(rule.weights.values()) == pytest.approx([3.0, 1.5])


def test_lr_annealing_as_the_peer():
    used, unused = nn.Parameter(tensor([1.0, 2.0])), nn.Parameter(tensor([5.0] * 6))
    rule = balancing.LRAnnealing(["a", "b"], "a", [used, unused], 0.01, "mean", peer=True)
    losses = {"a": (used * tensor([2.0, 6.0])).sum() + unused.sum() * 0.5, "b": used.sum() * 3}
    rule(losses)
    means = ((2.0 + 6.0 + 3.0) / 8, 3.0)  # of the second over the entries that it depends on
    expected = [0.99 + 0.01 * means[0] / (m + 1e-8) for m in means]
    assert list(rule.weights.values()) == pytest.approx(expected, rel=1e-14)
    ours = balancing.LRAnnealing(["a", "b"], "a", [used, unused], 0.01, "mean")
    ours(losses)
    assert ours.weights["b"] == pytest.approx(0.99 + 0.01 * means[0] / (6.0 / 8))


def test_gradnorm_as_the_peer():
    p, losses = linear([[3.0, 4.0], [0.0, 1.0]], [2.0, 1.0])
    rule = balancing.GradNorm(["a", "b"], [p], alpha=1.0, peer=True)
    rule.z.data.copy_(tensor([1.0, 0.0]))
    w = torch.softmax(tensor([1.0, 0.0]), 0) * 2
    sizes, values = tensor([5.0, 1.0]), tensor([2.0, 1.0])
    off = w * sizes - (w * sizes).mean()  # all training rates are 1 at the first call
    total = rule(losses)
    torch.testing.assert_close(total.detach(), (w * values).sum() + off.abs().sum())
    total.backward()
    torch.testing.assert_close(rule.z.grad, w * sizes * off.sign())
    torch.testing.assert_close(p.grad, w[0] * tensor([3.0, 4.0]) + w[1] * tensor([0.0, 1.0]))
    assert list(rule.weights.values()) == pytest.approx(w.tolist())
    with pytest.raises(RuntimeError, match="peer=True the weights move in your optimiser"):
        rule.update(losses)


# ---- gradients that are 0, absent or wrong ------------------------------------------------------


@gradient_rules
def test_gradients_of_zero_and_none(name):
    model = Model()
    rule = RULES[name](model)
    losses = model.losses()
    losses["b"] = losses["b"] * 0 + 3.0
    losses["c"] = tensor(2.0)
    for k in range(3):
        rule(losses, k)
    assert rule.weights["b"] == 1.0 and rule.weights["c"] == 1.0
    assert rule(model.losses(1), 5).requires_grad
    assert rule.weights["b"] != 1.0


@gradient_rules
def test_a_gradient_that_is_not_finite(name):
    model = Model()
    rule = RULES[name](model)
    rule(model.losses(), 0)
    before = dict(rule.weights)
    losses = model.losses(1)
    losses["b"] = losses["b"] + (model.p[0] * 0).sqrt()  # 0 with a gradient of NaN
    assert torch.isfinite(rule(losses, 1))
    assert rule.weights["b"] == before["b"] and rule.weights["c"] != before["c"]


def test_a_reference_without_gradient_keeps_all_weights():
    for reference in (tensor(1.0), "zero"):
        p, losses = linear([[0.0, 0.0], [1.0, 2.0]])
        if isinstance(reference, torch.Tensor):
            losses["a"] = reference
        rule = balancing.LRAnnealing(["a", "b"], "a", [p])
        rule(losses)
        assert rule.weights == {"a": 1.0, "b": 1.0}


@gradient_rules
def test_parameters_that_no_loss_depends_on(name):
    model, other = Model(), Model()
    rule = RULES[name](other)
    with pytest.raises(ValueError, match="parameters: expected tensors that the losses depend on"):
        rule(model.losses())
    frozen = RULES[name](model)
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="requires_grad_"):
        frozen(model.losses())
    with torch.no_grad():  # an evaluation: nothing to look at, and nothing moves
        frozen(model.losses())
    assert set(frozen.weights.values()) == {1.0}


def test_parameters():
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    assert last_weight(net) is net[2].weight
    assert last_weight(nn.Sequential(net, nn.Tanh())) is net[2].weight
    normed = cc.nn.MLP(2, 1, 4, 1, weight_norm=True)
    assert last_weight(normed) is normed[2].parametrizations.weight.original1
    rule = balancing.LRAnnealing(["a"], "a", net.parameters())
    assert rule._chosen == list(net.parameters()) and list(rule.parameters()) == []
    assert not any("net" in key or "0.weight" in key for key in rule.state_dict())
    calls = [
        (lambda: balancing.GradNorm(["a"], [normed[2].weight]), "original1"),
        (lambda: balancing.GradNorm(["a"], nn.Tanh()), "a module with an nn.Linear"),
        (lambda: balancing.GradNorm(["a"], []), "expected an nn.Module or leaf tensors"),
        (lambda: balancing.GradNorm(["a"], [1.0]), "expected an nn.Module or leaf tensors"),
        (lambda: balancing.GradNorm(["a"], net.named_parameters()), r"Pass net.parameters\(\)"),
        (lambda: balancing.GradNorm(["a"], net.state_dict()), r"Pass net.parameters\(\)"),
        (lambda: balancing.LRAnnealing(["a"], "b", net), "reference: expected one of 'a'"),
        (lambda: balancing.LRAnnealing(["a"], "a", net, 0.0), "alpha: expected a number above 0"),
        (lambda: balancing.LRAnnealing(["a"], "a", net, 0.1, "sum"), "statistic: expected one of"),
        (lambda: balancing.GradientNormBalance(["a"], net, 2.0), "at most 1"),
    ]
    for call, message in calls:
        with pytest.raises((ValueError, TypeError), match=message):
            call()


# ---- the total ----------------------------------------------------------------------------------


class Probe(torch.autograd.Function):
    """The identity; counts its backwards."""

    count = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        Probe.count += 1
        return grad


def problem(dtype=F64):
    """A network, a trained coefficient of the equation, and losses of a jet."""
    net = cc.nn.MLP(2, 1, 12, 2, "tanh", "layer", dtype=dtype)
    coefficient = nn.Parameter(torch.tensor(2.0, dtype=dtype))
    x = torch.randn(30, 2, dtype=dtype)

    def losses():
        u = cc.jet(net, x, "laplacian")
        residual = Probe.apply(u.laplacian + coefficient * u.value - 1)
        wall = Probe.apply(net(x[:4]) - 1)
        return {"a": residual.square().mean(), "b": wall.square().mean()}

    return net, coefficient, losses


def weighted(rule, losses, inputs):
    total = sum(w * loss for w, loss in zip(rule.weights.values(), losses.values(), strict=True))
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("kind", ["net", "net and coefficient", "last layer"])
def test_gradients_of_the_total(kind):
    net, coefficient, losses = problem()
    everything = [*net.parameters(), coefficient]
    chosen = {
        "net": list(net.parameters()),  # nearly all: the coefficient's come along
        "net and coefficient": everything,
        "last layer": [net[4].weight],
    }[kind]
    rule = balancing.LRAnnealing(["a", "b"], "a", chosen, alpha=0.5)
    Probe.count = 0
    total = rule(losses())
    assert Probe.count == 2
    value = sum(w * x for w, x in zip(rule.weights.values(), losses().values(), strict=True))
    torch.testing.assert_close(total, value, rtol=1e-14, atol=0)
    total.backward()
    assert Probe.count == (4 if kind == "last layer" else 2), "the backward ran again"
    for p, g in zip(everything, weighted(rule, losses(), everything), strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-12, atol=1e-14)
    sizes = []
    for loss in losses().values():
        found = torch.autograd.grad(loss, chosen, allow_unused=True)
        parts = [
            torch.zeros_like(p) if g is None else g for p, g in zip(chosen, found, strict=True)
        ]
        sizes.append(torch.cat([part.reshape(-1) for part in parts]).abs())
    expected = 0.5 + 0.5 * sizes[0].max() / sizes[1].mean()  # unused entries count as 0
    assert rule.weights["b"] == pytest.approx(expected.item(), rel=1e-12)


def test_the_total_scales_and_goes_to_some_leaves_only():
    net, coefficient, losses = problem(torch.float32)
    rule = balancing.GradientNormBalance(["a", "b"], net)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    optimiser = torch.optim.SGD([*net.parameters(), coefficient], lr=1e-3)
    before = coefficient.item()
    scaler.scale(rule(losses())).backward()
    slope = coefficient.grad.item() / 256
    scaler.step(optimiser)
    assert coefficient.item() == pytest.approx(before - 1e-3 * slope, rel=1e-6)
    optimiser.zero_grad()
    rule(losses()).backward(inputs=[coefficient])
    assert coefficient.grad is not None and all(p.grad is None for p in net.parameters())
    with pytest.raises(RuntimeError, match=r"Call balancer.update\(losses\) first"):
        torch.autograd.grad(rule(losses()), coefficient, create_graph=True)
    rule.eval()
    (g,) = torch.autograd.grad(rule(losses()), coefficient, create_graph=True)
    assert g.requires_grad


def test_a_loss_that_is_a_leaf_and_one_leaf_in_several_losses():
    p = nn.Parameter(tensor(3.0))
    rule = balancing.GradientNormBalance(["a", "b"], [p], alpha=1.0)
    total = rule({"a": p, "b": 2 * p + p * p})
    assert rule.weights == {"a": 9.0, "b": 9.0 / 8.0}
    total.backward()
    assert p.grad.item() == pytest.approx(9.0 + 9.0)


def test_nothing_is_taken_between_updates():
    net, _, losses = problem()
    rule = balancing.LRAnnealing(["a", "b"], "a", net, update_every=5)
    rule(losses(), 0)
    Probe.count = 0
    rule(losses(), 3)
    assert Probe.count == 0
    rule.update(losses(), 10)
    assert Probe.count == 2 and int(rule.updates) == 2


@gradient_rules
def test_compiled_steps_have_the_sum_alone(name):
    torch._dynamo.reset()
    model = Model()
    rule = RULES[name](model)
    rule.update(model.losses(1), 0)
    before = dict(rule.weights)

    @torch.compile(fullgraph=True, backend="eager")
    def run(k):
        return rule(model.losses(k))

    total = run(torch.tensor(2.0))
    found = torch.autograd.grad(total, list(model.parameters()))
    assert rule.weights == before and int(rule.updates) == 1
    expected = weighted(rule, model.losses(2.0), list(model.parameters()))
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)
    rule.update(model.losses(2.0), 1)
    assert rule.weights != before
    torch.testing.assert_close(
        run(torch.tensor(2.0)),
        sum(w * x for w, x in zip(rule.weights.values(), model.losses(2.0).values(), strict=True)),
    )
