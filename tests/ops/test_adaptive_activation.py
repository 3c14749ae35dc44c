"""Ops adaptive_activation and its backward: values, gradients, layouts, errors."""

from __future__ import annotations

import math

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.ops import KINDS, activation_formula, adaptive_activation
from reference import adaptive_activation as reference

F64 = torch.float64


def parameters(kind, width, per_neuron, dtype=F64, requires_grad=False):
    shape = (width,) if per_neuron else ()
    a = (0.7 + 0.5 * torch.rand(shape, dtype=dtype)).requires_grad_(requires_grad)
    beta = None
    if kind == "stan":
        beta = (0.5 + torch.rand(shape, dtype=dtype)).requires_grad_(requires_grad)
    return a, beta


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_against_torch_and_nested_autograd(capability, kind, order):
    x = 3 * torch.randn(37, 19, dtype=F64)
    for per_neuron in (False, True):
        a, beta = parameters(kind, 19, per_neuron)
        y = adaptive_activation(x, a, kind, 1.3, beta, order=order)
        expected = reference.derivative(kind, 1.3 * a * x, order, beta)
        # Nested autograd of torch's tanh GELU itself loses digits; 60 digits decide, below.
        atol = 1e-11 if kind == "gelu_tanh" and order >= 3 else 1e-13
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_from_tiny_to_saturated(capability, kind):
    """Relative accuracy against 60 digits where the textbook forms cancel or overflow."""
    t = torch.tensor(
        [
            -36.0,
            -20.0,
            -9.0,
            -5.0,
            -2.3,
            -0.5,
            -1e-3,
            -1e-9,
            0.0,
            1e-12,
            1e-5,
            0.1,
            0.7,
            1.9,
            4.2,
            8.5,
            18.0,
            33.0,
        ],
        dtype=F64,
    )
    beta = torch.tensor(0.75, dtype=F64) if kind == "stan" else None
    for order in range(5):
        exact = [reference.derivative_mpmath(kind, v, order) for v in t.tolist()]
        exact = torch.tensor(exact, dtype=F64)
        y = adaptive_activation(t, 1.0, kind, 1.0, beta, order=order)
        # Relative to the value, but to 1e-16 of the function's own scale near its zeros.
        # A relative error in exp(-t^2/2) or of sums grows with t^2, hence the factor.
        error = (y - exact).abs() / (exact.abs() * (1 + t * t) + 1e-4 * exact.abs().max() + 1e-300)
        assert error.max() < 2e-15 * 10**order, (order, error)


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_float32_accuracy(capability, kind, order):
    x = torch.linspace(-12, 12, 4001)
    beta = torch.tensor(0.8) if kind == "stan" else None
    wide_beta = None if beta is None else beta.double()
    y = adaptive_activation(x, 1.0, kind, 1.0, beta, order=order).double()
    exact = adaptive_activation(x.double(), 1.0, kind, 1.0, wide_beta, order=order)
    assert (y - exact).abs().max() <= 2e-7 * max(1.0, 12.0 if order == 0 else 0) * 4**order


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_arguments_stay_finite(capability, kind, dtype):
    huge = 1e30 if dtype == torch.float32 else 1e200
    x = torch.tensor([-huge, -1e15, -1e6, -800.0, -90.0, 90.0, 800.0, 1e6, 1e15, huge], dtype=dtype)
    beta = torch.ones((), dtype=dtype) if kind == "stan" else None
    for order in range(5):
        y = adaptive_activation(x, 1.0, kind, 1.0, beta, order=order)
        assert torch.isfinite(y).all(), (order, y)
        if kind != "sin" and order >= 2:
            assert y.abs().max() < 1e-30
    if kind == "sin":
        torch.testing.assert_close(adaptive_activation(x, 1.0, kind), torch.sin(x))
    if kind in ("silu", "gelu", "gelu_tanh", "softplus"):
        y = adaptive_activation(x, 1.0, kind)
        torch.testing.assert_close(y, x.clamp(min=0), rtol=1e-15, atol=1e-30)


def test_nan_stays_visible(capability):
    x = torch.tensor([1.0, math.nan, 2.0])
    for kind in KINDS:
        beta = torch.ones(()) if kind == "stan" else None
        y = adaptive_activation(x, 1.0, kind, 1.0, beta)
        assert torch.isnan(y).tolist() == [False, True, False], kind


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_torch(capability, kind, per_neuron, order):
    x = (2 * torch.randn(3, 29, 11, dtype=F64)).requires_grad_()
    a, beta = parameters(kind, 11, per_neuron, requires_grad=True)
    inputs = [x, a] + ([beta] if kind == "stan" else [])
    weight = torch.randn(3, 29, 11, dtype=F64)
    y = (adaptive_activation(x, a, kind, 0.9, beta, order=order) * weight).sum()
    z = (reference.activation(x, a, kind, 0.9, beta, order) * weight).sum()
    options = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad(y, inputs, **options)
    expected = (
        torch.autograd.grad(z, inputs, **options)
        if z.requires_grad
        else [torch.zeros_like(v) for v in inputs]
    )
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_and_gradgradcheck(kind, per_neuron):
    x = torch.randn(4, 3, dtype=F64, requires_grad=True)
    a, beta = parameters(kind, 3, per_neuron, requires_grad=True)

    def call(x, a, beta=None, order=0):
        return adaptive_activation(x, a, kind, 1.2, beta, order=order)

    inputs = (x, a) if beta is None else (x, a, beta)
    torch.autograd.gradcheck(call, inputs)
    torch.autograd.gradgradcheck(call, inputs)
    torch.autograd.gradcheck(lambda *v: call(*v, order=3), inputs)
    torch.autograd.gradgradcheck(lambda *v: call(*v, order=2), inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_fourth_derivative_by_nested_autograd_and_a_loud_end(kind):
    x = torch.randn(6, 5, dtype=F64, requires_grad=True)
    a, beta = parameters(kind, 5, True, requires_grad=True)
    y = adaptive_activation(x, a, kind, 1.1, beta)
    z = reference.activation(x, a, kind, 1.1, beta)
    for _ in range(3):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        if z.requires_grad:
            (z,) = torch.autograd.grad(
                z.sum(), x, create_graph=True, allow_unused=True, materialize_grads=True
            )
        torch.testing.assert_close(y, z, rtol=1e-10, atol=1e-10)
    # a loss of third derivatives still reaches the slopes: that is the fourth derivative
    if z.requires_grad:
        torch.testing.assert_close(
            torch.autograd.grad(y.square().sum(), a, retain_graph=True)[0],
            torch.autograd.grad(
                z.square().sum(), a, retain_graph=True, allow_unused=True, materialize_grads=True
            )[0],
            rtol=1e-9,
            atol=1e-9,
        )
    (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="family ends at derivative 4"):
        torch.autograd.grad(y.sum(), x)


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (7,), (0, 4), (5, 0), (1, 1), (1023, 1), (3, 1025), (2, 3, 4)]
)
def test_shapes(capability, shape):
    x = torch.randn(shape, dtype=F64, requires_grad=True)
    width = shape[-1] if shape else 1
    for slope in ((), (1,), (width,)):
        a = torch.rand(slope, dtype=F64, requires_grad=True)
        y = adaptive_activation(x, a, "tanh")
        assert y.shape == x.shape
        by_x, by_a = torch.autograd.grad(y.sum(), (x, a))
        assert by_a.shape == a.shape
        t = (a * x).detach().reshape(shape)
        torch.testing.assert_close(y, torch.tanh(t))
        torch.testing.assert_close(by_x, (a * (1 - torch.tanh(t) ** 2)).reshape(shape))
        total = x.detach() * (1 - torch.tanh(t) ** 2)
        points = total.numel() // max(width, 1)
        expected = total.sum() if a.numel() == 1 else total.reshape(points, width).sum(0)
        torch.testing.assert_close(by_a.reshape(-1), expected.reshape(-1))


def test_no_elements_give_zero_gradients():
    x = torch.empty(0, 3, requires_grad=True)
    a = torch.ones(3, requires_grad=True)
    adaptive_activation(x, a, "tanh").sum().backward()
    assert torch.equal(a.grad, torch.zeros(3)) and x.grad.shape == (0, 3)


def test_non_contiguous_and_expanded_inputs():
    base = torch.randn(40, 30, dtype=F64)
    a = torch.rand(30, 2, dtype=F64)[:, 0]
    for x in (base.t().contiguous().t(), base[::2], base[:, :1].expand(40, 30), base.flip(0)):
        torch.testing.assert_close(
            adaptive_activation(x, a, "silu"), torch.nn.functional.silu(a * x)
        )
    x = base[:, ::3].detach().requires_grad_()
    grad = torch.randn(10, 40, dtype=F64).t()
    (found,) = torch.autograd.grad(adaptive_activation(x, 1.0, "sin"), x, grad)
    torch.testing.assert_close(found, grad * torch.cos(x))


def test_slope_gradient_does_not_depend_on_threads():
    x, grad = torch.randn(20_000, 33), torch.randn(20_000, 33)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            for slope in ((), (33,)):
                a = torch.ones(slope, requires_grad=True)
                found.append(torch.autograd.grad(adaptive_activation(x, a, "tanh"), a, grad)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
    assert torch.equal(found[0], found[4]) and torch.equal(found[1], found[5])


def test_slope_gradient_is_summed_accurately_in_float32():
    x, grad = torch.randn(200_000, 4), torch.randn(200_000, 4)
    a = torch.ones((), requires_grad=True)
    (found,) = torch.autograd.grad(adaptive_activation(x, a, "tanh"), a, grad)
    wide = (grad.double() * x.double() * (1 - torch.tanh(x.double()) ** 2)).sum()
    scale = (grad.double() * x.double()).abs().sum()
    assert abs(found.double() - wide) < 1e-8 * scale


def test_only_what_is_needed():
    x = torch.randn(5, 3)
    a = torch.ones(3, requires_grad=True)
    adaptive_activation(x, a, "tanh").sum().backward()
    assert a.grad is not None
    x.requires_grad_()
    adaptive_activation(x, a.detach(), "tanh").sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        assert not adaptive_activation(x, a, "tanh").requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x = torch.randn(10, 4).to(dtype).requires_grad_()
    a = torch.full((4,), 1.25, requires_grad=True)
    y = adaptive_activation(x, a, "tanh")
    assert y.dtype == dtype
    assert torch.equal(y, torch.tanh(1.25 * x.float()).to(dtype)) or (
        (y.float() - torch.tanh(1.25 * x.float())).abs().max() < torch.finfo(dtype).eps
    )
    y.sum().backward()
    assert x.grad.dtype == dtype and a.grad.dtype == torch.float32


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_plain_formula_is_the_same_function(kind, order):
    t = torch.linspace(-6, 6, 301, dtype=F64)
    beta = torch.tensor(0.4, dtype=F64) if kind == "stan" else None
    y = adaptive_activation(t, 1.0, kind, 1.0, beta, order=order)
    torch.testing.assert_close(
        activation_formula(t, kind, beta, order=order), y, rtol=1e-11, atol=1e-12
    )


X = torch.randn(5, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.numpy(), 1.0, "tanh"), TypeError, "x: expected a floating tensor"),
        ((X.long(), 1.0, "tanh"), TypeError, "x: expected a tensor of float32"),
        ((X.to_sparse(), 1.0, "tanh"), ValueError, "x: expected a dense tensor"),
        ((X, 1.0, "relu"), ValueError, "kind: expected one of 'tanh'"),
        ((X, 1.0, None), ValueError, "kind: expected one of"),
        ((X, torch.ones(5), "tanh"), ValueError, "a: expected shape (), (1,) or (3,)"),
        ((X, torch.ones(5, 1), "tanh"), ValueError, "a: expected shape"),
        ((X, torch.ones(1, 3), "tanh"), ValueError, "a: expected shape"),
        ((X, torch.ones(0), "tanh"), ValueError, "a: expected shape"),
        ((X, torch.ones(3, dtype=F64), "tanh"), ValueError, "a: expected the dtype of x"),
        ((X, torch.ones(3, device="meta"), "tanh"), ValueError, "a: expected the device of x"),
        ((X, "1", "tanh"), TypeError, "a: expected a number"),
        ((X, math.nan, "tanh"), ValueError, "a: expected a finite number"),
        ((X, 1.0, "tanh", math.inf), ValueError, "scale: expected a finite number"),
        ((X, 1.0, "tanh", "2"), TypeError, "scale: expected a number"),
        ((X, 1.0, "stan"), ValueError, "beta: expected a tensor for kind 'stan'"),
        ((X, 1.0, "tanh", 1.0, torch.ones(())), ValueError, "beta: expected None for kind 'tanh'"),
        ((X, 1.0, "stan", 1.0, torch.ones(2)), ValueError, "beta: expected shape"),
        ((X, torch.tensor(math.nan), "tanh"), RuntimeError, "a: expected finite values, got nan"),
        ((X, torch.tensor([1, math.inf, 1]), "tanh"), RuntimeError, "got inf at index 1"),
        ((X, 1.0, "stan", 1.0, torch.tensor(math.nan)), RuntimeError, "beta: expected finite"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        adaptive_activation(*arguments)
    assert message in str(info.value)


def test_order_out_of_range():
    for order in (-1, 5):
        with pytest.raises(ValueError, match="order: expected an integer"):
            adaptive_activation(X, 1.0, "tanh", order=order)


def test_raw_ops_check_their_arguments():
    op = torch.ops.colloc.adaptive_activation
    back = torch.ops.colloc.adaptive_activation_backward
    one = torch.ones(())
    for call, message in (
        (lambda: op(X, torch.ones(5), None, "tanh", 1.0, 0), "a: expected shape"),
        (lambda: op(X, one, None, "relu", 1.0, 0), "kind: expected one of"),
        (lambda: op(X, one, None, "tanh", 1.0, 5), "order: expected 0 to 4"),
        (lambda: op(X, one.double(), None, "tanh", 1.0, 0), "a: expected the dtype"),
        (lambda: op(X.long(), one, None, "tanh", 1.0, 0), "x: expected float32"),
        (lambda: op(X, one, None, "stan", 1.0, 0), "beta: expected a tensor"),
        (lambda: op(X, one, None, "tanh", math.nan, 0), "scale: expected"),
        (lambda: back(X[:1], X, one, None, "tanh", 1.0, 0, 7), "grad: expected the shape"),
        (lambda: back(X.double(), X, one, None, "tanh", 1.0, 0, 7), "grad: expected the dtype"),
        (lambda: back(X, X, one, None, "tanh", 1.0, 4, 7), "order: expected 0 to 3"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()


def test_module():
    for kind in KINDS:
        for features in (None, 6):
            module = cc.nn.AdaptiveActivation(kind, scale=4.0, features=features)
            x = torch.randn(9, 6)
            beta = module.beta if kind == "stan" else None
            torch.testing.assert_close(
                module(x), reference.base(kind, x, beta), rtol=1e-5, atol=1e-6
            )
            assert (module.a * module.scale == 1).all()
            names = {"a", "beta"} if kind == "stan" else {"a"}
            assert set(module.state_dict()) == names
    assert "features=6" in repr(module)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("relu",), ValueError, "kind: expected one of"),
        (("tanh", 0.0), ValueError, "scale: expected a number > 0"),
        (("tanh", math.nan), ValueError, "scale: expected a finite number"),
        (("tanh", 1.0, 0), ValueError, "features: expected an integer >= 1"),
        (("tanh", 1.0, 2.5), TypeError, "features: expected an integer"),
    ],
)
def test_module_errors(arguments, error, message):
    with pytest.raises(error) as info:
        cc.nn.AdaptiveActivation(*arguments)
    assert message in str(info.value)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "sin"])
def test_formula_far_out(kind, dtype):
    t = torch.tensor([-1e30, -1e10, -3e5, -45.0, 45.0, 3e5, 1e10, 1e30], dtype=dtype)
    beta = torch.tensor(0.75, dtype=dtype) if kind == "stan" else None
    for order in range(5):
        found = activation_formula(t, kind, beta, order=order)
        expected = adaptive_activation(t, 1.0, kind, 1.0, beta, order=order)
        torch.testing.assert_close(found, expected)
        if order < 4:
            inputs = t.clone().requires_grad_()
            y = activation_formula(inputs, kind, beta, order=order).sum()
            (by_t,) = (
                torch.autograd.grad(y, inputs, allow_unused=True, materialize_grads=True)
                if (y.requires_grad)
                else (torch.zeros_like(t),)
            )
            expected = adaptive_activation(t, 1.0, kind, 1.0, beta, order=order + 1)
            torch.testing.assert_close(by_t, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": 1e30, "scale": 1e30}, "a: expected a slope that torch.float32 holds"),
        ({"a": 1e300}, "a: expected a slope that torch.float32 holds"),
        ({"a": np.ones(3)}, "torch.from_numpy(a)"),
        ({"kind": np.array(["tanh"])}, "kind: expected one of"),
        ({"kind": "tan"}, "got 'tan' (str)"),
        ({"scale": "2"}, "scale: expected a number, got '2' (str)"),
        ({"scale": torch.ones((), requires_grad=True)}, "that requires grad"),
        ({"a": torch.ones(3).to_sparse()}, "a: expected a dense tensor"),
        ({"kind": "stan", "beta": torch.ones(3).to_sparse()}, "beta: expected a dense tensor"),
    ],
)
def test_more_errors(arguments, message):
    arguments = {"x": torch.zeros(2, 3), "a": 1.0, "kind": "tanh", **arguments}
    with pytest.raises((ValueError, TypeError)) as info:
        adaptive_activation(**arguments)
    assert message in str(info.value)


@pytest.mark.parametrize("scale", [1e50, 1e-50, 1e-39])
def test_a_scale_whose_inverse_the_dtype_does_not_hold(scale):
    with pytest.raises(ValueError, match=r"scale: expected a number that torch\.float32"):
        cc.nn.AdaptiveActivation("tanh", scale, dtype=torch.float32)
    cc.nn.AdaptiveActivation("tanh", scale, dtype=F64)
