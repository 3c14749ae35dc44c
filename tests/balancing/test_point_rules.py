"""Causal, SelfAdaptive and ResidualBasedAttention: rules of a term's points."""

from __future__ import annotations

import copy
import math

import colloc as cc
import pytest
import torch
from colloc.balancing import Causal, ResidualBasedAttention, SelfAdaptive
from colloc.balancing.causal import CausalState, causal
from colloc.balancing.residual_attention import ResidualAttentionState, residual_attention
from colloc.balancing.self_adaptive import MASKS, SelfAdaptiveState, self_adaptive
from torch import nn

F64 = torch.float64


class Field(nn.Module):
    """u = s x0, so that the residual is what the points say."""

    def __init__(self, dtype=F64):
        super().__init__()
        self.s = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, x):
        return self.s * x[:, :1]


def term(rows, times=None, weight=1.0, columns=1, dtype=F64, **options):
    """A term with the given residual rows, at the given times (input 1)."""
    rows = torch.tensor(rows, dtype=dtype)
    times = torch.linspace(0, 1, len(rows), dtype=dtype) if times is None else torch.tensor(times)
    points = torch.stack([rows, times.to(dtype)], 1)
    return cc.Term(
        "t", Field(dtype), points, lambda u, x: u.value.expand(-1, columns).contiguous(),
        order=0, weight=weight, **options,
    )  # fmt: skip


# ---- causal -------------------------------------------------------------------------------------


def test_causal_weights_and_loss():
    rows, times = [2.0, 0.0, 1.0, 3.0, 1.0], [0.1, 0.2, 0.6, 1.0, 0.0]
    t = term(rows, times, weight=0.5)
    rule = Causal(1, 0.0, 1.0, slices=4, epsilon=0.3)
    assert rule.weights.tolist() == [1.0, 0.0, 0.0, 0.0] and not rule.finished()
    slices = [0.5 * (4 + 0 + 1) / 3, 0.0, 0.5 * 1.0, 0.5 * 9.0]  # none in the second one
    weights = [math.exp(-0.3 * sum(slices[:k])) for k in range(4)]
    total = rule(t)
    expected = sum(w * x for w, x in zip(weights, slices, strict=True)) / 3
    assert total.item() == pytest.approx(expected, rel=1e-12)
    assert rule.weights.tolist() == pytest.approx(weights, rel=1e-12)
    total.backward()  # with constant weights
    assert t.field.s.grad.item() == pytest.approx(2 * expected, rel=1e-12)
    assert rule.finished(0.3) and not rule.finished()
    rule.epsilon = 0.0
    rule(t)
    assert rule.finished()
    rule.eval()
    rule.epsilon = 100.0
    assert rule(t).item() == pytest.approx(sum(slices) / 3)


def test_causal_loss_is_the_terms_where_all_is_solved():
    """Slices of equal measure: with weights of 1 the plain loss, by the points' measure."""
    domain = cc.geometry.Rectangle((0.0, 0.0), (2.0, 1.0))
    points = domain.sample(400, dtype=F64)
    net = cc.nn.MLP(2, 1, 8, 1, "tanh", dtype=F64)
    t = cc.Term(
        "t", net, points, lambda u, x: u.laplacian - x[:, 1:], weight=cc.pde.distance_weight
    )
    rule = Causal(1, 0.0, 1.0, slices=1, epsilon=5.0)
    torch.testing.assert_close(rule(t), t.loss(), rtol=1e-12, atol=0)
    torch.testing.assert_close(Causal(1, 0, 1, 4, 0.0)(t), t.loss(), rtol=0.1, atol=0)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_causal_with_rows_that_are_not_finite(bad):
    rule = Causal(1, 0.0, 1.0, slices=2, epsilon=1.0)
    rule(term([1.0, 1.0]))
    before = rule.weights.clone()
    total = rule(term([bad, 1.0]))
    assert not torch.isfinite(total) and torch.isfinite(rule.weights).all()
    expected = [1.0, 0.0] if bad == math.inf else before.tolist()
    assert rule.weights.tolist() == expected
    large = causal(torch.tensor([1e300, 1e300, 1.0], dtype=F64), CausalState(torch.ones(3)))[0]
    assert large.tolist() == [1.0, 0.0, 0.0]


def test_causal_errors():
    t = term([1.0, 2.0], [0.0, 1.0])
    summed = term([1.0, 2.0], reduce=lambda rows: rows.sum(0, keepdim=True))
    empty = term([1.0])
    empty.points = torch.zeros(0, 2, dtype=F64)
    for call, message in (
        (lambda: Causal(1, 0.0, 0.5)(t), "points with times from 0 to 0.5 in column 1, got from 0"),
        (lambda: Causal(1, 0.5, 2.0)(t), "Set start and stop"),
        (lambda: Causal(2, 0.0, 1.0)(t), "axis: expected an input of term 't', below 2"),
        (lambda: Causal(1, 0.0, 1.0)(summed), "integral rows"),
        (lambda: Causal(1, 0.0, 1.0)(empty), "at least one point"),
        (lambda: Causal(1, 0.0, 1.0)(t.loss()), "term: expected a colloc.Term"),
        (lambda: Causal(-1, 0.0, 1.0), "axis"),
        (lambda: Causal(1, 1.0, 1.0), "stop: expected a number above start"),
        (lambda: Causal(1, 0.0, 1.0, slices=0), "slices"),
        (lambda: Causal(1, 0.0, 1.0, epsilon=-1), "epsilon"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


# ---- weights of points --------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
def test_self_adaptive_climbs_where_the_network_descends(mask):
    t = term([1.0, -3.0], weight=2.0, columns=2)
    rule = SelfAdaptive(2, mask, initial=0.8)
    lam = torch.tensor([[0.8], [0.8]], dtype=F64, requires_grad=True)
    m = {"square": lam**2, "identity": lam * 1, "sigmoid": torch.sigmoid(lam)}[mask]
    squares = torch.tensor([[1.0], [9.0]], dtype=F64)
    expected = (m * 2.0 * squares / 2).sum()
    (slope,) = torch.autograd.grad(expected, lam)
    total = rule(t)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    total.backward()
    torch.testing.assert_close(rule.lambdas.grad, -slope)
    assert t.field.s.grad.item() == pytest.approx(2 * expected.item(), rel=1e-12)
    torch.testing.assert_close(rule.weights, m.detach())
    torch.optim.SGD(rule.parameters(), lr=0.1).step()
    assert rule(t) > total
    rule.eval()
    rule.lambdas.grad = None
    rule(t).backward()
    assert rule.lambdas.grad is None


@pytest.mark.parametrize("bad", [math.inf, math.nan, 0.0, 1e200])
def test_self_adaptive_with_rows_that_go_wrong(bad):
    rule = SelfAdaptive(2)
    rule(term([bad, 1.0])).backward()
    assert torch.isfinite(rule.lambdas.grad).all()
    assert rule.lambdas.grad[1] == -1.0  # the other row's is as it would be
    state = SelfAdaptiveState(torch.tensor([[1e40], [-1e40]], dtype=F64))
    for mask in MASKS:
        weights, _, _ = self_adaptive(torch.ones(2, 1, dtype=F64), state, mask=mask)
        assert (weights >= 0).all() and (weights <= 1e30 * (1 + 1e-9)).all()


def test_residual_based_attention():
    rule = ResidualBasedAttention(2, gamma=0.9, eta=0.5, initial=1.0)
    t = term([1.0, -4.0], weight=3.0)
    total = rule(t)
    weights = [0.9 + 0.5 / 4, 0.9 + 0.5]
    assert rule.weights.flatten().tolist() == pytest.approx(weights, rel=1e-12)
    expected = 3.0 * (weights[0] ** 2 * 1 + weights[1] ** 2 * 16) / 2
    assert total.item() == pytest.approx(expected, rel=1e-12)
    total.backward()
    assert t.field.s.grad.item() == pytest.approx(2 * expected, rel=1e-12)
    rule.eval()
    rule(t)
    assert rule.weights.flatten().tolist() == pytest.approx(weights, rel=1e-12)
    rule.train()
    for _ in range(300):
        rule(t)
    assert rule.weights.max().item() == pytest.approx(5.0)
    state = ResidualAttentionState(torch.ones(2, 1, dtype=F64))
    for bad, after in ((math.nan, 1.0), (math.inf, 1.0), (0.0, 0.999)):
        values = torch.tensor([[bad], [0.0]], dtype=F64)
        found, _ = residual_attention(values, state)
        assert found.flatten().tolist() == [after, after]


@pytest.mark.parametrize("make", [SelfAdaptive, ResidualBasedAttention])
def test_points_must_stay(make):
    rule, t = make(3), term([1.0, 2.0, 3.0])
    rule(t)
    t.points = t.points.clone()
    rule(t)
    t.points = t.points + 1.0
    with pytest.raises(ValueError, match="Keep the points"):
        rule(t)
    with pytest.raises(ValueError, match="Make the rule with n=2"):
        rule(term([1.0, 2.0]))
    for wrong in (0, 1.5):
        with pytest.raises((ValueError, TypeError), match="n: expected an integer"):
            make(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Causal(1, 0.0, 1.0, slices=3),
        lambda: SelfAdaptive(3),
        lambda: ResidualBasedAttention(3),
    ],
    ids=["Causal", "SelfAdaptive", "ResidualBasedAttention"],
)
def test_state_dtypes_and_compile(make):
    rows = [1.0, 0.5, 2.0]
    rule, t = make().half(), term(rows, dtype=torch.float32)
    assert rule(t).dtype == torch.float32 and rule.weights.dtype == F64
    other = make()
    other.load_state_dict(rule.state_dict())
    assert torch.equal(other.weights, rule.weights)
    torch._dynamo.reset()
    compiled, t = copy.deepcopy(other), term(rows)
    run = torch.compile(lambda: compiled(t), fullgraph=True, backend="aot_eager_decomp_partition")
    for _ in range(3):
        found, expected = run(), other(t)
        torch.testing.assert_close(found, expected)
        parameters = [t.field.s]
        torch.testing.assert_close(
            torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters)
        )
    torch.testing.assert_close(compiled.weights, other.weights)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: SelfAdaptive(2, "cube"), "mask: expected one of"),
        (lambda: ResidualBasedAttention(2, gamma=1.0), "gamma: expected a number >= 0 and below 1"),
        (lambda: ResidualBasedAttention(2, eta=0.0), "eta: expected a number > 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_assigned_epsilon_is_resumed():
    rule, other = Causal(1, 0.0, 1.0, epsilon=0.01), Causal(1, 0.0, 1.0, epsilon=0.01)
    rule.epsilon = 10.0
    other.load_state_dict(rule.state_dict())
    assert other.epsilon == 10.0


def test_an_evaluation_changes_no_weights():
    causal_rule, attention = Causal(1, 0.0, 1.0, slices=2), ResidualBasedAttention(4)
    causal_rule(term([1.0, 2.0, 3.0, 4.0]))
    attention(term([1.0, 2.0, 3.0, 4.0]))
    before = causal_rule.weights.clone(), attention.weights.clone()
    with torch.no_grad():
        causal_rule(term([9.0, 2.0, 3.0, 4.0]))
        attention(term([1.0, 2.0, 3.0, 4.0]))
    assert torch.equal(causal_rule.weights, before[0])
    assert torch.equal(attention.weights, before[1])
