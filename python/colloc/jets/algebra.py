"""The mathematics of jets on their packed components (K, N, m), in plain torch operations.

Components are taken apart by degree, since every rule below is a rule by degree: the value
(1, N, m), the first derivatives (n, N, m), the second ones (the Hessian's upper triangle or the
Laplacian), the third ones (all of them or the Laplacian's gradient).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from colloc._checks import check_float, fail, fail_type
from colloc.jets.layout import ORDERS, Layout, Order, layout

if TYPE_CHECKING:
    from colloc.jets.container import Jet

#: f, f', ... at the value of a jet, each a tensor or a constant.
Slopes: TypeAlias = Sequence["Tensor | float"]
#: (value, degree) -> at least f, ..., f^(degree) at the value.
Formula: TypeAlias = Callable[[Tensor, int], Slopes]
#: Which rows of two blocks to multiply, and how many products make one row of the result.
Plan: TypeAlias = tuple[list[int], list[int], int]


class SecondPlans(NamedTuple):
    """Rows to combine for second derivatives, which are stored by ascending axes."""

    diagonal: list[int]
    """Rows ii."""
    outer: Plan
    """z_i z_j."""
    both_ways: Plan
    """a_i b_j + a_j b_i."""
    times_hessian: Plan
    """sum_i a_i b_ik."""


class ThirdPlans(NamedTuple):
    """Rows to combine for third derivatives, which are stored by ascending axes."""

    diagonal: list[int]
    """Rows iik, i outermost."""
    one_and_two: Plan
    """a_i b_jk + a_j b_ik + a_k b_ij."""
    cube: Plan
    """z_i times the row jk of ``SecondPlans.outer``."""


def _pairs(n: int) -> dict[tuple[int, ...], int]:
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    return {pair: row for row, pair in enumerate(pairs)}


def _make_second(n: int) -> SecondPlans:
    axes, pairs = range(n), _pairs(n)
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    both = [(i, k) for i in axes for k in axes]
    return SecondPlans(
        diagonal=[pairs[i, i] for i in axes],
        outer=(first, second, 1),
        both_ways=(first + second, second + first, 2),
        times_hessian=([i for i, _ in both], [pairs[min(p), max(p)] for p in both], n),
    )


def _make_third(n: int) -> ThirdPlans:
    axes, pairs = range(n), _pairs(n)
    triples = [(i, j, k) for i in axes for j in range(i, n) for k in range(j, n)]
    rows = {triple: row for row, triple in enumerate(triples)}
    ones = [triple[p] for p in range(3) for triple in triples]
    twos = [pairs[t[:p] + t[p + 1 :]] for p in range(3) for t in triples]
    return ThirdPlans(
        diagonal=[rows[(i, i, k) if i <= k else (k, i, i)] for i in axes for k in axes],
        one_and_two=(ones, twos, 3),
        cube=(ones[: len(rows)], twos[: len(rows)], 1),
    )


# Kept, since every operator needs them. Those of few inputs are made beforehand: torch.compile
# can look them up in a graph but can't trace how layouts are made.
_FEW = range(1, 9)
_LAYOUTS = {(order, n): layout(order, n) for order in ORDERS for n in _FEW}
_SECOND = {n: _make_second(n) for n in _FEW}
_THIRD = {n: _make_third(n) for n in _FEW}


def known_layout(order: Order, n: int) -> Layout:
    """``layout(order, n)``, made once."""
    if (order, n) not in _LAYOUTS:
        _LAYOUTS[order, n] = layout(order, n)
    return _LAYOUTS[order, n]


def _second(n: int) -> SecondPlans:
    if n not in _SECOND:
        _SECOND[n] = _make_second(n)
    return _SECOND[n]


def _third(n: int) -> ThirdPlans:
    if n not in _THIRD:
        _THIRD[n] = _make_third(n)
    return _THIRD[n]


def blocks(components: Tensor, form: Layout) -> Sequence[Tensor]:
    """The components by degree. One split: its backward is a single ``cat``."""
    if form.order == 0:
        return (components,)
    n, sizes = form.n, [1, form.n]
    if form.laplacian is not None:
        sizes.append(1)
    elif form.holds(2):
        sizes.append(n * (n + 1) // 2)
    if form.size > sum(sizes):
        sizes.append(form.size - sum(sizes))
    return components.split(sizes)


def truncated(components: Tensor, form: Layout, order: Order) -> tuple[Tensor, Layout]:
    """The part that a jet of the smaller ``order`` holds, and its layout."""
    if order == form.order:
        return components, form
    target = known_layout(order, form.n)
    if target.laplacian is not None and form.laplacian is None:
        _, _, second, *_ = blocks(components, form)
        return torch.cat((components[: 1 + form.n], _trace(second, form.n))), target
    if target.grad_laplacian is not None and form.grad_laplacian is None:
        value, first, second, last = blocks(components, form)
        slopes = _entries(last, _third(form.n).diagonal)
        slopes = slopes.unflatten(0, (form.n, form.n)).sum(0)
        return torch.cat((value, first, second, slopes)), target
    return components[: target.size], target


#: The order of a derivative's jet, where inputs are several; in one input the Laplacian is the
#: second derivative.
_DERIVATIVE: dict[Order, Order] = {
    1: 0,
    "laplacian": 0,
    2: 1,
    "grad_laplacian": "laplacian",
    3: 2,
}


def derivative_order(order: Order, n: int) -> Order:
    """The order of jet that the derivatives of an ``order`` jet in n inputs have."""
    return 1 if order == "laplacian" and n == 1 else _DERIVATIVE[order]


def derivative(components: Tensor, form: Layout, axis: int) -> tuple[Tensor, Layout]:
    """The jet of the derivative by local ``axis``, and its layout."""
    target = known_layout(derivative_order(form.order, form.n), form.n)
    picked = [0] * target.size
    for axes, position in target.positions.items():
        picked[position] = form.positions[tuple(sorted((*axes, axis)))]
    if target.laplacian is not None and form.grad_laplacian is not None:
        picked[target.laplacian] = form.grad_laplacian + axis
    return torch.stack([components[position] for position in picked]), target


def product(a: Tensor, b: Tensor, form: Layout) -> Tensor:
    """Leibniz' rule: lap(a b) = a lap b + 2 grad a . grad b + b lap a, and so on."""
    left, right = blocks(a, form), blocks(b, form)
    parts = [left[0] * right[0]]
    for degree in range(1, len(left)):
        part = torch.addcmul(left[0] * right[degree], right[0], left[degree])
        parts.append(_plus_mixed(part, left, right, degree, form))
    return torch.cat(parts)


def quotient(a: Tensor | float, b: Tensor, form: Layout) -> Tensor:
    """q = a / b by Leibniz' rule for a = q b, solved degree by degree: no powers of 1 / b.

    ``a``: components, or a number (0-dimensional tensor).
    """
    right = blocks(b, form)
    left = blocks(a, form) if isinstance(a, Tensor) and a.ndim == 3 else None
    parts = [(a if left is None else left[0]) / right[0]]
    for degree in range(1, len(right)):
        rest = _plus_mixed(parts[0] * right[degree], parts, right, degree, form)
        parts.append((-rest if left is None else left[degree] - rest) / right[0])
    return torch.cat(parts)


def chain(components: Tensor, formula: Formula, form: Layout) -> Tensor:
    """The jet of f(z) by Faa di Bruno's rule, from f and its derivatives at the value.

    By degree: f1 z_i; f1 z_ij + f2 z_i z_j, whose trace is f1 lap z + f2 |grad z|^2;
    f1 z_ijk + f2 (z_i z_jk + z_j z_ik + z_k z_ij) + f3 z_i z_j z_k, whose trace over i, j is
    f1 d_k lap z + f2 (z_k lap z + 2 sum_i z_i z_ik) + f3 z_k |grad z|^2.
    """
    z, n = blocks(components, form), form.n
    f = formula(z[0], len(z) - 1)
    parts = [f[0] if isinstance(f[0], Tensor) else torch.full_like(z[0], f[0])]
    for degree in range(1, len(z)):
        parts.append(torch.zeros_like(z[degree]) if _is_zero(f[1]) else f[1] * z[degree])
    if len(z) > 2 and not _is_zero(f[2]):
        if form.laplacian is not None:
            parts[2] = _plus(parts[2], f[2], _square(z[1]))
        else:
            parts[2] = _plus(parts[2], f[2], _contract(z[1], z[1], _second(n).outer))
    if len(z) > 3 and form.grad_laplacian is not None:
        if not _is_zero(f[2]):
            slopes = 2 * _contract(z[1], z[2], _second(n).times_hessian)
            parts[3] = _plus(parts[3], f[2], torch.addcmul(slopes, z[1], _trace(z[2], n)))
        if not _is_zero(f[3]):
            parts[3] = _plus(parts[3], f[3], z[1] * _square(z[1]))
    elif len(z) > 3:
        if not _is_zero(f[2]):
            parts[3] = _plus(parts[3], f[2], _contract(z[1], z[2], _third(n).one_and_two))
        if not _is_zero(f[3]):
            cube = _contract(z[1], _contract(z[1], z[1], _second(n).outer), _third(n).cube)
            parts[3] = _plus(parts[3], f[3], cube)
    return torch.cat(parts)


def add_number(components: Tensor, number: Tensor | float) -> Tensor:
    """Only the value moves."""
    if components.shape[0] == 1:
        return components + number
    value, rest = components.split([1, components.shape[0] - 1])
    return torch.cat((value + number, rest))


def power_formula(exponent: Tensor | float) -> Formula:
    """z^p. Derivatives that vanish identically are exactly 0, also at z = 0."""

    def formula(z: Tensor, degree: int) -> Slopes:
        # A coefficient of lower precision must not round p - 1.
        p = exponent.to(z.dtype) if isinstance(exponent, Tensor) else exponent
        found: list[Tensor | float] = [torch.pow(z, p)]
        falling: Tensor | float = 1.0
        for k in range(1, degree + 1):
            falling, left = falling * (p - k + 1), p - k
            if isinstance(falling, Tensor):
                # Where p (p - 1) ... = 0 the power may be infinite at 0: no 0 * inf there.
                base = torch.where((falling == 0) & (z == 0), 1.0, z)
                found.append(falling * torch.pow(base, left))
            elif falling == 0 or left == 0:
                found.append(falling)
            else:
                found.append(falling * torch.pow(z, left))
        return found

    return formula


def exponential_formula(base: Tensor | float) -> Formula:
    """c^z of a number c > 0."""

    def formula(z: Tensor, degree: int) -> Slopes:
        # A coefficient may be of lower precision than the jet.
        rate = torch.log(base.to(z.dtype)) if isinstance(base, Tensor) else math.log(base)
        found = [torch.pow(base, z)]
        for _ in range(degree):
            found.append(rate * found[-1])
        return found

    return formula


def exp_formula(z: Tensor, degree: int) -> Slopes:
    """exp(z)."""
    return [torch.exp(z)] * (degree + 1)


def log_formula(z: Tensor, degree: int) -> Slopes:
    """log(z); torch's nan and inf where z <= 0."""
    return [torch.log(z), *inverse_powers(z, degree)]


def inverse_powers(z: Tensor, degree: int) -> Slopes:
    """1 / z and its derivatives, ``degree`` of them in all."""
    if degree == 0:
        return []
    found = [1 / z]
    for k in range(1, degree):
        found.append(-k * found[0] * found[-1])
    return found


def absolute_formula(z: Tensor, degree: int) -> Slopes:
    """|z|, with slope 0 at 0 as in torch."""
    return [torch.abs(z), torch.sign(z), 0.0, 0.0]


def matched(name: str, a: Jet, b: Jet) -> tuple[Tensor, Tensor, Layout]:
    """Components of two jets that belong together, both of the smaller order."""
    check_match(name, a, b)
    m, other = a.components.shape[2], b.components.shape[2]
    if m != other and 1 not in (m, other):
        fix = "Select outputs with jet[:, i]."
        fail(name, "equal numbers of outputs, or one output", f"{m} and {other}", fix)
    order = lower(a.order, b.order)
    first, form = truncated(a.components, a.layout, order)
    return first, truncated(b.components, b.layout, order)[0], form


def check_match(name: str, a: Jet, b: Jet) -> None:
    """Same inputs, wrt, points, dtype and device; ValueError otherwise."""
    if a.inputs != b.inputs:
        fail(name, "jets of fields with equally many inputs", f"{a.inputs} and {b.inputs}")
    if a.wrt != b.wrt:
        fail(name, "jets of equal wrt", f"{a.wrt} and {b.wrt}", "Make both with the same wrt.")
    x, y = a.components, b.components
    if x.shape[1] != y.shape[1]:
        fix = "Evaluate both at the same points."
        fail(name, "jets at equally many points", f"{x.shape[1]} and {y.shape[1]}", fix)
    if x.dtype != y.dtype:
        fix = f"Convert one with jet.to({x.dtype})."
        fail(name, "jets of equal dtype", f"{x.dtype} and {y.dtype}", fix)
    if x.device != y.device:
        fix = f"Move one with jet.to({str(x.device)!r})."
        fail(name, "jets on one device", f"{x.device} and {y.device}", fix)


def lower(a: Order, b: Order) -> Order:
    """The smaller of two orders: what both hold."""
    return a if ORDERS.index(a) <= ORDERS.index(b) else b


def number(name: str, other: Any) -> Tensor | float | None:
    """``other`` as a finite number or a real 0-dimensional tensor; None for other types."""
    if isinstance(other, Tensor):
        if other.ndim != 0:
            fail(
                name,
                "a jet, a number or a 0-dimensional tensor",
                other,
                "Its derivatives are unknown: make a jet of it with cc.jet(function, x, order) "
                "or, if it does not depend on the points, cc.jets.constant(tensor, like=jet).",
            )
        if other.dtype == torch.bool or other.is_complex():
            fail_type(name, "a real number", other)
        # An unsigned integer has no negative.
        return other if other.is_floating_point() else other.double()
    if isinstance(other, numbers.Real) and not isinstance(other, bool):
        return check_float(name, other)
    return None


def _is_zero(f: Tensor | float) -> bool:
    return not isinstance(f, Tensor) and f == 0


def _plus(total: Tensor, f: Tensor | float, term: Tensor) -> Tensor:
    """total + f term."""
    if isinstance(f, Tensor):
        return torch.addcmul(total, f, term)
    return torch.add(total, term, alpha=f)


def _plus_mixed(
    total: Tensor, left: Sequence[Tensor], right: Sequence[Tensor], degree: int, form: Layout
) -> Tensor:
    """total + Leibniz' terms with derivatives of both factors; these are of lower degrees."""
    n = form.n
    if degree == 1:
        return total
    if degree == 2:
        if form.laplacian is not None:
            return torch.add(total, (left[1] * right[1]).sum(0, keepdim=True), alpha=2)
        return total + _contract(left[1], right[1], _second(n).both_ways)
    plan = _third(n).one_and_two if form.grad_laplacian is None else _second(n).times_hessian
    terms = _contract(left[1], right[2], plan) + _contract(right[1], left[2], plan)
    if form.grad_laplacian is None:
        return total + terms
    total = torch.addcmul(torch.add(total, terms, alpha=2), left[1], _trace(right[2], n))
    return torch.addcmul(total, right[1], _trace(left[2], n))


def _square(first: Tensor) -> Tensor:
    """|grad z|^2, (1, N, m)."""
    return first.square().sum(0, keepdim=True)


def _trace(second: Tensor, n: int) -> Tensor:
    """The Laplacian (1, N, m) from the Hessian's upper triangle."""
    return _entries(second, _second(n).diagonal).sum(0, keepdim=True) if n > 1 else second


def _entries(block: Tensor, indices: list[int]) -> Tensor:
    """Rows of a block. Not ``index_select``: that needs an index tensor on the device, and its
    backward adds in no fixed order there."""
    rows = block.unbind(0)
    return torch.stack([rows[i] for i in indices])


def _contract(left: Tensor, right: Tensor, plan: Plan) -> Tensor:
    """Sums of products of rows: four or five torch calls, however many rows."""
    lefts, rights, terms = plan
    if left.shape[0] == right.shape[0] == 1:
        return left * right if terms == 1 else terms * (left * right)
    products = _entries(left, lefts) * _entries(right, rights)
    return products if terms == 1 else products.unflatten(0, (terms, -1)).sum(0)
