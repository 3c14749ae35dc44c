"""``python -m benchmarks.gpu_campaign``: everything that must be seen on a GPU, in one call.

The tests that need a GPU, compute-sanitizer on small shapes, what the card itself gives, the ops
against their floors, whole training steps, the Helmholtz example at its source's size. One JSON
holds it all, written after every stage, so that a call that is cut short keeps what it had; stages
that it holds already are not run again.
``python -m benchmarks.gpu_campaign families:halton steps:helmholtz-2d-64@2000`` runs parts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SANITIZER = ("memcheck", "racecheck", "initcheck")
CHECKS = ("tests", *(f"sanitizer:{tool}" for tool in SANITIZER))
TIMINGS = ("ceilings", "families", "steps")


def _run(command: list[str], seconds: float, log: Path, **variables: str) -> dict[str, Any]:
    start = time.monotonic()
    with log.open("w") as file:
        try:
            code: int | str = subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                cwd=ROOT,
                env=os.environ | variables,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {seconds:.0f} s"
        except OSError as error:
            code = str(error)
    lines = log.read_text(errors="replace").splitlines()
    return {"exit": code, "seconds": time.monotonic() - start, "last lines": lines[-12:]}


def tests(folder: Path, seconds: float, jobs: int) -> dict[str, Any]:
    """All tests marked ``cuda``, in several processes."""
    files = [str(p) for p in (ROOT / "tests").rglob("test_*.py") if "mark.cuda" in p.read_text()]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-m", "cuda", "-n", str(jobs), "-rf"]
    command += ["--dist", "load", "-p", "no:cacheprovider"]
    return _run(command, seconds, folder / "tests.log")


def sanitizer(tool: str, folder: Path, seconds: float) -> dict[str, Any]:
    """One tool of compute-sanitizer over every op on small shapes."""
    log = folder / f"sanitizer-{tool}.log"
    command = ["compute-sanitizer", "--tool", tool, "--print-limit", "20"]
    found = _run(
        [*command, sys.executable, "-m", "benchmarks.gpu.small"],
        seconds,
        log,
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
    )
    lines = log.read_text(errors="replace").splitlines()
    found["summary"] = [line for line in lines if "SUMMARY" in line]
    found["errors in"] = sorted({line.strip()[:200] for line in lines if " at " in line})[:20]
    return found


def warm(stage: str, folder: Path, seconds: float) -> dict[str, Any]:
    """One stage in a process of its own, without timing it."""
    log = folder / f"warm-{stage.replace(':', '-').replace('@', '-')}.log"
    command = [sys.executable, "-m", "benchmarks.gpu_campaign", "--warm", stage]
    return _run(command, seconds, log)


def facts() -> dict[str, Any]:
    """The card, its clocks as they are found, and versions."""
    from benchmarks.harness import facts as of_machine

    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.total"
    try:
        card = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError as error:
        card = str(error)
    return of_machine() | {query: card}


def timings(
    stage: str,
    part: str | None,
    record: dict[str, Any],
    rounds: int,
    out: Path,
    seconds: float = math.inf,
) -> None:
    """One stage of figures, in this process; the record is written after every comparison."""
    import torch

    from benchmarks.gpu import ceilings, families, helmholtz_full, steps
    from benchmarks.harness import table

    torch.manual_seed(0)
    if stage == "ceilings":
        record["ceilings"] = ceilings.run()
        print(json.dumps(record["ceilings"], indent=1), flush=True)
        return
    if stage == "helmholtz":
        helmholtz_full.run(str(part), record, lambda: write(record, out), seconds)
        return
    kept = record.setdefault("comparisons", {})
    if stage == "million":
        record["million points"] = steps.million()
        print(json.dumps(record["million points"], indent=1), flush=True)
        return
    if stage == "families":
        copy = record.get("ceilings", {}).get("copy") or ceilings.copy_bandwidth()
        found = families.FAMILIES[str(part)](copy, rounds)
    elif stage == "trainer":
        found = steps.run_trainer(rounds)
    else:
        found = steps.run(rounds, [str(part)], compiled=not os.environ.get("NO_COMPILED"))
    for comparison in found:
        kept[comparison.name] = asdict(comparison)
        print(table(comparison), end="\n\n", flush=True)
        write(record, out)


def write(record: dict[str, Any], out: Path) -> None:
    """Whole or not at all."""
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(record, indent=1, default=str) + "\n")
    beside.replace(out)


def all_stages() -> list[str]:
    """The names of all stages, in order."""
    from benchmarks.gpu import families, helmholtz_full, steps

    return [
        *CHECKS,
        "ceilings",
        "trainer",
        "million",
        *(f"families:{name}" for name in families.FAMILIES),
        *(f"steps:{name}@{points}" for name, points in steps.STEPS),
        *(f"helmholtz:{name}" for name in helmholtz_full.VARIANTS),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_campaign", description=__doc__)
    parser.add_argument("stages", nargs="*", help="of those that --list shows; all")
    parser.add_argument("--list", action="store_true", help="the stages")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/local")
    parser.add_argument("--limit", type=float, default=480, help="seconds in all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 4))
    parser.add_argument("--warm", action="store_true", help="fill the compiler's cache alone")
    parser.add_argument("--again", action="store_true", help="stages that the record holds, too")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(all_stages()))
        return 0
    import torch

    from benchmarks.gpu import timing

    if not torch.cuda.is_available():
        parser.error("torch sees no NVIDIA GPU here; see `colloc info`")
    end = time.monotonic() + arguments.limit
    known = all_stages()
    wanted = [
        stage
        for stage in known
        if not arguments.stages or {stage, stage.split(":")[0]} & set(arguments.stages)
    ]
    if arguments.warm:
        timing.WARM[0] = True
        for stage in wanted:
            name, _, part = stage.partition(":")
            if name in ("families", "steps"):
                timings(name, part, {}, arguments.rounds, Path(os.devnull))
        return 0
    if not wanted:
        parser.error(f"stages: expected some of {', '.join(known)}")
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "campaign.json"
    record: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    done: dict[str, Any] = record.setdefault("stages", {})
    if arguments.again:
        done.clear()
    record["facts"] = facts()
    write(record, out)
    failed = []

    def left() -> float:
        return max(1.0, end - time.monotonic())

    checks = [stage for stage in wanted if stage in CHECKS and stage not in done]
    # What is timed later is compiled meanwhile.
    plain = os.environ.get("NO_COMPILED") is not None
    compiled = [
        s for s in wanted if s.startswith("families:" if plain else ("families:", "steps:"))
    ]
    with ThreadPoolExecutor(len(CHECKS)) as pool, ThreadPoolExecutor(4) as beside:
        if checks:
            for stage in compiled:
                beside.submit(warm, stage, folder, left())
        jobs = {
            stage: pool.submit(tests, folder, left(), arguments.jobs)
            if stage == "tests"
            else pool.submit(sanitizer, stage.split(":")[1], folder, left())
            for stage in checks
        }
        for stage, job in jobs.items():
            record["stages"][stage] = job.result()
            write(record, out)
            print(stage, json.dumps(record["stages"][stage], indent=1), flush=True)
            if record["stages"][stage]["exit"] != 0:
                failed.append(stage)
    for stage in wanted:
        if stage in CHECKS or stage in done:
            continue
        if left() < 5:
            failed.append(f"{stage}: no time left")
            continue
        name, _, part = stage.partition(":")
        start = time.monotonic()
        try:
            timings(name, part or None, record, arguments.rounds, out, left())
        except Exception as error:
            failed.append(f"{stage}: {type(error).__name__}: {str(error)[:300]}")
            continue
        finally:
            torch.cuda.empty_cache()
            print(f"{stage}: {time.monotonic() - start:.0f} s", flush=True)
        done[stage] = {"seconds": time.monotonic() - start}
        write(record, out)
    record["failed"] = failed
    write(record, out)
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
