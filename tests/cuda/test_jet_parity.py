"""On a GPU: the jet ops and ``cc.jet`` equal what the CPU gives. Skipped where there is none."""

from __future__ import annotations

import copy

import colloc as cc
import pytest
import torch
from colloc.jets.layout import ORDERS
from colloc.ops.jet_activation import jet_size

pytestmark = pytest.mark.cuda

GPU = "cuda"
OPS = torch.ops.colloc
F64 = torch.float64
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
CASES = [(order, n) for order in ORDERS for n in (1, 2, 3, 4)]


def there(value, device=GPU):
    return None if value is None else value.to(device)


def compare(found, expected, tolerance, device=GPU):
    assert found.device.type == torch.device(device).type and found.shape == expected.shape
    if expected.numel() > 0:
        scale = 1 + expected.abs().max().item()
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=tolerance * scale)


def operands(kind, order, n, points, width, with_columns, with_bias, dtype):
    """y, the gradient or direction, and the other arguments of the ops."""
    jet = (points, jet_size(str(order), n), width)
    y = torch.randn((points, width) if with_columns else jet, dtype=dtype)
    columns = torch.randn(n, width, dtype=dtype) if with_columns else None
    bias = torch.randn(width, dtype=dtype) if with_bias else None
    beta = torch.randn(width, dtype=dtype) if kind == "stan" else None
    return y, torch.randn(jet, dtype=dtype), (columns, bias, beta), (kind, str(order), n)


def check(y, g, arrays, form, device=GPU):
    """The three ops on the GPU against the CPU."""
    tolerance, moved = TOLERANCE[y.dtype], [there(value, device) for value in arrays]
    here, gpu_y, gpu_g = (*arrays, *form), there(y, device), there(g, device)
    found = OPS.jet_activation(gpu_y, *moved, *form)
    compare(found, OPS.jet_activation(y, *here), tolerance, device)
    found = OPS.jet_activation_backward(gpu_g, gpu_y, *moved, *form)
    expected = OPS.jet_activation_backward(g, y, *here)
    for one, other in zip(found, expected, strict=True):
        compare(one, other, tolerance, device)
    found = OPS.jet_activation_tangent(gpu_g, gpu_y, *moved, *form)
    compare(found, OPS.jet_activation_tangent(g, y, *here), tolerance, device)


# ---- the ops --------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("order,n", CASES)
@pytest.mark.parametrize("kind", cc.ops.KINDS)
def test_ops(kind, order, n, dtype):
    for points, width in ((1, 1), (3, 7), (33, 130)):
        for with_columns in (False, True):
            for with_bias in (False, True):
                check(*operands(kind, order, n, points, width, with_columns, with_bias, dtype))


@DTYPES
def test_more_elements_than_threads(dtype):
    # the grid has 132 * 32 blocks of 128 threads at most
    for kind in ("tanh", "stan"):
        check(*operands(kind, "laplacian", 2, 9001, 61, False, True, dtype))


@pytest.mark.parametrize("points,width", [(0, 5), (3, 0), (0, 0)])
def test_empty(points, width):
    for kind in ("tanh", "stan"):
        for with_columns in (False, True):
            check(*operands(kind, "laplacian", 2, points, width, with_columns, True, F64))


def test_not_contiguous():
    y, g, (_, bias, beta), form = operands("stan", 2, 2, 9, 12, False, True, F64)
    turned = there(y).permute(2, 0, 1).contiguous().permute(1, 2, 0)
    apart = there(bias).repeat_interleave(2)[::2]
    assert not turned.is_contiguous() and not apart.is_contiguous()
    found = OPS.jet_activation(turned, None, apart, there(beta), *form)
    compare(found, OPS.jet_activation(y, None, bias, beta, *form), TOLERANCE[F64])
    v = there(g).transpose(0, 2).contiguous().transpose(0, 2)
    found = OPS.jet_activation_tangent(v, turned, None, apart, there(beta), *form)
    compare(found, OPS.jet_activation_tangent(g, y, None, bias, beta, *form), TOLERANCE[F64])


@DTYPES
@pytest.mark.parametrize("kind", cc.ops.KINDS)
def test_large_arguments(kind, dtype):
    # sin past the reduction in three parts, and saturated activations
    y = torch.randn(3, 4, 7, dtype=dtype)
    y[:, 0] = torch.tensor([-3e7, -500.0, -90.0, 0.0, 90.0, 500.0, 3e7], dtype=dtype)
    beta = torch.rand(7, dtype=dtype) if kind == "stan" else None
    form = (kind, "laplacian", 2)
    found = OPS.jet_activation(there(y), None, None, there(beta), *form).cpu()
    expected = OPS.jet_activation(y, None, None, beta, *form)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_more_than_2_to_the_31_values():
    width, last = 256, 5
    points = 2**31 // (4 * width) + last
    if torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("needs 16 GiB of free GPU memory")
    columns, values = torch.randn(2, width), torch.randn(last, width)
    y = torch.zeros(points, width, device=GPU)
    y[-last:] = there(values)
    h = OPS.jet_activation(y, there(columns), None, None, "tanh", "laplacian", 2)
    assert h.numel() > 2**31
    expected = OPS.jet_activation(values, columns, None, None, "tanh", "laplacian", 2)
    compare(h[-last:], expected, TOLERANCE[torch.float32])


def test_wrong_arguments_are_refused():
    y, g, _, form = operands("tanh", 1, 2, 4, 3, False, False, F64)
    with pytest.raises(RuntimeError, match="bias: expected"):
        OPS.jet_activation(there(y), None, torch.zeros(3, dtype=F64), None, *form)
    with pytest.raises(RuntimeError, match="grad: expected"):
        OPS.jet_activation_backward(there(g)[:2], there(y), None, None, None, *form)


def test_a_stream_is_respected():
    y, g, arrays, form = operands("gelu", "laplacian", 2, 500, 64, False, True, F64)
    expected = OPS.jet_activation_backward(g, y, *arrays, *form)
    gpu_y, gpu_g, moved = there(y), there(g), [there(value) for value in arrays]
    late = torch.full_like(gpu_y, torch.nan)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(gpu_y)
        found = OPS.jet_activation_backward(gpu_g, late, *moved, *form)
    stream.synchronize()
    for one, other in zip(found, expected, strict=True):
        compare(one, other, TOLERANCE[F64])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu():
    check(*operands("stan", 2, 3, 33, 17, False, True, F64), device="cuda:1")
    assert torch.cuda.current_device() == 0


# ---- cc.jet ---------------------------------------------------------------------------------


def gradients(net, x, order, wrt=None):
    components = cc.jet(net, x, order, wrt).components
    factors = torch.linspace(-1, 2, components.numel(), dtype=x.dtype, device=x.device)
    loss = (components * factors.view(components.shape)).sum() + components.square().sum()
    wanted = [p for p in (x, *net.parameters()) if p.requires_grad]
    return [components.detach(), *torch.autograd.grad(loss, wanted)]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kind", ["tanh", "stan", "gelu"])
def test_jets_of_a_network(kind, order, n):
    net = cc.nn.MLP(n, 2, 19, 3, kind, "neuron", dtype=F64)
    x = torch.rand(33, n, dtype=F64, requires_grad=True)
    moved = copy.deepcopy(net).to(GPU)
    expected = gradients(net, x, order)
    found = gradients(moved, there(x.detach()).requires_grad_(), order)
    for one, other in zip(found, expected, strict=True):
        compare(one, other, 1e-10)


@pytest.mark.parametrize("wrt", [(2,), (2, 0), (1, 2)], ids=str)
def test_some_inputs_alone(wrt):
    net = cc.nn.MLP(3, 1, 16, 2, "silu", dtype=F64)
    x = torch.rand(10, 3, dtype=F64)
    moved = copy.deepcopy(net).to(GPU)
    for order in ("laplacian", 3):
        expected = gradients(net, x, order, wrt)
        found = gradients(moved, there(x), order, wrt)
        for one, other in zip(found, expected, strict=True):
            compare(one, other, 1e-10)


def test_what_is_not_kept_is_evaluated_again():
    net = cc.nn.MLP(2, 1, 32, 3, "stan", dtype=F64).to(GPU)
    x = torch.rand(200, 2, dtype=F64, device=GPU)
    expected = gradients(net, x, "laplacian")
    before = cc.jets.set_memory_budget(0, "cuda")
    try:
        found = gradients(net, x, "laplacian")
    finally:
        cc.jets.set_memory_budget(before, "cuda")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * (1 + other.abs().max().item()))


def residual(net, x):
    u = cc.jet(net, x, "laplacian")
    return (u.laplacian + u.value * u.d(0)).square().mean()


def test_a_step_does_not_wait_for_the_gpu():
    net = cc.nn.MLP(2, 1, 32, 3).to(GPU)
    x = torch.rand(200, 2, device=GPU)
    residual(net, x).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        residual(net, x).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_captured_in_a_graph():
    net = cc.nn.MLP(2, 1, 32, 3, "tanh", "layer", dtype=F64).to(GPU)
    plain = copy.deepcopy(net)
    x = torch.rand(200, 2, dtype=F64, device=GPU)

    def stepper(module, points):
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = residual(module, points)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    step, eager_step = stepper(net, x), stepper(plain, x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    for _ in range(3):
        eager_step()
    for _ in range(4):
        x.uniform_()
        graph.replay()
        torch.testing.assert_close(loss, eager_step(), rtol=1e-10, atol=1e-12)
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_a_compiled_step(kind):
    net = cc.nn.MLP(2, 1, 32, 3, kind, dtype=F64).to(GPU)
    x = torch.rand(200, 2, dtype=F64, device=GPU)
    parameters = [p for p in net.parameters() if p.requires_grad]
    loss = residual(net, x)
    expected = torch.autograd.grad(loss, parameters)
    torch.compiler.reset()
    found_loss = torch.compile(residual, fullgraph=True)(net, x)
    found = torch.autograd.grad(found_loss, parameters)
    torch.testing.assert_close(found_loss, loss, rtol=1e-10, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
