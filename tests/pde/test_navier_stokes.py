"""cc.pde.navier_stokes: exact flows, and nested autograd on a network."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, d, lap, network, points

PI = math.pi


def zero(equation, field, x):
    residual = equation(cc.jet(field, x, equation.order), x)
    close(residual, torch.zeros(len(x), len(equation.names), dtype=F64))


@pytest.mark.parametrize("rho", [1.0, 2.5])
def test_kovasznay(rho):
    re = 20.0
    rate = re / 2 - math.sqrt(re**2 / 4 + 4 * PI**2)

    def exact(x):
        growth, angle = torch.exp(rate * x[:, 0]), 2 * PI * x[:, 1]
        u = 1 - growth * torch.cos(angle)
        v = rate / (2 * PI) * growth * torch.sin(angle)
        return torch.stack([u, v, rho / 2 * (1 - growth**2)], 1)

    zero(cc.pde.navier_stokes(1 / re, rho), exact, points(2))


@pytest.mark.parametrize("time", [-1, 0])
def test_taylor_green(time):
    nu, rho = 0.3, 1.7

    def exact(x):
        x = x if time == -1 else x.roll(-1, 1)
        a, b, decay = x[:, 0], x[:, 1], torch.exp(-2 * nu * x[:, 2])
        u = torch.sin(a) * torch.cos(b) * decay
        v = -torch.cos(a) * torch.sin(b) * decay
        p = rho / 4 * (torch.cos(2 * a) + torch.cos(2 * b)) * decay**2
        return torch.stack([u, v, p], 1)

    zero(cc.pde.navier_stokes(nu, rho, time=time), exact, points(3))


def test_ethier_steinman():
    nu, rho, a, b = 0.2, 1.3, PI / 4, PI / 2

    def exact(x):
        e = [torch.exp(a * x[:, i]) for i in range(3)]

        def angle(i):
            return a * x[:, i] + b * x[:, (i + 1) % 3]

        decay = torch.exp(-nu * b**2 * x[:, 3])
        flow, p = [], sum(part**2 for part in e)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            flow.append(-a * decay * (e[i] * torch.sin(angle(j)) + e[k] * torch.cos(angle(i))))
            p = p + 2 * torch.sin(angle(i)) * torch.cos(angle(k)) * e[j] * e[k]
        return torch.stack([*flow, -rho / 2 * a**2 * p * decay**2], 1)

    zero(cc.pde.navier_stokes(nu, rho, dim=3, time=3), exact, points(4))


def test_hydrostatics():
    # At rest, gravity (per mass) is balanced by the pressure rho g y
    def exact(x):
        return torch.cat([0 * x, -9.81 * 1000.0 * x[:, 1:]], 1)

    zero(cc.pde.navier_stokes(1e-6, 1000.0, force=(0.0, -9.81)), exact, points(2))


def force(x):
    return torch.stack([torch.sin(3 * x[:, 0]), x[:, 1] ** 2, x[:, 0] * x[:, 1]], 1)


@pytest.mark.parametrize("dim,time", [(2, None), (2, 0), (2, 1), (2, -1), (3, None), (3, -1)])
@pytest.mark.parametrize("forced", ["callable", "numbers", None])
def test_against_nested_autograd(dim, time, forced):
    inputs = dim if time is None else dim + 1
    space = [i for i in range(inputs) if time is None or i != time % inputs]
    x, net = points(inputs), network(inputs, dim + 1)
    numbers = (0.5, torch.tensor(-0.25), 0.75)[:dim]
    f = {"callable": lambda x: force(x)[:, :dim], "numbers": numbers, None: None}[forced]
    equation = cc.pde.navier_stokes(0.3, 2.0, dim, time, force=f)
    found = equation(cc.jet(net, x, equation.order), x)

    out = net(x)
    u = [out[:, i : i + 1] for i in range(dim)]
    expected = []
    for i in range(dim):
        row = sum(u[j] * d(u[i], x, s) for j, s in enumerate(space)) - 0.3 * lap(u[i], x, space)
        row = row + d(out[:, dim:], x, space[i]) / 2
        if time is not None:
            row = row + d(u[i], x, time % inputs)
        if forced:
            row = row - (force(x)[:, i : i + 1] if forced == "callable" else numbers[i])
        expected.append(row)
    expected.append(sum(d(u[i], x, s) for i, s in enumerate(space)))
    close(found, torch.cat(expected, 1))
    assert equation.names == (
        *("momentum_x", "momentum_y", "momentum_z")[:dim],
        "continuity",
    )


def test_inputs_that_are_no_coordinates():
    # x, y and a parameter of the geometry
    x, net = points(3), network(3, 3)
    equation = cc.pde.navier_stokes(0.3)
    found = equation(cc.jet(net, x, "laplacian", wrt=(0, 1)), x)
    full = cc.jet(net, x, 2)
    u = full.value
    momentum = u[:, :1] * full.d(0) + u[:, 1:2] * full.d(1) - 0.3 * (full.d(0, 0) + full.d(1, 1))
    close(found[:, :1], momentum[:, :1] + full.d(0)[:, 2:])
    close(found[:, 1:2], momentum[:, 1:2] + full.d(1)[:, 2:])
    close(found[:, 2:], full.d(0)[:, :1] + full.d(1)[:, 1:2])


@pytest.mark.parametrize("first_order", [False, True])
def test_the_order_of_wrt_does_not_matter(first_order):
    # u belongs to the input x, whichever of the derivatives comes first
    equation = cc.pde.navier_stokes(0.3, force=(1.0, 2.0), time=1, first_order=first_order)
    x, net = points(3), network(3, len(equation.outputs))
    expected = equation(cc.jet(net, x, 2), x)
    for wrt in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):
        close(equation(cc.jet(net, x, 2, wrt), x), expected)


def test_trained_coefficients():
    nu, rho, g = (torch.tensor(c, dtype=F64, requires_grad=True) for c in (0.1, 2.0, 0.5))
    x, net = points(2), network(2, 3)
    jet = cc.jet(net, x, "laplacian")
    found = cc.pde.navier_stokes(nu, rho, force=(0.0, g))(jet, x).sum()
    slopes = torch.autograd.grad(found, [nu, rho, g])
    close(slopes[0], -jet.laplacian[:, :2].sum())
    close(slopes[1], -jet.grad[:, 2].sum() / 4)
    close(slopes[2], torch.tensor(-7.0, dtype=F64))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"viscosity": -0.1}, "viscosity: expected a number >= 0"),
        ({"density": 0.0}, "density: expected a number > 0"),
        ({"density": torch.tensor(0.0)}, "density: expected a number > 0"),
        ({"dim": 1}, "dim: expected an integer >= 2"),
        ({"dim": 4}, "dim: expected an integer <= 3"),
        ({"time": "t"}, "time: expected an integer"),
        ({"force": 1.0}, "force: expected a tuple of 2 numbers"),
        ({"force": (1.0,)}, "force: expected 2 components"),
        ({"force": (1.0, math.inf)}, r"force\[1\]: expected a finite number"),
        ({"first_order": None}, "first_order: expected True or False"),
        ({"curl": True}, "curl: expected False without first_order"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.navier_stokes(**{"viscosity": 0.1, **arguments})


@pytest.mark.parametrize(
    "equation,inputs,outputs,order,message",
    [
        (cc.pde.navier_stokes(0.1), 2, 4, 2, r"jet: expected a jet with 3 outputs \(u, v, p\)"),
        (cc.pde.navier_stokes(0.1), 3, 3, 2, "by 2 inputs of space, got 3, .* or say dim=3"),
        (cc.pde.navier_stokes(0.1, time=-1), 2, 3, 2, r"by 2 inputs of space besides time \(input"),
        (cc.pde.navier_stokes(0.1, time=-1), 3, 3, "laplacian", r"jet\.d\(0, 0\): expected a jet"),
        (cc.pde.navier_stokes(0.1), 2, 3, 1, r"jet\.laplacian: expected"),
        (
            cc.pde.navier_stokes(0.1, force=lambda x: x[:, :1]),
            2,
            3,
            2,
            r"force\(x\): expected a tensor of shape \(7, 2\), got",
        ),
    ],
)
def test_wrong_jets(equation, inputs, outputs, order, message):
    x = points(inputs)
    with pytest.raises((ValueError, TypeError), match=message):
        equation(cc.jet(network(inputs, outputs), x, order), x)
