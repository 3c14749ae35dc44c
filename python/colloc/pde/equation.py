"""What all equations have in common: columns that are sums of named addends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from colloc.jets import Jet, Order
from colloc.pde._arguments import check_jet
from colloc.pde._moving import without_gradient

#: Addends of some columns by name. All tensors of them are (N, q), (N, 1) or of shape ().
Block: TypeAlias = "Mapping[str, Tensor | float]"


class Equation:
    """A residual ``equation(jet, x) -> (N, q)``, made by the functions of :mod:`colloc.pde`.

    Each column is a sum of named addends: a part of the equation that
    :func:`colloc.pde.suppress` can detach.
    """

    order: Order
    """The order of jet that the residual reads."""
    names: tuple[str, ...]
    """The columns. Second-order equations of one field have as many columns as the network has
    outputs, but one name: they treat every output alike."""
    addends: tuple[str, ...]
    """The named addends that the columns are made of."""

    def blocks(self, jet: Jet, x: Tensor) -> Sequence[Block]:
        """The addends of the columns, taken together where several columns are alike."""
        raise NotImplementedError

    def __call__(self, jet: Jet, x: Tensor) -> Tensor:
        """The residual (N, q) of ``jet`` at its points ``x`` (N, d)."""
        return summed(self.blocks(check_jet(jet, x, self.order), x))


def summed(
    blocks: Sequence[Block], detached: Collection[str] = (), keep_tangents: bool = False
) -> Tensor:
    """The sums of the blocks, side by side; ``detached`` addends carry no gradient."""
    columns = []
    for block in blocks:
        parts = [
            without_gradient(part, keep_tangents)
            if name in detached and isinstance(part, Tensor)
            else part
            for name, part in block.items()
        ]
        total = sum(parts[1:], start=parts[0])
        assert isinstance(total, Tensor)
        columns.append(total)
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)
