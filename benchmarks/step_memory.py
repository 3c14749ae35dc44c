"""Peak memory of a complete training step, and its time at a million points: ``step:memory``."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import colloc as cc
import torch

from benchmarks.harness import Comparison, compare
from benchmarks.step import (
    CASES,
    COMPILED,
    COMPILED_TAYLOR,
    COMPILED_WHOLE,
    EAGER,
    OURS,
    TAYLOR,
    Contenders,
    compiler,
    say,
)

MEMORY_CASE = replace(CASES["helmholtz-2d-128"], points=30_000)
MOST_POINTS = 1_000_000
MIB = 1 << 20


class PeakMemory:
    """The peak of the resident memory while it is entered, above what was there before.

    By the kernel's own high-water mark where it can be set back, by samples otherwise.
    """

    def __enter__(self) -> PeakMemory:
        gc.collect()
        cc.jets.release_memory()  # what is held for the next step counts as this step's
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
        self.before, self.peak, self._done = _resident(), 0, threading.Event()
        self._thread = None
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._thread = threading.Thread(target=self._sample)
            self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._done.wait(0.001):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            self.peak = _status("VmHWM")
        else:
            self._done.set()
            self._thread.join()

    @property
    def extra(self) -> int:
        """Bytes above what was there before."""
        return self.peak - self.before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _measure(label: str, points: int, threads: int) -> dict[str, float]:
    """In a process of its own: three steps after the first one."""
    with compiler(threads):
        step = Contenders(replace(MEMORY_CASE, points=points), torch.float32).make(label)
        step()
        extra, peak, seconds = [], [], []
        for _ in range(3):
            with PeakMemory() as memory:
                start = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - start)
            extra.append(memory.extra)
            peak.append(memory.peak)
    return {
        "extra_mib": statistics.median(extra) / MIB,
        "peak_mib": max(peak) / MIB,
        "seconds": min(seconds),
    }


def _measured(label: str, points: int, threads: int) -> dict[str, Any]:
    """``_measure`` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.step_memory", label, str(points), str(threads)]
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    found: dict[str, Any] = {"contender": label, "points": points}
    say(f"memory: {label}, N = {points}")
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or ["nothing"]
        return found | {"failed": f"exit status {ran.returncode}: {said[-1][:300]}"}
    return found | json.loads(ran.stdout.splitlines()[-1])


def memory_table(measured: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Peak memory as Markdown, and the bars that are not met.

    Ours may take a tenth of eager nested autograd's, and 2 GB in all at the most points.
    """
    lines = [
        "| contender | N | peak above the state before | peak of the process | bar |",
        "|---|---|---|---|---|",
    ]
    missed = []
    extras = {(m["contender"], m["points"]): m.get("extra_mib") for m in measured}
    for m in measured:
        label, points, bar = m["contender"], m["points"], ""
        if "failed" in m:
            lines.append(f"| {label} | {points:,} | {m['failed']} | | |")
            if label in (OURS, EAGER):
                missed.append(f"memory of {label} at N = {points:,}: {m['failed']}")
            continue
        eager = extras.get((EAGER, points))
        if label == OURS and eager is not None:
            share = m["extra_mib"] / eager
            met = share <= 0.1
            bar = f"{share:.3f} of eager, at most 0.1: {'met' if met else 'NOT met'}"
        elif label == OURS and points == MOST_POINTS:
            met = m["peak_mib"] * MIB < 2e9
            bar = f"under 2 GB in all: {'met' if met else 'NOT met'}"
        if bar.endswith("NOT met"):
            missed.append(f"memory of {label} at N = {points:,}: {bar}")
        lines.append(
            f"| {label} | {points:,} | {m['extra_mib']:.0f} MiB | {m['peak_mib']:.0f} MiB | {bar} |"
        )
    return "\n".join(lines), missed


def measure_memory(rounds: int, threads: int) -> Comparison:
    """Peak memory of a step, and whether its time is linear in the number of points."""
    labels = (EAGER, COMPILED, COMPILED_WHOLE, TAYLOR, COMPILED_TAYLOR, OURS)
    measured = [_measured(label, MEMORY_CASE.points, threads) for label in labels]
    measured.append(_measured(OURS, MOST_POINTS, threads))
    text, missed = memory_table(measured)
    work = MEMORY_CASE.work.replace(f"N = {MEMORY_CASE.points}", "N as named")

    sizes = (MOST_POINTS, MOST_POINTS // 2, MOST_POINTS // 4)
    calls: dict[str, Callable[[], object]] = {}
    for points in sizes:
        step = Contenders(replace(MEMORY_CASE, points=points), torch.float32).make(OURS)
        times = MOST_POINTS // points
        label = f"{times} step{'s' * (times > 1)} of {points:,} points"
        calls[label] = lambda step=step, times=times: [step() for _ in range(times)]
    others = list(calls)[1:]
    say(f"memory: {rounds} rounds of {MOST_POINTS:,} points in 1, 2 and 4 steps")
    return compare(
        "step:memory, time of many points",
        f"{OURS}, {work}; linear in N where the ratios are 1",
        calls,
        # A step of 4 times the points takes no longer than 4 / 0.9 times as long.
        bars=dict.fromkeys(others, 0.9),
        rounds=rounds,
        threads=threads,
        notes={
            "memory": measured,
            "peak memory": f"{work}; each in a fresh process, after a first step\n\n{text}",
            "missed": missed,
        },
    )


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
