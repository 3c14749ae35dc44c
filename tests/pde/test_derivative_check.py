"""What gradient_enhanced refuses since a derivative would be missing, and what it does not."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from pde.nested import F64, network, points

PDE = cc.pde


def source(x):
    return torch.sin(3 * x[:, :1]) * x[:, -1:]


@torch.library.custom_op("colloc_tests::square", mutates_args=())
def square_op(x: torch.Tensor) -> torch.Tensor:
    """An operator with a backward and no forward mode: torch's tangent is 0."""
    return x**2


square_op.register_autograd(
    lambda context, g: 2 * context.saved_tensors[0] * g,
    setup_context=lambda context, inputs, output: context.save_for_backward(inputs[0]),
)


class SquareFunction(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


DROPPING = {
    "detach": lambda u, x: u.laplacian * u.value.detach(),
    "detached points": lambda u, x: u.laplacian - source(x.detach()),
    "data": lambda u, x: u.laplacian - source(x.data),
    "operator": lambda u, x: u.laplacian - square_op(x[:, :1]),
    "operator in one column": lambda u, x: torch.cat([u.laplacian, square_op(x[:, :1])], 1),
}


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", DROPPING)
@pytest.mark.parametrize("n", [1, 2, 600])
def test_dropped_derivatives_are_found(name, dtype, n):
    x, net = torch.rand(n, 2, dtype=dtype), cc.nn.MLP(2, 1, 8, 2, "tanh", dtype=dtype)
    jet = cc.jet(net, x, "grad_laplacian")
    enhanced = PDE.gradient_enhanced(DROPPING[name], "laplacian")
    for _ in range(2):  # again, not the first time alone
        with pytest.raises(ValueError, match=r"residual: expected derivatives in forward mode .*"):
            enhanced(jet, x)
    trusted = PDE.gradient_enhanced(DROPPING[name], "laplacian", check=False)
    assert trusted(jet, x).shape[0] == n


def test_what_torch_refuses_in_forward_mode():
    x, net = points(2).detach(), network(2)
    jet = cc.jet(net, x, "grad_laplacian")
    function = PDE.gradient_enhanced(
        lambda u, x: u.laplacian - SquareFunction.apply(x[:, :1]), "laplacian"
    )
    with pytest.raises(NotImplementedError, match="jvp"):
        function(jet, x)
    by_numpy = PDE.gradient_enhanced(
        lambda u, x: u.laplacian - torch.from_numpy(x.numpy()[:, :1]), "laplacian"
    )
    with pytest.raises(RuntimeError):
        by_numpy(jet, x)


@pytest.mark.parametrize("n", [2, 40, 600])
def test_data_of_the_points_are_refused(n):
    x, net = torch.rand(n, 2), cc.nn.MLP(2, 1, 8, 2)
    data = source(x)
    enhanced = PDE.gradient_enhanced(lambda u, x: u.laplacian - data, "laplacian")
    with pytest.raises(
        ValueError, match=r"residual: expected rows .* give the residual a function"
    ):
        enhanced(cc.jet(net, x, "grad_laplacian"), x)


def frozen(x):
    """Of single precision alone."""
    torch.manual_seed(0)
    return cc.nn.MLP(2, 1, 16, 2)(x)


AWKWARD = {
    "kinks": lambda u, x: u.laplacian.abs() - (x[:, :1] - 0.5).relu(),
    "a jump": lambda u, x: u.laplacian - (x[:, :1] > 0.5).to(x.dtype),
    "fast": lambda u, x: u.laplacian - torch.sin(200 * x[:, :1]),
    "faster": lambda u, x: u.laplacian - torch.sin(1e4 * x[:, :1]),
    "large terms": lambda u, x: 1e6 * u.laplacian - 1e6 * u.laplacian * (1 + 1e-7),
    "zero": lambda u, x: 0 * u.laplacian,
    "a network": lambda u, x: u.laplacian - frozen(x.float()),
}


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", AWKWARD)
def test_no_false_alarm(name, dtype):
    for n in (1, 2, 40, 600):
        x, net = torch.rand(n, 2, dtype=dtype), cc.nn.MLP(2, 1, 8, 2, "tanh", dtype=dtype)
        enhanced = PDE.gradient_enhanced(AWKWARD[name], "laplacian")
        assert enhanced(cc.jet(net, x, "grad_laplacian"), x).shape == (n, 3)


@pytest.mark.parametrize("scale,shift", [(1e-3, 0.0), (1.0, 100.0), (1e3, 0.0)])
def test_no_false_alarm_on_other_scales(scale, shift):
    for dtype in (torch.float32, F64):
        x = torch.rand(200, 2, dtype=dtype) * scale + shift
        net = cc.nn.MLP(2, 3, 8, 2, "tanh", dtype=dtype)
        for residual in (PDE.navier_stokes(0.01), PDE.burgers(0.01)):
            enhanced = PDE.gradient_enhanced(residual)
            enhanced(cc.jet(net, x, enhanced.order), x)


def test_random_residuals_go_without_the_check():
    def noisy(u, x):
        return u.laplacian * (1 + torch.rand_like(x[:, :1]))

    x, net = points(2).detach(), network(2)
    jet = cc.jet(net, x, "grad_laplacian")
    with pytest.raises(ValueError, match=r"residual: expected rows .* check=False"):
        PDE.gradient_enhanced(noisy, "laplacian")(jet, x)
    assert PDE.gradient_enhanced(noisy, "laplacian", check=False)(jet, x).shape == (7, 3)


def test_the_check_is_made_once():
    calls = []

    def residual(u, x):
        calls.append(len(x))
        return u.laplacian

    x, net = points(2, 300).detach(), network(2)
    jet = cc.jet(net, x, "grad_laplacian")
    enhanced = PDE.gradient_enhanced(residual, "laplacian")
    enhanced(jet, x)
    assert len(calls) > 1
    assert calls[-1] == 600
    before = len(calls)
    enhanced(jet, x)
    assert calls[before:] == [600]
