"""How the trainer's step scales over several processes of one machine.

    python -m benchmarks.scaling [--processes 1 2 4] [--points 4096] [--rounds 21] [--output FOLDER]
    python -m benchmarks.scaling --arithmetic        many GPUs, by formulas (scaling_arithmetic.py)

A group of R processes is started as a user would, by ``python -m torch.distributed.run --standalone
--nproc-per-node R``, with gloo on CPUs and NCCL on GPUs (one process a GPU), each process with one
thread. All groups stay; they are timed in turn, in an order drawn anew for every round, and those
that are not timed wait without work. Problem: Helmholtz's residual with walls, 4 x 64, new Halton
points in every step, Adam, float32. Warm-up is not timed.

Strong scaling: --points of all processes together; efficiency T(1) / (R T(R)).
Weak scaling: --points of each process; efficiency T(1) / T(R).
Ceiling: the same by R independent copies of the program of one process, each with one process'
points, that run at the same time and exchange nothing. What cores, caches and memory do not give is
missing there as well, so that efficiency / ceiling is what working together costs: the exchange,
waiting for the slowest, and points, which every process makes for all. The time of a step is that
from the common beginning of --steps steps to the end of the last process, over their number.

Also: processor time that a process uses in a step (on a CPU with two threads a core it rises where
they share one), and, alone, ``average_gradients`` of these parameters and the making of points.

Ratios are taken within a round; reported are medians with the 95 % interval of the median, and of
times medians with quartiles. Before anything is timed, the processes' mean loss must be that of one
process, and at the end all processes of a group must have the same parameters. A process that
fails or does not answer within --timeout seconds ends the whole, with its message.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import scaling_arithmetic as arithmetic
from benchmarks.harness import facts, median_interval
from benchmarks.scaling_processes import FailedProcess, Group, Settings, serve

TOGETHER, COPIES = "together", "copies"
#: Relative difference of mean losses of R processes and of one, in float32.
LOSS_TOLERANCE = 1e-3
#: Calls of the exchange and of the samplers that are timed at once.
CALLS = 30


@dataclass(frozen=True)
class Contender:
    """What is timed in every round."""

    processes: int
    weak: bool
    kind: str  # TOGETHER, COPIES, "exchange" or "points"


@dataclass
class Found:
    """Of one contender in one round: seconds a step, processor seconds of a process."""

    seconds: float
    cpu: float


def contenders(processes: list[int]) -> list[Contender]:
    """One process is the same strong and weak, together and alone."""
    found = []
    for count in processes:
        for weak in (False, True)[: 1 if count == 1 else 2]:
            kinds = [TOGETHER, "points"] if count == 1 else [TOGETHER, COPIES, "points"]
            found += [Contender(count, weak, kind) for kind in kinds]
        if count > 1:
            found.append(Contender(count, False, "exchange"))
    return found


def time_one(group: Group, contender: Contender, steps: int) -> Found:
    """Ask the processes of a group, and put together what they say."""
    if contender.kind in (TOGETHER, COPIES):
        times, calls = group.ask("steps", contender.weak, contender.kind == COPIES, steps), steps
    else:
        times, calls = group.ask(contender.kind, contender.weak, CALLS), CALLS
    begin, end = min(t["begin"] for t in times), max(t["end"] for t in times)
    return Found((end - begin) / calls, statistics.mean(t["cpu"] for t in times) / calls)


def check_losses(groups: dict[int, Group], steps: int) -> None:
    """Warm everything up. The mean loss of several processes must be that of one."""
    (alone,) = groups[1].ask("warm_up", False, False, steps)
    for count, group in groups.items():
        if count == 1:
            continue
        loss = statistics.mean(group.ask("warm_up", False, False, steps))
        if not math.isclose(loss, alone, rel_tol=LOSS_TOLERANCE):
            raise FailedProcess(
                f"{count} processes have a mean loss of {loss} after {steps} steps, one has {alone}"
            )
        for weak, copies in ((True, False), (False, True), (True, True)):
            group.ask("warm_up", weak, copies, steps)


def check_same(groups: dict[int, Group]) -> None:
    """All processes of a group must have the same parameters."""
    for count, group in groups.items():
        for weak in (False, True)[: 1 if count == 1 else 2]:
            sums = group.ask("digest", weak)
            if len(set(sums)) > 1:
                raise FailedProcess(f"{count} processes have different parameters: {sums}")


def measure(
    processes: list[int], settings: Settings, rounds: int, steps: int
) -> dict[Contender, list[Found]]:
    """All rounds.

    Raises:
        FailedProcess: one has failed, does not answer, or computes something else.
    """
    chosen = contenders(processes)
    found: dict[Contender, list[Found]] = {contender: [] for contender in chosen}
    shuffle = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        groups: dict[int, Group] = {}
        try:
            for count in processes:
                groups[count] = Group(count, Path(folder), settings)
            for group in groups.values():
                group.join()
            check_losses(groups, 3)
            for k in range(rounds):
                shuffle.shuffle(chosen)
                for contender in chosen:
                    group = groups[contender.processes]
                    found[contender].append(time_one(group, contender, steps))
                if sys.stderr.isatty():
                    print(f"\rround {k + 1} of {rounds}", end="", file=sys.stderr, flush=True)
            check_same(groups)
            for group in groups.values():
                group.leave()
        finally:
            for group in groups.values():
                group.kill()
    return found


# ---- the record ----------------------------------------------------------------------------------


def _spread(values: list[float]) -> list[float]:
    """Median and quartiles."""
    return [float(np.quantile(values, q)) for q in (0.5, 0.25, 0.75)]


def _ratio(values: list[float]) -> list[float]:
    """Median and its interval."""
    return [statistics.median(values), *median_interval(values)]


def rows(found: dict[Contender, list[Found]]) -> list[dict[str, Any]]:
    """For each number of processes and each kind of scaling what is reported; seconds."""
    one = [f.seconds for f in found[Contender(1, False, TOGETHER)]]
    made = []
    for contender, measured in found.items():
        count, weak = contender.processes, contender.weak
        if contender.kind != TOGETHER:
            continue
        times = [f.seconds for f in measured]
        share = 1 if weak else count
        efficiency = [t1 / (share * t) for t1, t in zip(one, times, strict=True)]
        row: dict[str, Any] = {
            "processes": count,
            "weak": weak,
            "step": _spread(times),
            "cpu": statistics.median(f.cpu for f in measured),
            "efficiency": _ratio(efficiency),
            "points": _spread([f.seconds for f in found[Contender(count, weak, "points")]]),
            "rounds": [asdict(f) for f in measured],
        }
        if count > 1:
            copies = found[Contender(count, weak, COPIES)]
            alone = [f.seconds for f in copies]
            exchange = found[Contender(count, False, "exchange")]
            row |= {
                "copies": _spread(alone),
                "copies cpu": statistics.median(f.cpu for f in copies),
                "ceiling": _ratio([t1 / (share * t) for t1, t in zip(one, alone, strict=True)]),
                "of ceiling": _ratio([a / t for a, t in zip(alone, times, strict=True)]),
                "exchange": _spread([f.seconds for f in exchange]),
                "exchange cpu": statistics.median(f.cpu for f in exchange),
                "copies rounds": [asdict(f) for f in copies],
                "exchange rounds": [asdict(f) for f in exchange],
            }
        made.append(row)
    return sorted(made, key=lambda row: (row["weak"], row["processes"]))


def _ms(values: list[float]) -> str:
    middle, low, high = (1e3 * value for value in values)
    return f"{middle:.3g} ms ({low:.3g} to {high:.3g})"


def _percent(values: list[float]) -> str:
    middle, low, high = values
    return f"{middle:.0%} ({low:.0%} to {high:.0%})"


def table(made: list[dict[str, Any]], points: int, walls: int) -> str:
    """Markdown."""
    lines = []
    for weak in (False, True):
        kind = "Weak" if weak else "Strong"
        of = "each process" if weak else "all processes"
        lines += [
            f"### {kind} scaling: {points} + {walls} points of {of}",
            "",
            "| processes | step | independent copies | processor time a process, copies' | "
            "efficiency | ceiling: copies | of the ceiling | exchange alone | points alone |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in made:
            several = row["processes"] > 1
            if row["weak"] != weak and several:
                continue
            cpu = f"{1e3 * row['cpu']:.3g} ms"
            cells = [
                f"{row['processes']}",
                _ms(row["step"]),
                _ms(row["copies"]) if several else "",
                cpu + (f", {1e3 * row['copies cpu']:.3g} ms" if several else ""),
                _percent(row["efficiency"]) if several else "",
                _percent(row["ceiling"]) if several else "",
                _percent(row["of ceiling"]) if several else "",
                _ms(row["exchange"]) if several else "",
                _ms(row["points"]),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def save(folder: Path, record: dict[str, Any], text: str) -> Path:
    """scaling.json (everything) and scaling.md."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scaling.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    said = ", ".join(f"{key} {value}" for key, value in record["facts"].items() if value)
    path.with_suffix(".md").write_text(f"## scaling\n{said}\n\n{text}\n")
    return path


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--processes", type=int, nargs="+", default=[1, 2, 4], help="1 is always there")
    add("--points", type=int, default=4096, help="inside; the walls get an eighth (4096)")
    add("--width", type=int, default=64)
    add("--layers", type=int, default=4)
    add("--rounds", type=int, default=21)
    add("--steps", type=int, default=8, help="of a contender in a round (8)")
    add("--device", choices=("cpu", "cuda"), help="cuda where there is one")
    add("--graph", action="store_true", help="steps as CUDA graphs")
    add("--timeout", type=float, default=120.0, help="seconds to wait for a process (120)")
    add("--output", type=Path, default=Path("benchmarks/results/local"), help="folder of results")
    add("--member", help=argparse.SUPPRESS)  # a process of a group: where it is told what to do
    add("--arithmetic", action="store_true", help="print what many GPUs would take, and no more")
    of = parser.add_argument_group("of --arithmetic").add_argument
    machine = arithmetic.Machine()
    of("--gpus", type=int, nargs="+", default=[8, 64, 1024], help="8 64 1024")
    of("--points-a-gpu", type=int, default=100_000, help="weak scaling (100000)")
    of("--points-of-all", type=int, default=1_000_000, help="strong scaling (1000000)")
    of("--tflops", type=float, help="rate of a step, in place of the measured steps of an H100")
    of("--node", type=int, default=machine.node, help="GPUs a node (8)")
    of("--inside", type=float, default=machine.inside / 1e9, help="GB/s a GPU in a node (360)")
    of("--between", type=float, default=machine.between / 1e9, help="GB/s a GPU between (40)")
    of("--latencies", type=float, default=1.0, help="factor of NCCL's latencies (1)")
    return parser


def main() -> int:
    parser = options()
    asked = parser.parse_args()
    for name, value in vars(asked).items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, (int, float)) and not isinstance(n, bool) and n <= 0 for n in numbers):
            parser.error(f"--{name.replace('_', '-')}: expected more than 0, got {value}")
    if asked.arithmetic:
        machine = arithmetic.Machine(
            asked.node, asked.inside * 1e9, asked.between * 1e9, asked.latencies
        )
        print(arithmetic.table(
            asked.gpus, asked.points_a_gpu, asked.points_of_all, machine, asked.tflops
        ))  # fmt: skip
        return 0
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    settings = Settings(
        device, asked.points, max(1, asked.points // 8), asked.layers, asked.width, asked.graph,
        asked.timeout,
    )  # fmt: skip
    if asked.member:
        return serve(asked.member, settings)
    processes = sorted({1, *asked.processes})
    if device == "cuda" and processes[-1] > torch.cuda.device_count():
        there = torch.cuda.device_count()
        parser.error(f"--processes: expected at most {there}, one a GPU, got {processes[-1]}")
    if settings.walls < processes[-1]:
        parser.error(f"--points: expected at least {8 * processes[-1]}, got {asked.points}")
    begin = time.perf_counter()
    print(f"processes {processes}: starting", flush=True)
    try:
        made = rows(measure(processes, settings, asked.rounds, asked.steps))
    except FailedProcess as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    count = arithmetic.parameters(asked.layers, asked.width)
    text = (
        f"Helmholtz's residual and walls, {asked.layers} x {asked.width} tanh, {count:,} "
        f"parameters ({4 * (count + arithmetic.FLAGS) / 1e6:.2g} MB exchanged), new Halton points "
        f"every step, Adam, float32; {'nccl' if device == 'cuda' else 'gloo'}, 1 thread a process, "
        f"{os.cpu_count()} cores, {asked.rounds} rounds of {asked.steps} steps. Times: median "
        "(quartiles); ratios within a round: median (95 % of the median).\n\n"
        + table(made, settings.points, settings.walls)
    )
    record = {
        "facts": facts(),
        "threads a process": 1,
        "settings": asdict(settings),
        "rounds": asked.rounds,
        "steps a round": asked.steps,
        "seconds": time.perf_counter() - begin,
        "rows": made,
    }
    path = save(asked.output, record, text)
    print(f"\n{text}\nsaved {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
