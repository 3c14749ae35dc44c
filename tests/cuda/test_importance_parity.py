"""On a GPU: importance sampling equals what the CPU gives. Skipped where there is none."""

from __future__ import annotations

import colloc as cc
import pytest
import torch

pytestmark = pytest.mark.cuda
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def on_gpu(*values):
    return [None if v is None else v.cuda() for v in values]


def pool(size, dtype=torch.float64):
    q = torch.randn(size, dtype=torch.float64).mul(3).exp()
    if size > 3:
        q[:: max(size // 9, 2)] = 0
    return q / q.sum(), (0.1 + torch.rand(size, dtype=torch.float64)).to(dtype)


@DTYPES
@pytest.mark.parametrize("size", [1, 33, 1025, 300_001])
def test_probabilities(size, dtype):
    wide = torch.randn(size, 4, 3, dtype=dtype)
    for rows in (wide[:, :, 0], wide[:, 1].contiguous()):
        for area in (None, torch.rand(size, 1, dtype=dtype) + 0.1):
            for power in (1.0, 2.0, 0.7):
                options = {"norm": True, "power": power, "relative_floor": 1e-3}
                here = cc.ops.importance_probabilities(rows, area, **options)
                there = cc.ops.importance_probabilities(*on_gpu(rows, area), **options)
                assert there.device.type == "cuda" and there.shape == (size, 1)
                torch.testing.assert_close(there.cpu(), here, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e160, 1.7e308])
def test_extreme_numbers(scale):
    rows = torch.tensor([[1.0, -0.5], [0.25, 0.0], [0.0, 0.0]], dtype=torch.float64) * scale
    here = cc.ops.importance_probabilities(rows, norm=True, power=3.0)
    there = cc.ops.importance_probabilities(rows.cuda(), norm=True, power=3.0)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-11, atol=0)


def test_zeros_and_bad_entries():
    with pytest.warns(UserWarning, match="all measures are 0"):
        q = cc.ops.importance_probabilities(torch.zeros(4, device="cuda"))
    assert q.tolist() == [0.25] * 4
    broken = torch.rand(100_000, device="cuda")
    broken[70_000] = broken[70_001] = float("nan")
    with pytest.raises(ValueError, match=r"measure: .* got 2 of 100000 .* first at index 70000"):
        cc.ops.importance_probabilities(broken)
    with pytest.raises(ValueError, match=r"probabilities: .* got 2 of 100000 .* at index 70000"):
        cc.ops.importance_sample(broken, 5)
    with pytest.raises(ValueError, match="n: expected at most 4"):
        cc.ops.importance_sample(q, 5, scheme="without_replacement")


@pytest.mark.parametrize("scheme", cc.ops.SCHEMES)
@pytest.mark.parametrize("size", [1, 33, 1025, 300_001])
@DTYPES
def test_draws(size, scheme, dtype):
    q, area = pool(size, dtype)
    for n in (0, 1, 513, 100_000):
        if scheme == "without_replacement" and n > (q > 0).sum():
            continue
        for share in (None, area):
            arguments = (n, share, scheme)
            here = cc.ops.importance_sample(q, *arguments, seed=5, dtype=dtype)
            there = cc.ops.importance_sample(
                q.cuda(), n, *on_gpu(share), scheme, seed=5, dtype=dtype
            )
            # sums are made in another order: a place at the edge of a point may change sides
            other = there.index.cpu() != here.index
            assert other.sum() <= 1 + n // 100_000
            if scheme != "without_replacement":
                assert ((there.index.cpu() - here.index)[other].abs() <= 300).all()
            close = there.weight.cpu()[~other]
            torch.testing.assert_close(close, here.weight[~other], rtol=1e-6, atol=0)
            again = cc.ops.importance_sample(
                q.cuda(), n, *on_gpu(share), scheme, seed=5, dtype=dtype
            )
            assert torch.equal(again.index, there.index)
            if scheme == "without_replacement" and n > 1:
                assert len(there.index.unique()) == n


@pytest.mark.parametrize("scheme", ["stratified", "multinomial"])
@DTYPES
def test_many_draws(scheme, dtype):
    size, n = 1_000_003, 1 << 20
    q, area = pool(size, dtype)
    for share in (None, area):
        here = cc.ops.importance_sample(q, n, share, scheme, seed=5, dtype=dtype)
        there = cc.ops.importance_sample(q.cuda(), n, *on_gpu(share), scheme, seed=5, dtype=dtype)
        other = there.index.cpu() != here.index
        assert other.sum() <= 1 + n // 100_000
        close = there.weight.cpu()[~other]
        torch.testing.assert_close(close, here.weight[~other], rtol=1e-6, atol=0)


def test_certain_step_by_step():
    q = 2.0 ** -torch.arange(1000, dtype=torch.float64)[torch.randperm(1000)]
    for n in (3, 500, 999, 1000):
        here, there = (
            cc.ops.importance_sample(v, n, None, "without_replacement", seed=6)
            for v in (q, q.cuda())
        )
        assert torch.equal(there.index.cpu(), here.index)
        torch.testing.assert_close(there.weight.cpu(), here.weight)


def test_mixed_devices_are_refused():
    with pytest.raises(ValueError, match="area: expected a tensor on the device of"):
        cc.ops.importance_probabilities(torch.rand(3, device="cuda"), torch.rand(3))
