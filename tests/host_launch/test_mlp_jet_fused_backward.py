"""The kernels of op mlp_jet_fused_backward, their threads run on the host, against float64.

A missing barrier shows in one of the two orders in which threads are run, a wrong place in memory
in NaN, in which all memory begins.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from colloc.ops import KINDS
from colloc.ops.jet_activation import JET_ORDERS, jet_size

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

#: With 1, 2, 3, 4, 3, 6, 4 and 5 components.
FORMS = [
    ("0", [0]),
    ("1", [1]),
    ("1", [1, 0]),
    ("1", [2, 0, 1]),
    ("2", [1]),
    ("2", [1, 0]),
    ("laplacian", [0, 1]),
    ("laplacian", [2, 0, 1]),
]
#: Bytes of shared memory: of compute capability 9.0.
MEMORY = 232448
LARGE = 1 << 26


class Case:
    """A network, points and the gradient by their jets, with the gradients in float64."""

    def __init__(self, widths, points, inputs=3, outputs=2, order="laplacian", wrt=(2, 0), **more):
        torch.manual_seed(0)
        sizes = [inputs, *widths, outputs]
        kinds = more.get("kinds", ["tanh", "sin", "gelu"])
        self.weights = [torch.randn(b, a) / a**0.5 for a, b in pairwise(sizes)]
        self.biases = [
            0.3 * torch.randn(b) if more.get("bias", True) else torch.empty(0) for b in sizes[1:]
        ]
        self.x = 2 * torch.rand(points, inputs) - 1
        self.order, self.wrt = order, list(wrt)
        self.kinds = [KINDS.index(kinds[l % len(kinds)]) for l in range(len(widths))]
        self.grad = torch.randn(points, jet_size(order, len(wrt)), outputs)
        self.groups = (points + 15) // 16

    def network(self):
        parts = (self.x, self.weights, self.biases)
        arrays = [
            [t.numpy() for t in part] if isinstance(part, list) else part.numpy() for part in parts
        ]
        return (*arrays, self.kinds, JET_ORDERS.index(self.order), self.wrt)

    def found(
        self,
        mask=-1,
        kept=None,
        exact=True,
        blocks=3,
        memory=MEMORY,
        delta=LARGE,
        again=LARGE,
        backwards=False,
    ):
        """Gradients by the first layer's values, then of each layer: weights and biases."""
        kept = self.groups if kept is None else kept
        _, memory_kept = host.mlp_jet_fused(*self.network(), kept, exact, blocks, False)
        first, weights, biases = host.mlp_jet_fused_backward(
            *(self.grad.numpy(), memory_kept, *self.network(), kept),
            *(mask if mask >= 0 else self.all, exact, blocks, memory, delta, again, backwards),
        )
        parts = [first, *weights, *biases]
        shapes = [(self.x.shape[0], -1), *(t.shape for t in [*self.weights, *self.biases])]
        return [
            torch.from_numpy(p).view(s) if p.size else torch.empty(0)
            for p, s in zip(parts, shapes, strict=True)
        ]

    @property
    def all(self):
        return (2 << len(self.weights)) - 1

    def expected(self):
        double = [[t.double() for t in part] for part in (self.weights, self.biases)]
        rest = ([torch.empty(0).double()] * len(self.kinds), self.kinds, self.order, self.wrt)
        net = (self.x.double(), *double, *rest)
        _, kept = torch.ops.colloc.mlp_jet_layers(*net, self.x.shape[0], None)
        by_x, weights, biases, _ = torch.ops.colloc.mlp_jet_layers_backward(
            self.grad.double(), kept, *net, self.all, None
        )
        return [by_x, *weights, *biases]

    def error(self, found):
        """The largest relative error, by the norm of each gradient."""
        by_x = found[0].double() @ self.weights[0].double()
        errors = [
            (f.double() - e).norm() / e.norm()
            for f, e in zip([by_x, *found[1:]], self.expected(), strict=True)
            if e.numel()
        ]
        return max(errors).item()


def same(found, others):
    return all(torch.equal(a, b) for a, b in zip(found, others, strict=True))


@pytest.mark.parametrize(
    "order,wrt,width", [(*form, 40) for form in FORMS] + [(*form, 128) for form in FORMS[::-2]]
)
def test_all_jets_in_both_orders_of_threads(order, wrt, width):
    case = Case([width, width], 40, order=order, wrt=wrt)
    found = case.found(blocks=1)
    assert case.error(found) < 1e-5
    assert same(found, case.found(blocks=1, backwards=True))


@pytest.mark.parametrize("points", [1, 15, 17, 64])
@pytest.mark.parametrize(
    "widths,inputs,outputs,bias",
    [([20], 8, 4, True), ([20, 64, 1], 2, 1, False), ([128, 100], 3, 3, True)],
    ids=str,
)
def test_odd_sizes(widths, inputs, outputs, bias, points):
    wrt = (inputs - 1, 0)
    case = Case(widths, points, inputs, outputs, wrt=wrt, bias=bias, kinds=["tanh", "sigmoid"])
    assert case.error(case.found()) < 1e-5


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_magnitudes_beyond_halves(scale):
    case = Case([64, 100], 33)
    case.grad *= scale
    assert case.error(case.found()) < 1e-5


def test_products_of_ten_bits():
    case = Case([64, 100], 33)
    # Worse, or it would be the longer way that is taken.
    assert 2e-5 < case.error(case.found(exact=False)) < 5e-3


def test_all_kinds():
    kinds = [kind for kind in KINDS if kind != "stan"]
    case = Case([24] * len(kinds), 16, order="2", kinds=kinds)
    assert case.error(case.found()) < 2e-5


@pytest.mark.parametrize("widths", [[30], [64, 50], [100, 128]], ids=str)
def test_chunks_and_points_that_were_not_kept(widths):
    case = Case(widths, 40 if max(widths) > 64 else 75)
    everything = case.found(blocks=2)
    assert case.error(everything) < 1e-5
    # As few groups at a time as may be: the sums are made in another order, to the same end.
    for kept in (1, case.groups):
        found = case.found(kept=kept, delta=1, again=1, blocks=2)
        assert case.error(found) < 1e-5
        assert torch.equal(found[0], everything[0])
    assert same(everything, case.found(kept=0, blocks=2))


@pytest.mark.parametrize("widths", [[30], [50, 64]], ids=str)
def test_gradients_that_are_not_wanted(widths):
    case = Case(widths, 20)
    everything, layers = case.found(), len(case.weights)
    for bit in range(layers + 1):
        found = case.found(mask=1 << bit)
        wanted = {0} if bit == 0 else {bit, layers + bit}
        for i, gradient in enumerate(found):
            if i in wanted:
                assert torch.equal(gradient, everything[i]), (bit, i)
            else:
                assert gradient.numel() == 0, (bit, i)


@pytest.mark.parametrize(
    "width,bytes_of_jets,weight", [(50, 32 << 10, 16 << 10), (100, 32 << 10, 64 << 10)]
)
def test_room_for_fewer_tiles(width, bytes_of_jets, weight):
    # Blocks hold three tiles and two, three and one, two and one; the sums are the same.
    case = Case([width, width], 50 if width > 64 else 100, outputs=1)
    everything = case.found(blocks=1)
    sums, bytes_of_tile = 3 * 128 * 4, bytes_of_jets + 128  # with the units of 32 tiles
    for tiles in (4, 3):
        memory = tiles * bytes_of_tile + weight + sums
        assert same(everything, case.found(blocks=1, memory=memory, backwards=True))
    with pytest.raises(ValueError, match="too small"):
        case.found(blocks=1, memory=3 * bytes_of_tile + weight)


def test_sums_of_many_points_are_rounded():
    # All terms have one sign and a block takes all tiles: what products cut off would add up.
    case = Case([64, 64], 600, inputs=1, outputs=1, order="1", wrt=[0], kinds=["sigmoid"])
    case.grad = case.grad.abs()
    case.weights = [weight.abs() for weight in case.weights]
    found, expected = case.found(blocks=1)[2], case.expected()[2]
    assert (found - expected).norm() / expected.norm() < 2e-6
