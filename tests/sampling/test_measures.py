"""DerivativeNorm, and points that carry weights."""

from __future__ import annotations

import colloc as cc
import pytest
import torch

F64 = torch.float64


def field(x):
    a, b = x[:, :1], x[:, 1:]
    return torch.cat([a**2 * b, a * b, b**3], 1)


def rows(x):
    a, b = x[:, :1], x[:, 1:]
    zero = torch.zeros_like(a)
    return torch.cat([2 * a * b, a**2, b, a, zero, 3 * b**2], 1)


X = torch.rand(7, 2, dtype=F64, generator=torch.Generator().manual_seed(0))


def test_the_gradient_of_all_outputs():
    norm = cc.sampling.DerivativeNorm(field)
    torch.testing.assert_close(norm.rows(X), rows(X))
    torch.testing.assert_close(norm(X), rows(X).norm(dim=1, keepdim=True))


def test_chosen_outputs_and_derivatives():
    chosen = cc.sampling.DerivativeNorm(field, outputs=[0, 1])
    torch.testing.assert_close(chosen.rows(X), rows(X)[:, :4])
    chosen = cc.sampling.DerivativeNorm(field, [(0, 1), (), (0, 0, 1)], outputs=[0])
    a, b = X[:, :1], X[:, 1:]
    expected = torch.cat([2 * a, a**2 * b, torch.full_like(a, 2)], 1)
    torch.testing.assert_close(chosen.rows(X), expected)


@pytest.mark.parametrize(
    "arguments,error,text",
    [
        ((3,), TypeError, "field: expected a module"),
        ((field, []), ValueError, "derivatives: expected at least one"),
        ((field, [0]), TypeError, "derivatives: expected tuples"),
        ((field, 0), TypeError, "derivatives: expected a list"),
        ((field, [(0, 0, 0, 0)]), ValueError, "derivatives: expected derivatives up to the third"),
        ((field, [(-1,)]), ValueError, "derivatives: expected an integer >= 0"),
        ((field, None, []), ValueError, "outputs: expected at least one"),
        ((field, None, [3]), ValueError, "outputs: expected numbers below the field's 3"),
        ((field, [(2,)]), ValueError, "expected"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        cc.sampling.DerivativeNorm(*arguments).rows(X)


def test_weights_of_points():
    square = cc.geometry.Rectangle((0, 0), (2, 2))
    points = square.sample(8, dtype=F64)
    torch.testing.assert_close(points.weight, torch.ones(8, 1, dtype=F64))
    measure = torch.arange(1.0, 9.0, dtype=F64).unsqueeze(1)
    drawn = cc.geometry.Points(points.x, None, measure, points.distance, None, 8, whole=4.0)
    torch.testing.assert_close(drawn.weight, measure * 8 / 4)
    half = drawn[::2]
    assert half.whole == 2.0
    torch.testing.assert_close(half.weight, drawn.weight[::2])
    assert drawn[measure[:, 0] > 4].whole is None
    for index in (torch.tensor([3, 1, 0]), [3, 1, 0]):
        assert drawn[index].whole == 1.5
        torch.testing.assert_close(drawn[index].weight, drawn.weight[[3, 1, 0]])
    assert drawn.to(dtype=torch.float32).whole == 4.0
    term = cc.Term("t", lambda x: x[:, :1], drawn, lambda u, x: u.value, order=0)
    expected = (measure * points.x[:, :1] ** 2).sum() / 4
    torch.testing.assert_close(term.loss(), expected)
