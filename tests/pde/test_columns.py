"""cc.pde.columns: some columns of a residual."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from pde.nested import F64, close, network, points

FLOW = cc.pde.navier_stokes(0.3, first_order=True, curl=True)


@pytest.mark.parametrize(
    "names,indices",
    [
        ("continuity", [2]),
        ("momentum", [0, 1]),
        ("compatibility", [3, 4, 5, 6]),
        ("compatibility_v", [5, 6]),
        ("curl", [7, 8]),
        (["continuity", "momentum"], [2, 0, 1]),
        (["curl_v_xy", 0], [8, 0]),
        (4, [4]),
        (range(1, 3), [1, 2]),
    ],
)
def test_selection(names, indices):
    x = points(2)
    jet = cc.jet(network(2, 7), x, 1)
    some = cc.pde.columns(FLOW, names)
    close(some(jet, x), FLOW(jet, x)[:, indices])
    assert some.indices == tuple(indices)
    assert some.names == tuple(FLOW.names[i] for i in indices)
    assert some.order == FLOW.order


def test_columns_of_columns_and_of_functions():
    x = points(2)
    jet = cc.jet(network(2, 7), x, 1)
    momenta = cc.pde.columns(FLOW, "momentum")
    close(cc.pde.columns(momenta, "momentum_y")(jet, x), FLOW(jet, x)[:, 1:2])
    plain = cc.pde.columns(lambda u, x: u.value, [6, 0])
    close(plain(jet, x), jet.value[:, [6, 0]])
    assert plain.order is None
    assert plain.names is None


def test_terms_of_their_own_make_up_the_whole():
    # the mean over 3 columns is a third of each: 1 + 2 weights of 0.5 make 1/3, 2 * 0.5 / 3
    square = cc.geometry.Rectangle((0, 0), (1, 1)).sample(16, dtype=F64)
    net = network(2, 3)
    equation = cc.pde.helmholtz(1.0, first_order=True)
    whole = cc.Term("whole", net, square, equation, order=1)
    parts = [
        cc.Term(name, net, square, cc.pde.columns(equation, name), order=1, weight=weight)
        for name, weight in (("helmholtz", 1.0), ("compatibility", 0.5))
    ]
    squares = whole().square().mean(0)
    close(parts[0].loss(), squares[0])
    close(parts[1].loss(), 0.5 * squares[1:].mean())


@pytest.mark.parametrize(
    "residual,names,message",
    [
        (3, "a", "residual: expected a callable"),
        (FLOW, 1.5, "names: expected a name, an index"),
        (FLOW, [1.5], r"names\[0\]: expected an integer"),
        (FLOW, True, "names: expected an integer"),
        (FLOW, [], "names: expected at least one column"),
        (FLOW, "moment", "names: expected one of momentum_x, momentum_y, continuity"),
        (FLOW, "", "names: expected one of"),
        (FLOW, ["continuity", "flux"], r"names\[1\]: expected one of"),
        (FLOW, -1, "names: expected an integer >= 0"),
        (FLOW, 9, "names: expected an integer <= 8"),
        (FLOW, ["momentum", "momentum_x"], "names: expected different columns"),
        (lambda u, x: u.value, "u", "names: expected an index .* has no names"),
    ],
)
def test_wrong_arguments(residual, names, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cc.pde.columns(residual, names)


def test_wrong_results():
    x = points(2)
    jet = cc.jet(network(2, 2), x, "laplacian")
    with pytest.raises(ValueError, match=r"residual: expected 1 column \(helmholtz\), got 2"):
        cc.pde.columns(cc.pde.helmholtz(), 0)(jet, x)
    with pytest.raises(ValueError, match="names: expected columns below 2, got 3"):
        cc.pde.columns(lambda u, x: u.value, [0, 3])(jet, x)
    with pytest.raises(ValueError, match=r"residual: expected .* Keep the last axis"):
        cc.pde.columns(lambda u, x: u.value[:, 0], 0)(jet, x)
    with pytest.raises(TypeError, match="jet: expected a Jet"):
        cc.pde.columns(FLOW, 0)(x, x)
    with pytest.raises(TypeError, match="jet: expected a Jet"):
        cc.pde.columns(lambda u, x: torch.ones(7, 1), 0)(x, x)
