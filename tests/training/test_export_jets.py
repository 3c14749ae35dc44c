"""Exported quantities that are made of jets: fluxes and Laplacians of fields with conditions."""

from __future__ import annotations

import importlib.util

import colloc as cc
import pytest
import torch
from colloc import training
from torch import nn

B, G, F64, F32 = cc.boundary, cc.geometry, torch.float64, torch.float32
SQUARE = G.Rectangle((0, 0), (1, 1))
WALLS = SQUARE.boundary
HOLLOW = G.Box((0, 0, 0), (1, 1, 1)) - G.Ball((0.5, 0.5, 0.5), 0.3)
ROD = G.TimeDomain(G.Interval(0, 1), 0, 1)
PLATE = G.TimeDomain(SQUARE, 0, 1)
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
WITHOUT_PROGRAMS = ["py", "onnx"] if HAS_ONNX else ["py"]  # programs take long to write


class Jets(nn.Module):
    """All that jets of some orders hold, (N, m)."""

    def __init__(self, field, *orders):
        super().__init__()
        self.field, self.orders = field, orders

    def forward(self, x):
        found = [cc.jet(self.field, x, order).components for order in self.orders]
        return torch.cat(found).transpose(0, 1).flatten(1)


class Squared(nn.Module):
    """Has no rule for jets: torch.autograd makes them."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, x):
        return self.field(x) ** 2 + x[:, :1]


def sine(x):
    return torch.sin(torch.pi * x[:, :1])


def points(shape, n=25, seed=0, dtype=F64):
    inside, walls = shape.sample(n, seed=seed, dtype=dtype), shape.boundary
    return torch.cat([inside.x, walls.sample(n, seed=seed, dtype=dtype).x])


def field(inputs, *conditions, dtype=F64, **options):
    torch.manual_seed(0)
    return B.Ansatz(cc.nn.MLP(inputs, 1, 5, 2, "tanh", dtype=dtype), list(conditions), **options)


def dirichlet(dtype=F64, **options):
    others = B.Dirichlet([WALLS["right"], WALLS["top"]], lambda x: x[:, :1])
    parts = [B.Dirichlet(WALLS["left"], sine), others]
    return field(2, *parts, dtype=dtype, **options)


def robin(dtype=F64):
    return field(
        2,
        B.Dirichlet(WALLS["left"], sine),
        B.Neumann(WALLS["right"], 1.0),
        B.Robin(WALLS["top"], 1.0, 0.5),
        dtype=dtype,
    )


CASES = {
    "dirichlet": (dirichlet, SQUARE, (1, "laplacian", 2)),
    "singular weights": (lambda: dirichlet(mu=1), SQUARE, (1, "laplacian")),
    "robin": (lambda: field(2, B.Robin(WALLS["left"], 1.0, 0.5)), SQUARE, (1, "laplacian")),
    "neumann and robin": (robin, SQUARE, (1, 2)),
    "solid": (lambda: field(3, B.Dirichlet(HOLLOW.boundary, sine)), HOLLOW, (1, "laplacian")),
    "solid, robin": (lambda: field(3, B.Robin(HOLLOW.boundary, 1.0, 0.5)), HOLLOW, (1,)),
    "rod": (
        lambda: field(2, B.Dirichlet(ROD.initial, sine), B.Dirichlet(ROD.lateral, 0.0)),
        ROD,
        (1, "laplacian", 2),
    ),
    "plate": (
        lambda: field(3, B.Dirichlet(PLATE.initial, sine), B.Robin(PLATE.lateral, 1.0, 0.5)),
        PLATE,
        (1,),
    ),
    "another module": (lambda: Squared(dirichlet()), SQUARE, ("laplacian",)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:colloc.jet. no kernel")
def test_jets_of_fields_with_conditions(case, tmp_path):
    make, shape, orders = CASES[case]
    asked = Jets(make(), *orders)
    graph = training.plain(asked, points(shape))
    for suffix in WITHOUT_PROGRAMS:
        training.export(graph, tmp_path / f"field.{suffix}", points(shape))
    for seed in (1, 2):
        x = points(shape, 40, seed)
        wanted = asked(x).detach()
        assert (graph(x) - wanted).abs().max() <= 1e-10 * max(1, float(wanted.abs().max()))


def test_a_program_and_single_precision(tmp_path):
    x = points(SQUARE)
    asked = Jets(CASES["robin"][0](), 1)
    path = training.export(asked, tmp_path / "flux.pt2", x)
    wanted = asked(x)
    torch.testing.assert_close(training.load_exported(path).evaluate(x), wanted.detach())
    for suffix in WITHOUT_PROGRAMS:
        asked = Jets(dirichlet(F32), 1, "laplacian")
        training.export(asked, tmp_path / f"field.{suffix}", x.to(F32))


def test_solid_distances_alone(tmp_path):
    class Slopes(nn.Module):
        def forward(self, x):
            return B.solid_distance(HOLLOW, x, "laplacian").components[:, :, 0].T

    for suffix in WITHOUT_PROGRAMS:
        training.export(Slopes(), tmp_path / f"phi.{suffix}", points(HOLLOW))


@pytest.mark.parametrize("make", [dirichlet, robin, lambda: Squared(dirichlet())])
@pytest.mark.filterwarnings("ignore:colloc.jet. no kernel")
def test_graphs_are_differentiated_by_the_points(make):
    """Where conditions are met by derivatives of phi, and those of data, nothing is cut off."""
    x = points(SQUARE).requires_grad_()
    for asked in (make(), Jets(make(), 1)):
        graph = training.plain(asked, x)
        for column in range(graph(x).shape[1]):
            wanted, got = (
                torch.autograd.grad(one(x)[:, column].sum(), x)[0] for one in (asked, graph)
            )
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", cc.ops.ACTIVATIONS)
def test_every_activation_in_every_format(kind, tmp_path):
    x = torch.randn(20, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    asked = Jets(cc.nn.MLP(2, 1, 5, 1, kind, adaptive="layer", dtype=F64), 1, "laplacian")
    graph = training.plain(asked, x)
    for suffix in (*WITHOUT_PROGRAMS, "pt2"):
        training.export(graph, tmp_path / f"field.{suffix}", x)
    torch.testing.assert_close(graph(-x), asked(-x).detach(), rtol=0, atol=1e-10)


def test_a_derivative_of_the_fourth_order_is_refused():
    with pytest.raises(ValueError, match="order up to 2 where a Neumann or Robin condition is met"):
        training.plain(Jets(robin(), 3), points(SQUARE))
