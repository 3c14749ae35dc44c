"""Elementary functions of jets, and jets that are not a network's.

Every function takes a jet, of any order, and gives the jet of the function of it, by output;
of a tensor it gives the plain value, so that one formula runs on both. Outside a function's
domain the results are what torch gives, inf or nan. Anything else is a TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, check_points, fail, fail_type
from colloc.jets import algebra
from colloc.jets.algebra import Formula, Slopes
from colloc.jets.container import Jet
from colloc.jets.layout import Order, check_order, check_wrt

_Field = TypeVar("_Field", Jet, Tensor)


def constant(value: Any, like: Jet) -> Jet:
    """The jet of a constant: all derivatives are 0.

    Args:
        value: a number or 0-dimensional tensor (one output), (m,) one for each output of
            ``like``, or (N, m) one for each point and output: constant at each point as far as
            the derivatives are concerned. Differentiable; converted to the dtype and device of
            ``like``.
        like: a jet; gives N, order, wrt and inputs.

    Raises:
        TypeError: value is not a real number or tensor, or like is not a jet.
        ValueError: the value's shape is none of these, or a number that is not finite.
    """
    if not isinstance(like, Jet):
        fail_type("like", "a jet", like)
    size, points, outputs = like.components.shape
    if isinstance(value, Tensor):
        if value.dtype == torch.bool or value.is_complex():
            fail_type("value", "real values", value)
        known = value.to(like.components)
        per_point = value.ndim == 2 and value.shape[0] == points and value.shape[1] > 0
        if not (value.ndim == 0 or per_point or value.shape == (outputs,)):
            wanted = f"a number, or a tensor of shape (), ({outputs},) or ({points}, m)"
            one_output = value.ndim == 1 and value.shape[0] == points
            fix = "Give one output's values as value[:, None]." if one_output else ""
            fail("value", wanted, value, fix)
    else:
        known = like.components.new_full((), check_float("value", value))
    known = known.expand(1, points, known.shape[-1] if known.ndim else 1)
    return like._like(_with_zeros(known, size))


def coordinate(x: Tensor, i: int, order: Order, wrt: Sequence[int] | None = None) -> Jet:
    """The jet of the input x_i, with one output: the value x[:, i], slope 1 by x_i.

    Args:
        x: points, (N, d), floating. Differentiable.
        i: which input, 0 <= i < d.
        order: one of ``colloc.jets.ORDERS``.
        wrt: the inputs to differentiate by (None: all). All derivatives are 0 if i is not one.

    Raises:
        TypeError: x is not a floating tensor, i is not an integer.
        ValueError: x is not (N, d) with d >= 1, there is no input i, order or wrt is wrong.
    """
    check_points("x", x)
    if x.shape[1] == 0:
        fail("x", "points with at least one input, (N, d) with d >= 1", x)
    i = check_int("i", i, minimum=0, maximum=x.shape[1] - 1)
    wrt = check_wrt(wrt, x.shape[1])
    form = algebra.known_layout(check_order(order), len(wrt))
    components = _with_zeros(x[:, i : i + 1].unsqueeze(0), form.size)
    if order != 0 and i in wrt:
        at = form.positions[(wrt.index(i),)]
        slope = torch.ones_like(components[:1])
        components = torch.cat((components[:at], slope, components[at + 1 :]))
    return Jet(components, order, wrt, x.shape[1])


def cat(jets: Sequence[Jet]) -> Jet:
    """The outputs of several jets side by side, in the smallest of their orders.

    Raises:
        TypeError: jets is not a list or tuple of jets.
        ValueError: it is empty, or inputs, wrt, points, dtypes or devices differ.
    """
    if not isinstance(jets, (list, tuple)):
        fail_type("jets", "a list or tuple of jets", jets)
    if len(jets) == 0:
        fail("jets", "at least one jet", "none")
    for k, one in enumerate(jets):
        if not isinstance(one, Jet):
            fail_type(f"jets[{k}]", "a jet", one)
        algebra.check_match(f"jets[0] and jets[{k}]", jets[0], one)
    order = jets[0].order
    for one in jets:
        order = algebra.lower(order, one.order)
    parts = [one.truncate(order) for one in jets]
    return parts[0]._like(torch.cat([one.components for one in parts], dim=2))


def compose(jet: _Field, derivatives: Callable[[Tensor, int], Tensor | float]) -> _Field:
    """The jet of f(jet) for a function f of one's own, by Faa di Bruno's rule.

    Args:
        jet: a jet with values of shape (N, m), or a tensor.
        derivatives: maps (value, k) to the k-th derivative of f at the value, a tensor of the
            value's shape and dtype or a constant. Called for k = 0 up to the jet's highest
            derivatives (1, 2 for ``"laplacian"`` and 2, 3 for ``"grad_laplacian"`` and 3), for
            a tensor with k = 0 alone. Written in torch operations, gradients pass through it.

    Raises:
        TypeError: jet is neither, derivatives is not callable or does not return a tensor.
        ValueError: it returns a tensor of another shape or dtype.
    """
    if not callable(derivatives):
        fail_type("derivatives", "a callable (value, k) -> k-th derivative", derivatives)

    def checked(value: Tensor, k: int) -> Tensor | float:
        name, found = f"derivatives(value, {k})", derivatives(value, k)
        if not isinstance(found, Tensor):
            return check_float(name, found)
        if found.shape != value.shape or found.dtype != value.dtype:
            fail(name, f"a {value.dtype} tensor of shape {tuple(value.shape)}", found)
        return found

    def formula(z: Tensor, degree: int) -> Slopes:
        if not isinstance(jet, Jet):
            return [checked(z, 0)]
        found = [checked(z.squeeze(0), k) for k in range(degree + 1)]
        return [f.unsqueeze(0) if isinstance(f, Tensor) else f for f in found]

    return _apply(jet, formula)


def power(jet: _Field, exponent: Any) -> _Field:
    """``jet ** exponent``; derivatives that vanish identically are exactly 0, also at 0."""
    _check_field(jet)
    return jet**exponent


def square(jet: _Field) -> _Field:
    """jet^2."""
    return _apply(jet, lambda z, degree: [z * z, 2 * z, 2.0, 0.0])


def reciprocal(jet: _Field) -> _Field:
    """1 / jet."""
    _check_field(jet)
    return 1.0 / jet


def absolute(jet: _Field) -> _Field:
    """abs(jet); the slope at 0 is 0, as in torch."""
    return _apply(jet, algebra.absolute_formula)


def exp(jet: _Field) -> _Field:
    """The exponential."""
    return _apply(jet, algebra.exp_formula)


def expm1(jet: _Field) -> _Field:
    """exp(jet) - 1, accurate near 0."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return [torch.expm1(z), *([torch.exp(z)] * degree if degree else [])]

    return _apply(jet, formula)


def log(jet: _Field) -> _Field:
    """The natural logarithm; nan below 0, -inf at 0."""
    return _apply(jet, algebra.log_formula)


def log1p(jet: _Field) -> _Field:
    """log(1 + jet), accurate near 0; nan below -1."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return [torch.log1p(z), *algebra.inverse_powers(1 + z, degree)]

    return _apply(jet, formula)


def sqrt(jet: _Field) -> _Field:
    """The square root; nan below 0, infinite derivatives at 0."""

    def formula(z: Tensor, degree: int) -> Slopes:
        found = [torch.sqrt(z)]
        if degree > 0:
            found.append(0.5 / found[0])
        for k in range(1, degree):
            found.append((0.5 - k) * found[k] / z)
        return found

    return _apply(jet, formula)


def sin(jet: _Field) -> _Field:
    """The sine."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return _rotation(torch.sin(z), torch.cos(z), degree) if degree else [torch.sin(z)]

    return _apply(jet, formula)


def cos(jet: _Field) -> _Field:
    """The cosine."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return _rotation(torch.cos(z), -torch.sin(z), degree) if degree else [torch.cos(z)]

    return _apply(jet, formula)


def tan(jet: _Field) -> _Field:
    """The tangent."""

    def formula(z: Tensor, degree: int) -> Slopes:
        t = torch.tan(z)
        found = [t]
        if degree > 0:
            s = 1 + t * t
            found.append(s)
        if degree > 1:
            found.append(2 * t * s)
        if degree > 2:
            found.append(2 * (s * s + t * found[2]))
        return found

    return _apply(jet, formula)


def sinh(jet: _Field) -> _Field:
    """The hyperbolic sine."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return ([torch.sinh(z), torch.cosh(z)] * 2) if degree else [torch.sinh(z)]

    return _apply(jet, formula)


def cosh(jet: _Field) -> _Field:
    """The hyperbolic cosine."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return ([torch.cosh(z), torch.sinh(z)] * 2) if degree else [torch.cosh(z)]

    return _apply(jet, formula)


def tanh(jet: _Field) -> _Field:
    """The hyperbolic tangent."""

    def formula(z: Tensor, degree: int) -> Slopes:
        h = torch.tanh(z)
        found = [h]
        if degree > 0:
            # 1 - h^2 without its cancellation where tanh saturates
            s = 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z)
            found.append(s)
        if degree > 1:
            found.append(-2 * h * s)
        if degree > 2:
            found.append(-2 * (s * s + h * found[2]))
        return found

    return _apply(jet, formula)


def atan(jet: _Field) -> _Field:
    """The arctangent."""

    def formula(z: Tensor, degree: int) -> Slopes:
        found = [torch.atan(z)]
        if degree > 0:
            r = 1 / (1 + z * z)
            found.append(r)
        if degree > 1:
            found.append(-2 * (z * r) * r)
        if degree > 2:
            # (6 z^2 - 2) r^3 without inf * 0 where z^2 overflows
            found.append((6 - 8 * r) * r * r)
        return found

    return _apply(jet, formula)


def sigmoid(jet: _Field) -> _Field:
    """1 / (1 + exp(-jet))."""

    def formula(z: Tensor, degree: int) -> Slopes:
        return _logistic(z, degree)

    return _apply(jet, formula)


def softplus(jet: _Field) -> _Field:
    """log(1 + exp(jet)), taken for jet itself above 40, where float64 sees no difference."""

    def formula(z: Tensor, degree: int) -> Slopes:
        value = torch.nn.functional.softplus(z, threshold=40.0)
        return [value, *_logistic(z, degree - 1)] if degree else [value]

    return _apply(jet, formula)


def erf(jet: _Field) -> _Field:
    """The error function."""

    def formula(z: Tensor, degree: int) -> Slopes:
        found = [torch.erf(z)]
        if degree > 0:
            found.append(2 / math.sqrt(math.pi) * torch.exp(-z * z))
        for k in range(1, degree):  # from f'' = -2 z f'; no z^2, which may meet a 0 as inf
            last = z * found[k] if k == 1 else z * found[k] + found[k - 1]
            found.append(-2 * last)
        return found

    return _apply(jet, formula)


def _apply(jet: _Field, formula: Formula) -> _Field:
    """The function with this formula: of a jet by the chain rule, of a tensor its value."""
    if isinstance(jet, Jet):
        return jet._chain(formula)
    _check_field(jet)
    value = formula(jet, 0)[0]
    return value if isinstance(value, Tensor) else torch.full_like(jet, value)


def _check_field(jet: Any) -> None:
    if not isinstance(jet, (Jet, Tensor)):
        fail_type("jet", "a jet or a tensor", jet)


def _with_zeros(value: Tensor, size: int) -> Tensor:
    """A value (1, N, m) and ``size - 1`` derivatives that are 0."""
    return torch.cat((value, value.new_zeros((size - 1, *value.shape[1:]))))


def _rotation(value: Tensor, slope: Tensor, degree: int) -> Slopes:
    """f, f', -f, -f'."""
    return [value, slope, -value, -slope][: degree + 1]


def _logistic(z: Tensor, degree: int) -> list[Tensor]:
    """The derivatives of the sigmoid."""
    y = torch.sigmoid(z)
    found = [y]
    if degree > 0:
        h, s = 2 * y - 1, y * torch.sigmoid(-z)  # 1 - y cancels where y is near 1
        found.append(s)
    if degree > 1:
        found.append(-h * s)
    if degree > 2:
        found.append(-(2 * s * s + h * found[2]))
    return found
