"""The gradients of many rows by parameters, kept in the form that is cheapest to square."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from colloc._graph import leaves_of
from colloc.ops.ntk_gram_block import ntk_gram_block
from colloc.ops.ntk_trace import ntk_trace


class Pieces:
    """Gradients of n rows by the wanted parameters.

    By a matrix that multiplies jets the gradient of row i is ``sum_k zbar_ik h_ik^T``: h and
    zbar are kept, several uses of the matrix side by side along k. By everything else it is kept
    as it is, (n, size). So a parameter that is used several times has the sum of all its uses
    before anything is squared.

    Args:
        wanted: parameters by their ``id``; others are passed over.
    """

    def __init__(self, wanted: Mapping[int, Tensor]) -> None:
        self._wanted = wanted
        self._uses: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._rows: dict[int, Tensor] = {}

    def wants(self, parameter: Tensor | None) -> bool:
        """Whether gradients by the parameter, or by leaves that it is made of, are wanted."""
        if parameter is None or not parameter.requires_grad:
            return False
        return parameter.grad_fn is not None or id(parameter) in self._wanted

    def add_matrix(self, weight: Tensor, h: Tensor, zbar: Tensor) -> None:
        """A use of ``weight`` (out, in): h (n, K, in) and zbar (n, K, out)."""
        if not self.wants(weight):
            return
        if weight.grad_fn is not None:
            self.add_rows(weight, torch.bmm(zbar.transpose(1, 2), h))
        else:
            self._uses.setdefault(id(weight), []).append((h, zbar))

    def add_rows(self, parameter: Tensor, rows: Tensor) -> None:
        """Gradients ``rows`` (n, *shape) by a parameter, or by a tensor made of parameters."""
        if not self.wants(parameter):
            return
        if parameter.grad_fn is None:
            flat = rows.reshape(rows.shape[0], -1)
            before = self._rows.get(id(parameter))
            self._rows[id(parameter)] = flat if before is None else before + flat
            return
        leaves = [leaf for leaf in leaves_of([parameter]) if id(leaf) in self._wanted]
        if not leaves or rows.shape[0] == 0:
            return
        found = torch.autograd.grad(
            parameter, leaves, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        for leaf, part in zip(leaves, found, strict=True):
            if part is not None:
                self.add_rows(leaf, part)

    def merge(self, other: Pieces) -> Pieces:
        """The gradients of both: of one row by two networks, say."""
        for key, uses in other._uses.items():
            self._uses.setdefault(key, []).extend(uses)
        for key, rows in other._rows.items():
            before = self._rows.get(key)
            self._rows[key] = rows if before is None else before + rows
        return self

    def squares(self) -> Tensor | float:
        """The squared norm of each row's gradient, (n,) float64; 0.0 where there is none."""
        return self._sum(
            lambda key: ntk_trace(*self._matrix(key)),
            lambda key: self._rows[key].square().sum(1, dtype=torch.float64),
            [self],
        )

    def products(self, other: Pieces) -> Tensor | float:
        """The inner products of the rows' gradients with those of ``other``, (n, n2)."""
        return self._sum(
            lambda key: ntk_gram_block(*self._matrix(key), *other._matrix(key)),
            lambda key: self._rows[key] @ other._rows[key].t(),
            [self, other],
        )

    def _sum(
        self,
        by_matrix: Callable[[int], Tensor],
        by_rows: Callable[[int], Tensor],
        sides: list[Pieces],
    ) -> Tensor | float:
        total: Tensor | float = 0.0
        keys = [key for key in self._keys() if all(key in side._keys() for side in sides)]
        for key in keys:
            if all(key not in side._rows for side in sides):
                total = total + by_matrix(key)
                continue
            for side in sides:
                side._to_rows(key)
            total = total + by_rows(key)
        return total

    def _keys(self) -> dict[int, None]:
        return dict.fromkeys([*self._uses, *self._rows])

    def _matrix(self, key: int) -> tuple[Tensor, Tensor]:
        uses = self._uses[key]
        if len(uses) == 1:
            return uses[0]
        return torch.cat([h for h, _ in uses], 1), torch.cat([zbar for _, zbar in uses], 1)

    def _to_rows(self, key: int) -> None:
        """Write out a matrix's gradients: it is used in another way as well."""
        for h, zbar in self._uses.pop(key, []):
            flat = torch.bmm(zbar.transpose(1, 2), h).flatten(1)
            before = self._rows.get(key)
            self._rows[key] = flat if before is None else before + flat
