"""The bodies of the importance sampling kernels, run on the host with the grid they have on the
GPU. Outputs have guard values behind them; behind an input they are NaN."""

from __future__ import annotations

import colloc as cc
import numpy as np
import pytest
import torch
from reference import importance as reference

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 64
NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
F64 = torch.float64


def name(function, dtype):
    return getattr(host, f"{function}_{'float32' if dtype == torch.float32 else 'float64'}")


def read(value):
    """A NumPy array with NaN behind it; empty for None."""
    if value is None:
        return np.empty(0)
    flat = value.contiguous().numpy().reshape(-1)
    offset = value.storage_offset()  # kept, so that odd addresses are odd
    return np.concatenate((flat[:offset], flat, np.full(GUARDS, np.nan, flat.dtype)))[offset:]


def written(size, dtype):
    return np.full(size + GUARDS, GUARD, dtype=NUMPY[dtype])


def done(array, size):
    assert np.all(array[size:] == np.asarray(GUARD, array.dtype)), "written past the end"
    return torch.from_numpy(array[:size])


def probabilities(rows, area, norm, power=1.0, floor=0.0, relative_floor=0.0):
    size, columns = rows.shape
    out = written(size, F64)
    uniform = name("importance_probabilities", rows.dtype)(
        read(rows), [size, columns], [columns, 1], norm, power,
        read(area).astype(NUMPY[rows.dtype], copy=False), floor, relative_floor, out,
    )  # fmt: skip
    return done(out, size), uniform


@DTYPES
@pytest.mark.parametrize("size", [1, 33, 1025, 40_001])
def test_probabilities(size, dtype):
    rows, area = torch.randn(size, 3, dtype=dtype), torch.rand(size, dtype=dtype) + 0.1
    for share in (None, area):
        for power, floor, relative in ((1.0, 0.0, 1e-3), (2.0, 0.1, 0.0), (0.7, 0.0, 0.0)):
            q, uniform = probabilities(rows, share, True, power, floor, relative)
            expected = cc.ops.importance_probabilities(
                rows, share, floor, norm=True, power=power, relative_floor=relative
            )
            assert not uniform
            torch.testing.assert_close(q, expected[:, 0], rtol=1e-12, atol=0)
            q, _ = probabilities(rows[:, :1].abs(), share, False, power, floor, relative)
            expected = cc.ops.importance_probabilities(
                rows[:, 0].abs(), share, floor, power=power, relative_floor=relative
            )
            torch.testing.assert_close(q, expected, rtol=1e-12, atol=0)


def test_more_points_than_threads():
    """Threads go through a loop; rows of four are loaded at once, and pairs of shares where they
    lie so."""
    size = 600_001
    rows, area = torch.randn(size, 4), torch.rand(size) + 0.1
    q, _ = probabilities(rows, area, True)
    expected = cc.ops.importance_probabilities(rows, area, norm=True)[:, 0]
    torch.testing.assert_close(q, expected, rtol=1e-12, atol=0)
    apart, _ = probabilities(rows, torch.cat((area[:1], area))[1:], True)
    assert torch.equal(apart, q)
    index, weight, _ = draw("stratified", 5, q, area, 1000, F64)
    drawn = cc.ops.importance_sample(q, 1000, area, seed=5, scheme="stratified", dtype=F64)
    assert torch.equal(index, drawn.index)
    torch.testing.assert_close(weight, drawn.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1.7e308])
def test_probabilities_of_extreme_numbers(size):
    rows = torch.tensor([[1.0, -0.5], [0.25, 0.0], [0.0, 0.0], [0.5, 0.7]], dtype=F64)
    area = torch.tensor([1.0, 2, 0, 3], dtype=F64)
    for power in (1.0, 7.0):
        for unit in (1.0, 1e-300):
            q, _ = probabilities(rows * size, area * unit, True, power, 0.0, 0.1)
            expected = reference.probabilities(
                rows, area, norm=True, power=power, relative_floor=0.1
            )
            torch.testing.assert_close(q, expected, rtol=3e-12, atol=0)


def test_zeros_and_bad_entries():
    q, uniform = probabilities(torch.zeros(4, 2), torch.tensor([1.0, 0, 2, 1]), True)
    assert uniform and q.tolist() == [0.25, 0, 0.5, 0.25]
    rows, area = torch.rand(40_000, 1), torch.rand(40_000)
    rows[7000] = rows[39_999] = float("nan")
    area[35_000] = -1
    with pytest.raises(ValueError, match="bad 2 first 7000 area 1 first 35000"):
        probabilities(rows, area, False)


def draw(scheme, seed, q, area, n, dtype, least_walked=0):
    """Threads make several draws each from least_walked draws on."""
    index, weight = written(n, torch.int64), written(n, dtype)
    saves = name("importance_sample", dtype)(
        cc.ops.SCHEMES.index(scheme), seed, read(q), q.shape[0], read(area).astype(NUMPY[dtype]), n,
        index, weight, least_walked,
    )  # fmt: skip
    return done(index, n), done(weight, n), saves


def pool(size, spread):
    q = torch.randn(size, dtype=F64).mul(spread).exp()
    if size > 3:
        q[:: max(size // 9, 2)] = 0
    return q / q.sum()


@DTYPES
@pytest.mark.parametrize("scheme", cc.ops.SCHEMES)
@pytest.mark.parametrize("size", [1, 2, 32, 33, 1025, 40_000])
def test_sample(size, scheme, dtype):
    for spread in (0.3, 5.0):
        q, area = pool(size, spread), torch.rand(size, dtype=dtype) + 0.1
        for n in (0, 1, 32, 513, 20_000):
            if scheme == "without_replacement" and n > (q > 0).sum():
                continue
            for share in (None, area):
                index, weight, saves = draw(scheme, 5, q, share, n, dtype)
                expected = cc.ops.importance_sample(q, n, share, scheme, seed=5, dtype=dtype)
                assert torch.equal(index, expected.index) and saves == 0
                torch.testing.assert_close(weight, expected.weight, rtol=1e-6, atol=0)


@DTYPES
@pytest.mark.parametrize("scheme", ["multinomial", "stratified"])
@pytest.mark.parametrize(
    ("size", "n"),
    [(1, 9), (33, 700), (1000, 2049), (40_000, 5000), (40_000, 30_000), (70_000, 9001)],
)
def test_draws_from_the_one_before_are_bit_equal(size, n, scheme, dtype):
    """To those that are each searched for: within points, over leaves and nodes of all levels."""
    area = torch.rand(size, dtype=dtype) + 0.1
    steps = torch.logspace(0, -5, size, dtype=F64)  # from many draws of a point to few
    for q in (pool(size, 0.3), pool(size, 5.0), torch.full((size,), 0.1, dtype=F64), steps):
        walked = draw(scheme, 3, q, area, n, dtype)
        searched = draw(scheme, 3, q, area, n, dtype, least_walked=n + 1)
        assert torch.equal(walked[0], searched[0]) and torch.equal(walked[1], searched[1])


@pytest.mark.parametrize("scheme", ["multinomial", "stratified"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e3, -1e-3, 1e308])
def test_bad_entries_lead_nowhere(bad, scheme):
    """Draws are launched before the entries are refused: they stay inside of the pool."""
    q = torch.rand(5000, dtype=F64)
    q[1234] = q[4998] = bad
    for least_walked in (0, 5001):
        index, weight = written(5000, torch.int64), written(5000, F64)
        arguments = (cc.ops.SCHEMES.index(scheme), 3, read(q), 5000, np.empty(0), 5000)
        try:
            host.importance_sample_float64(*arguments, index, weight, least_walked)
        except ValueError as refused:
            assert "bad 2 first 1234" in str(refused)
        index = done(index, 5000)
        assert index.min() >= 0 and index.max() < 5000


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ([0, 2, 5], [0, 2, 5]),
        ([0, 0, 5], [0, 2, 5]),  # 1 has no probability
        ([0, 0, 2], [0, 2, 4]),  # 3 is taken surely
        ([4, 5, 5], [2, 4, 5]),  # nothing follows
        ([5, 5, 5, 5], [0, 2, 4, 5]),
        ([0, 0, 0, 0], [0, 2, 4, 5]),
        ([0, 4, 4, 5], [0, 2, 4, 5]),
    ],
)
def test_repeated_indices_are_moved_apart(index, expected):
    q = np.array([0.1, 0.0, 0.1, 0.9, 0.1, 0.1])
    found = np.array(index)
    host.importance_separate(found, q, 0.5)
    assert found.tolist() == expected


@pytest.mark.parametrize("least", [1e-11, 1e-14])
def test_probabilities_just_below_one(least):
    """Every place lies at the edge of a point."""
    for seed in range(4):
        start = float(reference.unit(seed, 0, 0))
        q = torch.full((20_001,), 1 - least, dtype=F64)
        q[0], q[-1] = start, 1 - start + 19_999 * least
        q = q[reference.order(20_001, seed).argsort()]  # so that it is this in the op's order
        index, _, _ = draw("without_replacement", seed, q * 0.7346513, None, 20_000, F64)
        assert len(index.unique()) == 20_000 and index.min() >= 0 and index.max() <= 20_000


@pytest.mark.parametrize("n", [3, 500, 999])
def test_certain_step_by_step(n):
    q = 2.0 ** -torch.arange(1000, dtype=F64)[torch.randperm(1000)]
    index, weight, _ = draw("without_replacement", 6, q, None, n, F64)
    expected = cc.ops.importance_sample(q, n, None, "without_replacement", seed=6, dtype=F64)
    assert torch.equal(index, expected.index)
    torch.testing.assert_close(weight, expected.weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scheme", cc.ops.SCHEMES)
def test_a_single_heavy_point(scheme):
    q = torch.full((3000,), 1e-300, dtype=F64)
    q[1500] = 1.0
    index, _, _ = draw(scheme, 1, q, None, 700, F64)
    if scheme == "without_replacement":
        assert len(index.unique()) == 700 and 1500 in index
    else:
        assert (index == 1500).all()
