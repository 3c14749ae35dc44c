"""On a GPU: everything equals what the CPU gives. Skipped where there is none."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.ops import KINDS, adaptive_activation

pytestmark = pytest.mark.cuda
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


@DTYPES
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("start,leap", [(0, 1), (2**40, 1), (12345, 7)])
@pytest.mark.parametrize("n,dim", [(0, 3), (1, 1), (1000, 4), (100_003, 33), (50, 200)])
def test_halton_is_bit_equal(n, dim, start, leap, seed, dtype):
    arguments = {"leap": leap, "seed": seed, "dtype": dtype}
    here = cc.ops.halton(n, dim, start, **arguments)
    there = cc.ops.halton(n, dim, start, device="cuda", **arguments)
    assert there.device.type == "cuda" and torch.equal(there.cpu(), here)


@pytest.mark.parametrize("method", ["hammersley", "sobol"])
def test_other_sequences(method):
    draw = getattr(cc.sampling, method)
    assert torch.equal(draw(500, 3, device="cuda").cpu(), draw(500, 3))


@pytest.mark.parametrize("shape", [(1,), (3, 0), (257, 33), (5, 7, 64), (100_000, 3)], ids=str)
@DTYPES
@pytest.mark.parametrize("kind", KINDS)
def test_activation_and_its_gradients(kind, dtype, shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    grad = torch.randn(shape, generator=generator, dtype=dtype)
    eps = torch.finfo(dtype).eps
    for slopes in ((), (shape[-1],)):
        a = 0.5 + torch.rand(slopes, generator=generator, dtype=dtype)
        beta = (
            0.5 + torch.rand(slopes, generator=generator, dtype=dtype) if kind == "stan" else None
        )
        for order in range(4):
            results = []
            for device in ("cpu", "cuda"):
                leaves = [v.to(device).requires_grad_() for v in (x, a, beta) if v is not None]
                moved = leaves[2] if beta is not None else None
                y = adaptive_activation(leaves[0], leaves[1], kind, 1.25, moved, order=order)
                results.append([y, *torch.autograd.grad(y, leaves, grad.to(device))])
            for one, other in zip(*results, strict=True):
                assert other.device.type == "cuda" and one.shape == other.shape
                if one.numel() == 0:
                    continue
                summed = one.numel() < x.numel()
                scale = one.abs().max().item() + (x.numel() ** 0.5 if summed else 0)
                assert (one - other.cpu()).abs().max() <= 100 * 4**order * eps * max(scale, 1)


@DTYPES
@pytest.mark.parametrize("kind", ["tanh", "gelu", "stan"])
@pytest.mark.parametrize("width", [32, 33])
def test_addresses_that_no_wide_load_takes(width, kind, dtype):
    whole = torch.randn(201 * width + 1, dtype=dtype)
    results = []
    for device in ("cpu", "cuda"):
        x = whole.to(device)[1:].view(201, width).requires_grad_()
        a, beta = torch.linspace(0.5, 1.5, 2 * width, dtype=dtype, device=device).view(2, width)
        leaves = [x, a.requires_grad_(), *([beta.requires_grad_()] if kind == "stan" else [])]
        y = adaptive_activation(x, a, kind, 1.0, beta if kind == "stan" else None)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    for one, other in zip(*results, strict=True):
        scale = one.abs().max() + 1
        assert (other.cpu() - one).abs().max() <= 200 * torch.finfo(dtype).eps * scale


def test_non_contiguous_and_half_precision():
    x = torch.randn(40, 30, device="cuda").t()
    torch.testing.assert_close(adaptive_activation(x, 2.0, "silu"), torch.nn.functional.silu(2 * x))
    half = torch.randn(64, 8, device="cuda", dtype=torch.bfloat16)
    assert adaptive_activation(half, 1.0, "tanh").dtype == torch.bfloat16


def test_slope_gradient_is_the_same_every_time():
    x = torch.randn(300_000, 33, device="cuda")
    a = torch.ones(33, device="cuda", requires_grad=True)
    found = [torch.autograd.grad(adaptive_activation(x, a, "tanh").sum(), a)[0] for _ in range(3)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_mixed_devices_are_refused():
    with pytest.raises(ValueError, match="a: expected the device of x, cuda"):
        adaptive_activation(torch.randn(3, device="cuda"), torch.ones(()), "tanh")


def test_nested_autograd_and_transforms():
    x = torch.randn(50, 4, dtype=torch.float64)
    a = 0.5 + torch.rand(4, dtype=torch.float64)

    def second(device):
        p, q = x.to(device).requires_grad_(), a.to(device).requires_grad_()
        (first,) = torch.autograd.grad(
            adaptive_activation(p, q, "gelu").sum(), p, create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), (p, q))

    for one, other in zip(second("cpu"), second("cuda"), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-11, atol=1e-11)
    jacobian = torch.func.jacfwd(
        torch.func.jacrev(lambda p: adaptive_activation(p, 1.5, "sin").sum())
    )
    torch.testing.assert_close(jacobian(x[0].cuda()).cpu(), jacobian(x[0]))


def test_captured_in_a_graph():
    x, a = torch.randn(256, 64, device="cuda"), torch.ones(64, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            adaptive_activation(x, a, "tanh")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = adaptive_activation(x, a, "tanh")
        points = cc.ops.halton(128, 3, 7, device="cuda")
    x.normal_()
    graph.replay()
    torch.testing.assert_close(y, torch.tanh(x))
    assert torch.equal(points.cpu(), cc.ops.halton(128, 3, 7))


def test_streams_are_respected():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = torch.randn(4096, 256, device="cuda")
        y = adaptive_activation(x, 1.0, "sin")
    stream.synchronize()
    torch.testing.assert_close(y, torch.sin(x))


@pytest.mark.parametrize(
    "shape",
    [
        cc.geometry.Interval(0, 1),
        cc.geometry.Rectangle((-1, 0), (2, 1)),
        cc.geometry.Box((0, 0, 0), (1, 2, 3)),
    ],
    ids=repr,
)
def test_points(shape):
    for sampled in (shape, shape.boundary):
        here, there = sampled.sample(500), sampled.sample(500, device="cuda")
        assert there.x.device.type == there.measure.device.type == "cuda"
        torch.testing.assert_close(there.x.cpu(), here.x, rtol=0, atol=1e-6)
        if here.piece is not None:
            assert torch.equal(there.piece.cpu(), here.piece)


@pytest.mark.parametrize("order", cc.jets.ORDERS, ids=str)
def test_jets_and_a_training_step(order):
    net = cc.nn.MLP(2, 2, 16, 2, "tanh", "neuron", dtype=torch.float64)
    x = torch.rand(20, 2, dtype=torch.float64)
    here = cc.jet(net, x, order).components
    gradients = torch.autograd.grad(here.square().sum(), tuple(net.parameters()))
    net.cuda()
    there = cc.jet(net, x.cuda(), order).components
    torch.testing.assert_close(there.cpu(), here, rtol=1e-10, atol=1e-10)
    found = torch.autograd.grad(there.square().sum(), tuple(net.parameters()))
    for one, other in zip(gradients, found, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-9, atol=1e-9)
