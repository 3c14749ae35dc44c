"""Timing on a GPU: contenders as replays of CUDA graphs where they can be captured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.harness import Comparison, compare

Call = Callable[[], object]

#: Whether contenders are called once each and not timed: that fills the compiler's cache.
WARM = [False]


def captured(call: Call, warm_ups: int = 3) -> tuple[Call, torch.cuda.CUDAGraph]:
    """``call`` as the replay of a CUDA graph.

    Raises:
        RuntimeError: the call waits for the GPU, or does something else that has no place there.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_ups):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay, graph


def compare_on_gpu(
    name: str,
    work: str,
    contenders: Mapping[str, Call],
    *,
    moved: int = 0,
    ceiling: float = 0.0,
    eager: bool = True,
    waits: bool = False,
    bars: Mapping[str, float] | None = None,
    rounds: int = 15,
    notes: dict[str, Any] | None = None,
) -> list[Comparison]:
    """The contenders as graphs (kernels alone), and as calls from Python.

    Args:
        name: of the comparison.
        work: what every contender computes.
        contenders: label -> a call, warmed up; the first is ours. What cannot be captured is timed
            as a call in both comparisons, and named in the notes.
        moved: bytes that must be read or written at least.
        ceiling: measured bytes a second of a copy; with ``moved`` the floor of the time.
        waits: whether a contender waits for the GPU, so that none is captured: a capture that
            fails leaves torch's generator of random numbers useless.
        eager: whether the calls from Python are timed too.
        bars: label of another contender -> claimed ratio, of the first comparison.
        rounds: at least 15.
        notes: further facts to keep.
    """
    if WARM[0]:
        for call in contenders.values():
            call()
        return []
    replays: dict[str, Call] = {}
    graphs, missing = [], {}
    for label, call in contenders.items():
        if waits:
            replays[label] = call
            continue
        try:
            replays[label], graph = captured(call)
            graphs.append(graph)
        except Exception as error:
            torch.cuda.synchronize()
            missing[label] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
            replays[label] = call
    facts = dict(notes or {})
    if missing:
        facts["not captured"] = missing
    found = [
        compare(
            name, work, replays, bars=bars, rounds=rounds, device="cuda", shortest=0.004,
            notes=facts,
        )
    ]  # fmt: skip
    if moved and ceiling:
        seconds = next(iter(found[0].seconds.values()))
        floor = moved / ceiling
        found[0].notes |= {
            "bytes": moved, "floor, us": 1e6 * floor, "share of copy bandwidth": floor / seconds
        }  # fmt: skip
        found[0] = dataclasses.replace(
            found[0],
            work=f"{work}; {floor / seconds:.0%} of the copy bandwidth "
            f"({moved / 1e6:.0f} MB, floor {1e6 * floor:.0f} us)",
        )
    if eager:
        found.append(
            compare(
                f"{name}, called from Python", work, contenders, rounds=rounds, device="cuda",
                shortest=0.004,
            )
        )  # fmt: skip
    del graphs
    return found
