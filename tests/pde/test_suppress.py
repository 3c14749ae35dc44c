"""cc.pde.suppress: copies of an equation with addends detached."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, network, points

EQUATIONS = {
    "helmholtz": (cc.pde.helmholtz(2.0, lambda x: x[:, :1]), 2, 1),
    "heat": (cc.pde.heat(0.5, 1.0), 2, 1),
    "burgers": (cc.pde.burgers(0.5), 2, 2),
    "advection": (cc.pde.advection_diffusion((1.0, 2.0), 0.3, time=0), 3, 1),
    "poisson": (cc.pde.poisson(2.0, first_order=True, curl=True), 2, 3),
    "flow": (cc.pde.navier_stokes(0.3, time=-1, force=(1.0, 0.0)), 3, 3),
    "flow, first order": (cc.pde.navier_stokes(0.3, first_order=True, curl=True), 2, 7),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_gradients_of_the_addends_make_up_the_whole(name):
    equation, inputs, outputs = EQUATIONS[name]
    x, net = points(inputs).detach(), network(inputs, outputs)
    jet = cc.jet(net, x, equation.order)
    rows = equation(jet, x)

    def slope(residual):
        found = residual(jet, x)
        close(found, rows)
        if not found.requires_grad:
            return torch.zeros_like(net[0].weight)
        cosines = torch.cos(torch.arange(rows.numel(), dtype=F64)).reshape(rows.shape)
        return torch.autograd.grad((cosines * found).sum(), net[0].weight, retain_graph=True)[0]

    whole = slope(equation)
    alone = cc.pde.suppress(
        equation, [[n for n in equation.addends if n != kept] for kept in equation.addends]
    )
    slopes = [slope(copy) for copy in alone]
    close(sum(slopes), whole)
    for kept, found in zip(equation.addends, slopes, strict=True):
        constant = kept in ("source", "force")
        assert bool(found.abs().sum() == 0) == constant, kept
    for one, found in zip(cc.pde.suppress(equation, equation.addends), slopes, strict=True):
        close(slope(one) + found, whole)
        assert one.order == equation.order
        assert one.names == equation.names


def test_two_copies_of_a_flow():
    # convection against pressure and diffusion, in columns and terms of their own
    net = network(2, 3)
    sample = cc.geometry.Rectangle((0, 0), (1, 1)).sample(16, dtype=F64)
    flow = cc.pde.navier_stokes(0.1)
    copies = cc.pde.suppress(flow, ["convection", ("pressure", "diffusion"), []])
    assert [copy.detached for copy in copies] == [("convection",), ("pressure", "diffusion"), ()]
    terms = [cc.Term(f"flow {i}", net, sample, copy) for i, copy in enumerate(copies)]
    losses = [term.loss() for term in terms]
    close(losses[0], losses[2])
    close(losses[1], losses[2])
    slopes = [torch.autograd.grad(loss, net[0].weight)[0] for loss in losses]
    assert (slopes[0] - slopes[2]).abs().max() > 1e-6
    assert (slopes[1] - slopes[2]).abs().max() > 1e-6
    momenta = cc.pde.columns(copies[0], "momentum")
    jet = cc.jet(net, sample.x, "laplacian")
    close(momenta(jet, sample.x), flow(jet, sample.x)[:, :2])


def test_a_residual_of_ones_own():
    a = torch.tensor(2.0, dtype=F64, requires_grad=True)
    parts = {"cubic": lambda u, x: a * u.value**3, "rest": lambda u, x: u.laplacian - x[:, :1]}
    x, net = points(2), network(2)
    jet = cc.jet(net, x, "laplacian")
    first, second = cc.pde.suppress(parts, ["cubic", "rest"])
    expected = 2 * jet.value**3 + jet.laplacian - x[:, :1]
    close(first(jet, x), expected)
    close(second(jet, x), expected)
    (found,) = torch.autograd.grad(second(jet, x).sum(), a, retain_graph=True)
    close(found, (jet.value**3).sum())
    assert torch.autograd.grad(first(jet, x).sum(), a, allow_unused=True)[0] is None
    assert first.order is None
    parts.clear()  # copies are not changed by what happens to the dictionary
    close(second(jet, x), expected)


def test_detached_in_forward_mode_by_the_weights():
    equation = cc.pde.helmholtz(2.0)
    x, net = points(2).detach(), network(2)
    (copy,) = cc.pde.suppress(equation, ["laplacian"])
    weights = dict(net.named_parameters())

    class Rows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, residual, order):
            return residual(cc.jet(self.net, x, order), x)

    def along(residual, order):
        def rows(weights):
            weights = {f"net.{name}": w for name, w in weights.items()}
            return torch.func.functional_call(Rows_, weights, (residual, order))

        return torch.func.jvp(rows, (weights,), (weights,))[1]

    Rows_ = Rows()
    close(along(copy, "laplacian"), 4 * along(lambda u, x: u.value, 0))


@pytest.mark.parametrize(
    "parts,detached,message",
    [
        (3, ["a"], "parts: expected an equation"),
        (lambda u, x: u.value, ["a"], "parts: expected .* Write the residual as a dictionary"),
        ({}, ["a"], "parts: expected at least one addend"),
        ({1: len}, ["a"], "parts: expected names as keys"),
        ({"a": 1}, ["a"], r"parts\['a'\]: expected a callable"),
        (cc.pde.helmholtz(), "laplacian", r"detached: expected .* give \['laplacian'\]"),
        (cc.pde.helmholtz(), [], "detached: expected the addends of at least one copy"),
        (cc.pde.helmholtz(), [3], r"detached\[0\]: expected a name or a sequence"),
        (cc.pde.helmholtz(), [[], "source"], r"detached\[1\]: expected names among laplacian, rea"),
        (cc.pde.helmholtz(), [["reaction"] * 2], r"detached\[0\]: expected different names"),
        (cc.pde.helmholtz(), [["reaction", "laplacian"]], r"detached\[0\]: expected at least one"),
    ],
)
def test_wrong_arguments(parts, detached, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.suppress(parts, detached)


def test_wrong_parts():
    x = points(2)
    jet = cc.jet(network(2, 3), x, "laplacian")
    parts = {"a": lambda u, x: u.value, "b": lambda u, x: u.laplacian[:, :1]}
    (copy,) = cc.pde.suppress(parts, ["a"])
    with pytest.raises(ValueError, match=r"parts\['b'\]: expected the shape of the first part"):
        copy(jet, x)
    (copy,) = cc.pde.suppress({**parts, "b": lambda u, x: u.value[:, 0]}, ["a"])
    with pytest.raises(ValueError, match=r"parts\['b'\]: expected .* Keep the last axis"):
        copy(jet, x)
    for wrong in ((x, x), (jet, x[:2])):
        with pytest.raises((TypeError, ValueError), match=r"jet: expected a Jet|x: expected the"):
            copy(*wrong)
