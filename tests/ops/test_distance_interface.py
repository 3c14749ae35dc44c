"""cc.boundary.distance and the op: jets, errors, autograd and transforms."""

from __future__ import annotations

import math
import random

import colloc as cc
import pytest
import torch
from colloc.boundary import Arc, Circle, Line, Segment
from colloc.jets.layout import ORDERS
from colloc.ops import distance as op
from reference.distance_cases import F64, mixed_composite, near_points, points_on, star, table

# ---- cc.boundary.distance -----------------------------------------------------------------------


def test_parts_and_jets():
    square = cc.geometry.Rectangle((-1, -1), (1, 1))
    x = torch.rand(20, 2, dtype=F64)
    pieces = square.boundary.pieces
    jet = cc.boundary.distance(square.boundary, x, order="laplacian")
    torch.testing.assert_close(jet.components[..., 0], op(x, table(pieces), 2, "laplacian"))
    value = cc.boundary.distance(list(pieces), x, m=3)
    assert value.shape == (20, 1)
    torch.testing.assert_close(value.T, op(x, table(pieces), 3, 0))
    points = square.boundary.sample(40, dtype=F64)
    jet = cc.boundary.distance(square.boundary, points.x, order=1, piece=points.piece)
    assert (jet.value == 0).all()
    inside = points.x.abs().amin(1) < 1  # no corner
    torch.testing.assert_close(jet.grad[inside, 0], -points.normal[inside])
    # A part counts its pieces' numbers in the whole boundary.
    name = square.boundary.piece_names[2]
    part = square.boundary[name]
    jet = cc.boundary.distance(part, points.x, order=1, piece=points.piece)
    on = points.piece == 2
    assert (jet.value[on] == 0).all() and (jet.value[~on] >= 0).all()
    assert (jet.value[~on] > 0).any()


def test_gradients_of_the_jet_by_the_points():
    part = [Segment((0, 0), (1, 0)), Arc((0, 0), 1, 0, 2)]
    x = torch.rand(6, 2, dtype=F64, requires_grad=True)
    for order in (0, 1, "laplacian", 2):

        def call(at, order=order):
            made = cc.boundary.distance(part, at, order=order)
            return made if order == 0 else made.components

        assert torch.autograd.gradcheck(call, x)
        if order in (0, 1):
            assert torch.autograd.gradgradcheck(call, x)
    for order, times in ((3, 1), ("grad_laplacian", 1), (2, 2), ("laplacian", 2), (0, 4)):
        y = cc.boundary.distance(part, x, order=order)
        y = y if order == 0 else y.components
        with pytest.raises((ValueError, RuntimeError), match=r"expected an order"):
            for _ in range(times):
                (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)


SEGMENT = Segment((0, 0), (1, 0))
X = torch.rand(3, 2, dtype=F64)
IDS = torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, X), TypeError, "pieces: expected a boundary"),
        (([], X), ValueError, "pieces: expected a boundary"),
        (([SEGMENT, 3], X), TypeError, "pieces: expected a boundary"),
        ((cc.geometry.Rectangle((0, 0), (1, 1)), X), TypeError, "Give its .boundary"),
        (([SEGMENT, Segment((0.5, 0), (2, 0))], X), ValueError, "overlap along a length"),
        (([SEGMENT, SEGMENT.reversed()], X), ValueError, "overlap along a length"),
        (([SEGMENT, Line((5, 0), (6, 0))], X), ValueError, "overlap along a length"),
        (([Circle((0, 0), 1), Arc((0, 0), 1, 0, 1)], X), ValueError, "overlap along a length"),
        (([Arc((0, 0), 1, 0, 2), Arc((0, 0), 1, 1, 3)], X), ValueError, "overlap along a length"),
        ((SEGMENT, X[0]), ValueError, "x: expected"),
        ((SEGMENT, X[:, :1]), ValueError, "x: expected"),
        ((SEGMENT, X.numpy()), TypeError, "x: expected"),
        ((SEGMENT, X.long()), TypeError, "x: expected"),
        ((SEGMENT, X.half()), ValueError, "x: expected float32 or float64"),
        ((SEGMENT, X, 0), ValueError, "m: expected an integer >= 1"),
        ((SEGMENT, X, 65), ValueError, "m: expected an integer <= 64"),
        ((SEGMENT, X, 1.5), TypeError, "m: expected an integer"),
        ((SEGMENT, X, True), TypeError, "m: expected an integer"),
        ((SEGMENT, X, 2, 4), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, True), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, "1"), ValueError, "order: expected one of"),
        ((SEGMENT, X, 2, 0, [0, 0, 0]), TypeError, "piece: expected None or an int64"),
        ((SEGMENT, X, 2, 0, torch.zeros(3)), TypeError, "piece: expected None or an int64"),
        ((SEGMENT, X, 2, 0, torch.zeros(2, dtype=torch.long)), ValueError, "piece: expected"),
        ((SEGMENT, X, 2, 0, 1 + IDS), ValueError, "piece: expected numbers below 1"),
        ((SEGMENT, X, 2, 0, None, 0.0), ValueError, "length: expected a number > 0"),
        ((SEGMENT, X, 2, 0, None, -1), ValueError, "length: expected a number > 0"),
        ((SEGMENT, X, 2, 0, None, math.nan), ValueError, "length: expected a finite"),
        ((SEGMENT, X, 2, 0, None, "1"), TypeError, "length: expected a number"),
        ((Segment((0, 0), (1e-10, 0)), X.float()), ValueError, "x: expected float64"),
    ],
)  # fmt: skip
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        cc.boundary.distance(*arguments)
    assert message in str(info.value)


TABLE = table([SEGMENT])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, TABLE.numpy()), TypeError, "pieces: expected a float64 tensor"),
        ((X, TABLE.float()), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[0]), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[:, :5]), ValueError, "pieces: expected a float64 tensor"),
        ((X, TABLE[:0]), ValueError, "pieces: expected at least one piece"),
        ((X, TABLE.to("meta")), ValueError, "pieces: expected a tensor on the device of x"),
        ((X, TABLE, 2, "second"), ValueError, "order: expected one of"),
        ((X, TABLE, 2, 0, IDS[:, None]), ValueError, "piece: expected shape"),
        ((X, TABLE, 2, 0, IDS.to("meta")), ValueError, "piece: expected"),
        ((X, TABLE, 2, 0, None, math.inf), ValueError, "length: expected a finite"),
    ],
)  # fmt: skip
def test_op_errors(arguments, error, message):
    with pytest.raises(error) as info:
        op(*arguments)
    assert message in str(info.value)


def test_raw_op_checks_its_arguments():
    raw = torch.ops.colloc.distance
    for arguments, message in (
        ((X.half(), TABLE, None, 2, 1.0, "0"), "x: expected float32"),
        ((X[0], TABLE, None, 2, 1.0, "0"), "x: expected shape"),
        ((X, TABLE[0], None, 2, 1.0, "0"), "pieces: expected shape"),
        ((X, TABLE.float(), None, 2, 1.0, "0"), "pieces: expected a float64"),
        ((X, TABLE, torch.zeros(3), 2, 1.0, "0"), "piece: expected an int64"),
        ((X, TABLE, torch.zeros(1, dtype=torch.long), 2, 1.0, "0"), "piece: expected shape"),
        ((X, TABLE, None, 0, 1.0, "0"), "m: expected 1 to 64"),
        ((X, TABLE, None, 2, 0.0, "0"), "length: expected"),
        ((X, TABLE, None, 2, math.nan, "0"), "length: expected"),
        ((X, TABLE, None, 2, 1.0, "4"), "order: expected one of"),
    ):
        with pytest.raises(RuntimeError, match=message):
            raw(*arguments)


# ---- autograd and transforms --------------------------------------------------------------------


PARTS = table([Segment((0, 0), (1, 0)), Arc((0, 0), 1.0, 0, 2.0), Circle((0.2, 0.1), 2.0)])


def test_gradcheck_and_gradgradcheck():
    x = torch.randn(5, 2, dtype=F64, requires_grad=True)
    for m in (1, 2, 3):
        for order in (0, 1, "laplacian", 2):
            assert torch.autograd.gradcheck(lambda v, o=order, m=m: op(v, PARTS, m, o), x)
            if order in (0, 1):
                assert torch.autograd.gradgradcheck(lambda v, o=order, m=m: op(v, PARTS, m, o), x)


def test_third_derivatives_by_nested_autograd_and_a_loud_end():
    x = torch.randn(4, 2, dtype=F64, requires_grad=True)
    y = op(x, PARTS, 2, 0)[0]
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g[:, 0].sum(), x, create_graph=True)
    (t,) = torch.autograd.grad(h[:, 1].sum(), x, create_graph=True)
    jet = op(x, PARTS, 2, 3)
    torch.testing.assert_close(t, jet[[7, 8]].T)
    with pytest.raises(RuntimeError, match="fourth order"):
        torch.autograd.grad(t.sum(), x)
    for order in ("grad_laplacian", 3):
        with pytest.raises(RuntimeError, match="fourth order"):
            torch.autograd.grad(op(x, PARTS, 2, order).sum(), x)


def test_opcheck():
    x = torch.randn(5, 2, dtype=F64, requires_grad=True)
    ids = torch.tensor([-1, 0, 1, -1, 2])
    for order, piece in (("0", None), ("laplacian", ids)):
        torch.library.opcheck(
            torch.ops.colloc.distance.default, (x, PARTS, piece, 2, 1.0, order)
        )  # fmt: skip
    torch.library.opcheck(
        torch.ops.colloc.distance.default, (x.detach().float(), PARTS, None, 3, 2.0, "3")
    )


def test_compiled():
    x = torch.randn(7, 2, dtype=F64, requires_grad=True)

    def loss(at):
        return op(at, PARTS, 2, 1).square().sum() + cc.boundary.distance(SEGMENT, at).sum()

    expected = torch.autograd.grad(loss(x), x)[0]
    torch.compiler.reset()
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(found(x), loss(x))
    torch.testing.assert_close(torch.autograd.grad(found(x), x)[0], expected)


def test_transforms_give_the_derivatives():
    x = torch.randn(6, 2, dtype=F64)
    for m in (1, 2, 4):
        jet = op(x, PARTS, m, 3)

        def one(p, m=m):
            return op(p[None], PARTS, m, 0)[0, 0]

        func = torch.func
        gradient, hessian = (
            jet[1:3].T,
            torch.stack((jet[3], jet[4], jet[4], jet[5])).T.view(-1, 2, 2),
        )
        torch.testing.assert_close(func.vmap(one)(x), jet[0])
        for first in (func.jacrev, func.jacfwd, func.grad):
            torch.testing.assert_close(func.vmap(first(one))(x), gradient)
            torch.testing.assert_close(first(one)(x[0]), gradient[0])
        for outer in (func.jacfwd, func.jacrev):
            for inner in (func.jacfwd, func.jacrev):
                found = func.vmap(outer(inner(one)))(x)
                torch.testing.assert_close(found, hessian, msg=f"{outer} {inner}")
        third = func.vmap(func.jacrev(func.jacrev(func.jacrev(one))))(x)
        torch.testing.assert_close(third[:, 0, 1, 1], jet[8])
        third = func.vmap(func.jacfwd(func.jacfwd(func.jacfwd(one))))(x)
        torch.testing.assert_close(third[:, 0, 0, 0], jet[6])
        value, tangent = func.jvp(lambda v, m=m: op(v, PARTS, m, 0)[0], (x,), (torch.ones_like(x),))
        torch.testing.assert_close(value, jet[0])
        torch.testing.assert_close(tangent, gradient.sum(1))


def test_vmap_over_points_and_ids():
    x = torch.randn(3, 5, 2, dtype=F64)
    ids = torch.randint(-1, 3, (3, 5))
    for order in ORDERS:
        expected = torch.stack([op(x[b], PARTS, 2, order, ids[b]) for b in range(3)])
        found = torch.func.vmap(lambda v, k, o=order: op(v, PARTS, 2, o, k))(x, ids)
        torch.testing.assert_close(found, expected)
        found = torch.func.vmap(lambda k, o=order: op(x[0], PARTS, 2, o, k))(ids)
        torch.testing.assert_close(found[0], expected[0])
    with pytest.raises(RuntimeError, match="same pieces"):
        torch.func.vmap(lambda t: op(x[0], t, 2, 0))(torch.stack((PARTS, PARTS)))


def test_forward_mode_of_higher_orders_is_refused():
    x = torch.randn(4, 2, dtype=F64)
    with pytest.raises(RuntimeError, match="expected order 0 in forward mode"):
        torch.func.jvp(lambda v: op(v, PARTS, 2, 1), (x,), (torch.ones_like(x),))


def test_the_plain_formula_is_the_same_function():
    rng = random.Random(8)
    for pieces in (
        mixed_composite(1.0, 0.0, rng),
        star(6, 1.0, 2.0, rng),
        [Segment((0, 0), (1, 0))],
        [Arc((0, 0), 1, 0, 4)],
    ):
        x = torch.tensor([q for p in pieces for q in near_points(rng, p, 9)], dtype=F64)
        x = torch.cat((x, torch.tensor([e for p in pieces for e in p.ends or ()], dtype=F64)))
        on, _, ids = points_on(pieces)
        for m in (1, 2, 5):
            for at, piece in ((x, None), (on, ids)):
                jet = op(at, table(pieces), m, 1, piece)
                for axis in (0, 1):
                    tangent = torch.zeros_like(at)
                    tangent[:, axis] = 1
                    value, slope = torch.func.jvp(
                        lambda v, p=piece, t=pieces, m=m: op(v, table(t), m, 0, p)[0],
                        (at,),
                        (tangent,),
                    )
                    torch.testing.assert_close(value, jet[0], rtol=1e-11, atol=1e-15)
                    torch.testing.assert_close(slope, jet[1 + axis], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "length"), [(torch.float32, 1e-20), (torch.float32, 1e20), (torch.float64, 1e-200)]
)
def test_lengths_whose_powers_overflow(dtype, length):
    with pytest.raises(ValueError, match="length: expected a number from"):
        cc.boundary.distance(
            [Segment((0, 0), (1, 0))], torch.rand(3, 2, dtype=dtype), length=length
        )


def test_pieces_first_seen_in_inference_mode():
    """What is kept of them then must serve autograd later."""
    pieces = [cc.boundary.Segment((0.0, 0.1), (1.0, 0.3)), cc.boundary.Circle((0.2, 3.0), 0.5)]
    x = torch.rand(5, 2)
    with torch.inference_mode():
        known = cc.boundary.distance(pieces, x)
    x.requires_grad_()
    found = cc.boundary.distance(pieces, x)
    found.sum().backward()
    assert torch.equal(found.detach(), known) and x.grad.isfinite().all()
