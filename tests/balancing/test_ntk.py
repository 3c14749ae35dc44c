"""NTK: traces from a slow reference, first weights, terms, the peer's ratios."""

from __future__ import annotations

import math

import colloc as cc
import colloc.ntk
import pytest
import torch
from colloc.balancing import NTK
from colloc.balancing.ntk import NTKState, ntk
from torch import nn

F64 = torch.float64


def terms():
    net = cc.nn.MLP(2, 1, 6, 2, "tanh", "layer", dtype=F64)
    square = cc.geometry.Rectangle((0.0, 0.0), (1.0, 1.0))
    inside = cc.Term("inside", net, square.sample(12, dtype=F64), lambda u, x: u.laplacian - 1)
    wall = cc.Term(
        "wall", net, torch.rand(5, 2, dtype=F64),
        lambda u, x: torch.cat([u.value, u.grad[:, 0]], 1), order=1, weight=3.0,
    )  # fmt: skip
    return net, [inside, wall]


def slow_trace(term):
    """Row by row: the share of the row in its loss times its squared gradient."""
    rows = term()
    measure = getattr(term.points, "measure", torch.ones(rows.shape[0], 1, dtype=F64))
    shares = measure / measure.sum() * term.weight / rows.shape[1]
    total = 0.0
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            parameters = list(term.field.parameters())
            found = torch.autograd.grad(
                rows[i, j], parameters, retain_graph=True, allow_unused=True
            )
            square = sum(g.square().sum() for g in found if g is not None)
            total += shares[i, 0] * square
    return total


def test_weights_by_true_traces_from_the_first_call_on():
    _, both = terms()
    traces = [slow_trace(term).item() for term in both]
    expected = [sum(traces) / t for t in traces]
    rule = NTK(["inside", "wall"])
    losses = {term.name: term.loss() for term in both}
    total = rule(losses, 0, terms=both)
    assert list(rule.weights.values()) == pytest.approx(expected, rel=1e-9)
    value = sum(w * x for w, x in zip(expected, losses.values(), strict=True))
    assert total.item() == pytest.approx(value.item(), rel=1e-9)
    total.backward()
    other = NTK(["wall", "inside"])
    other.update(losses, terms={term.name: term for term in both})
    assert list(other.weights.values()) == pytest.approx(expected[::-1], rel=1e-9)


def test_moving_average_and_when_terms_are_needed(monkeypatch):
    _, both = terms()
    traces = iter([1.0, 3.0, 1.0, 1.0])
    monkeypatch.setattr(colloc.ntk, "term_trace", lambda term: torch.tensor(next(traces)))
    rule = NTK(["inside", "wall"], alpha=0.25, update_every=4)
    losses = {term.name: term.loss().detach() for term in both}
    rule(losses, 0, terms=both)
    assert rule.weights == pytest.approx({"inside": 4.0, "wall": 4.0 / 3})
    rule(losses, 3)  # no update: no terms
    rule(losses, 4, terms=both)
    assert rule.weights == pytest.approx({"inside": 3.0 + 0.5, "wall": 1.0 + 0.5})
    with pytest.raises(ValueError, match=r"terms: expected a list.*balancer\(losses, step, terms"):
        rule(losses, 8)


def test_traces_of_zero_and_not_finite():
    state = NTKState(torch.tensor([2.0, 5.0, 7.0], dtype=F64), 1)
    for bad in (0.0, math.inf, math.nan):
        weights, after = ntk(torch.tensor([1.0, bad, 3.0], dtype=F64), state)
        assert weights.tolist() == pytest.approx([4.0, 5.0, 4.0 / 3])
        assert after.updates == 2


def test_wrong_terms():
    _, (inside, wall) = terms()
    rule = NTK(["inside", "wall"])
    losses = {"inside": torch.tensor(1.0), "wall": torch.tensor(1.0)}
    for given, message in (
        ([inside], "one for each of"),
        ([inside, inside], "terms of different names"),
        ([inside, 1.0], "expected a list of terms"),
        ({"inside": inside, "wall": 2}, r"terms\['wall'\]: expected a colloc.Term"),
        ({"inside": inside, "other": wall}, "Give the terms the names of their losses"),
        (3, "expected a list of terms"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            rule(losses, terms=given)
    assert int(rule.updates) == 0, "an update that failed is counted"
    rule(losses, terms=[inside, wall])
    assert int(rule.updates) == 1


def test_as_the_peer():
    p = nn.Parameter(torch.tensor([1.0, 2.0], dtype=F64))
    losses = {"a": p.square().sum(), "b": 9 * p[0].square()}
    rule = NTK(["a", "b"], peer=True)
    rule(losses)
    roots = [torch.autograd.grad(x.abs().sqrt(), p)[0].norm().item() for x in losses.values()]
    assert list(rule.weights.values()) == pytest.approx([sum(roots) / r for r in roots])
