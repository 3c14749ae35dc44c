"""First-order forms: the derivatives of a field as outputs of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from colloc._checks import check_int, fail
from colloc.jets import Jet
from colloc.pde._arguments import AXES, along, check_flag
from colloc.pde.equation import Block


@dataclass(frozen=True)
class FirstOrderForm:
    """Which outputs are fields and which are derivatives of fields.

    The outputs are the differentiated ``fields``, ``others`` that are not differentiated twice
    (a pressure), then the derivatives by each input of space, field by field: u, v, p, u_x, u_y,
    v_x, v_y.
    """

    fields: tuple[str, ...]
    others: tuple[str, ...]
    dim: int
    curl: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each output of the network is."""
        derivatives = [f"{field}_{axis}" for field in self.fields for axis in AXES[: self.dim]]
        return (*self.fields, *self.others, *derivatives)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the form adds to its equation's."""
        axes = AXES[: self.dim]
        of = [f"{field}_" if len(self.fields) > 1 else "" for field in self.fields]
        found = [f"compatibility_{field}{axis}" for field in of for axis in axes]
        if self.curl:
            found += [f"curl_{field}{i}{j}" for field in of for i, j in combinations(axes, 2)]
        return tuple(found)

    @property
    def addends(self) -> tuple[str, ...]:
        """The named addends of these columns."""
        return ("compatibility", "curl") if self.curl else ("compatibility",)

    def laplacian(self, jet: Jet, space: tuple[int, ...]) -> Tensor:
        """sum_i d(u_i)/dx_i of each field, (N, fields)."""
        return self._slopes(jet, space).diagonal(dim1=2, dim2=3).sum(-1)

    def blocks(self, jet: Jet, space: tuple[int, ...]) -> list[Block]:
        """u_i - du/dx_i, and d(u_i)/dx_j - d(u_j)/dx_i for i < j where the curl is wanted."""
        count = len(self.fields)
        true = along(jet.grad[:, :count], jet, space).flatten(1)
        blocks: list[Block] = [{"compatibility": jet.value[:, self._first :] - true}]
        if self.curl:
            slopes = self._slopes(jet, space)
            pairs = combinations(range(self.dim), 2)
            curls = [slopes[:, :, i, j] - slopes[:, :, j, i] for i, j in pairs]
            blocks.append({"curl": torch.stack(curls, dim=2).flatten(1)})
        return blocks

    @property
    def _first(self) -> int:
        return len(self.fields) + len(self.others)

    def _slopes(self, jet: Jet, space: tuple[int, ...]) -> Tensor:
        """d(u_i)/dx_j of each field, (N, fields, i, j)."""
        slopes = along(jet.grad[:, self._first :], jet, space)
        return slopes.unflatten(1, (len(self.fields), self.dim))


def check_form(
    first_order: bool,
    dim: int,
    curl: bool,
    fields: tuple[str, ...] = ("u",),
    others: tuple[str, ...] = (),
) -> FirstOrderForm | None:
    """The form that an equation's arguments ask for, None for the second-order one."""
    if not check_flag("first_order", first_order):
        if check_flag("curl", curl):
            fail("curl", "False without first_order=True", "True")
        return None
    check_int("dim", dim, minimum=1, maximum=len(AXES))
    if check_flag("curl", curl) and dim == 1:
        fail("curl", "False in one input of space, where there is no curl", "True")
    return FirstOrderForm(fields, others, dim, curl)


def check_outputs(jet: Jet, outputs: tuple[str, ...]) -> None:
    """As many outputs as there are names for."""
    count = jet.value.shape[1]
    if count != len(outputs):
        wanted = f"a jet with {len(outputs)} outputs ({', '.join(outputs)})"
        fail("jet", wanted, f"one with {count}", "Select outputs with jet[:, [...]].")
