"""A chi-square test of counts."""

from __future__ import annotations

from scipy import stats

#: Level of the tests; their seeds are fixed.
LEVEL = 1e-4


def uniform_enough(counts, expected):
    """Neither too far from the expectation nor too near to it to be random."""
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    p = stats.chi2.cdf(statistic, len(expected) - 1)
    assert LEVEL / 2 < p < 1 - LEVEL / 2
