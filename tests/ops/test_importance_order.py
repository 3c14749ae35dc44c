"""Op importance_sample without replacement: the random order in which it goes through a pool."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from reference import importance as reference
from reference.chi_square import uniform_enough
from scipy import stats

F64 = torch.float64
ALL = pytest.mark.parametrize("scheme", cc.ops.SCHEMES)
sample = cc.ops.importance_sample


@pytest.mark.parametrize("size", [1, 2, 4, 1000])
def test_the_order_of_draws_is_a_random_permutation(size):
    orders = torch.stack([reference.order(size, seed) for seed in range(2000)])
    assert torch.equal(orders.sort(dim=1).values, torch.arange(size).expand(2000, -1))
    if size == 4:  # all 24 are as likely
        codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
        counts = torch.bincount(codes, minlength=256)[codes.unique()].double()
        assert len(counts) == 24
        uniform_enough(counts, torch.full((24,), 2000 / 24))


def test_pairs_without_replacement():
    """Of equal probabilities, all pairs are drawn as often as any other."""
    counts = torch.zeros(4, 4)
    for seed in range(3000):
        one, two = sample(torch.ones(4), 2, None, "without_replacement", seed=seed).index.sort()[0]
        counts[one, two] += 1
    pairs = counts[torch.triu(torch.ones(4, 4), 1).bool()]
    uniform_enough(pairs, torch.full((6,), 500.0))


@pytest.mark.parametrize("size", [64, 1024])
def test_the_variance_without_replacement_is_that_of_random_draws(size):
    x = cc.ops.halton(size, 1, dtype=F64)[:, 0]
    n = size // 2
    means = [
        (x[sample(torch.ones(size), n, None, "without_replacement", seed=k).index] < 0.5).double()
        for k in range(1000)
    ]
    found = torch.stack([m.mean() for m in means]).var()
    expected = 0.25 / n * (size - n) / (size - 1)
    assert 0.8 < found / expected < 1.25  # 5 standard deviations


@ALL
@pytest.mark.parametrize("n", [64, 50])
def test_draws_do_not_fall_into_step_with_the_pool(n, scheme):
    """A pool with a period: the digits of a Halton sequence."""
    x = cc.ops.halton(16 * n, 1, dtype=F64)[:, 0]
    q = torch.ones(16 * n, dtype=F64)
    for seed in range(20):
        index = sample(q, n, None, scheme, seed=seed).index
        statistic = stats.kstest(x[index].numpy(), "uniform").pvalue
        assert statistic > 1e-5
