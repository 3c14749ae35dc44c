"""A look at autograd's graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def leaves_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The leaves that require grad and that ``tensors`` depend on, each once.

    A tensor that is itself such a leaf counts. The graph is walked by its nodes, without
    computing anything; parameters inside a fused op are leaves of one node.
    """
    found: dict[int, Tensor] = {}
    nodes: list[Any] = []
    for tensor in tensors:
        if tensor.grad_fn is not None:
            nodes.append(tensor.grad_fn)
        elif tensor.requires_grad:
            found[id(tensor)] = tensor
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        # A custom function may have an attribute of that name as well.
        leaf = node.variable if type(node).__name__ == "AccumulateGrad" else None
        if leaf is not None:
            found[id(leaf)] = leaf
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                nodes.append(following)
    return list(found.values())
