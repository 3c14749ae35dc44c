"""What the card itself gives: copies, and matrix products by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def seconds(call: Callable[[], object], repeats: int = 20) -> float:
    """The median of ``repeats`` timings by events."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[repeats // 2]


def copy_bandwidth(size: int = 1 << 30) -> float:
    """Bytes a second of a copy on the card, read plus written."""
    a = torch.randn(size // 4, device="cuda")
    b = torch.empty_like(a)
    return 2 * size / seconds(lambda: b.copy_(a))


def product_rate(m: int, n: int, k: int, dtype: torch.dtype, tf32: bool = False) -> float:
    """Operations a second of torch.mm of random (m, k) and (k, n)."""
    a = torch.randn(m, k, device="cuda").to(dtype)
    b = torch.randn(k, n, device="cuda").to(dtype)
    out = torch.empty(m, n, dtype=dtype, device="cuda")
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * m * n * k / seconds(lambda: torch.mm(a, b, out=out))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def run() -> dict[str, Any]:
    """All ceilings, in bytes and operations a second."""
    single, double = torch.float32, torch.float64
    found: dict[str, Any] = {
        "copy": copy_bandwidth(),
        "copy of 64 MiB": copy_bandwidth(1 << 26),
        "float32 8192^3": product_rate(8192, 8192, 8192, single),
        "TF32 8192^3": product_rate(8192, 8192, 8192, single, tf32=True),
        "bfloat16 8192^3": product_rate(8192, 8192, 8192, torch.bfloat16),
        "float64 4096^3": product_rate(4096, 4096, 4096, double),
    }
    for width in (64, 128, 512):
        rows = 8000 if width == 512 else 400_000
        for label, tf32 in (("float32", False), ("TF32", True)):
            rate = product_rate(rows, width, width, single, tf32)
            found[f"{label} {rows} x {width} x {width}"] = rate
            rate = product_rate(width, width, rows, single, tf32)
            found[f"{label} {width} x {width} x {rows}"] = rate
    return found
