"""The jet of a field: its values with the derivatives that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NoReturn

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail, fail_type
from colloc.jets import algebra
from colloc.jets.layout import ORDERS, Layout, Order, check_order, check_wrt

#: How torch names the operators of a tensor and a jet, and the jet's method for each.
_BESIDE_TENSORS = {
    "add": "__radd__",
    "sub": "__rsub__",
    "mul": "__rmul__",
    "div": "__rtruediv__",
    "pow": "__rpow__",
    "__rsub__": "__sub__",
    "__rdiv__": "__truediv__",
    "__rpow__": "__pow__",
}


class Jet:
    """Values of a field with m outputs at N points, and their partial derivatives.

    Made by :func:`colloc.jet`. All derivatives are ordinary tensors: a residual built from
    them carries gradients to the network's weights by one ``backward()``.

    ===================== =============== ====================================
    what                  shape           held by the orders
    ===================== =============== ====================================
    ``value``             (N, m)          all
    ``grad``              (N, m, n)       1 and above
    ``laplacian``         (N, m)          "laplacian", 2, "grad_laplacian", 3
    ``hess``              (N, m, n, n)    2, "grad_laplacian", 3
    ``grad_laplacian``    (N, m, n)       "grad_laplacian", 3
    ``third``             (N, m, n, n, n) 3
    ``d(i)``, ``d(i, j)`` (N, m)          as ``grad``, ``hess``, ``third``
    ===================== =============== ====================================

    n is the number of inputs differentiated by (``wrt``): the derivative axes follow the order
    of ``wrt`` and the Laplacian sums over ``wrt`` alone, while ``d`` takes the original input
    indices. In one input (n = 1) the Laplacian is the second derivative, so that
    ``"laplacian"`` also holds ``hess`` and ``"grad_laplacian"`` also ``third``. Asking for
    what a jet does not hold is a ValueError that names the order to ask for.

    ``jet[:, i]`` and ``jet[:, a:b]`` select outputs; both keep the output axis.

    ``+ - * / **`` and ``abs`` combine jets of equal ``wrt``, inputs, points, dtype and device
    with each other, with finite numbers and with 0-dimensional tensors (trainable coefficients),
    and give the jet of the combination, by the rules of Leibniz and Faa di Bruno. Where the
    orders differ the result has the smaller one; a jet with one output combines with every
    output of the other. Other tensors are a ValueError: their derivatives are unknown, see
    :func:`colloc.jets.constant`. Outside a function's domain (``jet ** 0.5`` below 0, division
    by 0) the result is what torch gives, inf or nan.

    Args:
        components: (K, N, m), packed as :class:`colloc.jets.layout.Layout` says.
        order: one of ``colloc.jets.ORDERS``.
        wrt: the inputs differentiated by, in order.
        inputs: d, the number of the field's inputs.
    """

    __slots__ = ("_components", "_inputs", "_layout", "_wrt")

    __array_ufunc__ = None  # NumPy's scalars on the left: leave the operator to the jet

    def __init__(
        self, components: Tensor, order: Order, wrt: Sequence[int] | None, inputs: int
    ) -> None:
        self._inputs = check_int("inputs", inputs, minimum=1)
        self._wrt = check_wrt(wrt, inputs)
        self._layout = algebra.known_layout(check_order(order), len(self._wrt))
        wanted = f"a tensor of shape ({self._layout.size}, N, m)"
        if not isinstance(components, Tensor):
            fail_type("components", wanted, describe(components))
        if components.ndim != 3 or components.shape[0] != self._layout.size:
            fail("components", f"{wanted} for order {order!r}", components)
        self._components = components

    @property
    def order(self) -> Order:
        """The order that this jet was made with."""
        return self._layout.order

    @property
    def wrt(self) -> tuple[int, ...]:
        """The inputs differentiated by, in the order of the derivative axes."""
        return self._wrt

    @property
    def inputs(self) -> int:
        """The number d of the field's inputs."""
        return self._inputs

    @property
    def layout(self) -> Layout:
        """Where each derivative lies in :attr:`components`."""
        return self._layout

    @property
    def components(self) -> Tensor:
        """Everything the jet holds, (K, N, m), in the order of :attr:`layout`."""
        return self._components

    @property
    def value(self) -> Tensor:
        """The field's values, (N, m)."""
        return self._components[0]

    @property
    def grad(self) -> Tensor:
        """First derivatives, (N, m, n)."""
        return self._partials(1, "grad", "1")

    @property
    def hess(self) -> Tensor:
        """Second derivatives, (N, m, n, n)."""
        return self._partials(2, "hess", "2")

    @property
    def third(self) -> Tensor:
        """Third derivatives, (N, m, n, n, n)."""
        return self._partials(3, "third", "3")

    @property
    def laplacian(self) -> Tensor:
        """The sum of the second derivatives by each input in ``wrt``, (N, m)."""
        if self._layout.laplacian is not None:
            return self._components[self._layout.laplacian]
        if not self._layout.holds(2):
            self._missing("laplacian", "'laplacian'")
        return self._trace(())

    @property
    def grad_laplacian(self) -> Tensor:
        """First derivatives of the Laplacian, (N, m, n)."""
        first = self._layout.grad_laplacian
        if first is not None:
            return self._components[first : first + self._layout.n].permute(1, 2, 0)
        if not self._layout.holds(3):
            self._missing("grad_laplacian", "'grad_laplacian'")
        return torch.stack([self._trace((k,)) for k in range(self._layout.n)], dim=-1)

    def d(self, *inputs: int) -> Tensor:
        """The partial derivative by one, two or three inputs, (N, m).

        ``d(0)`` is du/dx_0, ``d(0, 1)`` the mixed second derivative, ``d(0, 0, 1)`` a third.
        The indices are those of the field's inputs, whatever ``wrt`` was.
        """
        if not 1 <= len(inputs) <= 3:
            fail("d", "one, two or three input indices", f"{len(inputs)}")
        axes = []
        for index in inputs:
            number = check_int("d", index, minimum=0, maximum=self._inputs - 1)
            if number not in self._wrt:
                fail(
                    "d",
                    f"inputs among wrt = {self._wrt}",
                    str(number),
                    f"Ask for cc.jet(net, x, wrt=...) with {number} in it.",
                )
            axes.append(self._wrt.index(number))
        position = self._layout.positions.get(tuple(sorted(axes)))
        if position is None:
            self._missing(f"d({', '.join(map(str, inputs))})", str(len(inputs)))
        return self._components[position]

    def truncate(self, order: Order) -> Jet:
        """The part of this jet that one of a smaller ``order`` holds.

        From order 2 to ``"laplacian"`` and from 3 to ``"grad_laplacian"`` traces are summed. An
        order above the jet's own is a ValueError.
        """
        order = check_order(order)
        if ORDERS.index(order) > ORDERS.index(self.order):
            fix = f"Ask for cc.jet(net, x, order={order!r})."
            fail("order", f"one up to the jet's own, {self.order!r}", repr(order), fix)
        return self._like(*algebra.truncated(self._components, self._layout, order))

    def differentiate(self, index: int) -> Jet:
        """The jet of the derivative by input ``index``, of the order that this jet can give.

        From 1 and "laplacian" that is 0, from 2 it is 1, from "grad_laplacian" it is
        "laplacian", from 3 it is 2. An order-0 jet, or an input not in ``wrt``, is a ValueError.
        """
        if self.order == 0:
            self._missing("differentiate", "1")
        number = check_int("differentiate", index, minimum=0, maximum=self._inputs - 1)
        if number not in self._wrt:
            fail("differentiate", f"an input among wrt = {self._wrt}", str(number))
        components, form = algebra.derivative(
            self._components, self._layout, self._wrt.index(number)
        )
        return self._like(components, form)

    def detach(self) -> Jet:
        """The same jet without a graph."""
        return self._like(self._components.detach())

    def to(self, *args: Any, **kwargs: Any) -> Jet:
        """The jet in another floating dtype or on another device, as ``torch.Tensor.to``."""
        moved = self._components.to(*args, **kwargs)
        if not moved.is_floating_point():
            fail_type("jet.to", "a floating dtype", str(moved.dtype))
        return self._like(moved)

    def __getitem__(self, key: Any) -> Jet:
        """``jet[:, i]`` (one output, shape (N, 1)), ``jet[:, a:b]`` or ``jet[:, [i, j]]``."""
        usage = "jet[:, i], jet[:, a:b] or jet[:, [i, j]]"
        if not isinstance(key, tuple) or len(key) != 2 or key[0] != slice(None):
            got = "an index that does not keep all points"
            fix = "A jet selects outputs. Evaluate the jet at fewer points to select points."
            fail("jet[...]", usage, got, fix)
        outputs, count = key[1], self._components.shape[2]
        if isinstance(outputs, slice):
            selected = list(range(count)[outputs])
        else:
            listed = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            selected = [check_int("jet[:, i]", i, -count, count - 1) % count for i in listed]
        if not selected:
            fail("jet[:, ...]", f"at least one of the {count} outputs", describe(outputs))
        first, last = selected[0], selected[-1]
        if selected == list(range(first, last + 1)):
            part = self._components[:, :, first : last + 1]
        else:
            part = torch.stack([self._components[:, :, i] for i in selected], dim=2)
        return Jet(part, self.order, self._wrt, self._inputs)

    def __neg__(self) -> Jet:
        return self._like(-self._components)

    def __pos__(self) -> Jet:
        return self

    def __abs__(self) -> Jet:
        return self._chain(algebra.absolute_formula)

    def __add__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            a, b, form = algebra.matched("jet + jet", self, other)
            return self._like(a + b, form)
        number = algebra.number("jet + other", other)
        if number is None:
            return NotImplemented
        return self._like(algebra.add_number(self._components, number))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            a, b, form = algebra.matched("jet - jet", self, other)
            return self._like(a - b, form)
        number = algebra.number("jet - other", other)
        if number is None:
            return NotImplemented
        return self._like(algebra.add_number(self._components, -number))

    def __rsub__(self, other: Any) -> Jet:
        number = algebra.number("other - jet", other)
        if number is None:
            return NotImplemented
        return self._like(algebra.add_number(-self._components, number))

    def __mul__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            a, b, form = algebra.matched("jet * jet", self, other)
            return self._like(algebra.product(a, b, form), form)
        number = algebra.number("jet * other", other)
        return NotImplemented if number is None else self._like(self._components * number)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            a, b, form = algebra.matched("jet / jet", self, other)
            return self._like(algebra.quotient(a, b, form), form)
        number = algebra.number("jet / other", other)
        if number is None:
            return NotImplemented
        if not isinstance(number, Tensor) and number == 0:
            fail("jet / other", "a number other than 0", "0")
        return self._like(self._components / number)

    def __rtruediv__(self, other: Any) -> Jet:
        number = algebra.number("other / jet", other)
        if number is None:
            return NotImplemented
        return self._like(algebra.quotient(number, self._components, self._layout))

    def __pow__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            a, b, form = algebra.matched("jet ** jet", self, other)
            exponent = algebra.product(algebra.chain(a, algebra.log_formula, form), b, form)
            return self._like(algebra.chain(exponent, algebra.exp_formula, form), form)
        number = algebra.number("jet ** other", other)
        return NotImplemented if number is None else self._chain(algebra.power_formula(number))

    def __rpow__(self, other: Any) -> Jet:
        number = algebra.number("other ** jet", other)
        if number is None:
            return NotImplemented
        if not isinstance(number, Tensor) and number <= 0:
            fail("other ** jet", "a base > 0", str(number))
        return self._chain(algebra.exponential_formula(number))

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """The operators with a tensor, for ``torch.compile``, which finds them this way only."""
        method = _BESIDE_TENSORS.get(func.__name__)
        if method is None or kwargs or len(args) != 2 or not isinstance(args[1], Jet):
            return NotImplemented
        return getattr(args[1], method)(args[0])

    def __repr__(self) -> str:
        _, points, outputs = self._components.shape
        dtype = str(self._components.dtype).removeprefix("torch.")
        return (
            f"Jet(order={self.order!r}, points={points}, outputs={outputs}, "
            f"inputs={self._inputs}, wrt={self._wrt}, {dtype}, {self._components.device})"
        )

    def _like(self, components: Tensor, form: Layout | None = None) -> Jet:
        """A jet of the same field's inputs. Nothing is checked: the operators are called often
        on few points, where the checks would take longer than the arithmetic."""
        made = object.__new__(Jet)
        made._components, made._layout = components, form or self._layout
        made._wrt, made._inputs = self._wrt, self._inputs
        return made

    def _chain(self, formula: algebra.Formula) -> Jet:
        return self._like(algebra.chain(self._components, formula, self._layout))

    def _partials(self, degree: int, name: str, needed: str) -> Tensor:
        """All partial derivatives of ``degree``, symmetric ones repeated: (N, m, n, ..., n)."""
        if not self._layout.holds(degree):
            self._missing(name, needed)
        n = self._layout.n
        if degree == 1:
            return self._components[1 : 1 + n].permute(1, 2, 0)
        entries = [
            self._components[self._layout.positions[tuple(sorted(axes))]]
            for axes in product(range(n), repeat=degree)
        ]
        return torch.stack(entries, dim=-1).unflatten(-1, (n,) * degree)

    def _trace(self, axes: tuple[int, ...]) -> Tensor:
        """The sum over i of the derivatives by i, i and the local ``axes``, (N, m)."""
        positions = self._layout.positions
        total = self._components[positions[tuple(sorted((*axes, 0, 0)))]]
        for i in range(1, self._layout.n):
            total = total + self._components[positions[tuple(sorted((*axes, i, i)))]]
        return total

    def _missing(self, name: str, needed: str) -> NoReturn:
        fail(
            f"jet.{name}",
            f"a jet of order {needed} or above",
            f"one of order {self.order!r}",
            f"Ask for cc.jet(net, x, order={needed}), in a term for Term(..., order={needed}).",
        )
