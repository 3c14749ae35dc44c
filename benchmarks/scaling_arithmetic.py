"""What a step on many GPUs would take, by formulas: ``python -m benchmarks.scaling --arithmetic``.

Nothing here is measured on several GPUs. A step of R processes with N points each is

    T(R, N) = compute(N) + exchange(R) + points(R N)

one after the other, as the trainer does them; without the host's time, and without waiting for the
slowest process.

*compute*: the line through our measured steps on one H100 (captured, Adam inside; MEASURED, from
benchmarks/results/nvidia-h100/campaign.json). A million points took 22 to 32 % longer than these
lines say; with that as the step of one GPU strong scaling would exceed 100 %, so it is left out.
3 * 2 * K * N * P operations, K = 4 components of a Laplacian in two inputs, P parameters, say how
to come from one depth to another. --tflops puts one rate in place of all that.

*exchange*: one all-reduce of B = 4 (P + FLAGS) bytes, gradients and a few flags:

    ring: base + (2 (R - 1) - h) * inside + h * between + 2 (R - 1) / R * B / bandwidth
    tree: base + 2 ((g - 1) * inside + log2(R / g) * between) + 2 * B / (0.6 * bandwidth)

with g GPUs a node and h = 2 (R / g - 1) hops between nodes. That is the model by which NCCL
chooses between the two (src/graph/tuning.cc of 2.28, as are the latencies in PROTOCOLS); the
protocol is the fastest of its three.

*points*: a sampler makes the points of all processes in every process, and keeps its share. Halton
in two dimensions by the measured op alone; what else a set of points holds is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from colloc.training.processes import FLAGS

COMPONENTS = 4
#: Widths -> hidden layers, and seconds of a step at so many points.
MEASURED: dict[int, tuple[int, dict[int, float]]] = {
    64: (6, {2000: 0.1442e-3, 100_000: 1.403e-3}),
    128: (4, {2000: 0.1479e-3, 100_000: 2.448e-3}),
    512: (6, {2000: 1.827e-3, 20_000: 15.64e-3}),
}
#: Values -> seconds of Halton's points in float32: 100,000 x 2 and 16.8 million x 4.
HALTON = {200_000: 4.47e-6, 67_108_864: 111e-6}
#: (layers, width) of the table.
NETWORKS = ((4, 64), (4, 128), (6, 512))


@dataclass(frozen=True)
class Protocol:
    """Seconds of (ring, tree): to begin with, a hop inside of a node, one between two; the share
    of the bandwidth that is left, and the most bytes a second (in one node, over several)."""

    base: tuple[float, float]
    inside: tuple[float, float]
    between: tuple[float, float]
    share: float
    most: tuple[float, float] = (math.inf, math.inf)


_US = 1e-6
PROTOCOLS = {
    "LL": Protocol((6.6 * _US, 6.8 * _US), (0.6 * _US, 0.6 * _US), (2.7 * _US, 5.0 * _US), 0.5,
                   (141e9, 35e9)),
    "LL128": Protocol((14 * _US, 14 * _US), (1.9 * _US, 1.25 * _US), (4.0 * _US, 8.5 * _US), 0.92),
    "Simple": Protocol((8.4 * _US, 8.4 * _US), (3.4 * _US, 4.0 * _US), (14 * _US, 14 * _US), 1.0),
}  # fmt: skip
#: A hop of a ring over several nodes costs at least the network's overhead (of Intel's CPUs).
OVERHEAD = 1e-6
#: What a tree keeps of the bandwidth at some 0.05 to 10 MB (0.92 times NCCL's corrections).
TREE_SHARE = 0.6


@dataclass(frozen=True)
class Machine:
    """What is assumed: nodes of so many GPUs, bytes a second of each GPU, a factor of latencies.

    The bandwidths are 80 % of 450 GB/s (NVLink 4, one way) and of 400 Gbit/s for each GPU.
    """

    node: int = 8
    inside: float = 360e9
    between: float = 40e9
    latencies: float = 1.0


def parameters(layers: int, width: int, inputs: int = 2, outputs: int = 1) -> int:
    """Numbers that a perceptron has."""
    hidden = (layers - 1) * (width * width + width)
    return inputs * width + width + hidden + width * outputs + outputs


def operations(count: int, points: float) -> float:
    """Of a step: forward and twice that backwards, K components, a product of P each."""
    return 3 * 2 * COMPONENTS * points * count


def _line(known: dict[int, float], at: float) -> float:
    """The line through two known values."""
    low, high = sorted(known)
    return known[low] + (known[high] - known[low]) * (at - low) / (high - low)


def compute(layers: int, width: int, points: float, tflops: float | None = None) -> float:
    """Seconds of a step of one GPU.

    Raises:
        ValueError: no step of this width was measured, and no rate is given.
    """
    count = parameters(layers, width)
    if tflops is not None:
        return operations(count, points) / (tflops * 1e12)
    if width not in MEASURED:
        raise ValueError(f"width: expected one of {sorted(MEASURED)}, or tflops, got {width}.")
    deep, known = MEASURED[width]
    return _line(known, points) * count / parameters(deep, width)


def exchange(count: int, processes: int, machine: Machine) -> dict[str, float]:
    """Seconds to all-reduce the gradients of ``count`` parameters: {"ring": , "tree": }."""
    if processes == 1:
        return {"ring": 0.0, "tree": 0.0}
    size = 4 * (count + FLAGS)
    node = min(machine.node, processes)
    nodes = math.ceil(processes / node)
    many = nodes > 1
    # Each GPU has its own way out of the node, and the rings use all of them.
    wire = min(machine.inside, node * machine.between) if many else machine.inside
    hops, outside = 2 * (processes - 1), 2 * (nodes - 1)
    rings, trees = [], []
    for protocol in PROTOCOLS.values():
        bandwidth = min(wire * protocol.share, protocol.most[many])
        inside = max(protocol.inside[0], OVERHEAD if many else 0.0)
        wait = protocol.base[0] + (hops - outside) * inside + outside * protocol.between[0]
        moved = 2 * (processes - 1) / processes * size
        rings.append(machine.latencies * wait + moved / bandwidth)
        levels = math.ceil(math.log2(nodes))
        wait = protocol.base[1]
        wait += 2 * ((node - 1) * protocol.inside[1] + levels * protocol.between[1])
        trees.append(machine.latencies * wait + 2 * size / (TREE_SHARE * bandwidth))
    return {"ring": min(rings), "tree": min(trees)}


def making(points: float) -> float:
    """Seconds to make so many points in the plane."""
    return max(0.0, _line(HALTON, 2 * points))


@dataclass(frozen=True)
class Estimate:
    """One line of the table; seconds."""

    points: float
    compute: float
    ring: float
    tree: float
    making: float
    efficiency: float

    @property
    def step(self) -> float:
        """All of it."""
        return self.compute + min(self.ring, self.tree) + self.making


def estimate(
    layers: int,
    width: int,
    processes: int,
    points: float,
    machine: Machine,
    *,
    weak: bool,
    tflops: float | None = None,
) -> Estimate:
    """A step of R processes; ``points`` of each where ``weak``, else of all.

    The efficiency is T(1, N) / T(R, N), or T(1, N) / (R T(R, N / R)).
    """
    mine = points if weak else points / processes
    found = exchange(parameters(layers, width), processes, machine)
    work, made = compute(layers, width, mine, tflops), making(mine * processes)
    one = compute(layers, width, points, tflops) + making(points)
    step = work + min(found.values()) + made
    efficiency = one / (step if weak else processes * step)
    return Estimate(mine, work, found["ring"], found["tree"], made, efficiency)


def points_for(
    layers: int,
    width: int,
    processes: int,
    machine: Machine,
    efficiency: float = 0.9,
    tflops: float | None = None,
) -> float:
    """Points a GPU from which on the exchange leaves this share of a step to the compute."""
    cost = min(exchange(parameters(layers, width), processes, machine).values())
    wanted = cost * efficiency / (1 - efficiency)
    low, high = 0.0, 1e9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if compute(layers, width, middle, tflops) < wanted else (
            low, middle)  # fmt: skip
    return high


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-4 else f"{1e6 * seconds:.2g} us"


def table(
    gpus: Sequence[int],
    a_gpu: int,
    of_all: int,
    machine: Machine,
    tflops: float | None = None,
) -> str:
    """Markdown: weak scaling at ``a_gpu`` points each, strong scaling of ``of_all`` points."""
    rate = "measured steps of one H100" if tflops is None else f"{tflops:g} TFLOP/s"
    lines = [
        f"By formulas, not measured: {rate}; nodes of {machine.node} GPUs, "
        f"{machine.inside / 1e9:g} GB/s a GPU inside and {machine.between / 1e9:g} GB/s between; "
        f"NCCL's latencies times {machine.latencies:g}.",
    ]
    for weak, points in ((True, a_gpu), (False, of_all)):
        kind = "Weak" if weak else "Strong"
        lines += [
            "",
            f"{kind} scaling: {points:,} points {'a GPU' if weak else 'of all GPUs'}",
            "",
            "| network, parameters | GPUs | points a GPU | operations a GPU | compute | through a "
            "link | exchange: ring | tree | making all points | efficiency |"
            + (" points a GPU for 90 % |" if weak else ""),
            "|---" * (11 if weak else 10) + "|",
        ]
        for layers, width in NETWORKS:
            count = parameters(layers, width)
            for processes in gpus:
                e = estimate(layers, width, processes, points, machine, weak=weak, tflops=tflops)
                moved = 2 * (processes - 1) / processes * 4 * (count + FLAGS)
                cells = [
                    f"{layers} x {width}, {count:,}",
                    f"{processes}",
                    f"{e.points:,.0f}",
                    f"{operations(count, e.points) / 1e12:.2g} TFLOP",
                    _time(e.compute),
                    f"{moved / 1e6:.2g} MB",
                    _time(e.ring),
                    _time(e.tree),
                    _time(e.making),
                    f"{e.efficiency:.0%}",
                ]
                if weak:
                    fewest = points_for(layers, width, processes, machine, 0.9, tflops)
                    cells.append(f"{fewest:,.0f}" if fewest > 1 else "any")
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
