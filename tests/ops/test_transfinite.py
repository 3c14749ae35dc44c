"""Op transfinite and cc.boundary.transfinite: weights against 60 digits and golden values, what
holds on groups and at joints, at any scale and for any number of inputs."""

from __future__ import annotations

import functools
import json
import math
import random
from pathlib import Path

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Circle, Segment
from colloc.jets import Jet
from colloc.jets.layout import ORDERS, layout
from colloc.ops import transfinite as op
from reference import distance as reference

F64, F32 = torch.float64, torch.float32
EPS = 2.0**-52
GOLDEN = Path(__file__).parents[1] / "golden"


def square(size=1.0, shift=0.0):
    a, b = shift - size, shift + size
    corners = [(a, a), (b, a), (b, b), (a, b)]
    return [Segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]


def half_disk(size=1.0, shift=0.0):
    """Three groups; the first has two pieces."""
    c = (shift, shift)
    return [
        [
            Arc(c, size, 0, math.pi / 2),
            Arc(c, size, math.pi / 2, math.pi),
        ],
        [Segment((shift - size, shift), (shift + size, shift))],
        [Circle((shift, shift + size / 2), size / 8, inward=False)],
    ]


# ---- against 60 digits and golden values --------------------------------------------------------

MUS = (1, 2, 3, (1, 2, 3), (4, 1, 2))


def points_inside(rng, size, shift):
    """Random points, some of them near the boundary and the corners."""
    found = []
    for _ in range(2):
        r, a = size * rng.uniform(0.7, 0.98), rng.uniform(0.1, 3.0)
        found.append([shift + r * math.cos(a), shift + r * math.sin(a)])
    for k in (1, 4, 7):
        found.append([shift + 0.3 * size, shift + 10.0**-k * size])  # beside the segment
        found.append([shift + size * (1 - 3 * 10.0**-k), shift + size * 10.0**-k])  # a corner
    return found


@functools.cache
def cases():
    rng, found = random.Random(4), []
    for size, shift, length in (
        (1.0, 0.0, 1.0),
        (1e-3, 0.0, 1e-3),
        (1e3, 0.0, 2.0),
        (1.0, 50.0, 3.0),
    ):
        groups = half_disk(size, shift)
        for mu, m in zip(MUS, (2, 1, 3, 2, 2), strict=True):
            points = points_inside(rng, size, shift)
            listed = mu if isinstance(mu, int) else list(mu)
            rows = [
                [
                    [float(v) for v in jet]
                    for jet in reference.transfinite(groups, p, m, listed, length)
                ]
                for p in points
            ]  # fmt: skip
            expected = torch.tensor(rows, dtype=F64).permute(2, 0, 1)  # (K, N, M)
            found.append((groups, size, mu, m, length, torch.tensor(points, dtype=F64), expected))
    return found


def test_against_60_digits(capability):
    for groups, size, mu, m, length, x, expected in cases():
        listed = mu if isinstance(mu, int) else list(mu)
        jet = cc.boundary.transfinite(groups, x, listed, 3, length, m=m)
        assert isinstance(jet, Jet)
        found = jet.components
        torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-11)
        for first, last, tolerance in ((1, 3, 1e-8), (3, 6, 1e-6), (6, 10, 1e-4)):
            error = (found[first:last] - expected[first:last]).abs().amax((0, 2))
            degree = {1: 1, 3: 2, 6: 3}[first]
            scale = expected[first:last].abs().amax((0, 2)).clamp(min=size**-degree)
            assert (error / scale).max() < tolerance, (size, mu, m, first)


def test_golden_interpolation():
    data = np.load(GOLDEN / "adf_golden.npz")
    case = json.loads((GOLDEN / "adf_golden_meta.json").read_text())["tfi_square_mu2"]
    assert case["g"] == ["x^2", "1+y", "2", "1-y^2/2"] and case["mu"] == 2
    x = torch.from_numpy(data["tfi_square_mu2__x"])
    expected = torch.from_numpy(data["tfi_square_mu2__d"])
    parts = [Segment(p, q) for p, q in case["segments"]]
    w = cc.boundary.transfinite([[p] for p in parts], x, order=2)

    def sides(at):
        one = torch.ones_like(at[:, 0])
        return torch.stack((at[:, 0] ** 2, 1 + at[:, 1], 2 * one, 1 - at[:, 1] ** 2 / 2), 1)

    g = cc.jet(sides, x, 2)
    total = w[:, 0] * g[:, 0]
    for k in range(1, 4):
        total = total + w[:, k] * g[:, k]
    found = total.components[..., 0].T
    torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-12, atol=1e-14)
    known = torch.isfinite(expected).all(1)
    error = (found[known, 1:3] - expected[known, 1:3]).abs().amax(1)
    assert (error < 1e-8 * expected[known, 1:3].abs().amax(1).clamp(min=1)).all()
    error = (found[known, 3:] - expected[known, 3:]).abs().amax(1)
    assert (error < 1e-6 * expected[known, 3:].abs().amax(1).clamp(min=1)).all()
    # the four points on the edges
    torch.testing.assert_close(found[25:29, 0], sides(x[25:29])[range(4), range(4)])


# ---- what weights are ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_they_sum_to_one_at_any_scale(dtype):
    eps = torch.finfo(dtype).eps
    for size in (1e-3, 1.0, 1e3):
        for shift in (0.0, 3 * size):
            for groups in (half_disk(size, shift), [[p] for p in square(size, shift)]):
                away = 10 ** torch.linspace(-8, 3, 400, dtype=F64).unsqueeze(1)
                x = shift + size * away * torch.nn.functional.normalize(
                    torch.randn(400, 2, dtype=F64)
                )
                x = torch.cat((x, shift + size * torch.rand(400, 2, dtype=F64))).to(dtype)
                for mu in (1, 2, 7, list(range(1, len(groups) + 1)), [64] * len(groups)):
                    for length in (1.0, size):
                        w = cc.boundary.transfinite(groups, x, mu, length=length)
                        assert w.shape == (800, len(groups)) and w.dtype == dtype
                        assert ((w >= 0) & (w <= 1)).all()
                        assert ((w.double().sum(1) - 1).abs() <= 4 * eps).all()


def test_derivatives_sum_to_zero():
    x = torch.rand(300, 2, dtype=F64)
    for mu in (2, [1, 2, 3]):
        jet = cc.boundary.transfinite(half_disk(), x, mu, 3)
        scale = jet.components.abs().sum(2)
        assert (jet.components[1:].sum(2).abs() <= 1e-13 * (1 + scale[1:])).all()


def test_one_and_zero_on_the_groups():
    for size, shift in ((1.0, 0.0), (1e-3, 1.0), (1e3, 0.0)):
        parts = square(size, shift)
        for k, part in enumerate(parts):
            x = part.at(part.length * torch.linspace(0.05, 0.95, 30, dtype=F64))[0]
            ids = torch.full((30,), k)
            for mu in (1, 2, 3, [1, 2, 3, 4]):
                jet = cc.boundary.transfinite([[p] for p in parts], x, mu, 3, size, piece=ids)
                expected = torch.zeros(30, 4, dtype=F64)
                expected[:, k] = 1
                assert torch.equal(jet.value, expected)
                assert torch.isfinite(jet.components).all()
                own = mu if isinstance(mu, int) else mu[k]
                # Derivatives below the order mu are 0.
                for degree, (first, last) in enumerate(((1, 3), (3, 6), (6, 10)), start=1):
                    if degree < own:
                        assert (jet.components[first:last] == 0).all(), (mu, degree)
            # By the coordinates alone, which rounding has put beside the part.
            w = cc.boundary.transfinite([[p] for p in parts], x)
            torch.testing.assert_close(w, expected, rtol=0, atol=1e-14)


def test_groups_share_a_joint():
    parts = square()
    x = torch.tensor([[1.0, -1.0], [1.0, 1.0], [0.2, 0.1]], dtype=F64)
    for order in ORDERS:
        for mu in (1, 2, [2, 1, 3, 5]):
            jet = cc.boundary.transfinite([[p] for p in parts], x, mu, order)
            w = jet if order == 0 else jet.value
            expected = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0]], dtype=F64)
            assert torch.equal(w[:2], expected)
            if order != 0:
                assert (jet.components[1:, :2] == 0).all()
                assert torch.isfinite(jet.components).all()
                assert (jet.components[1:, 2] != 0).any()
    # three of them
    phi = torch.zeros(4, 1, 1, dtype=F64)
    phi[1] = 0.3
    assert torch.equal(op(phi)[0, 0], torch.tensor([1 / 3, 0, 1 / 3, 1 / 3], dtype=F64))


def test_one_group_alone():
    x = torch.rand(5, 2, dtype=F64)
    for order in ORDERS[1:]:
        jet = cc.boundary.transfinite([square()], x, order=order)
        assert (jet.value == 1).all() and (jet.components[1:] == 0).all()


def test_length_cancels_where_all_mu_are_equal():
    x = torch.rand(50, 2, dtype=F64)
    one = cc.boundary.transfinite(half_disk(), x, 3, 2, 1.0).components
    torch.testing.assert_close(cc.boundary.transfinite(half_disk(), x, 3, 2, 7.0).components, one)
    other = cc.boundary.transfinite(half_disk(), x, [1, 2, 3], 2, 1.0).components
    assert not torch.allclose(
        other, cc.boundary.transfinite(half_disk(), x, [1, 2, 3], 2, 7.0).components
    )


def test_extreme_values_stay_finite(capability):
    values = torch.tensor([0.0, 1e-300, 1e-60, 1e-6, 1.0, 3.0, 1e6, 1e60, 1e300], dtype=F64)
    phi = torch.cartesian_prod(values, values, values).T.reshape(3, 1, -1)
    for mu in (1, 2, 64, [1, 2, 3], [64, 1, 7]):
        for length in (1e-3, 1.0, 1e3):
            w = op(phi, mu, length=length)[0]
            assert torch.isfinite(w).all() and ((w >= 0) & (w <= 1)).all()
            assert ((w.sum(1) - 1).abs() <= 4 * EPS).all()


def test_jets_far_away_and_near_stay_finite():
    away = 10 ** torch.linspace(-15, 12, 200, dtype=F64).unsqueeze(1)
    x = away * torch.nn.functional.normalize(torch.randn(200, 2, dtype=F64))
    for center in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.3, -1.0)):
        for mu in (1, 2, [1, 2, 3, 4], 16):
            at = x + torch.tensor(center, dtype=F64)
            jet = cc.boundary.transfinite([[p] for p in square()], at, mu, 3)
            assert torch.isfinite(jet.components).all(), (center, mu)


# ---- orders, inputs, layouts --------------------------------------------------------------------


def weights_by_jets(phi, mu, order, n, length):
    """The same by the arithmetic of jets."""
    jets = [Jet(one.unsqueeze(2), order, None, n) for one in phi]
    powers = [(one / length) ** -k for one, k in zip(jets, mu, strict=True)]
    total = powers[0]
    for one in powers[1:]:
        total = total + one
    return torch.cat([(one / total).components for one in powers], dim=2)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_orders_and_inputs(capability, order, n):
    size = layout(order, n).size
    for groups in (2, 3, 7):
        phi = torch.randn(groups, size, 33, dtype=F64)
        phi[:, 0] = 0.1 + torch.rand(groups, 33, dtype=F64)
        mu = [1 + k % 3 for k in range(groups)]
        found = op(phi, mu, order, n, 1.7)
        assert found.shape == (size, 33, groups)
        expected = weights_by_jets(phi, mu, order, n, 1.7)
        scale = expected.abs().amax(0).clamp(min=1)
        assert ((found - expected).abs() / scale).max() < 1e-11
        single = op(phi.float(), mu, order, n, 1.7)
        assert single.dtype == F32
        again = op(phi.float().double(), mu, order, n, 1.7)
        torch.testing.assert_close(single, again.float(), rtol=2e-7, atol=1e-30)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1500])
def test_counts_and_layouts(count):
    phi = 0.5 + torch.rand(3, 4, count, dtype=F64)
    found = op(phi, 2, "laplacian")
    assert found.shape == (4, count, 3)
    turned = phi.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(op(turned, 2, "laplacian"), found)
    apart = torch.stack((phi, phi), 3)[..., 0]
    assert torch.equal(op(apart, 2, "laplacian"), found)
    for i in range(0, count, 1 + count // 3):
        assert torch.equal(op(phi[:, :, i : i + 1], 2, "laplacian")[:, 0], found[:, i])


def test_gradients_by_the_points():
    x = (0.1 + 0.5 * torch.rand(5, 2, dtype=F64)).requires_grad_()
    groups = half_disk()
    for mu in (2, [1, 2, 3]):
        for order in (0, 1, "laplacian", 2):

            def call(at, order=order, mu=mu):
                made = cc.boundary.transfinite(groups, at, mu, order, 1.3)
                return made if order == 0 else made.components

            assert torch.autograd.gradcheck(call, x)
            if order in (0, 1):
                assert torch.autograd.gradgradcheck(call, x)
    for order in ("grad_laplacian", 3):
        jet = cc.boundary.transfinite(groups, x, 2, order)
        with pytest.raises(ValueError, match="order: expected an order up to 2"):
            torch.autograd.grad(jet.components.sum(), x)


def test_opcheck():
    phi, mu = 0.5 + torch.rand(3, 4, 5, dtype=F64), torch.tensor([1, 2, 3])
    raw = torch.ops.colloc.transfinite.default
    torch.library.opcheck(raw, (phi, mu, 1.0, "laplacian", 2))
    torch.library.opcheck(raw, (phi[:, :1].float(), mu, 2.0, "0", 1))


def test_compiled():
    torch.compiler.reset()
    found = torch.compile(lambda phi: op(phi, [1, 2], 1) * 2, fullgraph=True, backend="eager")
    phi = 0.5 + torch.rand(2, 3, 9, dtype=F64)
    torch.testing.assert_close(found(phi), 2 * op(phi, [1, 2], 1))


# ---- refusals -----------------------------------------------------------------------------------

PHI = torch.ones(2, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((PHI.numpy(),), TypeError, "phi: expected a float32 or float64 tensor (M, 1, N)"),
        ((PHI.long(),), ValueError, "phi: expected a float32 or float64 tensor (M, 1, N)"),
        ((PHI.half(),), ValueError, "phi: expected a float32 or float64"),
        ((PHI[0],), ValueError, "phi: expected a float32 or float64"),
        ((PHI[:0],), ValueError, "phi: expected at least one group"),
        (
            (PHI, 2, 1),
            ValueError,
            "phi: expected a float32 or float64 tensor (M, 3, N) for order 1",
        ),
        ((PHI, 0), ValueError, "mu: expected an integer >= 1"),
        ((PHI, 65), ValueError, "mu: expected an integer <= 64"),
        ((PHI, 1.5), TypeError, "mu: expected a whole number"),
        ((PHI, True), TypeError, "mu: expected an integer"),
        ((PHI, [1.5, 2]), TypeError, "mu: expected an integer"),
        ((PHI, [2]), ValueError, "mu: expected one exponent for each of the 2 groups"),
        ((PHI, 2, 4), ValueError, "order: expected one of"),
        ((PHI, 2, False), ValueError, "order: expected one of"),
        ((PHI, 2, 0, 0), ValueError, "n: expected an integer >= 1"),
        ((PHI, 2, 0, 5), ValueError, "n: expected an integer <= 4"),
        ((PHI, 2, 0, 2, 0.0), ValueError, "length: expected a number > 0"),
        ((PHI, 2, 0, 2, math.nan), ValueError, "length: expected a finite"),
        ((PHI.clone().requires_grad_(),), RuntimeError, "expected phi without grad"),
    ],
)
def test_op_errors(arguments, error, message):
    with pytest.raises(error) as info:
        op(*arguments)
    assert message in str(info.value)


X = torch.rand(3, 2, dtype=F64)
PARTS = [[p] for p in square()]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((PARTS[0][0], X), TypeError, "groups: expected a list of parts"),
        (([], X), ValueError, "groups: expected at least one part"),
        (([PARTS[0], []], X), ValueError, "groups[1]: expected a boundary"),
        (([PARTS[0], 7], X), TypeError, "groups[1]: expected a boundary"),
        ((PARTS, X[0]), ValueError, "x: expected"),
        ((PARTS, X.half()), ValueError, "x: expected float32 or float64"),
        ((PARTS, X.tolist()), TypeError, "x: expected"),
        ((PARTS, X, 0), ValueError, "mu: expected an integer >= 1"),
        ((PARTS, X, [1, 2]), ValueError, "mu: expected one exponent for each of the 4 groups"),
        ((PARTS, X, "2"), TypeError, "mu: expected a whole number"),
        ((PARTS, X, 2, 5), ValueError, "order: expected one of"),
        ((PARTS, X, 2, 0, -1.0), ValueError, "length: expected a number > 0"),
        ((PARTS, X, 2, 0, math.inf), ValueError, "length: expected a finite"),
        (([PARTS[0], PARTS[0]], X), ValueError, "overlap along a length"),
        (([PARTS[0] * 2, PARTS[1]], X), ValueError, "overlap along a length"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        cc.boundary.transfinite(*arguments)
    assert message in str(info.value)


def test_errors_of_keywords():
    with pytest.raises(ValueError, match="m: expected an integer >= 1"):
        cc.boundary.transfinite(PARTS, X, m=0)
    with pytest.raises(TypeError, match="piece: expected None or an int64"):
        cc.boundary.transfinite(PARTS, X, piece=[0, 1, 2])
    with pytest.raises(ValueError, match="piece: expected numbers below 4"):
        cc.boundary.transfinite(PARTS, X, piece=torch.tensor([0, 1, 4]))
    for message, arguments in (
        ("mu: expected an int64", (PHI, torch.ones(2), 1.0, "0", 2)),
        ("phi: expected shape", (PHI[0], torch.ones(2).long(), 1.0, "0", 2)),
        ("length: expected", (PHI, torch.ones(2).long(), 0.0, "0", 2)),
        ("order: expected", (PHI, torch.ones(2).long(), 1.0, "x", 2)),
        ("n: expected", (PHI, torch.ones(2).long(), 1.0, "0", 5)),
    ):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.colloc.transfinite(*arguments)
