"""Numbers of pieces: what a captured step may do with them."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from captured import Waits

SQUARE = cc.geometry.Rectangle((0, 0), (1, 1))
BOX = cc.geometry.Box((0, 0, 0), (1, 1, 1))


def on_a_gpu(waits):
    """Numbers are looked at on the CPU alone."""
    return [line for line in waits.found if "aminmax" not in line]


@pytest.mark.parametrize("shape,part", [(SQUARE, "left"), (BOX, "x-")], ids=["plane", "solid"])
def test_a_jet_with_numbers_of_pieces_copies_nothing_from_the_host(shape, part):
    net = cc.nn.MLP(shape.dim, 1, 8, 2)
    field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(shape.boundary[part], 0.0)])
    points = shape.boundary.sample(32)
    expected = cc.jet(field, points.x, 1, piece=points.piece)  # the first one makes tables
    x = points.x.clone()  # not points that are known
    with Waits() as waits:
        found = cc.jet(field, x, 1, piece=points.piece)
    assert on_a_gpu(waits) == []
    torch.testing.assert_close(found.components, expected.components)


@pytest.mark.parametrize("order", [0, 1, "laplacian"])
def test_distance_with_numbers_of_pieces_copies_nothing_from_the_host(order):
    points = SQUARE.boundary.sample(32)
    expected = cc.boundary.distance(SQUARE.boundary, points.x, order=order, piece=points.piece)
    with Waits() as waits:
        found = cc.boundary.distance(SQUARE.boundary, points.x, order=order, piece=points.piece)
    assert on_a_gpu(waits) == []
    one, other = (v if order == 0 else v.components for v in (found, expected))
    assert torch.equal(one, other)


def test_the_table_made_in_inference_mode_serves_training():
    part = cc.geometry.Rectangle((0, 0), (1, 1.25)).boundary
    points = part.sample(8)
    with torch.inference_mode():
        cc.boundary.distance(part, points.x, piece=points.piece)
    x = points.x.clone().requires_grad_()
    cc.boundary.distance(part, x, piece=points.piece).sum().backward()
    assert torch.isfinite(x.grad).all()
