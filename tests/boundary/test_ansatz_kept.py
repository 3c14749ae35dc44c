"""What an Ansatz keeps for a set of points, and what it must not keep."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.boundary import Ansatz, Dirichlet, Neumann, transfinite
from torch import nn

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((0, 0), (1, 1))
B = SQUARE.boundary


def make(*conditions, outputs=1, **options):
    torch.manual_seed(0)
    return Ansatz(cc.nn.MLP(2, outputs, hidden_features=6, hidden_layers=1), conditions, **options)


def test_data_that_hides_something_trained_after_an_evaluation_without_grad():
    x, a = torch.rand(20, 2), nn.Parameter(torch.tensor(1.0))
    field = make(Dirichlet(B["left"], lambda v: a * v[:, 1:]), Dirichlet(B["right"], 0.0))
    with torch.no_grad():
        field(x)
    field(x).square().sum().backward()
    assert a.grad is not None and a.grad.abs() > 0.01
    with torch.no_grad():
        before = field(x)
        a.fill_(3.0)
        assert (field(x) - before).abs().max() > 0.1


def counting():
    calls = []

    def data(x):
        calls.append(len(x))
        return x[:, 1:] ** 2

    return calls, data


def test_many_batches_in_turn_are_kept():
    calls, data = counting()
    field = make(Dirichlet(B["left"], data), Dirichlet(B["right"], 0.0))
    batches = [torch.rand(10, 2) for _ in range(40)]
    first = [field(x) for x in batches]
    evaluated = len(calls)
    assert all(torch.equal(field(x), u) for x, u in zip(batches, first, strict=True))
    assert len(calls) == evaluated


def test_large_batches_are_let_go_but_for_the_last_eight(monkeypatch):
    calls, data = counting()
    field = make(Dirichlet(B["left"], data), Dirichlet(B["right"], 0.0))
    monkeypatch.setattr(field._kept, "size", 1000)
    batches = [torch.rand(10, 2) for _ in range(12)]
    for x in batches:
        field(x)
    evaluated = len(calls)
    for x in batches[-8:]:
        field(x)
    assert len(calls) == evaluated
    field(batches[0])
    assert len(calls) > evaluated


def test_points_that_are_gone_are_let_go():
    field = make(Dirichlet(B["left"], 1.0), Neumann(B["right"], 0.0))
    for _ in range(20):
        field(torch.rand(10, 2))
    assert len(field._kept._found) <= 2


def test_a_module_with_buffers_is_not_fixed():
    class Data(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("level", torch.tensor(1.0))

        def forward(self, x):
            return self.level * x[:, :1]

    field, x = make(Dirichlet(B, Data())), torch.rand(9, 2)
    before = field(x)
    field.conditions[0].g.data.level.fill_(5.0)
    assert (field(x) - before - 4 * x[:, :1]).abs().max() < 1e-5


def test_nothing_rounded_by_autocast_is_kept():
    linear = nn.Linear(2, 1).requires_grad_(False)
    field, x = make(Dirichlet(B, lambda v: linear(v))), torch.rand(50, 2)
    fresh = make(Dirichlet(B, lambda v: linear(v)))
    with torch.autocast("cpu", torch.bfloat16):
        field(x)
    torch.testing.assert_close(field(x), fresh(x))


def test_other_memory_under_the_same_tensor_is_noticed():
    field, x = make(Dirichlet(B, lambda v: v[:, :1])), torch.rand(9, 2)
    field(x)
    x.data = torch.rand(9, 2)
    torch.testing.assert_close(field(x), make(Dirichlet(B, lambda v: v[:, :1]))(x.clone()))


def test_other_data_is_noticed():
    field, x = make(Dirichlet(B, 0.0)), torch.rand(9, 2)
    before = field(x)
    field.conditions[0].g.data = 2.0
    torch.testing.assert_close(field(x), before + 2.0)


def test_several_components_share_phi(monkeypatch):
    calls = []
    real = cc.ops.distance
    monkeypatch.setattr(cc.ops, "distance", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    field = make(Dirichlet(B, 0.0), outputs=9)
    sets = [torch.rand(5, 2) for _ in range(4)]
    for x in sets * 3:
        field(x)
    assert len(calls) == len(sets)


def test_numbers_of_a_list_of_parts_are_the_boundarys():
    points = B.sample(24, start=1, dtype=F64)
    points = points[torch.minimum(points.x, 1 - points.x).amax(1) > 0.05]  # no corners
    lists = ([B["right"], B["top"]], [B["bottom"], B["left"]])
    values = [1.0, 0.0]
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, hidden_features=6, hidden_layers=1, dtype=F64)
    field = Ansatz(net, [Dirichlet(part, g) for part, g in zip(lists, values, strict=True)])
    expected = torch.isin(points.piece, torch.tensor(B["right", "top"].indices)).double()
    assert torch.equal(field(points.x, points.piece)[:, 0], expected)
    weights = transfinite(lists, points.x, piece=points.piece)
    assert torch.equal(weights[:, 0], expected)
    with pytest.raises(ValueError, match="piece: expected numbers of pieces, or -1"):
        field(points.x, torch.full((len(points.x),), -7))


@pytest.mark.parametrize("transform", ["jacfwd", "jacrev", "vmap of grad", "dual"])
def test_derivatives_by_the_points_under_torch_func(transform):
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, hidden_features=6, hidden_layers=1, dtype=F64)
    field = Ansatz(net, [Dirichlet(B["top"], lambda x: x[:, :1]), Dirichlet(B["bottom"], 1.0)])
    x = SQUARE.sample(7, start=1, dtype=F64).x
    expected = cc.jet(field, x, 1).grad[:, 0]

    def one(p):
        return field(p[None])[0, 0]

    if transform == "jacfwd":
        found = torch.func.vmap(torch.func.jacfwd(one))(x)
    elif transform == "jacrev":
        found = torch.func.vmap(torch.func.jacrev(one))(x)
    elif transform == "vmap of grad":
        found = torch.func.vmap(torch.func.grad(one))(x)
    else:
        columns = []
        for axis in range(2):
            direction = torch.zeros_like(x)
            direction[:, axis] = 1
            columns.append(torch.func.jvp(field, (x,), (direction,))[1][:, 0])
        found = torch.stack(columns, 1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_reverse_mode_under_torch_func_of_a_normal_condition():
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, hidden_features=6, hidden_layers=1, dtype=F64)
    field = Ansatz(net, [Dirichlet(B["top"], 1.0), Neumann(B["bottom"], lambda x: x[:, :1])])
    x = SQUARE.sample(7, start=1, dtype=F64).x
    found = torch.func.grad(lambda x: field(x).sum())(x)
    torch.testing.assert_close(found, cc.jet(field, x, 1).grad[:, 0], rtol=1e-9, atol=1e-10)


def test_forward_mode_of_weights_is_not_silently_zero():
    x = SQUARE.sample(5, start=1, dtype=F64).x
    parts = [B["top"], B["bottom"]]
    expected = transfinite(parts, x, order=1).grad[:, :, 0]
    direction = torch.zeros_like(x)
    direction[:, 0] = 1
    found = torch.func.jvp(lambda y: transfinite(parts, y), (x,), (direction,))[1]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    with pytest.raises(RuntimeError, match="expected order 0 in forward mode"):
        torch.func.jvp(lambda y: transfinite(parts, y, order=1).value, (x,), (direction,))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda x: x[:, 0], ValueError, r"g\(x\): expected a floating tensor of shape \(3, k\)"),
        (lambda x: 1.0, TypeError, r"g\(x\): expected a floating tensor"),
    ],
)
def test_wrong_data(data, error, message):
    with pytest.raises(error, match=message):
        make(Dirichlet(B, data))(torch.rand(3, 2))
    assert make(Dirichlet(B, lambda x: x[:, :1].double()))(torch.rand(3, 2)).dtype == torch.float32


@pytest.mark.parametrize("kind", ["numbers", "functions", "tensors"])
def test_data_that_is_assigned_anew(kind):
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    one = cc.boundary.Dirichlet(square.boundary["left"], 0.0)
    other = cc.boundary.Dirichlet(square.boundary["right"], 0.0)
    field = cc.boundary.Ansatz(cc.nn.MLP(2, 1, 8, 2, dtype=torch.float64), [one, other])
    points = (square.boundary - ["bottom", "top"]).sample(8, dtype=torch.float64)
    on_left = (points.x[:, :1] < 0.5).double()
    assert field(points.x, points.piece).abs().max() < 1e-12  # no weights between parts at first
    for k in range(1, 40):
        value = 0.1 * k + 1
        one.g.data = {
            "numbers": value,
            "functions": lambda x, value=value: torch.full_like(x[:, :1], value),
            "tensors": torch.tensor(value, dtype=torch.float64),
        }[kind]
        found = field(points.x, points.piece)
        assert (found - value * on_left).abs().max() < 1e-9, k
    kept = field._kept._found[(id(points.x), id(points.piece))][2]
    assert len(kept) <= 4  # old data make room
