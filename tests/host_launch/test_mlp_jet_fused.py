"""The forward kernel of op mlp_jet_fused, its threads run on the host, against float64.

A missing barrier shows in one of the two orders in which threads are run, a wrong place in memory
in NaN, in which all memory begins.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from colloc.ops import KINDS
from colloc.ops.jet_activation import JET_ORDERS, jet_size

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

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
SMOOTH = [KINDS.index(kind) for kind in ("tanh", "sin", "gelu")]


def network(widths, inputs, outputs, bias=True):
    torch.manual_seed(0)
    sizes = [inputs, *widths, outputs]
    weights = [torch.randn(b, a) / a**0.5 for a, b in pairwise(sizes)]
    return weights, [0.3 * torch.randn(b) if bias else torch.empty(0) for b in sizes[1:]]


def forward(
    net, x, kinds, order, wrt, kept_groups=0, exact=True, blocks=264, backwards=False
):  # what the GPU would be asked for
    weights, biases = ([t.numpy() for t in part] for part in net)
    found, kept = host.mlp_jet_fused(
        *(x.numpy(), weights, biases, kinds, JET_ORDERS.index(order), wrt),
        *(kept_groups, exact, blocks, backwards),
    )
    shape = (x.shape[0], jet_size(order, len(wrt)), weights[-1].shape[0])
    return torch.from_numpy(found).view(shape), torch.from_numpy(kept)


def reference(net, x, kinds, order, wrt):
    """In float64: the jets, and the pre-activations of each layer, (N, K or 1, width)."""
    weights, biases = ([t.double() for t in part] for part in net)
    empty = [x.new_empty(0).double()] * len(kinds)
    out, kept = torch.ops.colloc.mlp_jet_layers(
        x.double(), weights, biases, empty, kinds, order, wrt, x.shape[0], None
    )
    flat, at, layers = kept.view(-1), 0, []
    for layer, weight in enumerate(weights[:-1]):
        shape = (x.shape[0], jet_size(order, len(wrt)) if layer else 1, weight.shape[0])
        count = shape[0] * shape[1] * shape[2]
        layers.append(flat[at : at + count].view(shape))
        if biases[layer].numel():
            layers[layer][:, 0] += biases[layer]
        at += count
    return out, layers


def error(found, expected):
    """The largest of the components' relative errors."""
    difference = (found.double() - expected).norm(dim=(0, 2))
    return (difference / expected.norm(dim=(0, 2))).max().item()


@pytest.mark.parametrize("points", [1, 15, 16, 17, 100])
@pytest.mark.parametrize(
    "widths,inputs,outputs,bias",
    [([20, 1, 50], 3, 2, True), ([64, 64], 4, 1, False), ([128, 100], 3, 4, True)],
    ids=str,
)
def test_odd_sizes(widths, inputs, outputs, bias, points):
    net = network(widths, inputs, outputs, bias)
    x = 2 * torch.rand(points, inputs) - 1
    arguments = (net, x, SMOOTH[: len(widths)], "laplacian", [2, 0])
    expected, _ = reference(*arguments)
    found, _ = forward(*arguments)
    assert error(found, expected) < 1e-5
    rounded, _ = forward(*arguments, exact=False)
    # Products of 10 bits: worse, or it would be the longer way that is taken.
    assert 2e-5 < error(rounded, expected) < 5e-3


@pytest.mark.parametrize("width", [40, 128])
@pytest.mark.parametrize("order,wrt", FORMS, ids=str)
def test_all_jets_in_both_orders_of_threads(order, wrt, width):
    net = network([width, width], 3, 2)
    x = 2 * torch.rand(50, 3) - 1
    arguments = (net, x, SMOOTH[:2], order, wrt)
    found, kept = forward(*arguments, kept_groups=2)
    assert error(found, reference(*arguments)[0]) < 1e-5
    # One block takes all groups, in turn.
    again, kept_again = forward(*arguments, kept_groups=2, blocks=1, backwards=True)
    assert torch.equal(found, again)
    assert torch.equal(kept, kept_again)
    assert not kept.isnan().any()


def test_all_kinds():
    kinds = [k for k, kind in enumerate(KINDS) if kind != "stan"]
    net = network([24] * len(kinds), 2, 1)
    x = 4 * torch.rand(33, 2) - 2
    x[5] *= 1e6  # sines beyond the short reduction, saturated others
    for first in range(len(kinds)):
        turned = kinds[first:] + kinds[:first]
        arguments = (([w[:, :] for w in net[0]], net[1]), x, turned, "2", [0, 1])
        found, expected = forward(*arguments)[0], reference(*arguments)[0]
        fine = torch.arange(33) != 5
        assert error(found[fine], expected[fine]) < 2e-5, KINDS[turned[0]]
        assert torch.isfinite(found[5]).all()


@pytest.mark.parametrize("widths,kept_groups", [([20, 50, 64], 3), ([100, 128], 7)], ids=str)
def test_what_is_kept(widths, kept_groups):
    net, x = network(widths, 2, 1), 2 * torch.rand(100, 2) - 1
    arguments = (net, x, SMOOTH[: len(widths)], "laplacian", [0, 1])
    _, kept = forward(*arguments, kept_groups=kept_groups)
    width, at = 64 if max(widths) <= 64 else 128, 0
    points = min(100, 16 * kept_groups)
    for expected in reference(*arguments)[1]:
        size = expected.shape[1]
        count = kept_groups * 16 * width * size
        # (group, tile of 8 neurons, component, lane, accumulator): lane is a point's row and two
        # columns, accumulators the columns of this row and of the eighth below.
        part = kept[at : at + count].view(kept_groups, width // 8, size, 8, 4, 2, 2)
        found = part.permute(0, 5, 3, 2, 1, 4, 6).reshape(16 * kept_groups, size, width)
        real = expected.shape[2]
        assert error(found[:points, :, :real], expected[:points]) < 1e-5
        assert not found[..., real:].any()
        at += count
    assert at == kept.numel()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_nan_is_passed_on(layer, exact):
    net, x = network([64, 64], 2, 1), torch.rand(20, 2)
    bits = np.array([0x7FFFFFFF], dtype=np.uint32).view(np.float32)
    net[0][layer][0, 1] = torch.from_numpy(bits)[0]
    found, _ = forward(net, x, SMOOTH[:2], "1", [0], exact=exact)
    assert found[:, 0].isnan().all()


@pytest.mark.parametrize("width", [30, 128])
@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_magnitudes_beyond_halves(scale, width):
    net = network([width, width], 2, 2, bias=False)
    net[0][0][:, 0] *= 1e3  # derivatives of other sizes
    net[0][1] *= 1e8
    net[0][2] *= 1e-7
    arguments = (net, scale * torch.rand(40, 2), [KINDS.index("identity")] * 2, "1", [0, 1])
    assert error(forward(*arguments)[0], reference(*arguments)[0]) < 1e-5


@pytest.mark.parametrize("width", [40, 128])
@pytest.mark.parametrize("larger", ["point", "neuron"])
def test_neighbours_of_other_sizes(larger, width):
    net, x = network([width, width], 2, 1), torch.rand(32, 2)
    if larger == "point":  # the others keep their digits
        x[3] *= 1e5
    else:
        net[0][1][1] *= 1e5
        net[0][2][:, 1] *= 1e-5
    arguments = (net, x, [KINDS.index("silu"), KINDS.index("identity")], "1", [0, 1])
    found, expected = forward(*arguments)[0], reference(*arguments)[0]
    others = torch.arange(32) != 3
    assert error(found[others], expected[others]) < 1e-5


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_point_that_is_not_finite_is_alone(value):
    net, x = network([64, 100], 2, 1), torch.rand(40, 2)
    x[5] = value
    arguments = (net, x, [KINDS.index("silu"), KINDS.index("tanh")], "1", [0, 1])
    found, expected = forward(*arguments)[0], reference(*arguments)[0]
    fine = torch.arange(40) != 5
    assert error(found[fine], expected[fine]) < 1e-5
    assert not torch.isfinite(found[5]).all()


def test_what_cannot_be_launched():
    net, x = network([64], 2, 1), torch.rand(3, 2)
    with pytest.raises(ValueError, match="order"):
        host.mlp_jet_fused(
            *(x.numpy(), *([t.numpy() for t in part] for part in net), [0]),
            *(JET_ORDERS.index("3"), [0, 1], 0, True, 1, False),
        )
