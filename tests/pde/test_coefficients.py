"""Coefficients of equations: numbers, tensors of one entry, functions without arguments."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc import pde
from pde.nested import F64, close, network, points
from torch import nn

#: From a coefficient: an equation that reads it, with inputs, outputs and order of its jet.
USES = {
    "advection_diffusion": (lambda c: pde.advection_diffusion((0.5, -1.0), c), 2, 1, "laplacian"),
    "velocity": (lambda c: pde.advection_diffusion((c, 0.5), 0.1), 2, 1, "laplacian"),
    "burgers": (pde.burgers, 2, 1, 2),
    "heat": (pde.heat, 2, 1, 2),
    "heat, first order": (lambda c: pde.heat(c, first_order=True, dim=1), 2, 2, 1),
    "helmholtz": (pde.helmholtz, 2, 1, "laplacian"),
    "poisson": (lambda c: pde.poisson(1.0, c), 2, 1, "laplacian"),
    "viscosity": (pde.navier_stokes, 2, 3, "laplacian"),
    "density": (lambda c: pde.navier_stokes(0.1, c), 2, 3, "laplacian"),
    "force": (lambda c: pde.navier_stokes(0.1, force=(0.0, c)), 2, 3, "laplacian"),
    "suppress": (lambda c: pde.suppress(pde.burgers(c), ["convection"])[0], 2, 1, 2),
    "gradient_enhanced": (lambda c: pde.gradient_enhanced(pde.burgers(c)), 2, 1, 3),
    "columns": (lambda c: pde.columns(pde.navier_stokes(c), "momentum"), 2, 3, "laplacian"),
}


class Positive(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor([0.2], dtype=F64))

    def forward(self):
        return nn.functional.softplus(self.raw)


@pytest.mark.parametrize("name", USES)
def test_functions_and_tensors_of_one_entry_are_as_numbers(name):
    make, inputs, outputs, order = USES[name]
    x = points(inputs)
    u = cc.jet(network(inputs, outputs), x, order)
    module = Positive()
    value = float(module().detach())
    wanted = make(value)(u, x)
    close(make(nn.Parameter(torch.tensor([value], dtype=F64)))(u, x), wanted)
    close(make(lambda: value)(u, x), wanted)
    close(make(module)(u, x), wanted)
    raw = torch.tensor(value, dtype=F64).log().requires_grad_()
    equation = make(lambda: raw.exp())
    close(equation(u, x), wanted)
    slope = torch.autograd.grad(equation(u, x).square().sum(), raw)[0]
    fixed = torch.tensor(value, dtype=F64, requires_grad=True)
    close(slope, value * torch.autograd.grad(make(fixed)(u, x).square().sum(), fixed)[0])


def test_a_function_is_trained_step_by_step():
    torch.manual_seed(0)
    raw = torch.tensor(-1.0, dtype=F64, requires_grad=True)
    term = cc.Term("inside", network(2), points(2), pde.heat(lambda: raw.exp()))
    optimizer = torch.optim.SGD([raw], lr=1e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = term.loss()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


@pytest.mark.parametrize("module", [False, True])
def test_functions_are_compiled(module):
    torch.manual_seed(0)
    raw = Positive()
    net, x = network(2), torch.rand(9, 2, dtype=F64)
    term = cc.Term("inside", net, x, pde.heat(raw if module else lambda: raw.raw.exp()))
    plain = term.loss()
    grad = torch.autograd.grad(plain, raw.raw)[0]
    compiled = torch.compile(term.loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        close(compiled(), plain)
        close(torch.autograd.grad(compiled(), raw.raw)[0], grad)
        with torch.no_grad():
            raw.raw += 0.5  # read anew, not kept in the graph
        plain = term.loss()
        grad = torch.autograd.grad(plain, raw.raw)[0]


def test_targets_of_integrals_may_be_functions():
    points = cc.geometry.Interval(0, 1).sample(8, dtype=F64)
    rows = torch.ones(8, 1, dtype=F64)
    for target in (torch.tensor(0.25, dtype=F64), torch.tensor([0.25], dtype=F64), 0.25):
        close(pde.integral(points, lambda t=target: t)(rows), torch.full((1, 1), 0.75, dtype=F64))
    with pytest.raises(TypeError, match=r"target\(\): expected a number or a tensor"):
        pde.integral(points, lambda: "1")(rows)


RAW = torch.zeros((), requires_grad=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pde.advection_diffusion((0.5,), RAW.exp(), time=1), "diffusivity: .*lambda: raw"),
        (lambda: pde.advection_diffusion((RAW.exp(),), 0.1), r"velocity\[0\]: .*lambda: raw\.exp"),
        (lambda: pde.poisson(RAW.exp()), r"source: .*lambda x: raw\.exp\(\)\.expand\(len\(x\), 1"),
        (lambda: pde.burgers(RAW.exp().reshape(1)), "viscosity: .*computed from what is trained"),
        (
            lambda: pde.integral(cc.geometry.Interval(0, 1).sample(3), RAW.exp().reshape(1)),
            "target: .*lambda: raw",
        ),
        (lambda: pde.heat(lambda x: x[:, :1]), "diffusivity: .*without arguments.*no coefficient"),
        (lambda: pde.heat(nn.Softplus()), r"diffusivity: .*without arguments"),
    ],
)
def test_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda: torch.ones(2),
            r"diffusivity\(\): expected a number or a floating tensor",
        ),
        (lambda: torch.tensor(1), r"diffusivity\(\): expected a number or a floating tensor"),
        (lambda: "1", r"diffusivity\(\): expected a number"),
        (lambda: None, r"diffusivity\(\): expected a number"),
        (lambda: True, r"diffusivity\(\): expected a number"),
    ],
)
def test_what_functions_give_is_checked(function, message):
    x = points(2)
    with pytest.raises((ValueError, TypeError), match=message):
        pde.heat(function)(cc.jet(network(2), x, 2), x)


def test_made_within_a_step_a_tensor_may_be_computed():
    """There the equation is new at every call."""
    x = points(2).detach()
    u = cc.jet(network(2), x, 2)

    def loss(raw):
        return pde.heat(raw.exp())(u, x).square().sum()

    raw = torch.tensor(0.3, dtype=F64, requires_grad=True)
    found = torch.func.grad(loss)(raw.detach())
    close(found, torch.autograd.grad(pde.heat(lambda: raw.exp())(u, x).square().sum(), raw)[0])


def test_a_forgotten_time_is_named():
    x = points(2)
    u = cc.jet(network(2), x, 2)
    with pytest.raises(ValueError, match=r"velocity: expected 2 components.* time=1"):
        pde.advection_diffusion((0.5,), 0.1)(u, x)
    with pytest.raises(ValueError, match=r"velocity\(x\): expected a tensor .*time=1"):
        pde.advection_diffusion(lambda x: x[:, :1], 0.1)(u, x)
    x = points(3)
    with pytest.raises(ValueError, match=r"2 inputs of space, got 3, .*time=2"):
        pde.navier_stokes(0.1)(cc.jet(network(3, 3), x, 2), x)
    with pytest.raises(ValueError, match=r"2 inputs of space, got 3, .*time=2"):
        pde.advection_diffusion((1.0, 1.0), 1.0, first_order=True)(cc.jet(network(3, 3), x, 1), x)
    with pytest.raises(ValueError, match=r"2 inputs of space, got 3") as caught:
        pde.poisson(first_order=True)(cc.jet(network(3, 3), x, 1), x)
    assert "time" not in str(caught.value)
