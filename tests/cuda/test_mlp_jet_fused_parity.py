"""On a GPU: the fused kernels of ``cc.jet`` against the path layer by layer in float64."""

from __future__ import annotations

import copy
from itertools import pairwise

import colloc as cc
import pytest
import torch
from colloc.ops import _mlp_jet_fused as fused
from colloc.ops import mlp_jet

pytestmark = pytest.mark.cuda

GPU = "cuda"
OPS = torch.ops.colloc
SMOOTH = [kind for kind in cc.ops.KINDS if kind != "stan"]
FORMS = [
    ("0", 1),
    ("1", 1),
    ("1", 2),
    ("1", 3),
    ("2", 1),
    ("2", 2),
    ("laplacian", 1),
    ("laplacian", 2),
    ("laplacian", 3),
]
#: Relative to the norm. Where sums cancel, float32 itself is no better.
TOLERANCE, OF_FLOAT32 = 1e-5, 8.0


@pytest.fixture(autouse=True)
def in_float32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def operands(widths, kinds, order, n, points, inputs=3, outputs=2, bias=True):
    """The network as the ops take it."""
    torch.manual_seed(points + sum(widths))
    sizes = [inputs, *widths, outputs]
    weights, biases = [], []
    for before, after in pairwise(sizes):
        weights.append(torch.randn(after, before, device=GPU) / before**0.5)
        biases.append(0.3 * torch.randn(after if bias else 0, device=GPU))
    x = 2 * torch.rand(points, inputs, device=GPU) - 1
    codes = [cc.ops.KINDS.index(kind) for kind in kinds]
    empty = [x.new_empty(0)] * len(codes)
    wrt = [i for i in (2, 0, 1) if i < inputs][:n]
    return x, weights, biases, empty, codes, order, wrt


def as_double(net):
    x, weights, biases, betas, *rest = net
    parts = ([t.double() for t in part] for part in (weights, biases, betas))
    return (x.double(), *parts, *rest)


def layerwise(net, grad):
    out, kept = OPS.mlp_jet_layers(*net, net[0].shape[0], None)
    return flat(out, OPS.mlp_jet_layers_backward(grad.to(out), kept, *net, -1, None))


def flat(out, gradients):
    x, weights, biases, _ = gradients
    return [out, x, *weights, *biases]


def fused_way(net, grad, kept_points, exact=True):
    out, kept = OPS.mlp_jet_fused(*net, kept_points, exact)
    return flat(out, OPS.mlp_jet_fused_backward(grad, kept, *net, -1, exact))


def errors(found, expected):
    """Of the jets, of the gradient by x, and of that by all parameters."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
    cuts = (slice(0, 1), slice(1, 2), slice(2, None))
    return [error(found[cut], expected[cut]) for cut in cuts]


def error(found, expected):
    norm = torch.cat([one.flatten() for one in expected]).norm()
    difference = [(a.double() - b).flatten() for a, b in zip(found, expected, strict=True)]
    return (torch.cat(difference).norm() / norm).item()


def check(net, kept_points=None):
    points, size = net[0].shape[0], fused.Mlp(*net).size
    grad = torch.randn(points, size, net[1][-1].shape[0], device=GPU)
    expected = layerwise(as_double(net), grad)
    plain = errors(layerwise(net, grad), expected)
    found = fused_way(net, grad, points if kept_points is None else kept_points)
    for one, other in zip(errors(found, expected), plain, strict=True):
        assert one <= max(TOLERANCE, OF_FLOAT32 * other)
    return grad, found


# ---- the op ---------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [[64, 64], [128, 128, 128]], ids=str)
@pytest.mark.parametrize("order,n", FORMS)
def test_all_jets(order, n, widths):
    check(operands(widths, ["tanh", "sin", "silu"][: len(widths)], order, n, 1000))


@pytest.mark.parametrize("kind", SMOOTH)
def test_all_kinds(kind):
    for order, n in (("laplacian", 2), ("2", 2), ("1", 1)):
        check(operands([64, 64, 64], [kind] * 3, order, n, 500))
        check(operands([128, 128], [kind] * 2, order, n, 500))


@pytest.mark.parametrize("points", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("width", [1, 20, 50, 64, 100, 128])
def test_odd_sizes(width, points):
    for bias, inputs, outputs in ((True, 3, 2), (False, 8, 4)):
        kinds = ["tanh", "gelu"]
        net = operands([width, width], kinds, "laplacian", 2, points, inputs, outputs, bias)
        for kept_points in {points, points // 2, 0}:
            check(net, kept_points)


@pytest.mark.parametrize(
    "widths", [[32], [128], [20, 128, 1, 64], [64] * 6, [128] * 10, [7] * 61], ids=str
)
def test_depths_and_mixed_widths(widths):
    check(operands(widths, ["tanh"] * len(widths), "laplacian", 2, 300))


@pytest.mark.parametrize("widths", [[128] * 4, [64] * 6], ids=str)
def test_many_points(widths):
    net = operands(widths, ["tanh"] * len(widths), "laplacian", 2, 100_003, 2, 1)
    grad, found = check(net)
    # The same order of sums each time.
    for one, other in zip(fused_way(net, grad, 100_003), found, strict=True):
        assert torch.equal(one, other)
    check(net, 40_000)


def test_a_part_of_the_gradients():
    net = operands([64, 64, 64], ["tanh"] * 3, "laplacian", 2, 200)
    out, kept = OPS.mlp_jet_fused(*net, 200, True)
    grad = torch.randn_like(out)
    everything = OPS.mlp_jet_fused_backward(grad, kept, *net, -1, True)
    for mask in range(1, 32):
        x, weights, biases, _ = OPS.mlp_jet_fused_backward(grad, kept, *net, mask, True)
        assert torch.equal(x, everything[0]) if mask & 1 else x.numel() == 0
        for layer in range(4):
            for found, expected in ((weights, everything[1]), (biases, everything[2])):
                if mask >> (layer + 1) & 1:
                    assert torch.equal(found[layer], expected[layer])
                else:
                    assert found[layer].numel() == 0


def test_products_in_tf32():
    net = operands([128, 128], ["tanh", "tanh"], "laplacian", 2, 500)
    grad = torch.randn(500, 4, 2, device=GPU)
    expected = layerwise(as_double(net), grad)
    found = errors(fused_way(net, grad, 500, exact=False), expected)
    assert 2e-5 < found[0] < 5e-3
    assert max(found) < 1e-2


def test_nan_is_passed_on():
    net = operands([64, 64], ["tanh", "tanh"], "1", 1, 40)
    net[0][17, 0] = torch.nan
    for exact in (True, False):
        out, _ = OPS.mlp_jet_fused(*net, 0, exact)
        assert out[17, 0].isnan().all()
        assert torch.isfinite(out[:16]).all()
    net[0][17, 0] = 0
    net[1][1][3, 5] = torch.nan
    for exact in (True, False):
        assert OPS.mlp_jet_fused(*net, 0, exact)[0][:, 0].isnan().all()


def test_without_points():
    net = operands([64], ["tanh"], "laplacian", 2, 0)
    out, kept = OPS.mlp_jet_fused(*net, 0, True)
    assert out.shape == (0, 4, 2)
    found = OPS.mlp_jet_fused_backward(out, kept, *net, -1, True)
    assert not any(g.any() for g in (*found[1], *found[2]))


def test_wrong_arguments_are_refused():
    x, weights, *rest = operands([64], ["tanh"], "laplacian", 2, 5)
    wide = operands([129], ["tanh"], "laplacian", 2, 5)
    many = operands([64], ["tanh"], "laplacian", 2, 5, inputs=9)
    third = operands([64], ["tanh"], "3", 2, 5)
    for wrong, match in (
        (wide, "at most 128"),
        (many, "at most 8"),
        (third, "order: expected"),
        (as_double((x, weights, *rest)), "expected float32"),
        ((x.cpu(), weights, *rest), "expected the device of x"),
    ):
        with pytest.raises(RuntimeError, match=match):
            OPS.mlp_jet_fused(*wrong, 0, True)
    out, kept = OPS.mlp_jet_fused(x, weights, *rest, 5, True)
    with pytest.raises(RuntimeError, match="grad: expected"):
        OPS.mlp_jet_fused_backward(out[:3], kept, x, weights, *rest, -1, True)
    with pytest.raises(RuntimeError, match="kept: expected"):
        OPS.mlp_jet_fused_backward(out, kept[:, :3], x, weights, *rest, -1, True)


# ---- cc.jet ---------------------------------------------------------------------------------


def residual(net, x):
    u = cc.jet(net, x, "laplacian")
    return (u.laplacian + u.value * u.d(0)).square().mean()


@pytest.fixture
def used(monkeypatch):
    """How often the fused op was called."""
    calls = []
    for name in ("_fused", "_fused_backward"):
        op = getattr(mlp_jet, name)
        monkeypatch.setattr(
            mlp_jet, name, lambda *a, op=op, name=name: calls.append(name) or op(*a)
        )
    return calls


def test_the_jet_of_a_network(used):
    net = cc.nn.MLP(2, 1, 50, 4, "tanh", "neuron", dtype=torch.float32).to(GPU)
    x = torch.rand(500, 2, device=GPU, requires_grad=True)
    other, y = copy.deepcopy(net).double(), x.detach().double().requires_grad_()
    found = torch.autograd.grad(residual(net, x), [x, *net.parameters()])
    assert used == ["_fused", "_fused_backward"]
    expected = torch.autograd.grad(residual(other, y), [y, *other.parameters()])
    assert max(error(found[:1], expected[:1]), error(found[1:], expected[1:])) < 2e-5


def test_the_switch(used, monkeypatch):
    net, x = cc.nn.MLP(2, 1, 32, 2).to(GPU), torch.rand(20, 2, device=GPU)
    monkeypatch.setattr(fused, "enabled", False)
    residual(net, x).backward()
    assert not used


def test_a_step_captured_in_a_graph():
    net = cc.nn.MLP(2, 1, 64, 3).to(GPU)
    x = torch.rand(300, 2, device=GPU)
    wanted = list(net.parameters())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            torch.autograd.grad(residual(net, x), wanted)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = torch.autograd.grad(residual(net, x), wanted)
    for _ in range(3):
        x.uniform_()
        graph.replay()
        for one, other in zip(found, torch.autograd.grad(residual(net, x), wanted), strict=True):
            assert torch.equal(one, other)


def test_a_step_does_not_wait_for_the_gpu():
    net, x = cc.nn.MLP(2, 1, 64, 3).to(GPU), torch.rand(300, 2, device=GPU)
    residual(net, x).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        residual(net, x).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_autocast_changes_nothing():
    net, x = cc.nn.MLP(2, 1, 64, 3).to(GPU), torch.rand(300, 2, device=GPU, requires_grad=True)
    wanted = [x, *net.parameters()]
    expected = torch.autograd.grad(residual(net, x), wanted)
    with torch.autocast("cuda", torch.bfloat16):
        found = torch.autograd.grad(residual(net, x), wanted)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_a_compiled_step():
    net, x = cc.nn.MLP(2, 1, 64, 3).to(GPU), torch.rand(300, 2, device=GPU)
    wanted = list(net.parameters())
    expected = torch.autograd.grad(residual(net, x), wanted)
    torch.compiler.reset()
    compiled = torch.compile(residual, fullgraph=True)
    found = torch.autograd.grad(compiled(net, x), wanted)
    assert error(found, [g.double() for g in expected]) < 1e-5


def test_a_stream_is_respected():
    net = operands([64, 64], ["tanh", "tanh"], "laplacian", 2, 500)
    grad = torch.randn(500, 4, 2, device=GPU)
    expected = fused_way(net, grad, 500)
    late = torch.full_like(net[0], torch.nan)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(net[0])
        found = fused_way((late, *net[1:]), grad, 500)
    stream.synchronize()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
