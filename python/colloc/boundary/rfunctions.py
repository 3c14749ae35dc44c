"""R-functions: and, or, not of regions that are given by the sign of a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, describe, fail, fail_type
from colloc.jets import Jet, algebra
from colloc.jets.algebra import Slopes
from colloc.jets.layout import Layout

_Field = TypeVar("_Field", Jet, Tensor)
#: From packed components (K, N, m) of two fields to those of their combination.
_Rule = Callable[[Tensor, Tensor, Layout], Tensor]
#: From t in [-1, 1] and a degree to a function of t and its derivatives.
_OfRatio = Callable[[Tensor, int], Slopes]


def conjunction(
    *phis: _Field, alpha: float | None = None, s: int | None = None, p: int | None = None
) -> _Field:
    """ "And": positive where all phis are, 0 on the boundary of that region.

    With the upper sign, of two fields a and b, by one of the families

    ======================= ====================================================
    ``alpha`` (R_alpha)     (a + b -+ sqrt(a^2 + b^2 - 2 alpha a b)) / (1 + alpha)
    ``s`` (R_0^s)           (a + b -+ sqrt(a^2 + b^2)) (a^2 + b^2)^(s/2)
    ``p`` (R_p)             a + b -+ (a^p + b^p)^(1/p)
    none of them            alpha = 0, which is s = 0 and p = 2 as well
    ======================= ====================================================

    * Smooth: alpha < 1 and p everywhere but at a = b = 0; s is s times continuously
      differentiable there. alpha = 1 is min(a, b) (max), with a kink wherever a = b.
    * Normalised: where a = 0 < b, alpha has the first derivatives of a, so that |grad phi| = 1
      is kept, and p has all those up to the (p - 1)-th. s multiplies the slope by b^s: it is
      not normalised.
    * Several fields are combined from left to right; but for alpha = 1 another order gives other
      values (with the same signs and, on the boundary, the same first derivatives).

    No cancellation where one field is much smaller than the other, no overflow, no NaN for
    finite fields. At a = b = 0, exactly or up to the fourth root of the dtype's smallest number
    (3e-10 in float32, 4e-77 in float64), the value is right and the derivatives are the limits
    along a = b > 0, those of k (a + b) with k = (1 -+ sqrt((1 - alpha) / 2)) / (1 + alpha),
    0 or 1 -+ 2^(1/p - 1); what grows without bound there, parts of the second and third
    derivatives, is left out. At a = b elsewhere alpha = 1 takes the mean of both.

    Source: V. L. Rvachev; V. Shapiro, Semi-analytic geometry with R-functions, Acta Numerica 16
    (2007); N. Sukumar, A. Srivastava, CMAME 389 (2022) 114333, section 3.

    Args:
        phis: jets (of equal inputs, wrt and points; the smallest order is kept; a jet with one
            output combines with every output of another) or tensors of one shape, not both.
        alpha: -1 < alpha <= 1.
        s: a whole number >= 0.
        p: an even number >= 2.

    Returns:
        A jet, or a tensor of the fields' shape; differentiable.

    Raises:
        TypeError: no field, jets mixed with tensors, something else.
        ValueError: more than one family, a parameter out of range, shapes or jets that do not
            match.
    """
    return _fold("conjunction", phis, _family(-1.0, alpha, s, p))


def disjunction(
    *phis: _Field, alpha: float | None = None, s: int | None = None, p: int | None = None
) -> _Field:
    """ "Or": positive where one of the phis is; :func:`conjunction` with the lower signs.

    Not normalised, and 0 inside of the union, where the boundaries of two regions coincide.

    Args, returns, raises: as for :func:`conjunction`.
    """
    return _fold("disjunction", phis, _family(1.0, alpha, s, p))


def negation(phi: _Field) -> _Field:
    """ "Not": -phi.

    Raises:
        TypeError: phi is neither a jet nor a tensor.
    """
    if not isinstance(phi, (Jet, Tensor)):
        fail_type("negation", "a jet or a tensor", describe(phi))
    return -phi


def equivalence(*phis: _Field, m: int = 2) -> _Field:
    """The union of the sets phi_i = 0:

        phi = (sum_i phi_i^-m)^(-1/m), of two fields a b / (|a|^m + |b|^m)^(1/m).

    * Associative: the order of the fields does not matter.
    * For phi_i >= 0 it is what :func:`colloc.boundary.distance` makes of pieces. The sign is the
      product of the signs, so that it is smooth across a field's zeros (with an odd m the m-th
      and higher derivatives jump there).
    * Normalised: where a = 0 < b it has the derivatives of a up to the m-th.
    * Where two fields are 0 at once (as in :func:`conjunction`) it has a corner; the derivatives
      are those of 2^(-(m + 1) / m) (a + b), the limits along a = b > 0.

    Source: A. Biswas, V. Shapiro, Graphical Models 66 (2004); Sukumar and Srivastava, CMAME 389
    (2022) 114333, equation 9.

    Args:
        phis: as for :func:`conjunction`.
        m: a whole number >= 1.

    Raises:
        ValueError, TypeError: as for :func:`conjunction`; m < 1.
    """
    m = check_int("m", m, minimum=1)
    joined = _power_of_ratio(m, -1.0 / m)

    def rule(a: Tensor, b: Tensor, form: Layout) -> Tensor:
        def smooth(small: Tensor, large: Tensor, sign: Tensor) -> Tensor:
            ratio = algebra.chain(algebra.quotient(small, large, form), joined, form)
            return sign * algebra.product(small, ratio, form)

        return _beside_corner(a, b, smooth, 2.0 ** (-(m + 1) / m))

    return _fold("equivalence", phis, rule)


def _family(sign: float, alpha: Any, s: Any, p: Any) -> _Rule:
    """The rule of one family: ``sign`` -1 for and, 1 for or."""
    if sum(value is not None for value in (alpha, s, p)) > 1:
        wanted, got = "at most one of alpha, s and p", f"alpha={alpha}, s={s}, p={p}"
        fail("family", wanted, got, "Each stands for a family of R-functions of its own.")
    alpha = 0.0 if alpha is None else check_float("alpha", alpha)
    if not -1 < alpha <= 1:
        fail("alpha", "a number with -1 < alpha <= 1", str(alpha))
    s = 0 if s is None else check_int("s", s, minimum=0)
    p = 2 if p is None else check_int("p", p, minimum=2)
    if p % 2:
        fail("p", "an even number >= 2", str(p), "a^p must not depend on the sign of a.")
    if alpha == 1:
        return lambda a, b, form: _extreme(sign, a, b)
    excess = _alpha_of_ratio(alpha) if p == 2 else _power_of_ratio(p, 1.0 / p, less=True)
    at_one = math.sqrt((1 - alpha) / 2) if p == 2 else 2.0 ** (1 / p - 1)
    corner = 0.0 if s else (1 + sign * at_one) / (1 + alpha)

    def rule(a: Tensor, b: Tensor, form: Layout) -> Tensor:
        def smooth(small: Tensor, large: Tensor, of: Tensor) -> Tensor:
            # The root is |large| (1 + e), e a function of small / large. Written so, the fields
            # that almost cancel are never subtracted from it.
            e = algebra.chain(algebra.quotient(small, large, form), excess, form)
            more = of * algebra.product(large, e, form)
            found = small + (1 + sign * of) * large + sign * more
            if not s:
                return found if alpha == 0 else found / (1 + alpha)
            root = algebra.chain(of * large + more, algebra.power_formula(float(s)), form)
            return algebra.product(found, root, form)

        return _beside_corner(a, b, smooth, corner)

    return rule


def _beside_corner(
    a: Tensor, b: Tensor, smooth: Callable[[Tensor, Tensor, Tensor], Tensor], corner: float
) -> Tensor:
    """``smooth(small, large, sign of large)`` of the fields sorted by absolute value; at
    a = b = 0 the jet of ``corner (a + b)``. No inf in what is not taken: gradients would be NaN.
    """
    tiny = torch.finfo(a.dtype).tiny
    swap = b[:1].abs() > a[:1].abs()
    large, small = torch.where(swap, b, a), torch.where(swap, a, b)
    size = large[:1].detach().abs()
    none = size < tiny
    linear = corner * (a + b)
    large_value = torch.where(none, 1.0, large[:1])
    small_value = torch.where(none, 0.0, small[:1])
    sign = torch.where(large_value.detach() < 0, -1.0, 1.0).to(a.dtype)
    if a.shape[0] == 1:
        return torch.where(none, linear, smooth(small_value, large_value, sign))
    # Third derivatives grow like 1 / size^2, and pass through 1 / size^3.
    near = size < tiny**0.25
    found = smooth(
        torch.cat((small_value, torch.where(near, 0.0, small[1:]))),
        torch.cat((large_value, torch.where(near, 0.0, large[1:]))),
        sign,
    )
    value = torch.where(none, linear[:1], found[:1])
    return torch.cat((value, torch.where(near, linear[1:], found[1:])))


def _extreme(sign: float, a: Tensor, b: Tensor) -> Tensor:
    """The smaller (-1) or larger (1) field with its derivatives, the mean where they are equal."""
    gap = sign * (a[:1] - b[:1]).detach()
    return torch.where(gap > 0, a, torch.where(gap < 0, b, (a + b) / 2))


def _alpha_of_ratio(alpha: float) -> _OfRatio:
    """sqrt(1 - 2 alpha t + t^2) - 1."""

    def formula(t: Tensor, degree: int) -> Slopes:
        if alpha == 0:
            root = (1 + t * t).sqrt()
        else:
            side = torch.where(t.detach() < 0, -1.0, 1.0).to(t.dtype)
            root = ((1 - side * t).square() + 2 * side * t * (1 - alpha * side)).sqrt()
        found = [t * (t - 2 * alpha) / (1 + root)]
        if degree > 0:
            found.append((t - alpha) / root)
        if degree > 1:
            found.append((1 - alpha * alpha) / (root * root * root))
        if degree > 2:
            found.append(-3 * found[1] * found[2] / root)
        return found

    return formula


def _power_of_ratio(m: int, q: float, less: bool = False) -> _OfRatio:
    """(1 + |t|^m)^q, ``less`` 1 if wanted; of an odd m the derivatives at 0 are those of t > 0."""

    def formula(t: Tensor, degree: int) -> Slopes:
        side = torch.where(t.detach() < 0, -1.0, 1.0).to(t.dtype) if m % 2 else 1.0
        u = side * t
        v = u**m
        log = torch.log1p(v)
        found = [torch.expm1(q * log) if less else torch.exp(q * log)]
        if degree > 0:
            first = torch.exp((q - 1) * log)
            found.append(side * q * m * u ** (m - 1) * first)
        if degree > 1:
            second = torch.exp((q - 2) * log)
            terms = [(m - 1, m - 2, first), ((q - 1) * m, 2 * m - 2, second)]
            found.append(q * m * _sum(u, terms))
        if degree > 2:
            terms = [
                ((m - 1) * (m - 2), m - 3, first),
                (3 * (m - 1) * (q - 1) * m, 2 * m - 3, second),
                ((q - 1) * (q - 2) * m * m, 3 * m - 3, torch.exp((q - 3) * log)),
            ]
            found.append(side * q * m * _sum(u, terms))
        return found

    def _sum(u: Tensor, terms: list[tuple[float, int, Tensor]]) -> Tensor:
        total = torch.zeros_like(u)
        for factor, power, rest in terms:
            if factor:
                total = total + factor * u**power * rest
        return total

    return formula


def _fold(name: str, phis: tuple[Any, ...], rule: _Rule) -> Any:
    """The rule applied from left to right."""
    wanted = "jets, or tensors of one floating dtype, not both"
    if not phis:
        fail_type(name, f"{wanted}, at least one", "none")
    kind = Jet if isinstance(phis[0], Jet) else Tensor
    for one in phis:
        if not isinstance(one, kind) or (isinstance(one, Tensor) and not one.is_floating_point()):
            fail_type(name, wanted, describe(one))
    first = phis[0]
    for other in phis[1:]:
        combine: Any = _of_jets if kind is Jet else _of_tensors
        first = combine(name, first, other, rule)
    return first


def _of_jets(name: str, a: Jet, b: Jet, rule: _Rule) -> Jet:
    left, right, form = algebra.matched(name, a, b)
    left, right = torch.broadcast_tensors(left, right)
    return a._like(rule(left, right, form), form)


def _of_tensors(name: str, a: Tensor, b: Tensor, rule: _Rule) -> Tensor:
    if a.shape != b.shape:
        fail(name, "tensors of one shape", f"{tuple(a.shape)} and {tuple(b.shape)}")
    if a.dtype != b.dtype or a.device != b.device:
        got = f"{a.dtype} on {a.device} and {b.dtype} on {b.device}"
        fail(name, "tensors of one dtype on one device", got)
    return rule(a.unsqueeze(0), b.unsqueeze(0), algebra.known_layout(0, 1))[0]
