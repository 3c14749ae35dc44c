"""Op mlp_jet_fused in ``cc.jet`` with its kernels run on the host, as if the CPU were a GPU."""

from __future__ import annotations

import copy

import colloc as cc
import pytest
import torch
from colloc.ops import _mlp_jet_fused as fused
from colloc.ops import mlp_jet
from colloc.ops.jet_activation import JET_ORDERS

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

OPS = torch.ops.colloc
MEMORY = 232448  # bytes of a block on compute capability 9.0


def host_forward(x, weights, biases, betas, kinds, order, wrt, kept_points, exact):
    net = fused.Mlp(x, weights, biases, betas, kinds, order, wrt)
    shape = fused.kept_shape(net, kept_points)
    out, kept = host.mlp_jet_fused(
        *(arrays(x), arrays(weights), arrays(biases), kinds, JET_ORDERS.index(order), wrt),
        *(shape[0], exact, 264, False),
    )
    out = torch.from_numpy(out).view(x.shape[0], net.size, weights[-1].shape[0])
    return out, torch.from_numpy(kept).view(shape)


def host_backward(grad, kept, x, weights, biases, betas, kinds, order, wrt, mask, exact):
    first, by_weights, by_biases = host.mlp_jet_fused_backward(
        *(arrays(grad), arrays(kept), arrays(x), arrays(weights), arrays(biases), kinds),
        *(JET_ORDERS.index(order), wrt, kept.shape[0], mask, exact),
        *(3, MEMORY, 1 << 22, 1 << 22, False),
    )

    def each(arrays, tensors):
        return [
            torch.from_numpy(a).view(t.shape if a.size else (0,))
            for a, t in zip(arrays, tensors, strict=True)
        ]

    by_x = x.new_empty(0)
    if mask & 1:
        by_x = torch.from_numpy(first).view(x.shape[0], -1) @ weights[0]
    return by_x, each(by_weights, weights), each(by_biases, biases), [x.new_empty(0) for _ in kinds]


def arrays(value):
    if isinstance(value, torch.Tensor):
        return value.detach().contiguous().numpy()
    return [arrays(one) for one in value]


@pytest.fixture(scope="module", autouse=True)
def kernels_on_the_host():
    library = torch.library.Library("colloc", "IMPL")
    library.impl("mlp_jet_fused", host_forward, "CPU")
    library.impl("mlp_jet_fused_backward", host_backward, "CPU")
    yield
    library._destroy()


@pytest.fixture(autouse=True)
def cpu_as_gpu(monkeypatch):
    monkeypatch.setattr(fused, "DEVICE", "cpu")
    monkeypatch.setattr(fused, "enabled", True)
    monkeypatch.setitem(fused._block_memory, None, MEMORY)


@pytest.fixture
def calls(monkeypatch):
    """The ops that ``colloc.ops.mlp_jet`` calls."""
    seen = []
    for name in ("_fused", "_fused_backward", "_tiled", "_tiled_backward", "_layers"):
        op = getattr(mlp_jet, name)
        monkeypatch.setattr(mlp_jet, name, lambda *a, op=op, name=name: seen.append(name) or op(*a))
    return seen


def network(width=20, kind="tanh", inputs=2, layers=2, outputs=2, **more):
    torch.manual_seed(0)
    return cc.nn.MLP(inputs, outputs, width, layers, kind, **more)


def loss_and_gradients(net, x, order="laplacian", wrt=None):
    components = cc.jet(net, x, order, wrt).components
    factors = torch.linspace(-1, 2, components.numel(), dtype=x.dtype)
    loss = (components * factors.view(components.shape)).sum() + components.square().sum()
    wanted = [p for p in (x, *net.parameters()) if p.requires_grad]
    return [components.detach(), *torch.autograd.grad(loss, wanted)]


def compare(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one.double() - other).norm() <= tolerance * other.norm()


def in_double(net, x, *form):
    moved = x.detach().double().requires_grad_(x.requires_grad)
    return loss_and_gradients(copy.deepcopy(net).double(), moved, *form)


@pytest.mark.parametrize("kept", ["all", "some", "none"])
@pytest.mark.parametrize("by_x", [True, False])
def test_gradients(by_x, kept, calls):
    net = network()
    x = torch.rand(50, 2, requires_grad=by_x)
    expected = in_double(net, x)
    calls.clear()
    size = {"all": 1 << 20, "some": 20 * 64 * 5 * 4, "none": 0}[kept]
    before = cc.jets.set_memory_budget(size, "cpu")
    try:
        found = loss_and_gradients(net, x)
    finally:
        cc.jets.set_memory_budget(before, "cpu")
    assert calls == ["_fused", "_fused_backward"]
    compare(found, expected)


def test_without_biases_and_of_some_inputs(calls):
    net = network(30, "sin", 3, adaptive="neuron")
    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            layer.bias = None
    x = torch.rand(20, 3)
    compare(loss_and_gradients(net, x, 2, (2, 0)), in_double(net, x, 2, (2, 0)))
    assert "_fused_backward" in calls


def test_without_a_graph(calls):
    net, x = network(), torch.rand(20, 2)
    with torch.no_grad():
        found = cc.jet(net, x, 1).components
    assert calls == ["_fused"]
    compare([found], [cc.jet(net.double(), x.double(), 1).components.detach()])


def test_one_layer_alone():
    net, x = network(), torch.rand(20, 2)

    def last(net, x):
        value = cc.jet(net, x, "laplacian").laplacian.sum()
        return torch.autograd.grad(value, list(net.parameters())[-2])

    compare(last(net, x), last(copy.deepcopy(net).double(), x.double()))


@pytest.mark.parametrize(
    "change",
    ["width", "stan", "float64", "outputs", "inputs", "order", "switch", "memory", "device"],
)
def test_what_takes_the_other_way(change, calls, monkeypatch):
    sizes = {"width": {"width": 129}, "stan": {"kind": "stan"}, "outputs": {"outputs": 5}}
    inputs = 9 if change == "inputs" else 2
    net = network(**sizes.get(change, {}), inputs=inputs)
    x = torch.rand(5, inputs)
    if change == "float64":
        net, x = net.double(), x.double()
    elif change == "switch":
        monkeypatch.setattr(fused, "enabled", False)
    elif change == "memory":
        monkeypatch.setitem(fused._block_memory, None, 100_000)
    elif change == "device":
        monkeypatch.setattr(fused, "DEVICE", "cuda")
    loss_and_gradients(net, x, 3 if change == "order" else "laplacian", (0, 1))
    assert calls and not any("fused" in name for name in calls)


def test_the_switch_between_the_two_ways(calls, monkeypatch):
    net, x = network(), torch.rand(20, 2)
    value = cc.jet(net, x, "laplacian").laplacian.sum()
    monkeypatch.setattr(fused, "enabled", False)
    value.backward()
    assert calls == ["_fused", "_fused_backward"]


def test_second_derivatives_go_by_the_formula():
    net = network()
    x = torch.rand(10, 2)
    first = torch.autograd.grad(
        cc.jet(net, x, 1).components.square().sum(), list(net.parameters()), create_graph=True
    )
    sum(g.square().sum() for g in first).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_precision_follows_torch():
    assert fused.exact()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert not fused.exact()
    finally:
        torch.set_float32_matmul_precision(before)


def test_autocast_changes_nothing(calls):
    net, x = network(), torch.rand(20, 2)
    expected = loss_and_gradients(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_and_gradients(net, x)
    assert "_fused_backward" in calls
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_compiled():
    net, x = network(), torch.rand(20, 2)
    wanted = list(net.parameters())

    def loss(points):
        u = cc.jet(net, points, "laplacian")
        return (u.laplacian + u.value).square().mean()

    expected = torch.autograd.grad(loss(x), wanted)
    graphs = []

    def backend(graph, example):
        graphs.append(str(graph.graph))
        return graph

    torch.compiler.reset()
    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend=backend)(x), wanted)
    assert "mlp_jet_fused" in graphs[0]
    compare(found, [g.double() for g in expected])


def operands(points=20):
    net = network()
    x = torch.rand(points, 2)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
    weights = [layer.weight.detach().requires_grad_() for layer in layers]
    biases = [layer.bias.detach().requires_grad_() for layer in layers]
    empty = [torch.empty(0)] * (len(layers) - 1)
    return x.requires_grad_(), weights, biases, empty, [0] * (len(layers) - 1), "1", [0, 1]


def test_opcheck():
    arguments = operands()
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(OPS.mlp_jet_fused.default, (*arguments, 20, True), test_utils=tests)
    out, kept = OPS.mlp_jet_fused(*arguments, 7, True)
    assert kept.shape == (1, 16 * 64 * 4)
    x, weights, biases, *rest = arguments
    plain = (x.detach(), [w.detach() for w in weights], [b.detach() for b in biases], *rest)
    torch.library.opcheck(
        OPS.mlp_jet_fused_backward.default,
        (torch.rand_like(out), kept.detach(), *plain, 5, True),
        test_utils=tests,
    )


def test_a_batch_of_gradients():
    net = network()
    x = torch.rand(10, 2)
    out = cc.jet(net, x, 1).components
    directions = torch.rand(3, *out.shape)
    found = torch.autograd.grad(
        out, list(net.parameters()), directions, is_grads_batched=True, retain_graph=True
    )
    expected = [
        torch.autograd.grad(out, list(net.parameters()), d, retain_graph=True) for d in directions
    ]
    for one, others in zip(found, zip(*expected, strict=True), strict=True):
        compare([one], [torch.stack(others).double()])


def test_the_memory_of_a_block():
    x, weights, biases, _, kinds, order, wrt = operands()
    x, weights, biases = arrays(x), arrays(weights), arrays(biases)
    net = (x, weights, biases, kinds, JET_ORDERS.index(order), wrt)
    out, kept = host.mlp_jet_fused(*net, 2, True, 264, False)
    needed = fused.memory(64, 3, 2)

    def backward(shared):
        return host.mlp_jet_fused_backward(
            out, kept, *net, 2, 2, True, 3, shared, 1 << 22, 1 << 22, False
        )

    backward(needed)
    with pytest.raises(ValueError, match="shared"):
        backward(needed - 4)


def test_what_is_constant_is_marked_as_torch_marks_it():
    marks = vars(torch.compiler.assume_constant_result(lambda: 0))
    assert marks and vars(fused.exact).items() >= marks.items()
    assert vars(fused._memory_of).items() >= marks.items()
