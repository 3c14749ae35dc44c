"""Op signed_distance: against the definition, on rays through vertices and along chords, against
the plain formula, its derivatives, and what it refuses."""

from __future__ import annotations

import functools
import math
import random

import colloc as cc
import pytest
import torch
from colloc.geometry import Arc, Disk, PieceBoundary, Polygon, Rectangle, Segment
from colloc.ops import signed_distance as op
from colloc.ops._signed_distance_formula import signed_distance_formula, slope_formula
from reference.signed_distance import signed_distance as defined
from reference.signed_distance_cases import F64, SHAPES, levels, loop, places, star, tables

F32 = torch.float32
DTYPES = pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
RAW = torch.ops.colloc.signed_distance.default
SLOPE = torch.ops.colloc.signed_distance_slope.default
ALL = pytest.mark.parametrize("pieces", SHAPES.values(), ids=SHAPES)


@functools.cache
def case(name, dtype):
    x = places(SHAPES[name], dtype)
    return x, torch.tensor([[defined(SHAPES[name], p)] for p in x.tolist()], dtype=F64)


@DTYPES
@pytest.mark.parametrize("name", SHAPES)
def test_against_the_definition(capability, name, dtype):
    pieces = SHAPES[name]
    x, expected = case(name, dtype)
    found = op(x, *tables(pieces))
    assert found.shape == (len(x), 1) and found.dtype == dtype
    rounding = 16 * torch.finfo(dtype).eps * (1 + tables(pieces)[2])
    # The definition takes the radius off the distance to the centre.
    rounding += 2 * torch.finfo(F64).eps * max(getattr(piece, "radius", 0.0) for piece in pieces)
    on = expected.abs() <= rounding  # the side is nobody's
    error = torch.where(on, found.abs() - expected.abs(), found - expected).abs()
    assert error.max() < rounding
    assert on.double().mean() < 0.5 and (found > 0).any() and (found < 0).any()


@pytest.mark.parametrize("gap", [1e-16, 1e-13, 3e-11])
def test_ends_that_miss_each_other_by_a_little(gap):
    """A ray through the gap sees no opening."""
    r = random.Random(1)

    def moved(point):
        return point[0] + r.choice((-gap, gap)), point[1] + r.choice((-gap, gap))

    pieces = [Segment(moved(p.p1), moved(p.p2)) for p in SHAPES["steps"]]
    pieces.append(Arc((1.5, 0.5), 0.25, 0, 2 + gap, False))
    pieces.append(Arc((1.5, 0.5), 0.25, 2 - gap, 2 * math.pi - gap, False))
    boundary = PieceBoundary(pieces)
    heights = [y + k * gap for y in levels(pieces)[0] for k in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    x = torch.tensor([(0.1 + s, y) for y in heights for s in (-1.0, 0.6, 1.0, 1.7)], dtype=F64)
    expected = torch.tensor([[defined(pieces, p)] for p in x.tolist()], dtype=F64)
    found = boundary._tables.signed_distance(x)
    assert boundary.is_closed
    clear = expected.abs() > 1e-9
    assert clear.sum() > 0.6 * len(x)
    torch.testing.assert_close(found[clear], expected[clear])


def test_open_pieces_keep_to_angles():
    """Without a last side the angle decides, as for all that does not close."""
    pieces = star()[:-1]
    x = places(pieces, F64)
    found = PieceBoundary(pieces)._tables.signed_distance(x)
    assert torch.equal(found, signed_distance_formula(x, *tables(pieces)))


@DTYPES
@ALL
def test_on_the_pieces_the_formula_says_the_same(capability, pieces, dtype):
    """To the last digit, and with it whether rounding has put a point inside."""
    eps = torch.finfo(dtype).eps
    x = []
    for piece in pieces:
        at, normal = piece.at(torch.linspace(0.05, 0.95, 9, dtype=F64) * piece.length)
        x += [at + k * eps * normal for k in (-40, -2, -1, 0, 1, 2, 40)]
    x = torch.cat(x).to(dtype)
    formula = signed_distance_formula(x, *tables(pieces))
    found = op(x, *tables(pieces))
    assert (found - formula).abs().max() < 1e-3 * eps
    assert (formula > 0).any() and (formula < 0).any()


def test_pieces_hold_their_points(capability):
    """Exact where the arithmetic is: products are not fused, so that points of a diagonal are on
    it and count as inside."""
    share = torch.linspace(0, 1, 65, dtype=F64)
    for pieces in (SHAPES["steps"], loop([(0, 0), (1, 0), (0, 1)])):
        x = torch.cat([p.at(share * p.length)[0] for p in pieces])
        x = (x * 64).round() / 64
        for dtype in (F32, F64):
            found = op(x.to(dtype), *tables(pieces))
            assert torch.equal(found, torch.zeros_like(found))


# ---- derivatives --------------------------------------------------------------------------------


@DTYPES
@ALL
def test_slope(capability, pieces, dtype):
    x = places(pieces, dtype)
    value = op(x, *tables(pieces))
    x = x[value[:, 0].abs() > 64 * torch.finfo(dtype).eps].requires_grad_()
    (found,) = torch.autograd.grad(op(x, *tables(pieces)).sum(), x)
    (plain,) = torch.autograd.grad(signed_distance_formula(x, *tables(pieces)).sum(), x)
    same = (found - plain).abs().amax(1) < 1e4 * torch.finfo(dtype).eps
    # Where two pieces are as near, either may be taken.
    assert same.double().mean() > 0.9
    ahead = x.detach() + 1e-3 * found
    behind = x.detach() - 1e-3 * found
    rise = (op(ahead, *tables(pieces)) - op(behind, *tables(pieces)))[~same]
    assert (rise.abs() < 2.001e-3).all()
    centre = found.norm(dim=1) == 0
    assert ((found.norm(dim=1) - 1).abs()[~centre] < 16 * torch.finfo(dtype).eps).all()
    torch.testing.assert_close(slope_formula(x, *tables(pieces))[same], found[same], rtol=0,
                               atol=1e4 * torch.finfo(dtype).eps)  # fmt: skip


def test_gradcheck_and_gradgradcheck():
    for name in ("ring", "cake"):
        x = places(SHAPES[name], F64, 8)[:8].requires_grad_()
        both = tables(SHAPES[name])
        assert torch.autograd.gradcheck(lambda v, b=both: op(v, *b), x)
        assert torch.autograd.gradgradcheck(lambda v, b=both: op(v, *b), x)


def test_third_derivatives():
    x = torch.tensor([[0.9, 0.7]], dtype=F64, requires_grad=True)
    y = op(x, *tables(SHAPES["circle"]))  # 0.7 - rho, rho = |x - c|
    d = (x - torch.tensor([[0.1, 0.2]], dtype=F64)).detach()[0]
    rho, e = d.norm(), d / d.norm()
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g[0, 0], x, create_graph=True)
    (t,) = torch.autograd.grad(h[0, 0], x)
    torch.testing.assert_close(g[0], -e)
    torch.testing.assert_close(h[0, 0], -(1 - e[0] ** 2) / rho)
    torch.testing.assert_close(t[0, 0], 3 * e[0] * (1 - e[0] ** 2) / rho**2)


def test_opcheck():
    straight, circular, size = tables(SHAPES["ring"])
    x = torch.randn(5, 2, dtype=F64, requires_grad=True)
    torch.library.opcheck(RAW, (x, straight, circular, size))
    torch.library.opcheck(SLOPE, (x.detach(), straight, circular, size))


def test_compiled():
    shape = Rectangle((-2, -0.5), (2, 0.5)) - Disk((0, 0), 0.3)
    x = torch.randn(9, 2, dtype=F64, requires_grad=True)

    def loss(at):
        return shape.distance(at).sin().sum()

    expected = torch.autograd.grad(loss(x), x)[0]
    torch.compiler.reset()
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(found(x), loss(x))
    torch.testing.assert_close(torch.autograd.grad(found(x), x)[0], expected)


def test_transforms_give_the_derivatives():
    func, both = torch.func, tables(SHAPES["ring"])
    x = places(SHAPES["ring"], F64, 6)[:6].requires_grad_()
    y = op(x, *both)
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    rows = [torch.autograd.grad(gradient[:, k].sum(), x, retain_graph=True)[0] for k in (0, 1)]
    hessian = torch.stack(rows, 1)
    x, y, gradient = x.detach(), y.detach(), gradient.detach()

    def one(p):
        return op(p[None], *both)[0, 0]

    torch.testing.assert_close(func.vmap(one)(x), y[:, 0])
    for first in (func.jacrev, func.jacfwd, func.grad):
        torch.testing.assert_close(func.vmap(first(one))(x), gradient)
    for outer in (func.jacfwd, func.jacrev):
        for inner in (func.jacfwd, func.jacrev):
            torch.testing.assert_close(func.vmap(outer(inner(one)))(x), hessian)
    value, tangent = func.jvp(lambda v: op(v, *both), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(value, y)
    torch.testing.assert_close(tangent, gradient.sum(1, keepdim=True))
    batch = torch.stack((x, -x), 1)
    for way in (op, SLOPE):
        found = func.vmap(lambda v, way=way: way(v, *both), in_dims=1, out_dims=1)(batch)
        torch.testing.assert_close(found, torch.stack([way(v, *both) for v in (x, -x)], 1))
    with pytest.raises(RuntimeError, match="same pieces"):
        func.vmap(lambda t: op(x, t, *both[1:]))(torch.stack((both[0], both[0])))


# ---- layouts, extremes, refusals ----------------------------------------------------------------


@DTYPES
def test_counts_layouts_and_threads(capability, dtype):
    both = tables(SHAPES["ring"])
    x = torch.randn(2000, 2, dtype=dtype)
    whole, slope = RAW(x, *both), SLOPE(x, *both)
    for count in (0, 1, 127, 128, 129):
        assert torch.equal(RAW(x[:count], *both), whole[:count])
        assert torch.equal(SLOPE(x[:count], *both), slope[:count])
    assert torch.equal(RAW(x[1000:1001], *both), whole[1000:1001])
    turned, apart = x.T.contiguous().T, torch.stack((x, x), 2)[..., 0]
    wide = [torch.stack((t, t), 2)[..., 0] for t in both[:2]]
    for view in (turned, apart):
        assert not view.is_contiguous()
        assert torch.equal(RAW(view, *wide, both[2]), whole)
        assert torch.equal(SLOPE(view, *wide, both[2]), slope)
    many = torch.randn(20000, 2, dtype=dtype)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append((RAW(many, *both), SLOPE(many, *both)))
    torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@DTYPES
def test_nothing_is_made_up(capability, dtype):
    """NaN where a coordinate is; infinite, not finite, where a coordinate or its square is."""
    nan, far = math.nan, math.inf
    for name in ("star", "ring", "circle"):
        both = tables(SHAPES[name])
        x = torch.tensor([[nan, 0], [0, nan], [nan, nan], [0.1, 0.6]], dtype=dtype)
        found = RAW(x, *both)[:, 0]
        assert found[:3].isnan().all() and found[3].isfinite()
        x = torch.tensor([[far, 0.1], [0.1, -far], [-far, far]], dtype=dtype)
        assert not RAW(x, *both).isfinite().any()
        x = torch.tensor([[1e4, 1e4], [-1e6, 3.0]], dtype=dtype)
        torch.testing.assert_close(-RAW(x, *both), x.norm(dim=1, keepdim=True), rtol=1e-3, atol=0)


def test_scales_and_shifts():
    for scale in (1e-6, 1e6):
        for shift in (0.0, 10 * scale):
            moved = Polygon([(scale * p.p1[0] + shift, scale * p.p1[1]) for p in star()])
            x = torch.randn(200, 2, dtype=F64)
            at = scale * x + torch.tensor([shift, 0.0], dtype=F64)
            expected = scale * op(x, *tables(star()))
            torch.testing.assert_close(moved.distance(at), expected, rtol=1e-9, atol=1e-13 * scale)


def test_tables_are_kept_but_not_poisoned():
    shape = Polygon([(0, 0), (1, 0), (0, 1)])
    with torch.inference_mode():
        shape.distance(torch.rand(3, 2, dtype=F64))
    x = torch.rand(3, 2, dtype=F64, requires_grad=True)
    shape.distance(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert shape.distance(x.detach().to("meta")).shape == (3, 1)
    half = torch.tensor([[0.25, 0.25], [2.0, 2.0]], dtype=torch.float16)
    assert (shape.distance(half)[:, 0] > 0).tolist() == [True, False]


STRAIGHT, CIRCULAR, SIZE = tables(SHAPES["ring"])
X = torch.rand(3, 2, dtype=F64)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[0], STRAIGHT, CIRCULAR, 1.0), ValueError, "x: expected"),
        ((X[:, :1], STRAIGHT, CIRCULAR, 1.0), ValueError, "x: expected"),
        ((X.numpy(), STRAIGHT, CIRCULAR, 1.0), TypeError, "x: expected"),
        ((X.half(), STRAIGHT, CIRCULAR, 1.0), ValueError, "x: expected float32 or float64"),
        ((X, STRAIGHT.numpy(), CIRCULAR, 1.0), TypeError, "straight: expected a float64"),
        ((X, STRAIGHT.float(), CIRCULAR, 1.0), ValueError, "straight: expected a float64"),
        ((X, STRAIGHT[:, :8], CIRCULAR, 1.0), ValueError, "straight: expected a float64"),
        ((X, STRAIGHT[0], CIRCULAR, 1.0), ValueError, "straight: expected a float64"),
        ((X, STRAIGHT, CIRCULAR[:, :17], 1.0), ValueError, "circular: expected a float64"),
        ((X, STRAIGHT, CIRCULAR.to("meta"), 1.0), ValueError, "circular: expected a tensor on"),
        ((X, STRAIGHT[:0], CIRCULAR[:0], 1.0), ValueError, "straight: expected at least one"),
        ((X, STRAIGHT, CIRCULAR, -1.0), ValueError, "size: expected a number >= 0"),
        ((X, STRAIGHT, CIRCULAR, math.nan), ValueError, "size: expected a finite"),
        ((X, STRAIGHT, CIRCULAR, "1"), TypeError, "size: expected a number"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        op(*arguments)
    assert message in str(info.value)


def test_raw_ops_check_their_arguments():
    for arguments, message in (
        ((X.half(), STRAIGHT, CIRCULAR, 1.0), "x: expected float32"),
        ((X[0], STRAIGHT, CIRCULAR, 1.0), "x: expected shape"),
        ((X, STRAIGHT.float(), CIRCULAR, 1.0), "straight: expected a float64"),
        ((X, STRAIGHT, STRAIGHT, 1.0), "circular: expected shape"),
        ((X, STRAIGHT[:0], CIRCULAR[:0], 1.0), "expected at least one piece"),
        ((X, STRAIGHT, CIRCULAR, -1.0), "size: expected"),
        ((X, STRAIGHT, CIRCULAR, math.nan), "size: expected"),
    ):
        for raw in (RAW, SLOPE):
            with pytest.raises(RuntimeError, match=message):
                raw(*arguments)


def test_it_is_what_shapes_use():
    shape = (Rectangle((-2, -0.5), (2, 0.5)) | Disk((0, 0), 1)) - Disk((0, 0), 0.5)
    x = torch.randn(50, 2)
    assert torch.equal(shape.distance(x), cc.ops.signed_distance(x, STRAIGHT, CIRCULAR, SIZE))
