"""Halton points against scipy and against pure torch, both as a user would write them."""

from __future__ import annotations

import colloc as cc
import torch

from benchmarks.harness import Comparison, compare

#: From the project's specification, for 1e6 x 4 float64 points on one thread.
BARS = {"scipy.stats.qmc.Halton": 15.0, "pure torch": 50.0}


def pure_torch(n: int, dim: int, start: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Radical inverses digit by digit, all points at once."""
    columns = []
    for base in (2, 3, 5, 7, 11, 13, 17, 19)[:dim]:
        index = torch.arange(start, start + n, dtype=torch.int64, device=device)
        value = torch.zeros(n, dtype=dtype, device=device)
        factor = 1.0 / base
        while bool((index > 0).any()):
            value += factor * (index % base)
            index //= base
            factor /= base
        columns.append(value)
    return torch.stack(columns, 1)


def run(rounds: int, device: str = "cpu") -> list[Comparison]:
    results = []
    for n, dim, dtype in (
        (1_000_000, 4, torch.float64),
        (1_000_000, 4, torch.float32),
        (10_000, 2, torch.float32),
    ):
        contenders = {
            "colloc.ops.halton": lambda n=n, dim=dim, dtype=dtype: cc.ops.halton(
                n, dim, 1, dtype=dtype, device=device
            ),
            "pure torch": lambda n=n, dim=dim, dtype=dtype: pure_torch(n, dim, 1, dtype, device),
        }
        if device == "cpu":
            from scipy.stats import qmc

            def scipy_points(n: int = n, dim: int = dim) -> object:
                engine = qmc.Halton(dim, scramble=False)
                return engine.fast_forward(1).random(n)

            contenders["scipy.stats.qmc.Halton"] = scipy_points
        ours, *others = [call() for call in contenders.values()]
        for other in others:
            found = torch.as_tensor(other, dtype=dtype, device=device)
            torch.testing.assert_close(found, ours, rtol=0, atol=4e-7)
        bars = BARS if dtype == torch.float64 and device == "cpu" else {}
        kind = str(dtype).removeprefix("torch.")
        work = f"{n:,} x {dim} points, {kind}"
        results.append(
            compare(
                f"halton {n:,} x {dim} {kind}",
                work,
                contenders,
                bars=bars,
                rounds=rounds,
                device=device,
            )
        )
    return results
