"""Importance sampling of a pool: norms, probabilities, draw and weights, against torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import colloc as cc
import torch
from torch import Tensor

from benchmarks.harness import Comparison, compare

N, COLUMNS, FLOOR = 1_000_000, 4, 1e-3
MULTINOMIAL, SORTED = "torch.multinomial", "torch.searchsorted"
#: Faster by so much with as many draws as points (one thread of a CPU).
BARS = {MULTINOMIAL: 10.0, SORTED: 2.5}
NOTES = {
    "colloc": "cc.ops.importance_probabilities(rows, area, norm=True, relative_floor=1e-3), then "
    "cc.ops.importance_sample(q, n, area); stratified against the second contender",
    MULTINOMIAL: "vector_norm, floor, area, normalisation in float32; torch.multinomial with "
    "replacement, whose draws are not sorted; weights",
    SORTED: "the same probabilities; cumsum in float64 and searchsorted of (j + U_j) / n: "
    "stratified draws",
}


def probabilities(rows: Tensor, area: Tensor | None) -> tuple[Tensor, Tensor | float]:
    """q and f, in float32 as a user would write them."""
    measure = torch.linalg.vector_norm(rows, dim=1)
    if area is None:
        q = measure + FLOOR * measure.mean()
        return q / q.sum(), 1.0 / len(rows)
    share = area[:, 0] / area.sum()
    q = (measure + FLOOR * (measure * share).sum()) * share
    return q / q.sum(), share


def weights(q: Tensor, share: Tensor | float, index: Tensor) -> Tensor:
    drawn = share[index] if isinstance(share, Tensor) else share
    return drawn / q[index]


def by_multinomial(rows: Tensor, area: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
    q, share = probabilities(rows, area)
    index = torch.multinomial(q, n, replacement=True)
    return index, weights(q, share, index)


def by_search(rows: Tensor, area: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
    q, share = probabilities(rows, area)
    sums = q.cumsum(0, dtype=torch.float64)
    places = torch.arange(n, dtype=torch.float64, device=rows.device)
    places = (places + torch.rand_like(places)) * (sums[-1] / n)
    index = torch.searchsorted(sums, places, right=True).clamp_(max=len(rows) - 1)
    return index, weights(q, share, index)


def ours(rows: Tensor, area: Tensor | None, n: int, scheme: str) -> tuple[Tensor, Tensor]:
    q = cc.ops.importance_probabilities(rows, area, norm=True, relative_floor=FLOOR)
    return cc.ops.importance_sample(q, n, area, scheme)


Draw = Callable[..., tuple[Tensor, Tensor]]


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N, COLUMNS, generator=generator).to(device)
    area = (0.1 + torch.rand(N, 1, generator=generator)).to(device)
    torch.manual_seed(0)
    for n, share in ((N, area), (N, None), (N // 10, area), (N // 100, area)):
        for other, draw, scheme in (
            (MULTINOMIAL, by_multinomial, "multinomial"),
            (SORTED, by_search, "stratified"),
        ):
            _check(rows, share, n, draw, scheme)
            with_area = "with" if share is not None else "without"
            yield compare(
                f"importance sampling, {scheme}, {n:,} draws {with_area} area",
                f"{N:,} rows of {COLUMNS} float32: norms, probabilities, {n:,} draws and weights",
                {
                    "colloc": lambda n=n, s=share, scheme=scheme: ours(rows, s, n, scheme),
                    other: lambda n=n, s=share, draw=draw: draw(rows, s, n),
                },
                bars={other: BARS[other]} if n == N and device == "cpu" else None,
                rounds=rounds,
                threads=1,
                device=device,
                notes={k: v for k, v in NOTES.items() if k in ("colloc", other)},
            )


def _check(rows: Tensor, area: Tensor | None, n: int, draw: Draw, scheme: str) -> None:
    """All estimate the mean of a loss by area."""
    loss = torch.linalg.vector_norm(rows, dim=1)
    exact = loss.mean() if area is None else (loss * area[:, 0]).sum() / area.sum()
    for index, weight in (draw(rows, area, n), ours(rows, area, n, scheme)):
        estimate = (weight.reshape(-1) * loss[index]).mean()
        assert (estimate / exact - 1).abs() < 0.02
