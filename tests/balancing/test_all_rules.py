"""What holds for every rule of named losses: names, steps, dtypes, state, losses that go wrong."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from balancing.rules import F64, NAMES, PEERS, RULES, Model, train
from colloc import balancing

rules = pytest.mark.parametrize("make", RULES.values(), ids=RULES)
with_peers = {**RULES, **PEERS}
all_rules = pytest.mark.parametrize("make", with_peers.values(), ids=with_peers)


def state(rule):
    return {k: v for k, v in rule.state_dict().items() if isinstance(v, torch.Tensor)}


def moved(rule, model):
    """The weights after two updates with different losses."""
    rule(model.losses(0), 0)
    rule(model.losses(3), 1)
    return list(rule.weights.values())


def trained(rule):
    """The rule's weights move in an optimiser alone."""
    return bool(list(rule.parameters()))


@all_rules
def test_total_and_first_weights(make):
    model = Model()
    rule = make(model)
    before = list(rule.weights.values())
    assert all(w > 0 for w in before), "a weight of 0 before the first update"
    losses = model.losses()
    shuffled = {name: losses[name] for name in reversed(NAMES)}
    total = rule(shuffled)
    assert total.shape == () and total.dtype == F64 and total.requires_grad
    assert list(rule.weights) == NAMES
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@rules
@pytest.mark.parametrize("bad", [0.0, -1.0, 1e-30, 1e30, 1e300, math.inf, -math.inf, math.nan])
def test_losses_that_go_wrong(make, bad):
    """One loss is ``bad`` at the first call, in the middle, or for ever."""
    for when in ({0}, {2}, {0, 1}, {1, 2, 3, 4}, set(range(5))):
        model = Model()
        rule = make(model)
        for k in range(5):
            losses = model.losses(k)
            if k in when:
                losses["b"] = losses["b"] * 0 + bad
            before = {name: value.clone() for name, value in state(rule).items()}
            counts = ("calls", "updates", "last_step", "used")  # used: what the last total had
            total = rule(losses, k)
            total.backward()
            weights = torch.tensor(list(rule.weights.values()))
            assert torch.isfinite(weights).all() and (weights >= 0).all(), (when, k, weights)
            if not math.isfinite(bad) and k in when:
                assert not torch.isfinite(total), "the total hides it"
                for name, value in state(rule).items():
                    assert name in counts or torch.equal(
                        value.nan_to_num(), before[name].nan_to_num()
                    ), name
            for p in rule.parameters():
                assert torch.isfinite(p.grad).all()
        assert (weights <= 1e30).all()


@rules
def test_weights_recover_after_a_bad_loss(make):
    model = Model()
    rule = make(model)
    rule(dict(model.losses(), b=torch.tensor(math.nan, dtype=F64)), 0)
    rule(model.losses(0), 1)
    rule(model.losses(3), 2)
    other = Model()
    assert list(rule.weights.values()) == pytest.approx(moved(make(other), other), rel=1e-12)


@all_rules
def test_resumed_runs_are_equal_to_the_bit(make):
    model = Model()
    rule = make(model, update_every=2)
    train(rule, model, 5)
    again, other = Model(), make(Model(), update_every=2)
    again.load_state_dict(model.state_dict())
    other = make(again, update_every=2)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    assert train(rule, model, 6, start=5) == train(other, again, 6, start=5)
    for name, value in state(rule).items():
        assert torch.equal(value, state(other)[name]), name
    if not trained(rule):
        # The balancer's own count, too.
        assert rule(model.losses(1)) == other(again.losses(1))
        assert rule(model.losses(2)) == other(again.losses(2))
        assert rule.weights == other.weights


@rules
def test_state_of_other_names_is_refused(make):
    saved = make(Model()).state_dict()
    saved["_extra_state"]["names"] = ["a", "c", "b"]
    with pytest.raises(ValueError, match="Make the balancer with the same names"):
        make(Model()).load_state_dict(saved)


@rules
def test_when_weights_move(make):
    model = Model()
    rule = make(model, update_every=3)
    if trained(rule):
        pytest.skip("see the tests of this rule")
    seen = []
    for k in range(1, 10):  # a first call that is not a multiple of 3 updates too
        rule(model.losses(k), k)
        seen.append(int(rule.updates))
    assert seen == [1, 1, 2, 2, 2, 3, 3, 3, 4]
    weights = rule.weights
    for _ in range(3):  # the evaluations of one step of L-BFGS
        rule(model.losses(1), 9)
    assert rule.weights == weights
    counted = make(model, update_every=3)
    for k in range(7):
        counted(model.losses(k))
    assert int(counted.updates) == 3
    tensors = make(model, update_every=3)
    for k in range(1, 10):
        tensors(model.losses(k), torch.tensor(k))
    assert tensors.weights == weights


@rules
def test_eval_and_update(make):
    model = Model()
    rule = make(model)
    if trained(rule):
        pytest.skip("weights move in the optimiser")
    expected = moved(rule, model)
    other = make(model)
    other.update(model.losses(0), 0)
    other.update(model.losses(3), 1)
    assert list(other.weights.values()) == expected
    before = copy.deepcopy(state(rule))
    rule.eval()
    total = rule(model.losses(5), 2)
    rule.update(model.losses(5), 3)
    weighted = [w * loss for w, loss in zip(expected, model.losses(5).values(), strict=True)]
    torch.testing.assert_close(total, torch.stack(weighted).sum())
    for name, value in state(rule).items():
        assert torch.equal(value, before[name]), name


@rules
def test_dtypes(make):
    model = Model(torch.float32)
    rule = make(model).float()
    assert rule(model.losses(0), 0).dtype == torch.float32
    mixed = model.losses(1)
    mixed["b"] = mixed["b"].double()
    assert rule(mixed, 1).dtype == F64
    other = Model(torch.float64)
    assert moved(make(model), model) == pytest.approx(moved(make(other), other), rel=1e-4)
    kept = copy.deepcopy(rule).half()
    assert kept.weights == rule.weights
    assert all(b.dtype in (F64, torch.int64) for b in kept.buffers())


@rules
def test_two_totals_before_their_backward(make):
    """No buffer that moves is part of a graph."""
    model = Model()
    rule = make(model)
    first, second = rule(model.losses(0), 0), rule(model.losses(1), 1)
    (first + second).backward()


@rules
def test_names_and_steps(make):
    model = Model()
    rule, losses = make(model), model.losses()
    calls = [
        ({"a": losses["a"], "b": losses["b"]}, None, "a loss for each weight, here 'c' too"),
        (dict(losses, d=losses["a"]), None, "also 'd'.*Name all losses"),
        (dict(losses, b=losses["b"].reshape(1)), None, r"losses\['b'\].*Take its mean"),
        (losses, True, "step: expected an integer"),
        (losses, -1, "step: expected an integer >= 0"),
        (losses, 1.0, "step: expected an integer"),
        (losses, torch.tensor(1.0), "step: expected None, an integer"),
        (losses, torch.tensor([1, 2]), "step: expected None, an integer"),
        (losses, torch.tensor(-1), "step: expected None, an integer"),
    ]
    for given, step, message in calls:
        with pytest.raises((ValueError, TypeError), match=message):
            rule(given, step)
    assert int(rule.updates) == 0
    with pytest.raises((ValueError, TypeError), match="update_every"):
        make(model, update_every=0)


@pytest.mark.parametrize(
    "names,error,message",
    [
        ("abc", TypeError, "Give a list"),
        ([], ValueError, "at least one"),
        (["a", "a"], ValueError, "different strings"),
        (["a", ""], ValueError, "none empty"),
        ([1], TypeError, "names: expected different strings"),
        (3, TypeError, "names: expected different strings"),
    ],
)
def test_names_of_a_rule(names, error, message):
    with pytest.raises(error, match=message):
        balancing.SoftAdapt(names)


def test_one_name():
    model = Model()
    p = model.p
    for rule in (
        balancing.SoftAdapt(["a"]),
        balancing.ReLoBRaLo(["a"]),
        balancing.ResNorm(["a"]),
        balancing.LRAnnealing(["a"], "a", [p]),
        balancing.GradientNormBalance(["a"], [p]),
        balancing.GradNorm(["a"], [p]),
    ):
        for k in range(3):
            total = rule({"a": model.losses(k)["a"]}, k)
        assert rule.weights["a"] == pytest.approx(1.0)
        assert total.item() == pytest.approx(model.losses(2)["a"].item())


def test_everything_is_listed():
    assert sorted(balancing.__all__) == balancing.__all__ or set(balancing.__all__) >= set(RULES)
    for name in balancing.__all__:
        assert hasattr(balancing, name)


@rules
@pytest.mark.parametrize("every", [1, 2])
def test_a_step_that_is_evaluated_again(make, every):
    """As in the closure of an L-BFGS step: the same losses have the same total and gradient."""
    model = Model()
    rule = make(model, update_every=every)
    for k in range(4):
        found = []
        for _ in range(3):
            total = rule(model.losses(k), k)
            found.append((total, *torch.autograd.grad(total, list(model.parameters()))))
        for again in found[1:]:
            for one, other in zip(again, found[0], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-13, atol=0)


def test_hooks_of_parameters_run_once():
    for make in (RULES["LRAnnealing"], RULES["GradientNormBalance"], RULES["GradNorm"]):
        hooked = Model()
        hooked.p.register_hook(lambda g: 0.5 * g)
        rule = make(hooked)
        total = rule(hooked.losses(1))
        expected = sum(
            w * torch.autograd.grad(loss, hooked.p)[0]
            for w, loss in zip(
                used_weights(rule, hooked, total), hooked.losses(1).values(), strict=True
            )
        )
        found = torch.autograd.grad(total, hooked.p)[0]
        torch.testing.assert_close(found, expected)


def used_weights(rule, model, total):
    """The weights that a total has: those of the rule, or before its update."""
    for weights in (list(rule.weights.values()), [1.0] * len(NAMES)):
        value = sum(w * v for w, v in zip(weights, model.losses(1).values(), strict=True))
        if torch.isclose(value, total):
            return weights
    raise AssertionError("no weights give this total")


def test_state_of_another_rule_is_refused():
    first, second = (RULES[name](Model()) for name in ("LRAnnealing", "GradientNormBalance"))
    with pytest.raises(ValueError, match="state_dict: expected the state of GradientNormBalance"):
        second.load_state_dict(first.state_dict())


@rules
def test_a_first_update_that_fails_is_tried_again(make):
    model = Model()
    rule, other = make(model, update_every=100), make(model, update_every=100)
    if trained(rule):
        pytest.skip("weights move in the optimiser")
    bad = model.losses(0)
    bad["b"] = bad["b"] * math.nan
    rule(bad, 0)
    for one in (rule, other):
        one(model.losses(1), 1)
    assert rule.weights == other.weights
    assert "NTK" not in type(rule).__name__ or rule.weights != dict.fromkeys(NAMES, 1.0)


@all_rules
def test_an_evaluation_changes_nothing(make):
    model = Model()
    rule = make(model)
    rule(model.losses(0))
    before = copy.deepcopy(state(rule))
    with torch.no_grad():
        total = rule(model.losses(2))
    assert torch.isfinite(total) and not total.requires_grad
    for name, value in state(rule).items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name
