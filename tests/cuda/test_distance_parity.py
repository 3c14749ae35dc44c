"""On a GPU: ops distance and transfinite and fields with exact boundary conditions equal what the
CPU gives. Skipped where there is none."""

from __future__ import annotations

import copy
import math

import colloc as cc
import pytest
import torch
from colloc.boundary import Ansatz, Arc, Circle, Dirichlet, Line, Robin, Segment
from colloc.jets.layout import ORDERS, layout

pytestmark = pytest.mark.cuda

GPU = "cuda"
OPS = torch.ops.colloc
F64 = torch.float64
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])
TOLERANCE = {torch.float32: 1e-5, F64: 1e-11}
PIECES = [
    Segment((-1.0, 0.0), (1.0, 0.0)),
    Arc((0.0, 0.0), 1.0, 0.0, math.pi),
    Circle((0.0, 0.5), 0.2, inward=False),
    Line((-2.0, -1.0), (1.0, -1.5)),
]
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))


def there(value, device=GPU):
    return None if value is None else value.to(device)


def table(pieces):
    return torch.tensor([p.numbers for p in pieces], dtype=F64)


def errors(found, expected):
    """Relative to the largest component of a point: near joints they are large."""
    scale = expected.double().abs().amax(0).clamp(min=1)
    return (found.double() - expected.double()).abs() / scale


def compare(found, expected, tolerance, device=GPU, exact=None):
    """Like the CPU's, or nearer to ``exact`` (float64) than twice the CPU's error."""
    assert found.device.type == torch.device(device).type and found.shape == expected.shape
    found = found.cpu()
    assert torch.equal(torch.isfinite(found), torch.isfinite(expected))
    if expected.numel() > 0:
        error = errors(found, expected)
        if exact is not None and error.max() >= tolerance:
            error = errors(found, exact).amax(0) - 2 * errors(expected, exact).amax(0)
        assert error.max() < tolerance


def points(count, dtype):
    x = torch.randn(count, 2, dtype=dtype)
    special = [e for p in PIECES for e in p.ends or ()]
    special += [(0.3, 0.0), (0.0, 1.0), (0.2, 0.5), (1e30, -1e30), (0.0, 1e6), (1e-20, 0.0)]
    special = torch.tensor(special, dtype=dtype)[:count]
    x[: len(special)] = special
    return x


def check_distance(pieces, count, m, length, order, with_ids, dtype, device=GPU):
    x, at = points(count, dtype), table(pieces)
    ids = torch.randint(-1, len(pieces), (count,)) if with_ids else None
    form = (m, length, str(order))
    found = OPS.distance(there(x, device), there(at, device), there(ids, device), *form)
    exact = OPS.distance(x.double(), at, ids, *form) if dtype == torch.float32 else None
    compare(found, OPS.distance(x, at, ids, *form), TOLERANCE[dtype], device, exact)


@DTYPES
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_distance(order, dtype):
    for pieces in (*([p] for p in PIECES), PIECES[:2], PIECES):
        for count in (0, 1, 65, 3000):
            for m, length in ((1, 1.0), (2, 1.0), (5, 0.7)):
                for with_ids in (False, True):
                    check_distance(pieces, count, m, length, order, with_ids, dtype)


@DTYPES
def test_many_points_and_pieces(dtype):
    # the grid has 132 * 32 blocks of 128 threads at most
    each = 2 if dtype == torch.float32 else 1  # points a thread
    check_distance(PIECES, 132 * 32 * 128 * each + 77, 2, 1.0, "laplacian", False, dtype)
    check_distance(PIECES, 132 * 32 * 128 * each + 77, 2, 1.0, "laplacian", True, dtype)
    a = torch.linspace(0, 2 * math.pi, 257, dtype=F64)[:-1]
    corners = torch.stack((a.cos(), a.sin()), 1).tolist()
    pieces = [Segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]
    check_distance(pieces, 500, 2, 1.0, 3, True, dtype)


def test_not_contiguous():
    x, at = points(40, F64), table(PIECES)
    turned = there(x).t().contiguous().t()
    apart = torch.stack((there(at), there(at)), 1)[:, 0]
    assert not turned.is_contiguous() and not apart.is_contiguous()
    found = OPS.distance(turned, apart, None, 2, 1.0, "2")
    compare(found, OPS.distance(x, at, None, 2, 1.0, "2"), TOLERANCE[F64])


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_transfinite(order, n, dtype):
    size = layout(order, n).size
    for groups in (1, 2, 5):
        for count in (0, 1, 700):
            phi = torch.randn(groups, size, count, dtype=dtype)
            phi[:, 0] = 0.05 + torch.rand(groups, count, dtype=dtype)
            phi[0, 0, :1] = 0
            phi[1:3, 0, -1:] = 0  # a joint
            for mu in ([2] * groups, [1 + k % 3 for k in range(groups)]):
                form = (torch.tensor(mu), 1.3, str(order), n)
                found = OPS.transfinite(there(phi), there(form[0]), *form[1:])
                compare(found, OPS.transfinite(phi, *form), TOLERANCE[dtype])


def test_wrong_arguments_are_refused():
    x, at = there(points(4, F64)), there(table(PIECES))
    with pytest.raises(RuntimeError, match="pieces: expected"):
        OPS.distance(x, at.cpu(), None, 2, 1.0, "0")
    with pytest.raises(RuntimeError, match="piece: expected"):
        OPS.distance(x, at, torch.zeros(4, dtype=torch.long), 2, 1.0, "0")
    with pytest.raises(ValueError, match="piece: expected a tensor on the device"):
        cc.boundary.distance(PIECES, x, piece=torch.zeros(4, dtype=torch.long))


def test_gradients_by_the_points():
    x = torch.rand(30, 2, dtype=F64)
    found = []
    for device in ("cpu", GPU):
        at = x.to(device).requires_grad_()
        jet = cc.boundary.distance(PIECES, at, order="laplacian").components
        (by_x,) = torch.autograd.grad(jet.square().sum(), at)
        found.append(by_x.cpu().T)
    compare(found[1], found[0], 1e-10, "cpu")


def field(dtype):
    left, rest = SQUARE.boundary["left"], SQUARE.boundary - "left"
    net = cc.nn.MLP(2, 2, 16, 2, dtype=dtype)
    return Ansatz(
        net, [Dirichlet(left, lambda x: x[:, 1:2] ** 2), Robin(rest, 0.4, 0.1)], outputs=1
    )


def step(module, x, piece):
    module.zero_grad()
    u = cc.jet(module, x, "laplacian", piece=piece)
    (u.laplacian + u.value).square().mean().backward()
    slopes = [p.grad.reshape(-1).cpu() for p in module.parameters() if p.grad is not None]
    return u.components[..., 0].detach(), torch.cat(slopes)[None]


def test_a_field():
    one = field(F64)
    other = copy.deepcopy(one).to(GPU)
    points_on = SQUARE.boundary.sample(60, seed=1, method="uniform", dtype=F64)
    x = torch.cat((1.8 * torch.rand(50, 2, dtype=F64) - 0.9, points_on.x))
    piece = torch.cat((torch.full((50,), -1), points_on.piece))
    expected, slopes = step(one, x, piece)
    moved, ids = there(x), there(piece)
    for _ in range(2):  # what is kept, too
        found, found_slopes = step(other, moved, ids)
        compare(found, expected, 1e-10)
        compare(found_slopes, slopes, 1e-9, "cpu")


def test_a_step_does_not_wait_for_the_gpu():
    module = field(torch.float32).to(GPU)
    x = 1.8 * torch.rand(50, 2, device=GPU) - 0.9

    def run():
        u = cc.jet(module, x, "laplacian")
        (u.laplacian + u.value).square().mean().backward()

    run()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu():
    check_distance(PIECES, 100, 2, 1.0, 3, True, F64, "cuda:1")
    assert torch.cuda.current_device() == 0
