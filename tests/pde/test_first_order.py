"""First-order forms of the equations."""

from __future__ import annotations

from itertools import combinations

import colloc as cc
import pytest
import torch
from pde.nested import F64, Consistent, close, d, network, points


def source(x):
    return torch.sin(3 * x[:, :1])


def velocity(dim):
    return lambda x: torch.cat([x[:, :1] + i for i in range(dim)], 1)


#: name: (the equation with further options, whether it has time as its last input)
EQUATIONS = {
    "helmholtz": (lambda dim, /, **o: cc.pde.helmholtz(2.0, source, **o), False),
    "poisson": (lambda dim, /, **o: cc.pde.poisson(source, -0.5, **o), False),
    "heat": (lambda dim, /, **o: cc.pde.heat(0.4, source, **o), True),
    "steady": (lambda dim, /, **o: cc.pde.advection_diffusion(velocity(dim), 0.3, 0.2, **o), False),
    "in time": (
        lambda dim, /, **o: cc.pde.advection_diffusion(velocity(dim), 0.3, time=-1, **o),
        True,
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_equal_to_the_second_order_form_on_consistent_fields(name, dim):
    make, in_time = EQUATIONS[name]
    curl = dim > 1
    first = make(dim, first_order=True, dim=dim, curl=curl)
    second = make(dim)
    inputs = dim + in_time
    x, net = points(inputs), network(inputs)
    consistent = Consistent(net, 1, range(dim))
    found = first(cc.jet(consistent.forward, x, 1), x)
    close(found[:, :1], second(cc.jet(net, x, second.order), x))
    close(found[:, 1:], torch.zeros_like(found[:, 1:]))
    assert first.order == 1
    axes = "xyz"[:dim]
    pairs = [f"curl_{i}{j}" for i, j in combinations(axes, 2)] if curl else []
    assert first.names == (*second.names, *(f"compatibility_{axis}" for axis in axes), *pairs)
    assert first.addends == (*second.addends, "compatibility", *["curl"] * curl)
    assert found.shape == (7, len(first.names))


@pytest.mark.parametrize("time", [None, 0, 1, 2])
def test_columns_of_any_field(time):
    inputs = 2 if time is None else 3
    space = [i for i in range(inputs) if i != time]
    equation = cc.pde.advection_diffusion(
        (2.0, -1.0), 0.3, source, time, first_order=True, curl=True
    )
    x, net = points(inputs), network(inputs, 3)
    found = equation(cc.jet(net, x, 1), x)
    u, ux, uy = net(x).split(1, 1)
    a, b = space
    row = 2 * d(u, x, a) - d(u, x, b) - 0.3 * (d(ux, x, a) + d(uy, x, b)) - source(x)
    row = row if time is None else row + d(u, x, time)
    expected = [row, ux - d(u, x, a), uy - d(u, x, b), d(ux, x, b) - d(uy, x, a)]
    close(found, torch.cat(expected, 1))


def test_the_helmholtz_solution():
    pi = torch.pi

    def exact(x):
        (a, b), (c, s) = (pi * x[:, 0], 4 * pi * x[:, 1]), (torch.cos, torch.sin)
        return torch.stack([s(a) * s(b), pi * c(a) * s(b), 4 * pi * s(a) * c(b)], 1)

    def f(x):
        return (1 - 17 * pi**2) * exact(x)[:, :1]

    x = points(2)
    residual = cc.pde.helmholtz(1.0, f, first_order=True, curl=True)(cc.jet(exact, x, 1), x)
    close(residual, torch.zeros(7, 4, dtype=F64))


@pytest.mark.parametrize("dim,time", [(2, None), (2, 1), (2, -1), (3, None), (3, 0)])
@pytest.mark.parametrize("curl", [False, True])
def test_navier_stokes_on_consistent_fields(dim, time, curl):
    inputs = dim if time is None else dim + 1
    space = [i for i in range(inputs) if time is None or i != time % inputs]
    x, net = points(inputs), network(inputs, dim + 1)
    options = {"dim": dim, "time": time, "force": (0.1, 0.2, 0.3)[:dim]}
    first = cc.pde.navier_stokes(0.3, 2.0, **options, first_order=True, curl=curl)
    second = cc.pde.navier_stokes(0.3, 2.0, **options)
    found = first(cc.jet(Consistent(net, dim, space).forward, x, 1), x)
    close(found[:, : dim + 1], second(cc.jet(net, x, second.order), x))
    close(found[:, dim + 1 :], torch.zeros_like(found[:, dim + 1 :]))
    assert found.shape == (7, len(first.names))


def test_navier_stokes_columns_of_any_field():
    x, net = points(2), network(2, 7)
    equation = cc.pde.navier_stokes(0.3, 2.0, first_order=True, curl=True)
    assert equation.outputs == ("u", "v", "p", "u_x", "u_y", "v_x", "v_y")
    found = dict(zip(equation.names, equation(cc.jet(net, x, 1), x).split(1, 1), strict=True))
    u, v, p, ux, uy, vx, vy = net(x).split(1, 1)
    expected = {
        "momentum_x": u * d(u, x, 0) + v * d(u, x, 1) + d(p, x, 0) / 2
        - 0.3 * (d(ux, x, 0) + d(uy, x, 1)),
        "momentum_y": u * d(v, x, 0) + v * d(v, x, 1) + d(p, x, 1) / 2
        - 0.3 * (d(vx, x, 0) + d(vy, x, 1)),
        "continuity": d(u, x, 0) + d(v, x, 1),
        "compatibility_u_x": ux - d(u, x, 0),
        "compatibility_u_y": uy - d(u, x, 1),
        "compatibility_v_x": vx - d(v, x, 0),
        "compatibility_v_y": vy - d(v, x, 1),
        "curl_u_xy": d(ux, x, 1) - d(uy, x, 0),
        "curl_v_xy": d(vx, x, 1) - d(vy, x, 0),
    }  # fmt: skip
    assert list(found) == list(expected)
    for name, column in expected.items():
        close(found[name], column)


@pytest.mark.parametrize(
    "equation",
    [
        cc.pde.navier_stokes(0.3, dim=3, first_order=True, curl=True),
        cc.pde.poisson(first_order=True, dim=3, curl=True),
    ],
    ids=["flow", "poisson"],
)
def test_columns_in_three_inputs_by_their_names(equation):
    outputs = getattr(equation, "outputs", ("u", "u_x", "u_y", "u_z"))
    x, net = points(3), network(3, len(outputs))
    out = dict(zip(outputs, net(x).split(1, 1), strict=True))
    rows = dict(zip(equation.names, equation(cc.jet(net, x, 1), x).split(1, 1), strict=True))
    several = "v" in outputs
    checked = 0
    for name, column in rows.items():
        kind, *field, axes = name.split("_") if "_" in name else (name, "")
        u = field[0] if field else "u"
        if kind == "compatibility":
            close(column, out[f"{u}_{axes}"] - d(out[u], x, "xyz".index(axes)))
        elif kind == "curl":
            i, j = axes
            slope = d(out[f"{u}_{i}"], x, "xyz".index(j)) - d(out[f"{u}_{j}"], x, "xyz".index(i))
            close(column, slope)
        checked += kind in ("compatibility", "curl")
    assert checked == (18 if several else 6)


def test_a_term_with_autocast():
    # order-1 jets follow autocast: the residual does too, and the loss has gradients
    net = cc.nn.MLP(2, 3, 16, 2)
    inside = cc.Term(
        "helmholtz",
        net,
        cc.geometry.Rectangle((0, 0), (1, 1)).sample(64),
        cc.pde.helmholtz(1.0, source, first_order=True),
        order=1,
    )
    exact = inside.loss()
    with torch.autocast("cpu", torch.bfloat16):
        rough = inside.loss()
    rough.backward()
    assert 0 < abs(float(rough - exact)) < 0.1 * float(exact)
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_16_bits_are_summed_in_float32(dtype):
    net = cc.nn.MLP(2, 1, 16, 2, "tanh")
    with torch.no_grad():
        net[-1].weight.mul_(3e-3)
    points = cc.geometry.Rectangle((0, 0), (1, 1)).boundary.sample(4000)
    for factor in (1.0, 1e6):  # squares below and above what float16 holds
        term = cc.Term("walls", net, points, lambda u, x, k=factor: k * u.value.float(), order=0)
        plain = cc.Term("walls", net, points, lambda u, x: u.value, order=0)
        exact = term.loss()
        with torch.autocast("cpu", dtype):
            found, rows = (term if factor > 1 else plain).loss(), plain()
        assert found.dtype == torch.float32 and rows.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=0.05, atol=0)
        found.backward()


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: cc.pde.helmholtz(first_order=True, dim=0), "dim: expected an integer >= 1"),
        (lambda: cc.pde.helmholtz(first_order=True, dim=4), "dim: expected an integer <= 3"),
        (lambda: cc.pde.helmholtz(first_order=True, dim=1, curl=True), "curl: expected False in"),
        (lambda: cc.pde.helmholtz(first_order=True, curl=1), "curl: expected True or False"),
        (
            lambda: cc.pde.advection_diffusion((1.0,), 1.0, first_order=True),
            "velocity: expected 2 components",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(
    "equation,inputs,outputs,order,message",
    [
        (cc.pde.poisson(first_order=True), 2, 1, 1, r"3 outputs \(u, u_x, u_y\), got one with 1"),
        (cc.pde.poisson(first_order=True), 3, 4, 1, "2 inputs of space, got 3, .* or say dim=3"),
        (cc.pde.poisson(first_order=True), 2, 3, 0, r"jet\.grad: expected a jet of order 1"),
        (cc.pde.heat(1.0, first_order=True), 2, 3, 1, "2 inputs of space besides time"),
        (
            cc.pde.navier_stokes(1.0, first_order=True),
            2,
            3,
            1,
            r"7 outputs \(u, v, p, u_x, u_y, v_x, v_y\)",
        ),
    ],
)
def test_wrong_jets(equation, inputs, outputs, order, message):
    x = points(inputs)
    with pytest.raises(ValueError, match=message):
        equation(cc.jet(network(inputs, outputs), x, order), x)
