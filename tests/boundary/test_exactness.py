"""Dirichlet, Neumann and Robin conditions are met by untrained networks, on random domains."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from boundary.domains import KINDS, PLACES, domain, network, on_boundary, parts
from colloc.boundary import Ansatz, Dirichlet, Neumann, Robin

F64, F32 = torch.float64, torch.float32
EPS = 2.0**-52
TOLERANCE = {F64: 1e-11, F32: 1e-5}


def smooth(scale, shift, k=1.0):
    """Data with values of the size 1."""

    def values(x):
        u, v = (x[:, :1] - shift) / scale, (x[:, 1:2] + shift) / scale
        return torch.sin(k * u) + 0.5 * v * v - 0.3 * u * v + 1.5

    return values


def residual(field, x, normal, piece, c=None, h=None):
    """du/dn + c u - h and what its terms add up to."""
    jet = cc.jet(field, x, order=1, piece=piece)
    slope = (jet.grad * normal.unsqueeze(1)).sum(2)
    c = torch.zeros_like(slope) if c is None else c
    h = torch.zeros_like(slope) if h is None else h
    size = jet.grad.abs().sum(2) + (c * jet.value).abs() + h.abs()
    return slope + c * jet.value - h, size + 1e-30


@pytest.mark.parametrize("dtype", [F64, F32], ids=["f64", "f32"])
@pytest.mark.parametrize("kind", KINDS)
def test_dirichlet(kind, dtype):
    for scale, shift in PLACES:
        shape = domain(kind, scale, shift)
        net = network(1, scale, shift, dtype=dtype)
        points = shape.boundary.sample(150, method="uniform", seed=2, dtype=dtype)
        for g in (0.0, 0.7, smooth(scale, shift)):
            field = Ansatz(net, [Dirichlet(shape.boundary, g)], length=scale)
            expected = g(points.x) if callable(g) else torch.full((150, 1), g, dtype=dtype)
            found = field(points.x, points.piece)
            assert torch.isfinite(found).all()
            assert (found - expected).abs().max() <= TOLERANCE[dtype], (scale, shift)
            # Without the pieces' numbers, to the rounding of coordinates.
            rounding = 32 * torch.finfo(dtype).eps * (points.x.abs().max().item() / scale + 1)
            error = (field(points.x) - expected).abs().max() * min(1, 1 / scale)
            assert error <= TOLERANCE[dtype] + rounding


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "disk"])
def test_several_dirichlet_values(kind):
    for scale, shift in PLACES:
        shape = domain(kind, scale, shift, seed=1)
        net = network(1, scale, shift)
        data = [smooth(scale, shift, k) for k in (1.0, 2.0)]
        conditions = [Dirichlet(p, g) for p, g in zip(parts(shape), data, strict=True)]
        with pytest.warns(UserWarning, match="differ"):
            field = Ansatz(net, conditions, length=scale)
        x, _, piece = on_boundary(shape, 120, scale)
        expected = torch.where((piece % 2 == 0).unsqueeze(1), data[0](x), data[1](x))
        assert (field(x, piece) - expected).abs().max() <= 1e-11
        assert (field(x) - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_neumann(kind):
    for scale, shift in PLACES:
        shape = domain(kind, scale, shift, seed=2)
        x, normal, piece = on_boundary(shape, 120, scale)
        net = network(1, scale, shift)
        for h in (0.0, 0.8 / scale, smooth(scale, shift)):
            field = Ansatz(net, [Neumann(shape.boundary, h)], length=scale)
            wanted = h(x) if callable(h) else torch.full((len(x), 1), h, dtype=F64)
            for ids in (piece, None):
                error, size = residual(field, x, normal, ids, h=wanted)
                assert (error.abs() <= 1e-8 * size.clamp(min=size.mean())).all(), (scale, shift)


@pytest.mark.parametrize("kind", KINDS)
def test_robin(kind):
    for scale, shift in PLACES:
        shape = domain(kind, scale, shift, seed=3)
        x, normal, piece = on_boundary(shape, 120, scale)
        net = network(2, scale, shift)
        c, h = smooth(scale, shift, 0.7), smooth(scale, shift, 2.0)
        for outputs in (1, 2):  # N2 given or not
            field = Ansatz(net, [Robin(shape.boundary, c, h)], outputs=outputs, length=scale)
            for ids in (piece, None):
                error, size = residual(field, x, normal, ids, c(x), h(x))
                assert error.shape == (len(x), outputs)
                assert (error.abs() <= 1e-8 * size.clamp(min=size.mean())).all(), (scale, shift)


@pytest.mark.parametrize("second", [False, True], ids=["N", "N and N2"])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "disk"])
def test_mixed(kind, second):
    for scale, shift in PLACES:
        shape = domain(kind, scale, shift, seed=4)
        one, two = parts(shape)
        x, normal, piece = on_boundary(shape, 150, scale)
        net = network(2 if second else 1, scale, shift)
        g, c, h = (smooth(scale, shift, k) for k in (0.5, 1.0, 2.0))
        field = Ansatz(net, [Robin(two, c, h), Dirichlet(one, g)], outputs=1, length=scale)
        fixed = piece % 2 == 0
        for ids in (piece, None):
            at = None if ids is None else ids[fixed]
            # At a rounding r from set 1 w is 1 / (1 + l r / phi2^2), phi2 is above 0.01; u2 has
            # terms of the size c scale.
            rounding = 0 if ids is not None else 16 * EPS * (x.abs().max().item() / scale + 1)
            error = (field(x[fixed], at) - g(x[fixed])).abs().max()
            assert error <= 1e-11 + rounding / 1e-4 * max(1, scale)
            at = None if ids is None else ids[~fixed]
            there = x[~fixed]
            error, size = residual(field, there, normal[~fixed], at, c(there), h(there))
            assert (error.abs() <= 1e-8 * size.clamp(min=size.mean())).all(), (scale, shift)


def test_several_robin_parts():
    shape = domain("polygon", 1.0, 0.0, seed=5)
    x, normal, piece = on_boundary(shape, 200, 1.0)
    one, two = parts(shape)
    data = [(1.0, smooth(1, 0, 2.0)), (smooth(1, 0, 1.0), -0.4)]
    field = Ansatz(network(1, 1.0, 0.0), [Robin(one, *data[0]), Robin(two, *data[1])])
    first = (piece % 2 == 0).unsqueeze(1)
    c = torch.where(first, torch.ones(len(x), 1, dtype=F64), data[1][0](x))
    h = torch.where(first, data[0][1](x), torch.full((len(x), 1), -0.4, dtype=F64))
    error, size = residual(field, x, normal, piece, c, h)
    assert (error.abs() <= 1e-8 * size).all()


def test_neumann_in_float32():
    shape = domain("difference", 1.0, 0.0)
    x, normal, piece = on_boundary(shape, 200, 1.0, F32)
    field = Ansatz(network(1, 1.0, 0.0, dtype=F32), [Robin(shape.boundary, 0.5, 1.0)])
    one = torch.ones(len(x), 1)
    error, size = residual(field, x, normal, piece, 0.5 * one, one)
    assert (error.abs() <= 1e-4 * size).all()


def test_each_component_has_its_own_conditions():
    shape = domain("union", 1.0, 0.0)
    boundary = shape.boundary
    one, two = parts(shape)
    net = network(4, 1.0, 0.0)
    field = Ansatz(
        net,
        [
            Dirichlet(boundary, torch.tensor([1.0, -2.0]), components=[2, 0]),
            Neumann(one, 0.3, components=1),
            Dirichlet(two, 0.25, components=1),
        ],
    )
    x, normal, piece = on_boundary(shape, 150, 1.0)
    jet = cc.jet(field, x, 1, piece=piece)
    assert jet.value.shape == (len(x), 4)
    assert (jet.value[:, 2] == 1).all() and (jet.value[:, 0] == -2).all()
    first = piece % 2 == 0
    assert (jet.value[~first, 1] - 0.25).abs().max() < 1e-11
    slope = (jet.grad[first, 1] * normal[first]).sum(1)
    assert (slope - 0.3).abs().max() < 1e-8
    torch.testing.assert_close(jet.value[:, 3], net(x)[:, 3])  # free


def test_a_vector_on_all_components():
    shape = domain("polygon", 1.0, 0.0)
    net = network(3, 1.0, 0.0)
    x, _, piece = on_boundary(shape, 60, 1.0)

    def values(at):
        return torch.cat((at[:, :1], at[:, 1:2], at[:, :1] * at[:, 1:2]), 1)

    assert (
        Ansatz(net, [Dirichlet(shape.boundary, values)])(x, piece) - values(x)
    ).abs().max() < 1e-12
    field = Ansatz(net, [Dirichlet(shape.boundary, lambda at: at[:, :1] ** 2)])
    assert (field(x, piece) - x[:, :1] ** 2).abs().max() < 1e-12


def test_orders_m_and_mu():
    shape = domain("polygon", 1.0, 0.0, seed=9)
    one, two = parts(shape)
    x, normal, piece = on_boundary(shape, 100, 1.0)
    net = network(1, 1.0, 0.0)
    first = (piece % 2 == 0).unsqueeze(1)
    for m in (1, 2, 3, 6):
        for mu in (1, 2, 4):
            with pytest.warns(UserWarning):
                field = Ansatz(net, [Dirichlet(one, 1.0), Dirichlet(two, 3.0)], m=m, mu=mu)
            expected = torch.where(first, 1.0, 3.0).to(F64)
            assert (field(x, piece) - expected).abs().max() <= 1e-11
        error, size = residual(Ansatz(net, [Neumann(shape.boundary)], m=m), x, normal, piece)
        assert (error.abs() <= 1e-8 * size).all()


def test_lines_and_pieces_without_a_shape():
    line = cc.boundary.Line((0.0, 0.0), (1.0, 0.0))  # the half plane above it
    arc = cc.boundary.Arc((0.0, 3.0), 1.0, 0.0, math.pi)
    x = torch.stack((torch.linspace(-5, 5, 40, dtype=F64), torch.zeros(40, dtype=F64)), 1)
    normal = torch.tensor([0.0, -1.0], dtype=F64).expand(40, 2)
    net = network(1, 1.0, 0.0)
    field = Ansatz(net, [Neumann(line, 2.0), Dirichlet([arc], 5.0)])
    error, size = residual(field, x, normal, torch.zeros(40, dtype=torch.long), h=torch.tensor(2.0))
    assert (error.abs() <= 1e-8 * size).all()
    at, _ = arc.at(torch.linspace(0.1, 3.0, 20, dtype=F64))
    assert (field(at, torch.ones(20, dtype=torch.long)) - 5).abs().max() < 1e-11


# ---- joints -------------------------------------------------------------------------------------


def corners(shape):
    return torch.tensor([e for p in shape.boundary.pieces for e in p.ends], dtype=F64)


def test_values_that_agree_at_joints():
    for scale, shift in PLACES:
        for kind in ("polygon", "union", "difference"):
            shape = domain(kind, scale, shift)
            g = smooth(scale, shift)
            one, two = parts(shape)
            field = Ansatz(
                network(1, scale, shift), [Dirichlet(one, g), Dirichlet(two, lambda x, g=g: g(x))],
                length=scale,
            )  # fmt: skip
            x = corners(shape)
            for order in (0, "laplacian", 3):
                jet = cc.jet(field, x, order)
                assert torch.isfinite(jet.components).all(), (kind, order)
                assert (jet.value - g(x)).abs().max() <= 1e-9


def test_values_that_differ_at_a_joint_are_named_once_and_averaged():
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    lid, rest = square.boundary["top"], square.boundary - "top"
    net = network(1, 1.0, 0.0)
    with pytest.warns(UserWarning, match="differ where they meet") as seen:
        field = Ansatz(net, [Dirichlet(lid, 1.0), Dirichlet(rest, 0.0)])
    named = [str(w.message) for w in seen if "differ where they meet" in str(w.message)]
    assert len(named) == 2  # two joints, each once
    assert any("(0, 1)" in text for text in named) and any("(1, 1)" in text for text in named)
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.5, 1.0]], dtype=F64)
    jet = cc.jet(field, x, 3)
    torch.testing.assert_close(jet.value[:, 0], torch.tensor([0.5, 0.5, 0.0, 1.0], dtype=F64))
    assert torch.isfinite(jet.components).all()


def test_no_warning_where_values_agree(recwarn):
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    parts_of = [square.boundary["top"], square.boundary - "top"]
    net = network(2, 1.0, 0.0)
    Ansatz(net, [Dirichlet(parts_of[0], lambda x: x[:, 1:2] * 0), Dirichlet(parts_of[1], 0.0)])
    Ansatz(net, [Dirichlet(parts_of[0], 1.0, 0), Dirichlet(parts_of[1], 0.0, 1)])
    Ansatz(net, [Dirichlet(square.boundary["top"], 1.0), Dirichlet(square.boundary["bottom"], 0.0)])
    assert not [w for w in recwarn if "differ" in str(w.message)]


def test_the_two_kinds_at_a_joint():
    for scale, shift in PLACES:
        for kind in ("polygon", "union", "difference"):
            shape = domain(kind, scale, shift, seed=6)
            one, two = parts(shape)
            g = smooth(scale, shift)
            field = Ansatz(network(2, scale, shift), [Dirichlet(one, g), Neumann(two, 0.3)],
                           outputs=1, length=scale)  # fmt: skip
            x = corners(shape)
            meets = torch.cdist(x, torch.tensor([e for p in one.pieces for e in p.ends], dtype=F64))
            x = x[meets.amin(1) < 1e-9 * scale]
            for order in (0, 2):
                jet = cc.jet(field, x, order)
                assert torch.isfinite(jet.components).all(), (kind, order, scale)
                assert (jet.value - g(x)).abs().max() <= 1e-9, (kind, order, scale)
            # beside the joint nothing is NaN
            near = x + 10.0 ** torch.randint(-16, 0, (len(x), 1)) * scale * torch.randn(
                len(x), 2, dtype=F64
            )
            assert torch.isfinite(cc.jet(field, near, 2).components).all()
