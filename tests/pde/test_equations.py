"""The equations of one field: exact solutions, and nested autograd on a network."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, d, lap, network, points

PI = math.pi


def zero(equation, field, x, wrt=None):
    residual = equation(cc.jet(field, x, equation.order, wrt), x)
    close(residual, torch.zeros(len(x), 1, dtype=F64))


# ---- exact solutions ----------------------------------------------------------------------


def test_helmholtz_solution():
    def exact(x):
        return torch.sin(PI * x[:, :1]) * torch.sin(4 * PI * x[:, 1:])

    zero(cc.pde.helmholtz(1.0, lambda x: (1 - 17 * PI**2) * exact(x)), exact, points(2))


def test_poisson_solution():
    # -lap u = 1 in the unit disk, and the same with the coefficient's sign
    def exact(x):
        return (1 - x.square().sum(1, keepdim=True)) / 4

    zero(cc.pde.poisson(-1.0), exact, points(2))
    zero(cc.pde.poisson(1.0, coefficient=-1.0), exact, points(2))
    zero(cc.pde.poisson(), lambda x: x[:, :1] ** 2 - x[:, 1:] ** 2, points(2))


@pytest.mark.parametrize("time", [-1, 2, 0, 1])
def test_heat_solution(time):
    space = [i for i in range(3) if i != time % 3]

    def exact(x):
        s, t = x[:, space], x[:, time % 3, None]
        return torch.exp(-0.3 * 5 * PI**2 * t) * torch.sin(PI * s[:, :1]) * torch.sin(
            2 * PI * s[:, 1:]
        )  # fmt: skip

    zero(cc.pde.heat(0.3, time=time), exact, points(3))


def test_heat_with_a_source_and_a_parameter():
    # inputs x, t, a: u = (1 + a t) x^2 solves u_t = u_xx + f with f = a x^2 - 2 (1 + a t)
    def exact(x):
        return (1 + x[:, 2:] * x[:, 1:2]) * x[:, :1] ** 2

    def source(x):
        return x[:, 2:] * x[:, :1] ** 2 - 2 * (1 + x[:, 2:] * x[:, 1:2])

    x = points(3)
    zero(cc.pde.heat(1.0, source, time=1), exact, x, wrt=(0, 1))
    zero(cc.pde.heat(1.0, source, time=-2), exact, x, wrt=(1, 0))


def test_burgers_travelling_wave():
    nu, c, a = 0.1, 0.7, 0.4

    def exact(x):
        return c - a * torch.tanh(a * (x[:, :1] - c * x[:, 1:]) / (2 * nu))

    zero(cc.pde.burgers(nu), exact, points(2))
    zero(cc.pde.burgers(nu, time=0), lambda x: exact(x.flip(1)), points(2))


def test_advection_diffusion_boundary_layer():
    def exact(x):
        return torch.expm1(2.0 * x[:, :1] / 0.5) / math.expm1(2.0 / 0.5)

    zero(cc.pde.advection_diffusion((2.0, 0.7), 0.5), exact, points(2))
    zero(cc.pde.advection_diffusion((2.0,), 0.5), exact, points(1))


def test_advection_diffusion_of_a_drifting_puff():
    a, spread = torch.tensor([0.5, -0.3], dtype=F64), 0.2

    def exact(x):
        s = x[:, :2] - a * x[:, 2:]
        width = 4 * spread * (1 + x[:, 2:])
        return torch.exp(-s.square().sum(1, keepdim=True) / width) / (1 + x[:, 2:])

    zero(cc.pde.advection_diffusion((0.5, -0.3), spread, time=-1), exact, points(3))
    zero(cc.pde.advection_diffusion(lambda x: a.expand(len(x), 2), spread, time=2), exact,
         points(3))  # fmt: skip


# ---- nested autograd ----------------------------------------------------------------------


def source(x):
    return torch.sin(3 * x[:, :1]) * x[:, 1:2]


def velocity(x):
    return torch.stack([x[:, 1] ** 2, 1 + x[:, 0] * x[:, 1]], 1)


def along(u, x, a, space):
    return sum(a[:, i : i + 1] * d(u, x, s) for i, s in enumerate(space))


CASES = {
    "helmholtz": (cc.pde.helmholtz(2.0, source), 2, lambda u, x: lap(u, x, (0, 1)) + 4 * u
                  - source(x)),
    "poisson": (cc.pde.poisson(source, 3.0), 3, lambda u, x: 3 * lap(u, x, (0, 1, 2)) - source(x)),
    "heat": (cc.pde.heat(0.7, source, time=1), 3, lambda u, x: d(u, x, 1)
             - 0.7 * lap(u, x, (0, 2)) - source(x)),
    "heat in 1D": (cc.pde.heat(0.7), 2, lambda u, x: d(u, x, 1) - 0.7 * d(u, x, 0, 0)),
    "burgers": (cc.pde.burgers(0.3), 2, lambda u, x: d(u, x, 1) + u * d(u, x, 0)
                - 0.3 * d(u, x, 0, 0)),
    "advection": (cc.pde.advection_diffusion(velocity, 0.4, source), 2, lambda u, x:
                  along(u, x, velocity(x), (0, 1)) - 0.4 * lap(u, x, (0, 1)) - source(x)),
    "advection in time": (cc.pde.advection_diffusion((2.0, -1.0), 0.4, 0.1, time=0), 3,
                          lambda u, x: d(u, x, 0) + 2 * d(u, x, 1) - d(u, x, 2)
                          - 0.4 * lap(u, x, (1, 2)) - 0.1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_against_nested_autograd(case, outputs):
    equation, dim, formula = CASES[case]
    x, net = points(dim), network(dim, outputs)
    found = equation(cc.jet(net, x, equation.order), x)
    assert found.shape == (7, outputs)
    close(found, formula(net(x), x))
    assert found.abs().min() > 1e-6


@pytest.mark.parametrize("case", CASES)
def test_orders_above_do_as_well(case):
    equation, dim, _ = CASES[case]
    x, net = points(dim), network(dim)
    close(equation(cc.jet(net, x, 3), x), equation(cc.jet(net, x, equation.order), x))


def test_the_order_of_wrt_does_not_matter():
    equation = cc.pde.advection_diffusion((2.0, -1.0), 0.4, time=0)
    x, net = points(3), network(3)
    close(equation(cc.jet(net, x, 2, (2, 0, 1)), x), equation(cc.jet(net, x, 2), x))


@pytest.mark.parametrize(
    "make,slope",
    [
        (lambda c: cc.pde.poisson(1.0, c), lambda u, x: lap(u, x, (0, 1))),
        (lambda c: cc.pde.poisson(c), lambda u, x: -torch.ones_like(u)),
        (lambda c: cc.pde.heat(c), lambda u, x: -d(u, x, 0, 0)),
        (lambda c: cc.pde.burgers(c), lambda u, x: -d(u, x, 0, 0)),
        (lambda c: cc.pde.advection_diffusion((1.0, c), 0.1), lambda u, x: d(u, x, 1)),
        (lambda c: cc.pde.advection_diffusion((1.0, 0.0), c), lambda u, x: -lap(u, x, (0, 1))),
    ],
)
def test_coefficients_are_trained(make, slope):
    c = torch.tensor(0.5, requires_grad=True)  # of lower precision than the field
    x, net = points(2), network(2)
    equation = make(c)
    residual = equation(cc.jet(net, x, equation.order), x)
    assert residual.dtype == F64
    (found,) = torch.autograd.grad(residual.sum(), c)
    torch.testing.assert_close(found, slope(net(x), x).sum().float())


def test_names_and_addends():
    assert cc.pde.poisson().names == ("poisson",)
    assert cc.pde.poisson().addends == ("laplacian",)
    assert cc.pde.heat(1.0, 1.0).addends == ("time", "diffusion", "source")
    assert cc.pde.advection_diffusion((1.0,), 1.0).addends == ("advection", "diffusion")
    in_time = cc.pde.advection_diffusion((1.0,), 1.0, 1.0, time=0)
    assert in_time.addends == ("time", "advection", "diffusion", "source")
    assert (in_time.order, cc.pde.burgers(1.0).order, cc.pde.poisson().order) == (2, 2, "laplacian")


# ---- errors -------------------------------------------------------------------------------


def jet(dim, order, wrt=None):
    x = points(dim, 4)
    return cc.jet(lambda x: x.square().sum(1, keepdim=True), x, order, wrt), x


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.pde.poisson("f"), "source: expected a number"),
        (lambda: cc.pde.poisson(None, math.nan), "coefficient: expected a finite number"),
        (lambda: cc.pde.heat(-1.0), "diffusivity: expected a number >= 0"),
        (lambda: cc.pde.heat(torch.tensor(-1.0, requires_grad=True)), "diffusivity: expected a"),
        (lambda: cc.pde.heat(1.0, time=0.5), "time: expected an integer"),
        (lambda: cc.pde.burgers(-1.0), "viscosity: expected a number >= 0"),
        (lambda: cc.pde.burgers(torch.ones(2)), "viscosity: expected a number or a floating"),
        (lambda: cc.pde.advection_diffusion(1.0, 1.0), "velocity: expected a tuple of numbers"),
        (lambda: cc.pde.advection_diffusion((), 1.0), "velocity: expected at least one component"),
        (lambda: cc.pde.advection_diffusion((1.0, "a"), 1.0), r"velocity\[1\]: expected a number"),
        (lambda: cc.pde.advection_diffusion((1.0,), -1.0), "diffusivity: expected a number >= 0"),
        (lambda: cc.pde.poisson(curl=True), "curl: expected False without first_order"),
        (lambda: cc.pde.poisson(first_order=1), "first_order: expected True or False"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(
    "equation,arguments,message",
    [
        (cc.pde.poisson(), (2, 1), r"jet\.laplacian: expected a jet of order 'laplacian'"),
        (cc.pde.heat(1.0), (2, "laplacian"), r"jet\.d\(0, 0\): expected a jet of order 2"),
        (cc.pde.heat(1.0, time=2), (2, 2), "time: expected the index of one of the field's 2"),
        (cc.pde.heat(1.0), (2, 2, (0,)), r"jet: expected a jet differentiated by time, input 1"),
        (cc.pde.heat(1.0), (1, 2), "jet: expected a jet differentiated by at least one input of"),
        (cc.pde.burgers(1.0), (3, 2), "jet: expected a jet differentiated by 1 input of space"),
        (cc.pde.advection_diffusion((1.0,), 1.0), (2, 2), "velocity: expected 2 components"),
        (
            cc.pde.advection_diffusion(lambda x: x[:, :1], 1.0),
            (2, 2),
            r"velocity\(x\): expected a tensor of shape \(4, 2\), got",
        ),
        (
            cc.pde.advection_diffusion(lambda x: (1.0, 2.0), 1.0),
            (2, 2),
            r"velocity\(x\): expected a tensor of shape",
        ),
        (cc.pde.poisson(lambda x: x[:, 0]), (2, 2), r"source\(x\): expected .* Keep the last axis"),
        (cc.pde.heat(1.0, lambda x: x), (2, 2), r"source\(x\): expected a tensor of shape"),
    ],
)
def test_wrong_jets_and_sources(equation, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        equation(*jet(*arguments))


@pytest.mark.parametrize("equation", [cc.pde.poisson(), cc.pde.heat(1.0), cc.pde.burgers(1.0)])
def test_points_of_another_jet(equation):
    u, x = jet(2, 2)
    with pytest.raises(TypeError, match="jet: expected a Jet"):
        equation(x, x)
    for wrong in (x[:3], x[:, :1], None):
        with pytest.raises((ValueError, TypeError), match="x: expected the jet's points"):
            equation(u, wrong)


def test_orders_in_messages():
    net, x = network(2), points(2)
    with pytest.raises(ValueError, match=r"order: expected one of 0, 1, .*, got '2' \(str\)"):
        cc.jet(net, x, "2")
    with pytest.raises(ValueError, match=r"order=2\), in a term for Term\(\.\.\., order=2\)"):
        cc.Term("inside", net, x, lambda u, x: u.hess[:, :, 0, 0]).loss()
