"""Paired, interleaved timing of contenders that do the same work.

One process, one round after another; in every round each contender is timed once, in an order
drawn anew, so that a slow phase of a shared machine hits all of them alike. What counts is the
ratio within a round; reported are its median and the 95 % confidence interval of that median
from order statistics (distribution-free). A bar is met when the interval's upper end reaches it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import colloc
import numpy as np
import torch

#: Below this many rounds an interval for the median says too little.
FEWEST_ROUNDS = 15


@dataclass
class Ratio:
    """How many times faster ours is than one other contender."""

    other: str
    median: float
    low: float
    high: float
    bar: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        return None if self.bar is None else self.high >= self.bar


@dataclass
class Comparison:
    """The outcome of one comparison; seconds a call."""

    name: str
    work: str
    ours: str
    threads: int
    device: str
    rounds: int
    seconds: dict[str, float]
    spread: dict[str, tuple[float, float]]
    ratios: list[Ratio]
    notes: dict[str, Any] = field(default_factory=dict)


def median_interval(values: list[float], level: float = 0.95) -> tuple[float, float]:
    """The narrowest interval of order statistics that holds the median with probability level."""
    ordered, n = sorted(values), len(values)
    tail, below = (1 - level) / 2, 0.0
    skip = 0
    for k in range(n // 2):
        below += math.comb(n, k) / 2**n
        if below > tail:
            break
        skip = k + 1
    if skip == 0:
        return ordered[0], ordered[-1]
    return ordered[skip - 1], ordered[n - skip]


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _seconds(call: Callable[[], object], repeats: int, device: str) -> float:
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronise(device)
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], object], device: str, shortest: float) -> int:
    """How many calls make one timing long enough for the clock and the scheduler."""
    for _ in range(3):
        once = _seconds(call, 1, device)
    return max(1, min(10_000, math.ceil(shortest / max(once, 1e-9))))


def compare(
    name: str,
    work: str,
    contenders: Mapping[str, Callable[[], object]],
    *,
    bars: Mapping[str, float] | None = None,
    rounds: int = 21,
    threads: int = 1,
    device: str = "cpu",
    shortest: float = 0.02,
    notes: dict[str, Any] | None = None,
) -> Comparison:
    """Time contenders; the first is ours, the others are what it is compared with.

    Args:
        name: short name of the comparison.
        work: what every contender computes, with sizes and dtype.
        contenders: label -> a call without arguments. Compiled ones are warmed up here.
        bars: label of another contender -> the ratio that is claimed.
        rounds: at least 15.
        threads: torch's intra-op threads during the comparison.
        device: "cpu", or "cuda" to synchronise around every timing.
        shortest: seconds that one timing lasts at least (calls are repeated to fill them).
        notes: further facts to keep in the record.
    """
    if rounds < FEWEST_ROUNDS:
        raise ValueError(f"rounds: expected at least {FEWEST_ROUNDS}, got {rounds}.")
    unknown = set(bars or {}) - set(contenders)
    if unknown:
        raise ValueError(f"bars: expected names of contenders, got {sorted(unknown)}.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        repeats = {k: _repeats(call, device, shortest) for k, call in contenders.items()}
        times: dict[str, list[float]] = {label: [] for label in contenders}
        order = list(contenders)
        shuffle = random.Random(0)
        for _ in range(rounds):
            shuffle.shuffle(order)
            for label in order:
                times[label].append(_seconds(contenders[label], repeats[label], device))
    finally:
        torch.set_num_threads(before)
    ours, *others = contenders
    ratios = []
    for other in others:
        each = [slow / fast for slow, fast in zip(times[other], times[ours], strict=True)]
        low, high = median_interval(each)
        ratios.append(Ratio(other, statistics.median(each), low, high, (bars or {}).get(other)))
    return Comparison(
        name=name,
        work=work,
        ours=ours,
        threads=threads,
        device=device,
        rounds=rounds,
        seconds={label: statistics.median(values) for label, values in times.items()},
        spread={
            label: (float(np.quantile(values, 0.25)), float(np.quantile(values, 0.75)))
            for label, values in times.items()
        },
        ratios=ratios,
        notes=notes or {},
    )


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def table(comparison: Comparison) -> str:
    """A readable table of one comparison (Markdown)."""
    c = comparison
    lines = [
        f"### {c.name}",
        f"{c.work}; {c.threads} thread{'s' * (c.threads > 1)}, {c.device}, {c.rounds} rounds",
        "",
        "| contender | median (quartiles) | ours is faster by (95 % of the median) | bar |",
        "|---|---|---|---|",
    ]
    by_label = {ratio.other: ratio for ratio in c.ratios}
    for label, seconds in c.seconds.items():
        low, high = c.spread[label]
        cells = [label, f"{_duration(seconds)} ({_duration(low)} to {_duration(high)})", "", ""]
        if label in by_label:
            ratio = by_label[label]
            cells[2] = f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"
            if ratio.bar is not None:
                cells[3] = f"{ratio.bar:g}x: {'met' if ratio.met else 'NOT met'}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def facts() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    from colloc import _C

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "colloc": colloc.__version__,
        "compiler": _C.build_info()["compiler"],
        "cpu_capability": _C.cpu_capability(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    try:
        import scipy

        found["scipy"] = scipy.__version__
    except ImportError:
        found["scipy"] = None
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def save(folder: Path, name: str, comparisons: list[Comparison]) -> Path:
    """Write name.json (everything) and name.md (the tables); returns the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"facts": facts(), "comparisons": [asdict(c) for c in comparisons]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    said = ", ".join(f"{key} {value}" for key, value in record["facts"].items() if value)
    text = f"## {name}\n{said}\n\n" + "\n\n".join(map(table, comparisons)) + "\n"
    (folder / f"{name}.md").write_text(text)
    return path
