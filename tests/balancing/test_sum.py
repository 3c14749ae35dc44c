"""cc.balancing.Sum and what every balancer shares."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch

A, B = torch.tensor(2.0), torch.tensor(5.0)


def test_sums():
    assert cc.balancing.Sum()({"a": A, "b": B}).item() == 7
    balancer = cc.balancing.Sum({"b": 3.0})
    assert balancer({"a": A, "b": B}, 4, terms=None).item() == 17
    assert balancer.weights == {"b": 3.0, "a": 1.0}
    assert cc.balancing.Sum({"b": 3.0}).weights == {"b": 3.0}  # before the first call


def test_gradient_is_the_weight():
    a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    total = cc.balancing.Sum({"a": 0.3})({"a": a})
    assert total.shape == () and total.dtype == torch.float64
    total.backward()
    assert a.grad.item() == 0.3


def test_state_holds_the_weights_and_their_names():
    saved = cc.balancing.Sum({"a": 2.0, "b": 3.0}).state_dict()
    other = cc.balancing.Sum({"a": 1.0, "b": 1.0})
    other.load_state_dict(saved)
    assert other.weights == {"a": 2.0, "b": 3.0}
    swapped = cc.balancing.Sum({"b": 1.0, "a": 1.0})
    with pytest.raises(ValueError, match="Make the balancer with the same names"):
        swapped.load_state_dict(saved)
    assert swapped.weights == {"b": 1.0, "a": 1.0}  # refused before anything was copied
    inner = torch.nn.ModuleDict({"balancer": other})
    inner.load_state_dict(inner.state_dict())


def test_the_weights_do_not_train():
    assert list(cc.balancing.Sum({"a": 1.0}).parameters()) == []


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.balancing.Sum()({}), "losses: expected at least one named loss"),
        (lambda: cc.balancing.Sum()([A]), "losses: expected a dict"),
        (lambda: cc.balancing.Sum()({"a": 1.0}), r"losses\['a'\]: expected a floating tensor"),
        (lambda: cc.balancing.Sum()({"a": torch.ones(2)}), r"losses\['a'\].*Take its mean"),
        (lambda: cc.balancing.Sum()({"a": torch.tensor(1)}), r"losses\['a'\]: expected a floating"),
        (lambda: cc.balancing.Sum()({1: A}), "losses: expected names that are strings"),
        (lambda: cc.balancing.Sum({"c": 1.0})({"a": A}), "here 'c' too"),
        (lambda: cc.balancing.Sum({"a": -1.0}), r"weights\['a'\]: expected a number >= 0"),
        (lambda: cc.balancing.Sum({"a": math.nan}), r"weights\['a'\]: expected a finite number"),
        (lambda: cc.balancing.Sum([1.0]), "weights: expected a dict"),
        (lambda: cc.balancing.Sum({1: 1.0}), "weights: expected names that are strings"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_trainable_weight_is_refused():
    with pytest.raises(ValueError, match=r"weights\['a'\]: expected a number, .* requires grad"):
        cc.balancing.Sum({"a": torch.nn.Parameter(torch.ones(()))})
