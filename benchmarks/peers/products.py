"""The matrix products of a step between its hidden layers, and nothing else."""

from __future__ import annotations

import torch


class MatrixProducts:
    """Forward, input gradient and weight gradient of every layer from hidden to hidden.

    Of the shapes (rows, W) x (W, W), (rows, W) x (W, W) and (W, rows) x (rows, W), by
    ``torch.mm`` into memory that is there. All layers use the same memory: the products come
    off as well as they can.

    Args:
        rows: K N, the jets' components times the points.
        width: W.
        layers: how many layers go from hidden to hidden.
        dtype: of the matrices.
        device: of the matrices.
    """

    def __init__(
        self, rows: int, width: int, layers: int, dtype: torch.dtype, device: str = "cpu"
    ) -> None:
        self.layers = layers
        self.h = torch.randn(rows, width, dtype=dtype, device=device)
        self.delta = torch.randn(rows, width, dtype=dtype, device=device)
        self.weight = torch.randn(width, width, dtype=dtype, device=device) / width**0.5
        self.out = torch.empty_like(self.h)
        self.gradient = torch.empty_like(self.weight)

    def __call__(self) -> None:
        for _ in range(self.layers):
            torch.mm(self.h, self.weight.t(), out=self.out)
        for _ in range(self.layers):
            torch.mm(self.delta, self.weight, out=self.out)
            torch.mm(self.delta.t(), self.h, out=self.gradient)

    def operations(self) -> int:
        """Multiplications and additions of one call."""
        rows, width = self.h.shape
        return 3 * self.layers * 2 * rows * width * width
