"""The gradients of rows by torch.func, for fields that the layers' products do not serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from colloc.jets import Order, jet
from colloc.ntk._rows import check_rows

#: Numbers of the gradients that are held at a time.
_CHUNK = {"cpu": 1 << 24, "cuda": 1 << 28}


class _OneRow(nn.Module):
    """The residual of one point as a module, so that its parameters can be exchanged."""

    def __init__(self, field: nn.Module, residual: Callable[..., Tensor], order: Order) -> None:
        super().__init__()
        self.field = field
        self._residual = residual
        self._order = order

    def forward(self, x: Tensor) -> Tensor:
        rows = self._residual(jet(self.field, x.unsqueeze(0), self._order), x.unsqueeze(0))
        return check_rows(rows, 1)[0]


def jacobians(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order,
    wanted: dict[int, Tensor],
) -> Iterator[Tensor]:
    """The Jacobian (n, q, P) of the rows by the wanted parameters, a stretch of points a time."""
    module = _OneRow(field, residual, order)
    # By torch's own names a module or parameter that occurs twice would not be put back.
    places = [
        (f"{prefix}.{name}" if prefix else name, p)
        for prefix, part in module.named_modules()
        for name, p in part._parameters.items()
        if p is not None
    ]
    fixed = {place: p.detach() for place, p in places if id(p) not in wanted}
    values = {id(p): p.detach() for _, p in places if id(p) in wanted}
    size = sum(p.numel() for p in values.values())

    def row(changed: dict[int, Tensor], point: Tensor) -> Any:
        exchanged = {place: changed[id(p)] for place, p in places if id(p) in wanted}
        return torch.func.functional_call(
            module, {**fixed, **exchanged}, (point,), tie_weights=False
        )

    each = max(1, _CHUNK.get(x.device.type, _CHUNK["cpu"]) // max(1, size))
    jacobian = torch.func.vmap(torch.func.jacrev(row), in_dims=(None, 0))
    for part in x.detach().split(each):
        if part.shape[0] == 0:
            yield part.new_zeros((0, 1, size))
            continue
        if not values:  # jacrev refuses an empty dictionary
            columns = check_rows(residual(jet(field, part[:1], order), part[:1]), 1).shape[1]
            yield part.new_zeros((part.shape[0], columns, 0))
            continue
        try:
            found = jacobian(values, part)
        except (RuntimeError, ValueError, TypeError) as error:
            raise RuntimeError(
                f"colloc.ntk: {type(field).__name__} has parts without a rule for jets, and "
                f"torch.func cannot differentiate its residual at one point: {error} Build the "
                "network from modules that colloc knows (see colloc.jet), and let the residual "
                "compute data from x, not from tensors of all points."
            ) from error
        yield torch.cat([g.reshape(*g.shape[:2], -1) for g in found.values()], dim=2)
