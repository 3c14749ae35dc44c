"""Equations of one field, in second-order and in first-order form."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from colloc.jets import Jet
from colloc.pde._arguments import along, check_time, laplacian_over, space_of, time_of
from colloc.pde._first_order import check_form, check_outputs
from colloc.pde.equation import Block, Equation


class OneFieldEquation(Equation):
    """An equation of u whose second derivatives are a Laplacian over space."""

    timed: ClassVar[bool] = False
    """Whether one without time could have it."""

    def __init__(
        self,
        name: str,
        addends: tuple[str, ...],
        *,
        time: int | None,
        first_order: bool,
        dim: int,
        curl: bool,
    ) -> None:
        self.time = None if time is None else check_time("time", time)
        self._form = form = check_form(first_order, dim, curl)
        self.order = 1 if form else "laplacian" if time is None else 2
        self.names = (name, *form.names) if form else (name,)
        self.addends = (*addends, *form.addends) if form else addends

    def equation(self, field: Field, x: Tensor) -> Block:
        """The addends of the equation itself."""
        raise NotImplementedError

    def blocks(self, jet: Jet, x: Tensor) -> list[Block]:
        """The addends of the equation and of what its first-order form adds."""
        form = self._form
        space = space_of(jet, self.time, form.dim if form else None, self.timed)
        if form is None:
            return [self.equation(Field(jet, self.time, space, None), x)]
        check_outputs(jet, form.outputs)
        laplacian = form.laplacian(jet, space)
        u = Field(jet[:, 0], self.time, space, laplacian)
        return [self.equation(u, x), *form.blocks(jet, space)]


class Field:
    """What an equation reads of its field: the same in both forms. All are (N, m)."""

    def __init__(
        self, jet: Jet, time: int | None, space: tuple[int, ...], laplacian: Tensor | None
    ) -> None:
        self._jet = jet
        self._time = time
        self._laplacian = laplacian
        self.space = space

    @property
    def value(self) -> Tensor:
        """u."""
        return self._jet.value

    @property
    def by_time(self) -> Tensor:
        """u_t."""
        assert self._time is not None
        return self._jet.d(time_of(self._jet, self._time))

    @property
    def by_space(self) -> Tensor:
        """The gradient in space, (N, m, dim)."""
        return along(self._jet.grad, self._jet, self.space)

    @property
    def laplacian(self) -> Tensor:
        """The Laplacian over space, in first-order form the sum of d(u_i)/dx_i."""
        if self._laplacian is not None:
            return self._laplacian
        return laplacian_over(self._jet, self.space)
