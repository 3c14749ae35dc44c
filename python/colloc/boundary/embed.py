"""Jets by some inputs as jets by more, fewer or reordered ones."""

from __future__ import annotations

import torch
from torch import Tensor

from colloc.jets import Order
from colloc.jets.algebra import known_layout


def given_order(order: Order, wrt: tuple[int, ...], space: tuple[int, ...]) -> Order:
    """The order of the jet by ``space`` that a jet of ``order`` by ``wrt`` can be made from."""
    if set(space) <= set(wrt):
        return order
    if order == "laplacian":
        return 2
    return 3 if order == "grad_laplacian" else order


def embedded(
    components: Tensor, given: Order, order: Order, wrt: tuple[int, ...], space: tuple[int, ...]
) -> Tensor:
    """Components (K, N, m) of a field that depends on the inputs ``space`` alone.

    Args:
        components: by those alone, of order ``given`` = given_order(order, wrt, space).
    """
    if wrt == space:
        return components
    source, target = known_layout(given, len(space)), known_layout(order, len(wrt))
    zero = torch.zeros_like(components[0])
    local = {axis: space.index(i) for axis, i in enumerate(wrt) if i in space}

    def at(axes: tuple[int, ...]) -> Tensor:
        if any(axis not in local for axis in axes):
            return zero
        return components[source.positions[tuple(sorted(local[axis] for axis in axes))]]

    def traced(*rest: int) -> Tensor:
        """The Laplacian by wrt, or its derivative by one of them."""
        if any(axis not in local for axis in rest):
            return zero
        if not rest and source.laplacian is not None:
            return components[source.laplacian]
        if rest and source.grad_laplacian is not None:
            return components[source.grad_laplacian + local[rest[0]]]
        total = zero
        for axis in local:
            total = total + at((axis, axis, *rest))
        return total

    made = [zero] * target.size
    for axes, position in target.positions.items():
        made[position] = at(axes)
    if target.laplacian is not None:
        made[target.laplacian] = traced()
    if target.grad_laplacian is not None:
        for axis in range(len(wrt)):
            made[target.grad_laplacian + axis] = traced(axis)
    return torch.stack(made)
