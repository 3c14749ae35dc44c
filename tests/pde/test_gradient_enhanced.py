"""cc.pde.gradient_enhanced against nested autograd, and what it refuses."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, d, lap, network, points

PDE = cc.pde


def source(x):
    return torch.sin(3 * x[:, :1]) * x[:, -1:]


def velocity(x):
    return torch.stack([x[:, 1] ** 2, 1 + x[:, 0] * x[:, 1]], 1)


def mixed(u, x):
    """Everything that an order-2 jet holds, and the points."""
    return u.d(0, 1) * u.value + u.d(1).sin() * x[:, :1] ** 2 + u.laplacian.exp()


mixed.order = 2


def in_place(u, x):
    """Columns written into a tensor made here and into one that depends on the points."""
    rows = torch.zeros(len(x), 2, dtype=x.dtype)
    rows[:, 0] = u.laplacian[:, 0]
    rows[:, 1] += x[:, 0] ** 2 * u.value[:, 1]
    product = u.value * x[:, :1]
    return rows.add_(product.mul_(u.value))


def jets(u, x):
    """Jets made of the jet."""
    return (cc.jets.sin(u[:, 0]) * u[:, 1]).laplacian + u[:, [1, 0]].laplacian


def two_networks(u, x):
    """A flow from another network, as heat in a fluid has it."""
    return (OTHER(x) * u.grad[:, 0]).sum(1, keepdim=True) - torch.where(
        x[:, :1] > 0.5, u.laplacian[:, :1], u.value[:, 1:]
    )


in_place.order = jets.order = two_networks.order = "laplacian"
OTHER = cc.nn.MLP(2, 2, 8, 2, "tanh", adaptive=True, dtype=F64)

#: name: (residual, inputs, outputs)
RESIDUALS = {
    "helmholtz": (PDE.helmholtz(2.0, source), 2, 1),
    "two fields": (PDE.helmholtz(2.0, source), 2, 2),
    "poisson": (PDE.poisson(source, -0.5), 3, 1),
    "heat": (PDE.heat(0.4, source, time=1), 3, 1),
    "burgers": (PDE.burgers(0.3), 2, 1),
    "advection": (PDE.advection_diffusion(velocity, 0.3, source), 2, 1),
    "advection in time": (PDE.advection_diffusion((1.0, 2.0), 0.3, time=-1), 3, 1),
    "flow": (PDE.navier_stokes(0.3, 2.0, force=velocity), 2, 3),
    "flow in time": (PDE.navier_stokes(0.3, time=0), 3, 3),
    "flow in 3D": (PDE.navier_stokes(0.3, dim=3), 3, 4),
    "helmholtz, first order": (PDE.helmholtz(2.0, source, first_order=True, curl=True), 2, 3),
    "heat, first order": (PDE.heat(0.4, source, first_order=True), 3, 3),
    "flow, first order": (PDE.navier_stokes(0.3, first_order=True), 2, 7),
    "columns": (PDE.columns(PDE.navier_stokes(0.3), ["momentum_y", "continuity"]), 2, 3),
    "suppressed": (PDE.suppress(PDE.helmholtz(2.0, source), [["laplacian", "source"]])[0], 2, 1),
    "user's": (mixed, 2, 2),
    "in place": (in_place, 2, 2),
    "jets": (jets, 2, 2),
    "two networks": (two_networks, 2, 2),
}
ORDERS = {0: 1, 1: 2, "laplacian": "grad_laplacian", 2: 3}


def nested(residual, net, x, wrt=None):
    """The residual at x with a graph to x, and its derivatives by autograd."""
    rows = residual(cc.jet(net, x, residual.order, wrt), x)
    return torch.cat([rows, *(d(rows, x, k) for k in wrt or range(x.shape[1]))], 1)


@pytest.mark.parametrize("name", [name for name in RESIDUALS if name != "suppressed"])
def test_values_and_gradients(name):
    residual, inputs, outputs = RESIDUALS[name]
    x, net = points(inputs), network(inputs, outputs)
    enhanced = PDE.gradient_enhanced(residual)
    assert enhanced.order == ORDERS[residual.order]
    found = enhanced(cc.jet(net, x.detach(), enhanced.order), x.detach())
    expected = nested(residual, net, x)
    close(found, expected)
    q = expected.shape[1] // (1 + inputs)
    assert expected[:, q:].abs().amax(0).min() > 1e-6  # no column that is 0 anyway
    weights = list(net.parameters())
    unused = {"allow_unused": True}
    slopes = torch.autograd.grad(found.square().mean(), weights, **unused)
    wanted = torch.autograd.grad(expected.square().mean(), weights, **unused)
    for slope, want in zip(slopes, wanted, strict=True):
        close(slope, torch.zeros_like(slope) if want is None else want)


def test_formula_of_helmholtz():
    x, net = points(2), network(2)
    enhanced = PDE.gradient_enhanced(PDE.helmholtz(2.0, source))
    u = net(x)
    rows = lap(u, x, (0, 1)) + 4 * u - source(x)
    found = enhanced(cc.jet(net, x, "grad_laplacian"), x)
    close(found, torch.cat([rows, d(rows, x, 0), d(rows, x, 1)], 1))
    close(enhanced(cc.jet(net, x, 3), x), found)


def test_value_only_and_first_derivatives():
    x, net = points(2), network(2)
    value = PDE.gradient_enhanced(lambda u, x: u.value**2 * x[:, :1], 0)
    first = PDE.gradient_enhanced(lambda u, x: u.d(0) * u.d(1), 1)
    u = net(x)
    for enhanced, rows in ((value, u**2 * x[:, :1]), (first, d(u, x, 0) * d(u, x, 1))):
        expected = torch.cat([rows, d(rows, x, 0), d(rows, x, 1)], 1)
        for order in (enhanced.order, 3):
            close(enhanced(cc.jet(net, x, order), x), expected)
    assert (value.order, first.order) == (1, 2)


def test_one_input():
    # where the Laplacian is the second derivative, each order holds what the next one needs
    x, net = points(1), network(1)

    def by_hessian(u, x):
        return u.d(0, 0) * u.value - x**3

    u = net(x)
    rows = d(u, x, 0, 0) * u - x**3
    expected = torch.cat([rows, d(rows, x, 0)], 1)
    for order in ("grad_laplacian", 3):
        close(PDE.gradient_enhanced(by_hessian, 2)(cc.jet(net, x, order), x), expected)
        close(PDE.gradient_enhanced(by_hessian, "laplacian")(cc.jet(net, x, order), x), expected)
    poisson = PDE.gradient_enhanced(PDE.poisson(source))
    close(poisson(cc.jet(net, x, "grad_laplacian"), x), nested(PDE.poisson(source), net, x))
    slope = PDE.gradient_enhanced(lambda u, x: u.d(0), 1)
    close(slope(cc.jet(net, x, "laplacian"), x), torch.cat([d(u, x, 0), d(u, x, 0, 0)], 1))


@pytest.mark.parametrize("wrt", [(0, 2), (2, 0), (1,)])
def test_some_inputs(wrt):
    x, net = points(3), network(3)
    for residual in (PDE.helmholtz(2.0, source), mixed_free(wrt)):
        enhanced = PDE.gradient_enhanced(residual)
        found = enhanced(cc.jet(net, x, enhanced.order, wrt), x)
        close(found, nested(residual, net, x, wrt))
        assert found.shape == (7, 1 + len(wrt))


def mixed_free(wrt):
    def residual(u, x):
        return u.d(wrt[0]) * u.value + x[:, 1:2] * u.hess.sum((2, 3)) ** 2

    residual.order = 2
    return residual


def test_coefficients_are_trained():
    k, f = (torch.tensor(c, dtype=F64, requires_grad=True) for c in (2.0, 0.5))
    x, net = points(2), network(2)
    residual = PDE.helmholtz(k, lambda x: f * source(x))
    found = PDE.gradient_enhanced(residual)(cc.jet(net, x, 3), x).square().sum()
    expected = nested(residual, net, x).square().sum()
    for a, b in zip(*(torch.autograd.grad(y, [k, f]) for y in (found, expected)), strict=True):
        close(a, b)


def test_suppressed_addends_keep_their_derivatives():
    residual, *_ = RESIDUALS["suppressed"]
    x, net = points(2), network(2)
    jet = cc.jet(net, x, "grad_laplacian")
    found = PDE.gradient_enhanced(residual)(jet, x)
    whole = PDE.gradient_enhanced(PDE.helmholtz(2.0, source))(jet, x)
    close(found, whole)
    # the gradient is that of k^2 u and its derivatives alone
    close(
        torch.autograd.grad((whole.detach() * found).sum(), net[0].weight, retain_graph=True)[0],
        torch.autograd.grad(
            4 * (whole.detach() * torch.cat([jet.value, jet.d(0), jet.d(1)], 1)).sum(),
            net[0].weight,
        )[0],
    )


def test_in_a_term():
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    net, sample = network(2), square.sample(16, dtype=F64)
    enhanced = PDE.gradient_enhanced(PDE.helmholtz(1.0, source))
    inside = cc.Term("inside", net, sample, enhanced, order="grad_laplacian",
                     weight=PDE.distance_weight)  # fmt: skip
    expected = nested(PDE.helmholtz(1.0, source), net, sample.x.requires_grad_())
    close(inside(), expected)
    close(inside.loss(), (sample.distance * expected.square()).mean())
    slopes = cc.Term("slopes", net, sample, PDE.columns(enhanced, [1, 2]), order=enhanced.order)
    close(slopes(), expected[:, 1:])


# ---- transformations ----------------------------------------------------------------------


def loss_of(enhanced, x):
    def loss(net):
        return enhanced(cc.jet(net, x, enhanced.order), x).square().mean()

    return loss


def test_functional_call_and_transforms():
    x, net = points(2).detach(), network(2)
    enhanced = PDE.gradient_enhanced(PDE.helmholtz(2.0, source))
    parameters = dict(net.named_parameters())

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return enhanced(cc.jet(self.net, x, enhanced.order), x).square().mean()

    module = Loss()
    weights = {f"net.{name}": p for name, p in parameters.items()}

    def by_call(weights, x):
        return torch.func.functional_call(module, weights, (x,))

    expected = torch.autograd.grad(loss_of(enhanced, x)(net), list(weights.values()))
    through_call = torch.autograd.grad(by_call(weights, x), list(weights.values()))
    by_func = torch.func.grad(by_call)(weights, x)
    each = torch.func.vmap(torch.func.grad(by_call), (None, 0))(weights, x[:, None])
    for i, name in enumerate(weights):
        close(through_call[i], expected[i])
        close(by_func[name], expected[i])
        close(each[name].mean(0), expected[i])
    # forward mode by the weights, around forward mode by the points
    _, along = torch.func.jvp(lambda w: by_call(w, x), (weights,), (weights,))
    close(along, sum((g * p).sum() for g, p in zip(expected, weights.values(), strict=True)))


def test_compiled():
    residual, inputs, outputs = RESIDUALS["flow, first order"]
    x, net = points(inputs).detach(), network(inputs, outputs)
    loss = loss_of(PDE.gradient_enhanced(residual), x)
    weights = list(net.parameters())
    expected = loss(net)
    slopes = torch.autograd.grad(expected, weights)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(net)
    close(compiled, expected)
    for a, b in zip(torch.autograd.grad(compiled, weights), slopes, strict=True):
        close(a, b)


def test_a_term_compiled_by_inductor():
    net = network(2)
    sample = cc.geometry.Rectangle((0, 0), (1, 1)).sample(16, dtype=F64)
    enhanced = PDE.gradient_enhanced(RESIDUALS["suppressed"][0])
    inside = cc.Term("inside", net, sample, enhanced, enhanced.order, PDE.distance_weight)
    weights = list(net.parameters())
    expected = inside.loss()
    slopes = torch.autograd.grad(expected, weights)
    torch._dynamo.reset()
    compiled = torch.compile(inside.loss, fullgraph=True)()
    close(compiled, expected)
    for a, b in zip(torch.autograd.grad(compiled, weights), slopes, strict=True):
        close(a, b)


def test_compiled_for_any_number_of_points():
    net = network(2, 3)
    enhanced = PDE.gradient_enhanced(PDE.navier_stokes(0.3, force=velocity))

    def loss(x):
        return enhanced(cc.jet(net, x, enhanced.order), x).square().mean()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for n in (7, 12):  # from the second number on, torch would try symbolic sizes
        x = points(2, n).detach()
        close(compiled(x), loss(x))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode):
    x, net = points(2).detach(), network(2)
    enhanced = PDE.gradient_enhanced(PDE.helmholtz(2.0, source))
    expected = enhanced(cc.jet(net, x, 3), x)
    with mode():
        found = enhanced(cc.jet(net, x, 3), x)
    assert not found.requires_grad
    close(found, expected.detach())


def test_single_precision():
    x, net = points(2).detach(), network(2)
    enhanced = PDE.gradient_enhanced(PDE.navier_stokes(0.3))
    net = network(2, 3)
    expected = enhanced(cc.jet(net, x, enhanced.order), x)
    net = net.float()
    found = PDE.gradient_enhanced(PDE.navier_stokes(0.3))(
        cc.jet(net, x.float(), enhanced.order), x.float()
    )
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)


def test_no_points():
    enhanced = PDE.gradient_enhanced(PDE.helmholtz(2.0, source))
    x = torch.zeros(0, 2, dtype=F64)
    assert enhanced(cc.jet(network(2), x, 3), x).shape == (0, 3)


# ---- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((3,), "residual: expected a callable"),
        ((lambda u, x: u.value,), "order: expected the order of jet that the residual reads"),
        ((lambda u, x: u.value, 4), "order: expected one of"),
        ((lambda u, x: u.value, "grad_laplacian"), "order: expected .* need fourth derivatives"),
        ((lambda u, x: u.value, 3), "order: expected .* need fourth derivatives"),
        ((PDE.gradient_enhanced(PDE.helmholtz()),), "order: expected .* need fourth derivatives"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        PDE.gradient_enhanced(*arguments)
    with pytest.raises(TypeError, match="check: expected True or False"):
        PDE.gradient_enhanced(PDE.helmholtz(), check=1)


@pytest.mark.parametrize(
    "residual,order,message",
    [
        (PDE.helmholtz(), 2, "jet: expected a jet of order 'grad_laplacian' or above, got one of"),
        (PDE.helmholtz(), 0, "jet: expected a jet of order 'grad_laplacian' or above"),
        (PDE.burgers(1.0), "grad_laplacian", "jet: expected a jet of order 3 or above"),
        (PDE.poisson(first_order=True), "laplacian", "jet: expected a jet of order 2 or above"),
        (PDE.columns(PDE.helmholtz(), 0), "laplacian", "Ask for cc.jet.*order='grad_laplacian'"),
    ],
)
def test_jets_of_too_low_an_order(residual, order, message):
    x = points(2).detach()
    with pytest.raises(ValueError, match=message):
        PDE.gradient_enhanced(residual)(cc.jet(network(2, 3), x, order), x)


def test_wrong_results():
    x = points(2).detach()
    jet = cc.jet(network(2), x, 3)
    flat = PDE.gradient_enhanced(lambda u, x: u.value[:, 0], 0)
    with pytest.raises(ValueError, match=r"residual: expected .* Keep the last axis"):
        flat(jet, x)
    with pytest.raises(TypeError, match="residual: expected a floating tensor"):
        PDE.gradient_enhanced(lambda u, x: 1.0, 0)(jet, x)
    with pytest.raises(ValueError, match="x: expected the jet's points"):
        flat(jet, x[:3])
    with pytest.raises(TypeError, match="jet: expected a Jet"):
        flat(x, x)
