"""Collects the nodes and constants of an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class Writer:
    """Collects ONNX nodes and constants.

    Args:
        onnx: the package.
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[Any, str] = {}

    def op(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """Add a node; the name of its result, or a list of ``count``."""
        names = [f"v{len(self.nodes)}_{k}" for k in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if count == 1 else names

    def constant(self, value: Any, dtype: Any) -> str:
        """The name of a constant array."""
        array = np.array(value, dtype=dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"c{len(self._known)}"
            made = self.onnx.numpy_helper.from_array(array, self._known[key])
            self.constants.append(made)
        return self._known[key]

    def cast(self, name: str, have: torch.dtype, want: torch.dtype) -> str:
        """``name`` in another dtype."""
        return name if have == want else self.op("Cast", name, to=self.element(want))

    def element(self, dtype: torch.dtype) -> int:
        """ONNX's number of a dtype."""
        found: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(numpy_dtype(dtype)))
        return found

    def shape(self, sizes: Sequence[Any]) -> str:
        """A shape (k,) int64 from numbers and names of int64 (1,)."""
        if all(isinstance(one, int) for one in sizes):
            return self.constant(list(sizes), np.int64)
        parts = [self.constant([n], np.int64) if isinstance(n, int) else n for n in sizes]
        return parts[0] if len(parts) == 1 else str(self.op("Concat", *parts, axis=0))


def numpy_dtype(dtype: torch.dtype) -> Any:
    """NumPy's dtype of that name."""
    return torch.empty(0, dtype=dtype).numpy().dtype
