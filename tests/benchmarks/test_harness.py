"""The benchmark harness itself: its interval, its bars, what it keeps."""

from __future__ import annotations

import json
import math
import time

import pytest

from benchmarks.harness import Ratio, compare, median_interval, save, table


def test_interval_holds_the_median_with_its_probability():
    values = [float(v) for v in range(21)]
    low, high = median_interval(values)
    # Binomial(21, 1/2): leaving out 5 on either side holds it with 97.3 %, 6 with 92.2 %.
    assert (low, high) == (5.0, 15.0)
    outside = 2 * sum(math.comb(21, k) for k in range(6)) / 2**21
    assert outside <= 0.05


def test_bar_is_met_by_the_upper_bound():
    assert Ratio("x", 14.0, 13.0, 15.2, 15.0).met is True
    assert Ratio("x", 14.0, 13.0, 14.9, 15.0).met is False
    assert Ratio("x", 14.0, 13.0, 14.9).met is None


def test_compare_finds_a_known_ratio(tmp_path):
    result = compare(
        "sleep",
        "waiting",
        {"ours": lambda: time.sleep(0.001), "other": lambda: time.sleep(0.004)},
        bars={"other": 2.0},
        rounds=15,
        shortest=0.001,
    )
    (ratio,) = result.ratios
    assert 2.0 < ratio.median < 6.0 and ratio.low <= ratio.median <= ratio.high and ratio.met
    assert "| other |" in table(result) and "2x: met" in table(result)
    record = json.loads(save(tmp_path / "new", "sleep", [result]).read_text())
    assert record["comparisons"][0]["rounds"] == 15
    assert record["comparisons"][0]["threads"] == 1
    assert {"torch", "processor", "colloc", "cores"} <= set(record["facts"])
    assert "sleep" in (tmp_path / "new" / "sleep.md").read_text()


def test_too_few_rounds_and_unknown_bars_are_refused():
    with pytest.raises(ValueError, match="rounds: expected at least 15, got 5"):
        compare("x", "y", {"a": int, "b": int}, rounds=5)
    with pytest.raises(ValueError, match="bars: expected names of contenders"):
        compare("x", "y", {"a": int, "b": int}, bars={"c": 2.0})
