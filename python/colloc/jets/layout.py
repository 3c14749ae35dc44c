"""Which derivatives each order holds, and where they lie in a jet's packed components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from colloc._checks import check_int, describe, fail, fail_type

Order: TypeAlias = Literal[0, 1, "laplacian", 2, "grad_laplacian", 3]

ORDERS: tuple[Order, ...] = (0, 1, "laplacian", 2, "grad_laplacian", 3)


def check_order(order: Any) -> Order:
    """``order`` if it is one of :data:`ORDERS`, else ValueError."""
    for known in ORDERS:  # True == 1, hence the comparison of types
        if type(order) is type(known) and order == known:
            return known
    listed = ", ".join(repr(known) for known in ORDERS)
    fail("order", f"one of {listed}", describe(order))


def check_wrt(wrt: Sequence[int] | None, inputs: int) -> tuple[int, ...]:
    """The inputs to differentiate by, as a tuple; None means all ``inputs`` of them."""
    if wrt is None:
        return tuple(range(inputs))
    wanted = f"different input indices between 0 and {inputs - 1}"
    if not isinstance(wrt, (list, tuple, range)):
        fix = f"Give one input as wrt=({wrt},)." if isinstance(wrt, int) else ""
        fail_type("wrt", f"a list or tuple of {wanted}", describe(wrt), fix)
    indices = tuple(check_int(f"wrt[{k}]", index) for k, index in enumerate(wrt))
    if not indices:
        fail("wrt", f"at least one of the {wanted}", wrt, "For the value alone ask for order=0.")
    if len(set(indices)) < len(indices) or min(indices) < 0 or max(indices) >= inputs:
        fail("wrt", wanted, wrt)
    return indices


@dataclass(frozen=True)
class Layout:
    """Positions of the components of a jet of ``order`` in ``n`` differentiated inputs.

    The components are packed along one axis: the value; n first derivatives; for
    ``"laplacian"`` the Laplacian, for higher orders the upper triangle of the Hessian
    (00, 01, ..., 11, ...); for ``"grad_laplacian"`` the n derivatives of the Laplacian, for
    order 3 the third derivatives i <= j <= k (000, 001, ..., 011, ...). In one input the
    Laplacian is the Hessian and its gradient the third derivative.
    """

    order: Order
    n: int
    size: int
    positions: dict[tuple[int, ...], int]
    """Component of each partial derivative held; keys are ascending local axes, () the value."""
    laplacian: int | None
    """Component of the Laplacian, where it is stored as such."""
    grad_laplacian: int | None
    """First of the n components of the Laplacian's gradient, where they are stored as such."""

    def holds(self, degree: int) -> bool:
        """Whether every partial derivative of ``degree`` is held."""
        return (0,) * degree in self.positions

    @property
    def has_laplacian(self) -> bool:
        """Whether the Laplacian is held or can be summed."""
        return self.laplacian is not None or self.holds(2)

    @property
    def has_grad_laplacian(self) -> bool:
        """Whether the gradient of the Laplacian is held or can be summed."""
        return self.grad_laplacian is not None or self.holds(3)


def ascending(n: int, degree: int) -> list[tuple[int, ...]]:
    """All ``degree`` axes of ``n`` in ascending order, 000, 001, ..., 011, ...; by itertools
    torch.compile could not follow."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(degree):
        found = [(*axes, k) for axes in found for k in range(axes[-1] if axes else 0, n)]
    return found


def layout(order: Order, n: int) -> Layout:
    """The layout of a jet of ``order`` in ``n`` differentiated inputs."""
    positions: dict[tuple[int, ...], int] = {(): 0}
    laplacian = grad_laplacian = None

    def add_partials(degree: int) -> None:
        for axes in ascending(n, degree):
            positions[axes] = len(positions)

    if order != 0:
        add_partials(1)
    if order == "laplacian" and n > 1:
        laplacian = len(positions)
    elif order not in (0, 1):
        add_partials(2)
    if order == "grad_laplacian" and n > 1:
        grad_laplacian = len(positions)
    elif order in ("grad_laplacian", 3):
        add_partials(3)
    extra = (laplacian is not None) + (0 if grad_laplacian is None else n)
    return Layout(order, n, len(positions) + extra, positions, laplacian, grad_laplacian)
