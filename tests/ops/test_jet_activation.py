"""Ops jet_activation, its backward and its tangent, against Faa di Bruno term by term."""

from __future__ import annotations

import itertools
import math

import colloc as cc
import pytest
import torch
from colloc.jets.layout import ORDERS, layout
from colloc.ops.jet_activation import jet_size
from reference.jet_activation import jet_activation as reference

F64 = torch.float64
OPS = torch.ops.colloc
CASES = [(order, n) for order in ORDERS for n in (1, 2, 3, 4)]


def inputs(order, n, kind, points=3, width=7):
    y = torch.randn(points, layout(order, n).size, width, dtype=F64, requires_grad=True)
    beta = torch.randn(width, dtype=F64, requires_grad=True) if kind == "stan" else None
    return y, beta


def cut(value, dtype):
    return None if value is None else value.detach().to(dtype)


def check(order, n, kind, dtype=F64, points=3, width=7, tolerance=1e-12):
    """Forward, backward and tangent, with the bias given apart."""
    y, beta = inputs(order, n, kind, points, width)
    bias = torch.randn(width, dtype=F64)
    shifted = torch.cat((y[:, :1] + bias, y[:, 1:]), dim=1)
    expected = reference(shifted, kind, order, n, beta)
    grad, v = torch.randn_like(expected), torch.randn_like(expected)
    wanted = [y] if beta is None else [y, beta]
    slopes = torch.autograd.grad(expected, wanted, grad, create_graph=True, allow_unused=True)
    rest = (None, cut(bias, dtype), cut(beta, dtype), kind, str(order), n)

    def close(found, theirs):
        theirs = torch.zeros(()) if theirs is None else theirs.detach()
        scale = 1 + theirs.abs().max().item() if theirs.numel() else 1.0
        torch.testing.assert_close(
            found.double(), theirs.double().expand(found.shape), rtol=0, atol=tolerance * scale
        )

    close(OPS.jet_activation(cut(y, dtype), *rest), expected)
    by_y, h, by_beta = OPS.jet_activation_backward(cut(grad, dtype), cut(y, dtype), *rest)
    close(by_y, slopes[0])
    close(h, expected)
    if beta is not None:
        close(by_beta.sum(0), slopes[1])
    else:
        assert by_beta.numel() == 0
    # By the double-backward trick: J v is the gradient by u of <J^T u, v>.
    u = torch.randn_like(expected).requires_grad_()
    shifted = torch.cat((y[:, :1] + bias, y[:, 1:]), dim=1)
    again = reference(shifted, kind, order, n, beta)
    (transposed,) = torch.autograd.grad(again, y, u, create_graph=True)
    (tangent,) = torch.autograd.grad(transposed, u, v)
    close(OPS.jet_activation_tangent(cut(v, dtype), cut(y, dtype), *rest), tangent)


# The kernels take a kind's derivatives first, as many as the order has, and compose them after
# that, by order and n: every kind and order with two n, every order and n with half of the kinds.
@pytest.mark.parametrize(
    "kind,order,n",
    [(k, *case) for i, k in enumerate(cc.ops.KINDS) for case in CASES if (i + case[1]) % 2],
)
def test_against_the_reference(kind, order, n):
    check(order, n, kind)


@pytest.mark.parametrize("width", [1, 3, 4, 5, 15, 16, 17, 100, 255, 256, 257, 600])
def test_widths_around_a_vector_and_a_block(width, capability):
    for order, n, kind in (("laplacian", 2, "tanh"), (3, 2, "stan"), (0, 1, "sin")):
        check(order, n, kind, points=2, width=width)
        check(order, n, kind, torch.float32, points=2, width=width, tolerance=1e-5)


@pytest.mark.parametrize("order,n", CASES)
def test_float32(order, n):
    for kind in ("tanh", "silu", "gelu"):
        check(order, n, kind, torch.float32, tolerance=1e-5)


@pytest.mark.parametrize("order,n", CASES)
def test_first_layer(order, n):
    """Columns stand for first derivatives that are the same at every point."""
    for kind in ("tanh", "stan"):
        value = torch.randn(5, 9, dtype=F64)
        columns, bias = torch.randn(n, 9, dtype=F64), torch.randn(9, dtype=F64)
        beta = torch.randn(9, dtype=F64) if kind == "stan" else None
        size = layout(order, n).size
        full = torch.zeros(5, size, 9, dtype=F64)
        full[:, 0] = value
        if order != 0:
            full[:, 1 : 1 + n] = columns
        rest = (bias, beta, kind, str(order), n)
        grad = torch.randn(5, size, 9, dtype=F64)
        assert torch.equal(OPS.jet_activation(value, columns, *rest),
                           OPS.jet_activation(full, None, *rest))  # fmt: skip
        found = OPS.jet_activation_backward(grad, value, columns, *rest)
        expected = OPS.jet_activation_backward(grad, full, None, *rest)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert torch.equal(OPS.jet_activation_tangent(grad, value, columns, *rest),
                           OPS.jet_activation_tangent(grad, full, None, *rest))  # fmt: skip


@pytest.mark.parametrize("order,n", CASES)
def test_sizes(order, n):
    assert jet_size(str(order), n) == layout(order, n).size


@pytest.mark.parametrize("points,width", [(0, 4), (1, 1), (3, 0)])
def test_empty_and_single(points, width):
    y = torch.randn(points, 4, width)
    assert cc.ops.jet_activation(y, "tanh", "laplacian", 2).shape == y.shape


def test_any_strides():
    y = torch.randn(4, 7, 6, dtype=F64).permute(2, 0, 1)
    found = cc.ops.jet_activation(y, "silu", "laplacian", 2)
    assert torch.equal(found, cc.ops.jet_activation(y.contiguous(), "silu", "laplacian", 2))


def test_gradients():
    for order, n, kind in itertools.product(ORDERS, (1, 2), ("tanh", "stan")):
        y, beta = inputs(order, n, kind, 2, 3)

        def run(y, beta=None, kind=kind, order=order, n=n):
            return cc.ops.jet_activation(y, kind, order, n, beta)

        assert torch.autograd.gradcheck(run, (y,) if beta is None else (y, beta))


@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_opcheck(kind):
    y, beta = inputs("laplacian", 2, kind)
    bias = torch.randn(7, dtype=F64, requires_grad=True)
    rest = (None, bias, beta, kind, "laplacian", 2)
    torch.library.opcheck(OPS.jet_activation.default, (y, *rest))
    value, columns = torch.randn(3, 7, dtype=F64), torch.randn(2, 7, dtype=F64)
    first = (value.requires_grad_(), columns.requires_grad_(), *rest[1:])
    torch.library.opcheck(OPS.jet_activation.default, first)
    grad, plain = torch.randn(3, 4, 7, dtype=F64), [cut(t, F64) for t in (y, None, bias, beta)]
    torch.library.opcheck(OPS.jet_activation_backward.default, (grad, *plain, *rest[3:]))
    torch.library.opcheck(OPS.jet_activation_tangent.default, (grad, *plain, *rest[3:]))


def test_vmap():
    y = torch.randn(3, 5, 4, 6, dtype=F64)
    rest = (None, None, None, "tanh", "laplacian", 2)
    for dim in (0, 1, 3):
        moved = y.movedim(0, dim)
        found = torch.func.vmap(lambda y: OPS.jet_activation(y, *rest), in_dims=dim)(moved)
        assert torch.equal(found, torch.stack([OPS.jet_activation(one, *rest) for one in y]))
    both = torch.func.vmap(lambda g, y: OPS.jet_activation_backward(g, y, *rest))(y, y)
    assert both[0].shape == y.shape


def test_compile():
    y = torch.randn(5, 4, 6, dtype=F64, requires_grad=True)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(y):
        return cc.ops.jet_activation(2 * y, "silu", "laplacian", 2).square().sum()

    (found,) = torch.autograd.grad(run(y), y)
    plain = cc.ops.jet_activation(2 * y, "silu", "laplacian", 2).square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(plain, y)[0])


Y = torch.zeros(3, 4, 5)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.ops.jet_activation(Y.long(), "tanh", "laplacian", 2), "y: expected a float32"),
        (lambda: cc.ops.jet_activation(Y, "relu", "laplacian", 2), "kind: expected"),
        (lambda: cc.ops.jet_activation(Y, "tanh", "hessian", 2), "order: expected one of"),
        (lambda: cc.ops.jet_activation(Y, "tanh", True, 2), "order: expected one of"),
        (lambda: cc.ops.jet_activation(Y, "tanh", "laplacian", 5), "n: expected"),
        (lambda: cc.ops.jet_activation(Y, "tanh", 2, 2), r"y: .* shape \(N, 6, W\)"),
        (lambda: cc.ops.jet_activation(Y, "tanh", "laplacian", 2, torch.ones(5)), "beta: expected"),
        (lambda: cc.ops.jet_activation(Y, "stan", "laplacian", 2), "beta: expected"),
        (
            lambda: cc.ops.jet_activation(Y, "stan", "laplacian", 2, torch.ones(4)),
            r"beta: expected shape \(5,\)",
        ),
        (
            lambda: OPS.jet_activation_backward(Y[:2], Y, None, None, None, "tanh", "laplacian", 2),
            r"grad: expected shape \(3, 4, 5\)",
        ),
        (
            lambda: OPS.jet_activation(Y, Y[0, :2], None, None, "tanh", "laplacian", 2),
            r"y: expected shape \(N, W\) where columns are given",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        call()


def test_what_the_raw_op_lacks_is_said():
    y = torch.randn(3, 4, 5, dtype=F64, requires_grad=True)
    h = cc.ops.jet_activation(y, "tanh", "laplacian", 2)
    with pytest.raises(RuntimeError, match="got create_graph=True"):
        torch.autograd.grad(h.sum(), y, create_graph=True)

    def run(y):
        return cc.ops.jet_activation(y, "tanh", "laplacian", 2).sum()

    with pytest.raises(RuntimeError, match=r"Use colloc\.jet"):
        torch.func.jvp(run, (y.detach(),), (y.detach(),))
    with pytest.raises(RuntimeError, match=r"Use colloc\.jet"):
        torch.func.grad(run)(y.detach())


# ---- numbers of 16 bits: as if widened, computed in float32, and rounded once ---------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("order,n", CASES)
def test_16_bits(order, n, dtype, capability):
    for kind, with_columns in itertools.product(("tanh", "stan"), (False, True)):
        size, points, width = jet_size(str(order), n), 40, 70
        full = torch.randn(points, size, width).to(dtype)
        y = full[:, 0].float() if with_columns else full
        grad = torch.randn(points, size, width).to(dtype)
        columns = torch.randn(n, width).to(dtype) if with_columns else None
        beta = torch.randn(width) if kind == "stan" else None
        more = (torch.randn(width), beta, kind, str(order), n)
        rest, wide_rest = (columns, *more), (None if columns is None else columns.float(), *more)
        wide = OPS.jet_activation(y.float(), *wide_rest)
        assert torch.equal(OPS.jet_activation(y, *rest), wide.to(dtype))
        by_y, h, by_beta = OPS.jet_activation_backward(grad, y, *rest)
        expected = OPS.jet_activation_backward(grad.float(), y.float(), *wide_rest)
        assert torch.equal(by_y, expected[0].to(dtype))
        assert torch.equal(h, expected[1].to(dtype))
        if beta is not None:
            assert by_beta.dtype == torch.float32
            assert torch.equal(by_beta, expected[2])
        tangent = OPS.jet_activation_tangent(grad, y, *rest)
        expected = OPS.jet_activation_tangent(grad.float(), y.float(), *wide_rest)
        assert torch.equal(tangent, expected.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_16_bits_empty_infinite_and_through_autograd(dtype):
    for points, width in [(0, 4), (1, 1), (3, 0)]:
        y = torch.randn(points, 3, width).to(dtype)
        assert cc.ops.jet_activation(y, "tanh", 1, 2).shape == y.shape
    y = torch.tensor([[[math.inf], [1.0], [math.nan]]]).to(dtype)
    h = cc.ops.jet_activation(y, "softplus", 1, 2)
    assert h[0, 0, 0] == math.inf and h[0, 1, 0] == 1 and h[0, 2, 0].isnan()
    y = torch.randn(5, 3, 4).to(dtype).requires_grad_()
    beta = torch.randn(4, requires_grad=True)
    cc.ops.jet_activation(y, "stan", 1, 2, beta).float().square().sum().backward()
    assert y.grad.dtype == dtype and beta.grad.dtype == torch.float32
    assert torch.isfinite(y.grad).all() and torch.isfinite(beta.grad).all()
    bias = torch.randn(4, requires_grad=True)
    arguments = (y, None, bias, None, "tanh", "1", 2)
    torch.library.opcheck(OPS.jet_activation.default, arguments)
    torch.library.opcheck(
        OPS.jet_activation_backward.default, (y.detach(), *arguments[:4], "tanh", "1", 2)
    )
    OPS.jet_activation(*arguments).float().sum().backward()
    assert bias.grad.dtype == torch.float32


def test_16_bits_take_parameters_of_32():
    y = torch.randn(3, 3, 4).bfloat16()
    with pytest.raises(RuntimeError, match="beta: expected float32 with y of bfloat16"):
        cc.ops.jet_activation(y, "stan", 1, 2, torch.ones(4).bfloat16())
    with pytest.raises(RuntimeError, match="grad: expected bfloat16 with y"):
        OPS.jet_activation_backward(y.float(), y, None, None, None, "tanh", "1", 2)
