"""Integral rows: fluxes and other integrals over points, for ``Term(reduce=...)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from colloc._checks import concrete, describe, fail, fail_type
from colloc.pde._arguments import check_coefficient, check_leaf
from colloc.pde.term import MeasuredPoints

#: A number, a tensor, or a function without arguments that gives one of these.
Target: TypeAlias = "float | Tensor | Callable[[], float | Tensor]"


class Integral:
    """Sums rows to integrals, made by :func:`integral`."""

    def __init__(
        self, points: MeasuredPoints, target: Target = 0.0, groups: Tensor | None = None
    ) -> None:
        measure = _check_points(points)
        self._measure = measure
        self._members: Tensor | None = None
        if groups is not None:
            ids = torch.unique(_check_groups(groups, measure))
            self._members = measure * (groups.unsqueeze(1) == ids)  # (N, k)
        count = 1 if self._members is None else self._members.shape[1]
        self.target = _check_target(target, count, grouped=groups is not None)

    def __call__(self, rows: Tensor) -> Tensor:
        """The integrals (k, q) of the rows (N, q), less the target."""
        count = self._measure.shape[0]
        wanted = f"a floating tensor of shape ({count}, q), the points that the integral is over"
        if not isinstance(rows, Tensor) or not rows.is_floating_point():
            fail_type("rows", wanted, rows)
        if rows.ndim != 2 or rows.shape[0] != count:
            fix = "For other points assign another integral: term.reduce = cc.pde.integral(...)."
            fail("rows", wanted, rows, fix if rows.ndim == 2 else "Keep the last axis.")
        if rows.device != self._measure.device:
            got = f"one on {rows.device}"
            fail("rows", f"a tensor on {self._measure.device}, as the points", got)
        if self._members is None:
            sums = (self._measure.to(rows.dtype) * rows).sum(0, keepdim=True)
        else:
            # No matrix product: autocast or TF32 would round the rows.
            sums = (self._members.to(rows.dtype).unsqueeze(2) * rows.unsqueeze(1)).sum(0)
        target = self.target if isinstance(self.target, (float, Tensor)) else self.target()
        if not isinstance(target, Tensor) or target.ndim == 0:
            if not isinstance(target, (int, float, Tensor)):
                fail_type("target()", "a number or a tensor", describe(target))
            return sums - target
        target = target.unsqueeze(0) if target.ndim == 1 else target
        if target.shape != sums.shape:
            wanted = f"a number or a tensor of shape {tuple(sums.shape)}"
            also = f" or ({sums.shape[1]},)" if self._members is None else ""
            fail("target", wanted + also, target)
        return sums - target

    def __repr__(self) -> str:
        rows = 1 if self._members is None else self._members.shape[1]
        return f"Integral({self._measure.shape[0]} points to {rows} rows)"


def integral(
    points: MeasuredPoints, target: Target = 0.0, groups: Tensor | None = None
) -> Integral:
    """Integral rows of a term: what ``reduce`` takes::

        R_kq = sum_{i in group k} m_i r_iq - target_kq

    with m the points' measure, a Monte-Carlo estimate of the integral of r over the part that
    the points sample, whatever its size.

    Example, the flux of u through an outlet, which should be 2::

        flux = cc.Term("flux", net, outlet, lambda u, x: u[:, 0].value, order=0,
                       reduce=cc.pde.integral(outlet, 2.0))

    The flux through a curved part is the integral of ``(u.value * outlet.normal).sum(1,
    keepdim=True)``.

    Args:
        points: the term's points, with ``x`` (N, d) and ``measure`` (N, 1). The measure is taken
            now: a term that gets new points needs a new integral.
        target: what the integrals should be: a coefficient, see :mod:`colloc.pde`, or a tensor
            (q,), with groups (k, q); a function may give that too.
        groups: None for one integral over all points; or integers (N,), one group a point, as
            ``points.piece``: one row for each number that occurs, in ascending order.

    Returns:
        ``reduce(rows (N, q)) -> (1, q)``, with groups ``(k, q)``.

    Raises:
        TypeError: points have no measure, target or groups is not of a kind listed above.
        ValueError: groups is not (N,), target has the wrong shape or is not finite, there are no
            points; when called, rows are not (N, q) or on another device.
    """
    return Integral(points, target, groups)


def _check_points(points: Any) -> Tensor:
    wanted = "a sample with x (N, d) and measure (N, 1), as of colloc.geometry"
    if isinstance(points, Tensor) or not isinstance(points, MeasuredPoints):
        fail_type("points", wanted, describe(points))
    measure, count = points.measure, points.x.shape[0]
    if not isinstance(measure, Tensor) or not measure.is_floating_point():
        fail_type("points.measure", f"a floating tensor of shape ({count}, 1)", measure)
    if measure.shape != (count, 1):
        fail("points.measure", f"a floating tensor of shape ({count}, 1)", measure)
    if count == 0:
        fail("points", "at least one point", "none")
    return measure


def _check_groups(groups: Any, measure: Tensor) -> Tensor:
    wanted = f"integers of shape ({measure.shape[0]},), one group a point"
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    if not isinstance(groups, Tensor) or groups.dtype not in kinds:
        fail_type("groups", wanted, groups)
    if groups.shape != measure.shape[:1]:
        fail("groups", wanted, groups)
    if groups.device != measure.device:
        fail("groups", f"a tensor on {measure.device}", f"{describe(groups)} on {groups.device}")
    return groups


def _check_target(target: Any, count: int, grouped: bool) -> Target:
    if not isinstance(target, Tensor) or target.ndim == 0:
        return check_coefficient("target", target)
    check_leaf("target", target)
    shape = f"({count}, q)" if grouped else "(q,)"
    wanted = f"a number or a floating tensor of shape {shape}"
    if not target.is_floating_point():
        fail_type("target", wanted, target)
    if target.ndim > 2 or (target.shape[0] != count if target.ndim == 2 else grouped):
        fail("target", wanted, target)
    if concrete(target) and not bool(torch.isfinite(target).all()):
        fail("target", "finite numbers", "some that are not")
    return target
