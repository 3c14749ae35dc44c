"""The ops of a whole multilayer perceptron: both paths, all four entry points, wrong input."""

from __future__ import annotations

import itertools

import colloc as cc
import pytest
import torch
from colloc.jets.autograd import autograd_components
from colloc.jets.layout import ORDERS
from colloc.ops import mlp_jet
from colloc.ops.mlp_jet import Mlp
from torch import nn

F64 = torch.float64
OPS = torch.ops.colloc
orders = pytest.mark.parametrize("order", ORDERS)
NAMES = ["mlp_jet_tiled", "mlp_jet_layers"]
#: Further arguments: the layers' lower precision.
MORE = {"mlp_jet_tiled": (), "mlp_jet_layers": (None,)}


def problem(order, kind="tanh", d=2, m=3, width=6, points=5, dtype=F64):
    """A network, its points, and the arguments of the ops."""
    net = cc.nn.MLP(d, m, width, 3, kind, dtype=dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    x, empty = torch.randn(points, d, dtype=dtype), torch.empty(0, dtype=dtype)
    linear = [module for module in net if isinstance(module, nn.Linear)]
    betas = [m.beta.detach() if kind == "stan" else empty for m in net if m not in linear]
    parts = Mlp(
        x,
        [layer.weight.detach() for layer in linear],
        [layer.bias.detach() for layer in linear],
        betas,
        [cc.ops.KINDS.index(kind)] * 3,
        str(order),
        list(range(d)),
    )
    return net, parts


def jets(net, x, order):
    return autograd_components(net, x, order, tuple(range(x.shape[1]))).transpose(0, 1)


@orders
@pytest.mark.parametrize("kind", ["tanh", "stan"])
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward(name, kind, order):
    net, parts = problem(order, kind)
    expected = jets(net, parts.x.requires_grad_(), order)
    parts = parts._replace(x=parts.x.detach())
    grad = torch.randn_like(expected)
    linear = [module for module in net if isinstance(module, nn.Linear)]
    wanted = [module.weight for module in linear] + [module.bias for module in linear]
    slopes = torch.autograd.grad(expected, wanted, grad, allow_unused=True, materialize_grads=True)
    for kept_points in (0, 2, 5):
        out, kept = getattr(OPS, name)(*parts, kept_points, *MORE[name])
        torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
        found = getattr(OPS, f"{name}_backward")(grad, kept, *parts, -1, *MORE[name])
        for ours, theirs in zip((*found[1], *found[2]), slopes, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_every_mask_gives_what_it_asks_for(name):
    _, parts = problem("laplacian", "stan")
    out, kept = getattr(OPS, name)(*parts, 5, *MORE[name])
    grad = torch.randn_like(out)
    backward = getattr(OPS, f"{name}_backward")
    whole = backward(grad, kept, *parts, 31, *MORE[name])
    for mask in range(32):
        found = backward(grad, kept, *parts, mask, *MORE[name])
        assert (found[0].numel() > 0) == bool(mask & 1)
        for layer in range(4):
            for ours, theirs in zip(found[1:], whole[1:], strict=True):
                if layer == len(theirs):
                    continue
                if mask >> (1 + layer) & 1:
                    assert torch.equal(ours[layer], theirs[layer])
                else:
                    assert ours[layer].numel() == 0
        if mask & 1:
            assert torch.equal(found[0], whole[0])


@orders
def test_both_paths_agree(order):
    for kind, d in itertools.product(("sin", "stan"), (1, 3)):
        _, parts = problem(order, kind, d, 2, 40, 300)
        results = [getattr(OPS, name)(*parts, 300, *MORE[name])[0] for name in NAMES]
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@orders
@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_adjoint(order, kind):
    """sum over points of zbar^T h is the gradient by the weight, point by point."""
    net, parts = problem(order, kind)
    grad = torch.randn(5, parts.size, 3, dtype=F64)
    found = mlp_jet.adjoint(parts, grad)
    linear = [module for module in net if isinstance(module, nn.Linear)]
    stans = [module for module in net if not isinstance(module, nn.Linear)]
    wanted = [module.weight for module in linear]
    wanted += [module.beta for module in stans] if kind == "stan" else []
    expected = jets(net, parts.x, order)
    for point in range(5):
        value = (expected[point] * grad[point]).sum()
        theirs = torch.autograd.grad(value, wanted, retain_graph=True)
        ours = [one.zbar[point].t() @ one.h[point] for one in found]
        ours += [found[layer].by_beta[point] for layer in range(len(wanted) - len(linear))]
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@orders
@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_tangent(order, kind):
    """<g, J v> = <J^T g, v>."""
    _, parts = problem(order, kind)
    change = Mlp(
        torch.randn_like(parts.x),
        [torch.randn_like(t) for t in parts.weights],
        [torch.randn_like(t) for t in parts.biases],
        [torch.randn_like(t) for t in parts.betas],
        *parts[4:],
    )
    found = mlp_jet.tangent(parts, change)
    out, kept = OPS.mlp_jet_layers(*parts, 5, None)
    assert found.shape == out.shape
    for _ in range(3):
        grad = torch.randn_like(out)
        by_x, *rest = OPS.mlp_jet_layers_backward(grad, kept, *parts, -1, None)
        expected = (by_x * change.x).sum()
        for gradients, changes in zip(rest, change[1:4], strict=True):
            for g, v in zip(gradients, changes, strict=True):
                expected = expected + (g * v).sum()
        torch.testing.assert_close((grad * found).sum(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_opcheck(name, kind):
    _, parts = problem("laplacian", kind)
    x, weights, biases, betas, *rest = parts
    tracked = [[t.clone().requires_grad_(t.numel() > 0) for t in part]
               for part in (weights, biases, betas)]  # fmt: skip
    op = getattr(OPS, name).default
    torch.library.opcheck(op, (x.clone().requires_grad_(), *tracked, *rest, 5, *MORE[name]))
    out, kept = op(*parts, 5, *MORE[name])
    backward = getattr(OPS, f"{name}_backward").default
    torch.library.opcheck(backward, (torch.randn_like(out), kept, *parts, 31, *MORE[name]))


def test_threads_change_nothing_but_the_order_of_sums():
    _, parts = problem("laplacian", width=32, points=500)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out, kept = OPS.mlp_jet_tiled(*parts, 500)
            results.append((out, OPS.mlp_jet_tiled_backward(out, kept, *parts, -1)[1]))
    finally:
        torch.set_num_threads(before)
    for out, weights in results[1:]:
        assert torch.equal(out, results[0][0])
        for ours, theirs in zip(weights, results[0][1], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def swapped(parts, **changes):
    return parts._replace(**changes)


def test_wrong_arguments():
    _, parts = problem("laplacian")
    wide = [torch.zeros(6, 9, dtype=F64), *parts.weights[1:]]
    cases = [
        (swapped(parts, x=parts.x.float()), 5, "dtype of x"),
        (swapped(parts, x=parts.x[0]), 1, r"x: expected shape \(N, d\)"),
        (swapped(parts, weights=wide), 5, r"weights\[0\]: expected shape \(W, 2\)"),
        (swapped(parts, biases=parts.biases[:-1]), 5, "as many biases"),
        (swapped(parts, biases=[torch.zeros(2, dtype=F64), *parts.biases[1:]]), 5, r"biases\[0\]"),
        (swapped(parts, kinds=[99, 0, 0]), 5, r"kinds\[0\]"),
        (swapped(parts, kinds=[8, 0, 0]), 5, r"betas\[0\]"),
        (swapped(parts, order="4"), 5, "order: expected one of"),
        (swapped(parts, wrt=[2]), 5, "wrt: expected inputs 0 to 1"),
        (swapped(parts, wrt=[]), 5, "wrt: expected 1 to 4"),
        (parts, 6, "kept_points: expected 0 to 5"),
    ]
    for wrong, kept_points, message in cases:
        with pytest.raises(RuntimeError, match=message):
            OPS.mlp_jet_tiled(*wrong, kept_points)
    out, kept = OPS.mlp_jet_tiled(*parts, 5)
    with pytest.raises(RuntimeError, match="grad: expected shape"):
        OPS.mlp_jet_tiled_backward(out[:3], kept, *parts, -1)
    with pytest.raises(RuntimeError, match="kept: expected what the forward gave"):
        OPS.mlp_jet_tiled_backward(out, kept[:, :3], *parts, -1)


def test_kept_of_any_strides_and_too_many_layers():
    _, parts = problem("laplacian")
    out, kept = OPS.mlp_jet_tiled(*parts, 5)
    expected = OPS.mlp_jet_tiled_backward(out, kept, *parts, -1)
    found = OPS.mlp_jet_tiled_backward(out, kept.t().contiguous().t(), *parts, -1)
    assert all(torch.equal(a, b) for a, b in zip(found[1], expected[1], strict=True))
    count = 63
    square, empty = torch.zeros(2, 2, dtype=F64), torch.empty(0, dtype=F64)
    deep = Mlp(parts.x, [square] * count, [empty] * count, [empty] * (count - 1),
               [0] * (count - 1), "1", [0, 1])  # fmt: skip
    with pytest.raises(RuntimeError, match="at most 62 layers"):
        OPS.mlp_jet_tiled(*deep, 5)
