"""Exact boundary conditions: what an ansatz refuses."""

from __future__ import annotations

import colloc as cc
import numpy
import pytest
import torch
from boundary.domains import domain, network, on_boundary
from colloc.boundary import Ansatz, Arc, Circle, Dirichlet, Neumann, Robin, Segment

F64 = torch.float64
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))
LEFT, REST = SQUARE.boundary["left"], SQUARE.boundary - "left"


DISK, ARC = Circle((0, 0), 1), Arc((0, 0), 1, 0, 1)
OVERLAP = "overlap along a length"
NET = torch.nn.Linear(2, 2).double()
ALL = SQUARE.boundary


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dirichlet(SQUARE, 0.0), TypeError, "part: expected a boundary"),
        (lambda: Dirichlet([], 0.0), ValueError, "part: expected a boundary"),
        (lambda: Dirichlet("left", 0.0), TypeError, "part: expected a boundary"),
        (lambda: Dirichlet(ALL, "1"), TypeError, "g: expected a number"),
        (lambda: Dirichlet(ALL, [0.0, 1]), TypeError, "or (k,), or a function from points"),
        (lambda: Dirichlet(ALL, [0.0, 1]), TypeError, "Give torch.tensor([0.0, 1.0]), one value"),
        (lambda: Neumann(ALL, numpy.zeros(2)), TypeError, "Give torch.from_numpy(h)"),
        (lambda: Dirichlet(ALL, True), TypeError, "g: expected a number"),
        (lambda: Dirichlet(ALL, float("nan")), ValueError, "g: expected a finite number"),
        (lambda: Dirichlet(ALL, None), TypeError, "g: expected"),
        (lambda: Dirichlet(ALL, torch.zeros(4, 1)), ValueError, "give a function of the points"),
        (lambda: Dirichlet(ALL, torch.tensor(1)), ValueError, "g: expected a floating tensor"),
        (lambda: Robin(ALL, float("inf")), ValueError, "c: expected a finite number"),
        (lambda: Robin(ALL, 1.0, [1]), TypeError, "h: expected a number"),
        (lambda: Neumann(ALL, torch.zeros(1, 1)), ValueError, "h: expected a floating tensor"),
        (lambda: Dirichlet(ALL, 0.0, []), ValueError, "components: expected different outputs"),
        (lambda: Dirichlet(ALL, 0.0, [1, 1]), ValueError, "components: expected different outputs"),
        (lambda: Dirichlet(ALL, 0.0, -1), ValueError, "components: expected an integer >= 0"),
        (lambda: Dirichlet(ALL, 0.0, "u"), TypeError, "components: expected None"),
        (lambda: Dirichlet(ALL, 0.0, 1.5), TypeError, "components: expected None"),
        (lambda: Dirichlet(ALL, 0.0, True), TypeError, "components: expected"),
        (lambda: Ansatz(None, [Dirichlet(ALL)]), TypeError, "net: expected a module"),
        (lambda: Ansatz(NET, []), ValueError, "conditions: expected a list"),
        (lambda: Ansatz(NET, ALL), TypeError, "conditions: expected a list"),
        (lambda: Ansatz(NET, [ALL]), TypeError, "conditions[0]: expected"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], outputs=0), ValueError, "outputs: expected"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], m=0), ValueError, "m: expected an integer >= 1"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], m=1.0), TypeError, "m: expected an integer"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], mu=0), ValueError, "mu: expected an integer >= 1"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], length=0), ValueError, "length: expected"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], space=(0, 0)), ValueError, "space: expected two"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], space=(0,)), ValueError, "space: expected two"),
        (lambda: Ansatz(NET, [Dirichlet(ALL)], space=(0, -1)), ValueError, "space: expected"),
        (lambda: Ansatz(NET, [Dirichlet(ALL), Dirichlet(LEFT)]), ValueError, OVERLAP),
        (lambda: Ansatz(NET, [Neumann(ALL), Robin(LEFT, 1.0)]), ValueError, OVERLAP),
        (lambda: Ansatz(NET, [Dirichlet(ALL), Neumann(LEFT)]), ValueError, OVERLAP),
        (lambda: Ansatz(NET, [Dirichlet(DISK), Neumann(ARC)]), ValueError, OVERLAP),
        (lambda: Ansatz(NET, [Dirichlet(ALL), Neumann(LEFT, 0, [1, 0])]), ValueError, OVERLAP),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error) as info:
        make()
    assert message in str(info.value)


def test_the_same_part_for_different_components_is_fine():
    Ansatz(NET, [Dirichlet(ALL, 0.0, 0), Neumann(LEFT, 0.0, 1), Dirichlet(REST, 0.0, 1)])


X = torch.zeros(3, 2, dtype=F64)
IDS = torch.zeros(3, dtype=torch.long)
FIELD = Ansatz(NET, [Dirichlet(ALL)])


def dirichlet(g=0.0, components=None, **options):
    return Ansatz(NET, [Dirichlet(ALL, g, components)], **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FIELD(X[0]), ValueError, "x: expected"),
        (lambda: FIELD(X.numpy()), TypeError, "x: expected"),
        (lambda: FIELD(X.long()), TypeError, "x: expected"),
        (lambda: FIELD(X[:, :1]), ValueError, "x: expected points with inputs (0, 1)"),
        (lambda: FIELD(X, [0, 1, 2]), TypeError, "piece: expected None or an int64"),
        (lambda: FIELD(X, torch.zeros(2, dtype=torch.long)), ValueError, "piece: expected"),
        (lambda: FIELD(X, torch.full((3,), 4)), ValueError, "piece: expected numbers below 4"),
        (lambda: cc.jet(FIELD, X, 4), ValueError, "order: expected one of"),
        (lambda: cc.jet(NET, X, 1, piece=IDS), ValueError, "piece: expected None"),
        (lambda: dirichlet(outputs=3)(X), ValueError, "net(x): expected 3 or 6 outputs"),
        (lambda: dirichlet(0.0, 2)(X), ValueError, "components: expected outputs of the field"),
        (lambda: dirichlet(torch.zeros(3))(X), ValueError, "g: expected a tensor of shape"),
        (lambda: dirichlet(lambda x: x[:, :1].repeat(1, 3))(X), ValueError, "g(x): expected"),
        (lambda: dirichlet(lambda x: x[:, 0])(X), ValueError, "expected"),
        (lambda: Ansatz(lambda x: x, [Neumann(Segment((0, 0), (1e-10, 0)))])(X.float()), ValueError,
         "x: expected float64 where a piece is smaller"),
    ],
)  # fmt: skip
def test_errors_at_points(call, error, message):
    with pytest.raises(error) as info:
        call()
    assert message in str(info.value)


def test_pieces_are_counted_in_the_common_boundary():
    shape = domain("union", 1.0, 0.0)
    x, _, piece = on_boundary(shape, 80, 1.0)
    last = shape.boundary.part([len(shape.boundary) - 1])
    field = Ansatz(network(1, 1.0, 0.0), [Dirichlet(last, 2.0)])
    on = piece == len(shape.boundary) - 1
    found = field(x, piece)[:, 0]
    assert (found[on] == 2).all() and (found[~on] != 2).all()
