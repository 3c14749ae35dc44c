"""cc.pde.integral and cc.pde.distance_weight: what terms take besides residuals."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, network

SQUARE = cc.geometry.Rectangle((0, 0), (1, 2))
WALL = SQUARE.boundary.sample(60, dtype=F64)


def flow(x):
    """Divergence 3: the flux through the wall is 3 times the area."""
    return torch.stack([2 * x[:, 0], x[:, 1]], 1)


def outward(u, x):
    return (u.value * WALL.normal).sum(1, keepdim=True)


def test_a_flux():
    flux = cc.Term("flux", flow, WALL, outward, order=0, reduce=cc.pde.integral(WALL, 5.0))
    close(flux(), torch.tensor([[1.0]], dtype=F64))
    close(flux.loss(), torch.tensor(1.0, dtype=F64))
    balance = cc.Term("balance", flow, WALL, outward, order=0, reduce=cc.pde.integral(WALL))
    close(balance(), torch.tensor([[6.0]], dtype=F64))


def test_each_piece():
    # left x = 0: no flux; right x = 1: 2 times its length 2; bottom: none; top: 2 times 1
    reduce = cc.pde.integral(WALL, groups=WALL.piece)
    pieces = cc.Term("pieces", flow, WALL, outward, order=0, reduce=reduce)
    found = pieces()
    assert found.shape == (4, 1)
    for row, piece in zip(found, sorted(set(WALL.piece.tolist())), strict=True):
        on = WALL.piece == piece
        expected = (WALL.measure * (flow(WALL.x) * WALL.normal).sum(1, keepdim=True))[on].sum()
        close(row[0], expected)
    assert sorted(found[:, 0].tolist()) == pytest.approx([0.0, 0.0, 2.0, 4.0], abs=0.25)
    close(pieces.loss(), found.square().mean())


def test_several_columns_and_targets():
    rows = torch.rand(60, 3, dtype=F64)
    sums = (WALL.measure * rows).sum(0, keepdim=True)
    target = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    close(cc.pde.integral(WALL, target)(rows), sums - target)
    close(cc.pde.integral(WALL, target[None])(rows), sums - target)
    groups = torch.arange(60) % 2 * 7 - 3  # numbers of groups may be any
    both = torch.stack([(WALL.measure * rows)[groups == g].sum(0) for g in (-3, 4)])
    targets = torch.rand(2, 3, dtype=F64)
    close(cc.pde.integral(WALL, targets, groups)(rows), both - targets)
    close(cc.pde.integral(WALL, 1.5, groups.to(torch.int32))(rows), both - 1.5)


def test_gradients():
    rows = torch.rand(60, 1, dtype=F64, requires_grad=True)
    target = torch.tensor(2.0, dtype=F64, requires_grad=True)
    found = cc.pde.integral(WALL, target)(rows)
    a, b = torch.autograd.grad(found.sum(), [rows, target])
    close(a, WALL.measure)
    assert b == -1
    single = cc.pde.integral(WALL, 2.0, WALL.piece)(rows.float())
    assert single.dtype == torch.float32


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((torch.zeros(4, 2),), "points: expected a sample with x .* and measure"),
        ((3,), "points: expected a sample with x"),
        ((SQUARE.sample(0),), "points: expected at least one point"),
        ((WALL, "two"), "target: expected a number"),
        ((WALL, math.nan), "target: expected a finite number"),
        ((WALL, torch.tensor([math.inf])), "target: expected finite numbers"),
        ((WALL, torch.tensor([1])), r"target: expected a number or a floating tensor of shape"),
        ((WALL, torch.zeros(2, 2)), r"target: .* of shape \(q,\)"),
        ((WALL, torch.zeros(1, 1, 1)), r"target: .* of shape \(q,\)"),
        ((WALL, torch.zeros(4), WALL.piece), r"target: .* of shape \(4, q\)"),
        ((WALL, torch.zeros(3, 1), WALL.piece), r"target: .* of shape \(4, q\)"),
        ((WALL, 0.0, WALL.piece.double()), r"groups: expected integers of shape \(60,\)"),
        ((WALL, 0.0, WALL.piece[:, None]), r"groups: expected integers of shape \(60,\)"),
        ((WALL, 0.0, [0] * 60), r"groups: expected integers of shape \(60,\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.integral(*arguments)


def test_wrong_measure():
    class Sample:
        x = torch.zeros(3, 2)
        measure = torch.ones(3)

    with pytest.raises(ValueError, match=r"points\.measure: .* of shape \(3, 1\)"):
        cc.pde.integral(Sample())
    Sample.measure = [1.0] * 3
    with pytest.raises(TypeError, match=r"points\.measure: .* of shape \(3, 1\)"):
        cc.pde.integral(Sample())


@pytest.mark.parametrize(
    "rows,message",
    [
        (torch.zeros(60), r"rows: expected .*\(60, q\).* Keep the last axis"),
        (torch.zeros(59, 1), r"rows: expected .*\(60, q\).* assign another integral"),
        (torch.zeros(60, 1, dtype=torch.int64), r"rows: expected a floating tensor"),
        ([0.0] * 60, r"rows: expected a floating tensor"),
        (torch.zeros(60, 2), r"target: expected .* shape \(1, 3\) or \(3,\)|target: expected"),
    ],
)
def test_wrong_rows(rows, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.integral(WALL, torch.zeros(3))(rows)
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.integral(WALL, torch.zeros(4, 3), WALL.piece)(rows)


# ---- distance_weight ----------------------------------------------------------------------


def test_distance_weight():
    sample = SQUARE.sample(16, dtype=F64)
    net = network(2)

    def loss(weight):
        return cc.Term("t", net, sample, cc.pde.poisson(), weight=weight).loss()

    close(loss(cc.pde.distance_weight), loss(lambda p: p.distance))
    steep = loss(lambda p: cc.pde.distance_weight(p, power=2, scale=3.0))
    close(steep, loss(lambda p: 3 * p.distance.square()))
    close(cc.pde.distance_weight(WALL, power=0), torch.ones(60, 1, dtype=F64))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((torch.zeros(4, 2),), "points: expected a sample with distance"),
        ((2.0,), "points: expected a sample with distance"),
        ((WALL, -1.0), "power: expected a number >= 0"),
        ((WALL, 1.0, -1.0), "scale: expected a number >= 0"),
        ((WALL, "2"), "power: expected a number"),
    ],
)
def test_wrong_distance_weights(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.distance_weight(*arguments)


def test_wrong_distances():
    class Sample:
        distance = torch.ones(3)

    with pytest.raises(ValueError, match=r"points\.distance: .* of shape \(N, 1\)"):
        cc.pde.distance_weight(Sample())
    Sample.distance = [1.0]
    with pytest.raises(TypeError, match=r"points\.distance: expected"):
        cc.pde.distance_weight(Sample())
