"""The gradients of many rows by parameters, kept in the form that is cheapest to square."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from colloc._graph import leaves_of
from colloc.jets.rules import Unsupported
from colloc.ops.ntk_gram_block import ntk_gram_block
from colloc.ops.ntk_trace import ntk_trace

#: A term of the products of rows takes about so many times what one of a plain product does.
_SMALL = 2

Uses: TypeAlias = list[tuple[Tensor, Tensor]]


class Normed(NamedTuple):
    """The gradient by v of a weight g v / |v|: that by the weight times g / |v|, less its part
    along v."""

    uses: Uses
    """h and zbar g / |v| of each use of the weight."""
    along: Tensor
    """The part along v, (n, out)."""

    def plus(self, other: Normed) -> Normed:
        """Of the uses of both."""
        return Normed([*self.uses, *other.uses], self.along + other.along)


def normed_by(weight: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]] | None:
    """v, g and their leaves (None: not trained) where a weight is g v / |v| by rows, by torch's
    parametrization; else None."""
    node: Any = weight.grad_fn
    if type(node).__name__ != "WeightNormInterfaceBackward0" or node._saved_dim != 0:
        return None
    leaves: list[Tensor | None] = []
    for following, _ in node.next_functions:
        if following is not None and type(following).__name__ != "AccumulateGrad":
            return None
        leaves.append(None if following is None else following.variable)
    return node._saved_v.detach(), node._saved_g.detach(), leaves


def _written_out(h: Tensor, zbar: Tensor) -> Tensor:
    """The gradients by a matrix, (n, out in)."""
    return torch.bmm(zbar.transpose(1, 2), h).flatten(1)


def _product(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """The inner products of gradients by a matrix, (n, n2): of the gradients themselves where
    they are small, by :func:`ntk_gram_block` where they have more entries than the products of
    the rows have terms."""
    (_, k, width), out, k2 = one[0].shape, one[1].shape[2], other[0].shape[1]
    if width * out <= _SMALL * k * k2 * (width + out):
        return _written_out(*one) @ _written_out(*other).t()
    return ntk_gram_block(*one, *other)


def _joined(uses: Uses) -> tuple[Tensor, Tensor]:
    """All uses of a matrix side by side along k."""
    if len(uses) == 1:
        return uses[0]
    return torch.cat([h for h, _ in uses], 1), torch.cat([zbar for _, zbar in uses], 1)


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
        self._uses: dict[int, Uses] = {}
        self._rows: dict[int, Tensor] = {}
        self._normed: dict[int, Normed] = {}

    def wants(self, parameter: Tensor | None) -> bool:
        """Whether gradients by the parameter, or by leaves that it is made of, are wanted."""
        if parameter is None or not parameter.requires_grad:
            return False
        return parameter.grad_fn is not None or id(parameter) in self._wanted

    def add_matrix(self, weight: Tensor, h: Tensor, zbar: Tensor) -> None:
        """A use of ``weight`` (out, in): h (n, K, in) and zbar (n, K, out)."""
        if not self.wants(weight):
            return
        normed = normed_by(weight)
        if normed is not None:
            self._add_normed(*normed, h, zbar)
        elif weight.grad_fn is not None:
            self.add_rows(weight, torch.bmm(zbar.transpose(1, 2), h))
        else:
            self._uses.setdefault(id(weight), []).append((h, zbar))

    def _add_normed(
        self, v: Tensor, g: Tensor, leaves: list[Tensor | None], h: Tensor, zbar: Tensor
    ) -> None:
        """A use of the weight g v / |v|, by rows, with G_o the gradient by its row o:
        by g_o it is s_o = G_o . v_o / |v_o|, by v_o (g_o / |v_o|) (G_o - s_o v_o / |v_o|)."""
        length = v.norm(dim=1)
        along = (zbar * torch.matmul(h, (v / length.unsqueeze(1)).t())).sum(1)
        of_v, of_g = leaves
        if of_v is not None and id(of_v) in self._wanted:
            factor = g.reshape(-1) / length
            one = Normed([(h, zbar * factor)], along * factor)
            before = self._normed.get(id(of_v))
            self._normed[id(of_v)] = one if before is None else before.plus(one)
        if of_g is not None:
            self.add_rows(of_g, along.reshape(-1, *of_g.shape))

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
        if any(leaf._backward_hooks for leaf in leaves):
            raise Unsupported("hooks of parameters under a parametrization")
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
        for key, normed in other._normed.items():
            one = self._normed.get(key)
            self._normed[key] = normed if one is None else one.plus(normed)
        return self

    def squares(self) -> Tensor | float:
        """The squared norm of each row's gradient, (n,) float64; 0.0 where there is none."""
        total = self._sum(
            lambda key: ntk_trace(*_joined(self._uses[key])),
            lambda key: self._rows[key].square().sum(1, dtype=torch.float64),
            [self],
        )
        for normed in self._normed.values():
            whole = ntk_trace(*_joined(normed.uses))
            along = normed.along.square().sum(1, dtype=torch.float64)
            total = total + (whole - along).clamp_min(0.0)  # by rounding it may be below
        return total

    def products(self, other: Pieces) -> Tensor | float:
        """The inner products of the rows' gradients with those of ``other``, (n, n2)."""
        total = self._sum(
            lambda key: _product(_joined(self._uses[key]), _joined(other._uses[key])),
            lambda key: self._rows[key] @ other._rows[key].t(),
            [self, other],
        )
        for key in self._normed.keys() & other._normed.keys():
            one, two = self._normed[key], other._normed[key]
            total = total + _product(_joined(one.uses), _joined(two.uses))
            total = total - one.along @ two.along.t()
        return total

    def _sum(
        self,
        by_matrix: Callable[[int], Tensor],
        by_rows: Callable[[int], Tensor],
        sides: list[Pieces],
    ) -> Tensor | float:
        total: Tensor | float = 0.0
        for side in sides:
            if side._normed.keys() & side._keys().keys():
                raise Unsupported("a weight that is normalised and used in another way as well")
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

    def _to_rows(self, key: int) -> None:
        """Write out a matrix's gradients: it is used in another way as well."""
        for h, zbar in self._uses.pop(key, []):
            flat = _written_out(h, zbar)
            before = self._rows.get(key)
            self._rows[key] = flat if before is None else before + flat
