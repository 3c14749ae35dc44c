"""The Jacobian of a residual's rows by parameters, row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def jacobian(rows: Tensor, parameters: list[Tensor]) -> Tensor:
    """J (N q, P) of rows (N,) or (N, q) with a graph; unused parameters have columns of 0."""
    found = []
    for number in rows.reshape(-1):
        grads = torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True)
        parts = [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)
        ]
        found.append(torch.cat([part.reshape(-1) for part in parts]))
    if not found:
        return torch.zeros(0, sum(p.numel() for p in parameters))
    return torch.stack(found)


def square(h: Tensor, zbar: Tensor) -> Tensor:
    """|sum_k zbar_k h_k^T|^2 of each point, from the gradients themselves."""
    gradient = torch.einsum("nko,nki->noi", zbar.double(), h.double())
    return gradient.square().sum((1, 2))
