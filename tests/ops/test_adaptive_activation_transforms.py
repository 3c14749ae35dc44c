"""adaptive_activation under torch.func, forward mode, vmap, torch.compile and opcheck."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc.ops import KINDS, adaptive_activation
from reference import adaptive_activation as reference
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

F64 = torch.float64


def setting(kind, per_neuron=True, width=3):
    x = torch.randn(2, width, dtype=F64)
    a = 0.8 + torch.rand((width,) if per_neuron else (), dtype=F64)
    beta = 0.5 + torch.rand(a.shape, dtype=F64) if kind == "stan" else None
    ours = lambda x, a, *b: adaptive_activation(x, a, kind, 1.1, *b)  # noqa: E731
    theirs = lambda x, a, *b: reference.activation(x, a, kind, 1.1, *b)  # noqa: E731
    return ours, theirs, (x, a) if beta is None else (x, a, beta)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_neuron", [False, True])
def test_jvp(kind, per_neuron):
    ours, theirs, inputs = setting(kind, per_neuron)
    tangents = tuple(torch.randn_like(v) for v in inputs)
    close(jvp(ours, inputs, tangents), jvp(theirs, inputs, tangents))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "outer_inner", [(jacfwd, jacfwd), (jacfwd, jacrev), (jacrev, jacfwd), (jacrev, jacrev)]
)
def test_second_derivatives_by_every_nesting(kind, outer_inner):
    outer, inner = outer_inner
    ours, theirs, inputs = setting(kind)
    for argument in range(len(inputs)):
        found = outer(inner(ours, argument), argument)(*inputs)
        expected = jacrev(jacrev(theirs, argument), argument)(*inputs)
        assert argument == 2 or found.abs().sum() > 0 or kind == "identity"
        close(found, expected)


def test_mixed_second_derivatives_by_every_nesting():
    ours, theirs, inputs = setting("stan")
    expected = jacrev(jacrev(theirs, 0), (1, 2))(*inputs)
    for outer, inner in ((jacfwd, jacfwd), (jacfwd, jacrev), (jacrev, jacfwd), (jacrev, jacrev)):
        close(outer(inner(ours, 0), (1, 2))(*inputs), expected)


def test_hessian_and_third_derivative():
    ours, theirs, inputs = setting("tanh", width=2)
    total = lambda f: lambda x: f(x, *inputs[1:]).sin().sum()  # noqa: E731
    close(hessian(total(ours))(inputs[0]), hessian(total(theirs))(inputs[0]))
    third = lambda f: jacrev(jacrev(jacrev(total(f))))(inputs[0])  # noqa: E731
    close(third(ours), third(theirs))
    mixed = lambda f: jacfwd(jacfwd(jacrev(total(f))))(inputs[0])  # noqa: E731
    close(mixed(ours), third(theirs))


def test_dual_numbers():
    ours, _, (x, a) = setting("silu")
    tangent = torch.randn_like(x)
    with forward_ad.dual_level():
        y = ours(forward_ad.make_dual(x, tangent), a)
        primal, found = forward_ad.unpack_dual(y)
    close(primal, ours(x, a))
    close(found, jvp(lambda x: ours(x, a), (x,), (tangent,))[1])
    assert found.abs().sum() > 0


def test_backward_under_forward_mode_is_not_silently_zero():
    """A dual grad_output through a graph that was built before the forward level."""
    x = torch.randn(4, dtype=F64, requires_grad=True)
    y = adaptive_activation(x, torch.ones((), dtype=F64), "tanh")
    weight, tangent = torch.randn(4, dtype=F64), torch.randn(4, dtype=F64)
    with forward_ad.dual_level():
        (g,) = torch.autograd.grad(y, x, forward_ad.make_dual(weight, tangent))
        found = forward_ad.unpack_dual(g).tangent
    assert found is not None
    close(found, tangent * (1 - torch.tanh(x.detach()) ** 2))


@pytest.mark.parametrize("kind", ["tanh", "gelu", "stan"])
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("x_dim", [None, 0, 1, 2])
@pytest.mark.parametrize("a_dim", [None, 0])
def test_vmap(kind, per_neuron, x_dim, a_dim):
    if x_dim is None and a_dim is None:
        return
    ours, theirs, inputs = setting(kind, per_neuron)
    x, rest = inputs[0], inputs[1:]
    if x_dim is not None:
        x = torch.stack([x, 2 * x, -x, x + 1], x_dim)
    if a_dim is not None:
        rest = tuple(torch.stack([v, 2 * v, v + 1, v * v]) for v in rest)
    dims = (x_dim, *(a_dim for _ in rest))
    close(vmap(ours, dims)(x, *rest), vmap(theirs, dims)(x, *rest))
    total = lambda f: grad(lambda *v: f(*v).square().sum(), tuple(range(len(dims))))  # noqa: E731
    close(vmap(total(ours), dims)(x, *rest), vmap(total(theirs), dims)(x, *rest))


def test_vmap_over_scalars_and_twice():
    x, a = torch.randn(5, dtype=F64), torch.rand(5, dtype=F64)
    close(vmap(lambda x, a: adaptive_activation(x, a, "sin"))(x, a), torch.sin(a * x))
    x = torch.randn(3, 5, 2, dtype=F64)
    a = torch.rand(3, dtype=F64)
    twice = vmap(lambda x, a: vmap(lambda x: adaptive_activation(x, a, "sin"))(x))
    close(twice(x, a), torch.sin(a[:, None, None] * x))


def test_per_sample_gradients_of_a_network():
    net = cc.nn.MLP(2, 1, 8, 2, "tanh", adaptive="neuron").double()
    x = torch.randn(6, 2, dtype=F64)
    weights = dict(net.named_parameters())

    def value(weights, point):
        return functional_call(net, weights, (point[None],)).sum()

    found = vmap(grad(value), (None, 0))(weights, x)
    for i in range(6):
        net.zero_grad()
        net(x[i : i + 1]).sum().backward()
        for name, parameter in net.named_parameters():
            close(found[name][i], parameter.grad)


def test_vjp_matches_autograd():
    ours, theirs, inputs = setting("gelu_tanh")
    weight = torch.randn(2, 3, dtype=F64)
    close(vjp(ours, *inputs)[1](weight), vjp(theirs, *inputs)[1](weight))


@pytest.mark.parametrize("kind,dtype", [("tanh", torch.float32), ("stan", F64)])
def test_opcheck(kind, dtype):
    x = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    beta = torch.ones(3, dtype=dtype, requires_grad=True) if kind == "stan" else None
    everything = 7 if beta is not None else 3
    for slope, masks in (((), (everything,)), ((3,), (1, 2, everything))):
        a = torch.ones(slope, dtype=dtype, requires_grad=True)
        forward = (x, a, beta, kind, 1.5, 1)
        torch.library.opcheck(torch.ops.colloc.adaptive_activation.default, forward)
        for mask in masks:
            backward = (torch.randn_like(x), x, a, beta, kind, 1.5, 0, mask)
            torch.library.opcheck(torch.ops.colloc.adaptive_activation_backward.default, backward)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_fullgraph_training_step(dynamic):
    torch._dynamo.reset()
    module = cc.nn.AdaptiveActivation("stan", features=5)

    def loss(x):
        return module(x).square().mean()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 6):
        x = torch.randn(rows, 5, requires_grad=True)
        found = torch.autograd.grad(compiled(x), (x, *module.parameters()))
        expected = torch.autograd.grad(loss(x), (x, *module.parameters()))
        torch.testing.assert_close(found, expected)


def test_compile_with_inductor():
    torch._dynamo.reset()
    a = torch.tensor(1.5, requires_grad=True)

    @torch.compile(fullgraph=True)
    def step(x, a):
        return (adaptive_activation(x * 2, a, "silu") + 1).square().mean()

    x = torch.randn(64, 16, requires_grad=True)
    found = torch.autograd.grad(step(x, a), (x, a))
    y = (torch.nn.functional.silu(1.5 * 2 * x) + 1).square().mean()
    torch.testing.assert_close(found[0], torch.autograd.grad(y, x)[0])


def test_fake_and_meta_tensors():
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    a = torch.ones(4, device="meta", requires_grad=True)
    y = adaptive_activation(x, a, "tanh")
    assert y.device.type == "meta" and y.shape == (3, 4)
    by_x, by_a = torch.autograd.grad(y.sum(), (x, a))
    assert by_x.shape == (3, 4) and by_a.shape == (4,)


def test_functional_call_deepcopy_pickle(tmp_path):
    import copy
    import pickle

    module = cc.nn.AdaptiveActivation("tanh", features=3)
    x = torch.randn(2, 3)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
    twice = functional_call(module, {"a": torch.full((3,), 2.0)}, (x,))
    torch.testing.assert_close(twice, torch.tanh(2 * x))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    module.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


# ---- torch.func and dual numbers with torch.compile ---------------------------------------

COMPILED = {
    "jvp": lambda f: lambda x: jvp(f, (x,), (torch.ones_like(x),))[1],
    "jacfwd": jacfwd,
    "jacfwd twice": lambda f: jacfwd(jacfwd(f)),
    "grad": lambda f: grad(lambda x: f(x).sum()),
    "jacrev": jacrev,
    "hessian": lambda f: hessian(lambda x: f(x).sum()),
    "vmap of grad": lambda f: vmap(grad(lambda x: f(x).sum())),
    "vmap": vmap,
}


@pytest.mark.parametrize(
    "kind,transform",
    [*(("stan", t) for t in COMPILED), ("tanh", "jvp"), ("tanh", "grad"), ("tanh", "vmap")],
)
def test_transforms_inside_compile(transform, kind):
    torch._dynamo.reset()
    beta = torch.tensor(0.7, dtype=F64) if kind == "stan" else None
    function = COMPILED[transform](lambda x: adaptive_activation(x, 1.3, kind, 1.1, beta))
    x = torch.randn(4, 1, dtype=F64)
    found = torch.compile(function, backend="aot_eager", fullgraph=True)(x)
    assert found.abs().sum() > 0
    close(found, function(x))


def test_forward_mode_of_a_network_with_inductor():
    torch._dynamo.reset()
    net = cc.nn.MLP(1, 1, 8, 2, "tanh", "layer", dtype=F64)
    function = lambda x: jvp(net, (x,), (torch.ones_like(x),))[1]  # noqa: E731
    x = torch.randn(4, 1, dtype=F64)
    found = torch.compile(function)(x)
    assert found.abs().sum() > 0
    close(found, function(x))


def test_transforms_of_a_compiled_function():
    torch._dynamo.reset()
    function = lambda x: adaptive_activation(x, 1.3, "tanh")  # noqa: E731
    compiled = torch.compile(function, backend="aot_eager")
    x = torch.randn(4, 1, dtype=F64)
    for _ in range(2):
        for transform in ("jvp", "grad", "vmap"):
            close(COMPILED[transform](compiled)(x), COMPILED[transform](function)(x))
        compiled(x)


@pytest.mark.parametrize("level_inside", [False, True])
def test_dual_numbers_and_compile(level_inside):
    torch._dynamo.reset()
    x, tangent = torch.randn(4, dtype=F64), torch.randn(4, dtype=F64)
    function = lambda x: adaptive_activation(x, 1.3, "tanh")  # noqa: E731

    def derivative(f, x):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(f(forward_ad.make_dual(x, tangent))).tangent

    if level_inside:
        inside = torch.compile(lambda x: derivative(function, x), backend="aot_eager")
        found = inside(x)
    else:
        compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
        close(compiled(x), function(x))  # first without a level: it has to compile anew
        found = derivative(compiled, x)
    close(found, tangent * 1.3 * (1 - torch.tanh(1.3 * x) ** 2))


# ---- scalars, and values that are not finite ----------------------------------------------


@pytest.mark.parametrize("kind", ["tanh", "stan"])
def test_a_scalar_with_parameters_of_one_entry(kind):
    x = torch.tensor(0.3, dtype=F64, requires_grad=True)
    parameters = [torch.ones(1, dtype=F64, requires_grad=True) for _ in range(1 + (kind == "stan"))]
    ours = lambda x, a, *b: adaptive_activation(x, a, kind, 1.1, *b)  # noqa: E731
    assert ours(x, *parameters).shape == ()
    torch.autograd.gradcheck(ours, (x, *parameters))
    torch.autograd.gradgradcheck(ours, (x, *parameters))
    value, tangent = jvp(lambda x: ours(x, *parameters), (x,), (torch.ones_like(x),))
    assert value.shape == tangent.shape == ()
    assert jacfwd(ours, 1)(x, *parameters).shape == (1,)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_slope_that_is_not_finite_under_forward_mode(bad):
    x, a = torch.zeros(2), torch.tensor(bad)
    with pytest.raises(RuntimeError, match="a: expected finite values"):
        jvp(lambda x: adaptive_activation(x, a, "tanh"), (x,), (x,))
    with pytest.raises(RuntimeError, match="a: expected finite values"):
        jvp(lambda a: adaptive_activation(x, a, "tanh"), (a,), (a,))
    with pytest.raises(RuntimeError, match="beta: expected finite values"):
        jvp(lambda x: adaptive_activation(x, 1.0, "stan", 1.0, a), (x,), (x,))
