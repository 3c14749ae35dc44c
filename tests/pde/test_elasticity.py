"""Plane elasticity: both forms against nested autograd, and on known solutions."""

from __future__ import annotations

import math

import colloc as cc
import pytest
import torch
from colloc import pde
from pde.nested import F64, close, d, network, points
from torch import nn

LAME, MU = 1.3, 0.7
planes = pytest.mark.parametrize("plane", ["strain", "stress"])


def force(x):
    return torch.stack((torch.sin(x[:, 0]), x[:, 0] * x[:, 1]), dim=1)


def strains(w, x):
    """e_xx, e_yy and e_xy of displacements (N, 2)."""
    u, v = w[:, :1], w[:, 1:2]
    return d(u, x, 0), d(v, x, 1), 0.5 * (d(u, x, 1) + d(v, x, 0))


def stresses(w, x, plane, lame=LAME, mu=MU):
    """Hooke's law in space, in which e_zz = 0 or s_zz = 0: (N, 3), s_xx, s_yy, s_xy."""
    e_xx, e_yy, e_xy = strains(w, x)
    e_zz = 0.0 if plane == "strain" else -lame * (e_xx + e_yy) / (lame + 2 * mu)
    trace = lame * (e_xx + e_yy + e_zz)
    return torch.cat((trace + 2 * mu * e_xx, trace + 2 * mu * e_yy, 2 * mu * e_xy), 1)


def divergence(s, x):
    """Of stresses s_xx, s_yy, s_xy, (N, 2)."""
    s_xx, s_yy, s_xy = s.split(1, 1)
    return torch.cat((d(s_xx, x, 0) + d(s_xy, x, 1), d(s_xy, x, 0) + d(s_yy, x, 1)), 1)


@planes
def test_second_order(plane):
    net, x = network(2, 2), points(2)
    wanted = divergence(stresses(net(x), x, plane), x)
    equation = pde.elasticity(LAME, MU, plane=plane)
    close(equation(cc.jet(net, x, 2), x), wanted)
    loaded = pde.elasticity(LAME, MU, force, plane=plane)
    close(loaded(cc.jet(net, x, 2), x), wanted + force(x))
    close(pde.elasticity(LAME, MU, (0.5, -2.0), plane=plane)(cc.jet(net, x, 2), x),
          wanted + torch.tensor([0.5, -2.0], dtype=F64))  # fmt: skip
    assert equation.order == 2 and equation.names == ("equilibrium_x", "equilibrium_y")


@planes
def test_first_order(plane):
    net, x = network(2, 5), points(2)
    values = net(x)
    equilibrium = divergence(values[:, 2:], x) + force(x)
    hooke = values[:, 2:] - stresses(values[:, :2], x, plane)
    equation = pde.elasticity(LAME, MU, force, plane=plane, first_order=True)
    found = equation(cc.jet(net, x, 1), x)
    close(found, torch.cat((equilibrium, hooke), 1))
    assert equation.order == 1 and len(equation.names) == 5
    assert equation.outputs == ("u", "v", "s_xx", "s_yy", "s_xy")
    close(pde.columns(equation, "hooke")(cc.jet(net, x, 1), x), hooke)


class Manufactured(nn.Module):
    """Displacements of waves, with their stresses if wanted."""

    def __init__(self, plane, with_stresses):
        super().__init__()
        self.plane, self.with_stresses = plane, with_stresses

    def forward(self, x):
        a, b = math.pi * x[:, :1], math.pi * x[:, 1:]
        w = torch.cat((torch.sin(a) * torch.cos(2 * b), torch.cos(a) * b * b), 1)
        if not self.with_stresses:
            return w
        with torch.enable_grad():
            return torch.cat((w, stresses(w, x, self.plane)), 1)


@planes
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.filterwarnings("ignore:.*no kernel for:UserWarning")
def test_a_manufactured_solution(plane, first_order):
    x = points(2)
    w = Manufactured(plane, False)(x)
    load = -divergence(stresses(w, x, plane), x).detach()
    equation = pde.elasticity(LAME, MU, lambda x: load, plane=plane, first_order=first_order)
    field = Manufactured(plane, first_order)
    found = equation(cc.jet(field, x, equation.order), x)
    close(found, torch.zeros_like(found), atol=1e-9)


def test_a_bar_under_tension():
    """In plane stress a bar is drawn out by s / E and thinned by nu s / E."""
    young, ratio, pull = 2.5, 0.3, 0.2
    mu = young / (2 * (1 + ratio))
    lame = young * ratio / ((1 + ratio) * (1 - 2 * ratio))
    slopes = torch.tensor([pull / young, -ratio * pull / young], dtype=F64)
    bar = nn.Linear(2, 5).double()
    with torch.no_grad():
        bar.weight.zero_()
        bar.weight[:2] = torch.diag(slopes)
        bar.bias.copy_(torch.tensor([0, 0, pull, 0, 0], dtype=F64))
    x = points(2)
    found = pde.elasticity(lame, mu, plane="stress", first_order=True)(cc.jet(bar, x, 1), x)
    close(found, torch.zeros_like(found), atol=1e-14)


@pytest.mark.parametrize("first_order", [False, True])
def test_compiled(first_order):
    equation = pde.elasticity(lambda: 1.3, MU, force, first_order=first_order, plane="stress")
    net, x = network(2, len(equation.outputs)), points(2).detach()
    term = cc.Term("body", net, x, equation)
    close(torch.compile(term.loss, fullgraph=True, backend="aot_eager")(), term.loss())


def test_other_inputs_and_trained_coefficients():
    net, x = network(3, 2), points(3)
    u = cc.jet(net, x, 2, wrt=(2, 0))
    swapped = cc.jet(net, x, 2, wrt=(0, 2))
    raw = torch.tensor(0.1, dtype=F64, requires_grad=True)
    equation = pde.elasticity(lambda: raw.exp(), lambda: (2 * raw).exp(), plane="stress")
    close(equation(u, x), equation(swapped, x))
    close(equation(u, x), pde.elasticity(math.exp(0.1), math.exp(0.2), plane="stress")(u, x))
    assert torch.autograd.grad(equation(u, x).sum(), raw)[0] != 0


@pytest.mark.parametrize("first_order", [False, True])
def test_addends_and_gradients(first_order):
    equation = pde.elasticity(LAME, MU, force, first_order=first_order)
    net, x = network(2, len(equation.outputs)), points(2)
    u = cc.jet(net, x, equation.order)
    copies = pde.suppress(equation, [[name] for name in equation.addends])
    for copy in copies:
        close(copy(u, x), equation(u, x))
    enhanced = pde.gradient_enhanced(equation)
    found = enhanced(cc.jet(net, x, enhanced.order), x)
    rows = equation(cc.jet(net, x, equation.order), x)
    close(found, torch.cat([rows, d(rows, x, 0), d(rows, x, 1)], 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pde.elasticity(1.0, 0.0), "mu: expected a number > 0"),
        (lambda: pde.elasticity(math.inf, 1.0), "lame_lambda: expected a finite number"),
        (lambda: pde.elasticity(1.0, 1.0, (1.0,)), "body_force: expected 2 components"),
        (lambda: pde.elasticity(1.0, 1.0, plane="both"), "plane: expected one of 'strain'"),
        (lambda: pde.elasticity(1.0, 1.0, first_order=1), "first_order: expected True or"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("outputs", "inputs", "order", "message"),
    [
        (3, 2, 2, r"jet: expected a jet with 2 outputs \(u, v\)"),
        (2, 3, 2, "by 2 inputs of space, got 3"),
        (2, 2, "laplacian", "expected a jet of order 2"),
    ],
)
def test_wrong_jets(outputs, inputs, order, message):
    x = points(inputs)
    with pytest.raises(ValueError, match=message):
        pde.elasticity(1.0, 1.0)(cc.jet(network(inputs, outputs), x, order), x)
