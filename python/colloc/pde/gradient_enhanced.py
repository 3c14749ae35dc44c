"""Gradient-enhanced (Sobolev) training: a residual together with its derivatives."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.jets import ORDERS, Jet, Order, check_order
from colloc.pde._arguments import Residual, check_flag, check_jet, check_residual, check_rows
from colloc.pde._derivative_check import check_derivatives, inspectable
from colloc.pde._moving import MovingJet
from colloc.pde.residual_points import refuse_points

#: The order of jet from which a residual of the key's order can be differentiated.
_NEXT: dict[Order, Order] = {0: 1, 1: 2, "laplacian": "grad_laplacian", 2: 3}


class GradientEnhanced:
    """A residual and its derivatives, made by :func:`gradient_enhanced`."""

    order: Order
    """The order of jet that the residual and its derivatives read."""

    def __init__(self, residual: Residual, order: Order | None = None, check: bool = True) -> None:
        self.residual = check_residual("residual", residual)
        refuse_points("residual", residual, "as data of points have no derivatives")
        order = getattr(residual, "order", None) if order is None else order
        if order is None:
            wanted = "the order of jet that the residual reads, as it has no attribute order"
            fail("order", wanted, "None", "Say gradient_enhanced(residual, order='laplacian').")
        self._reads = check_order(order)
        if self._reads not in _NEXT:
            fix = (
                "Its derivatives would need fourth derivatives, which no jet holds: a first-order "
                "form needs fewer. (The order of the jet, one above, follows from it.)"
            )
            wanted = "the order that the residual itself reads, 0, 1, 'laplacian' or 2"
            fail("order", wanted, repr(order), fix)
        self.order = _NEXT[self._reads]
        self._unchecked = check_flag("check", check)

    def __call__(self, jet: Jet, x: Tensor) -> Tensor:
        """The residual and its derivatives (N, q (1 + n)) of ``jet`` at its points ``x`` (N, d)."""
        # A fixed number, also while compiling: torch has no forward mode for symbolic sizes.
        count = operator.index(check_jet(jet, x, self.order).components.shape[1])
        slopes = [self._slope(jet, k) for k in jet.wrt]
        components = self._part(jet).components

        def rows(components: Tensor, x: Tensor) -> Tensor:
            moving = MovingJet(components, self._reads, jet.wrt, jet.inputs)
            return check_rows("residual", self.residual(moving, x), moving)

        if self._unchecked and inspectable(components, x):
            check_derivatives(rows, components, x, slopes, jet.wrt)
            self._unchecked = False
        # Row by row: all inputs at once, on as many copies of the points. Forward mode enters
        # here, not around cc.jet, which would leave the kernels.
        copies = len(slopes)
        points = (components.repeat(1, copies, 1), x.repeat(copies, 1))
        tangents = (torch.cat(slopes, dim=1), torch.cat([_direction(x, k) for k in jet.wrt]))
        value, derivatives, *_ = torch.func.jvp(rows, points, tangents)
        parts = derivatives.unflatten(0, (copies, count)).unbind(0)
        return torch.cat([value[:count], *parts], dim=1)

    def _slope(self, jet: Jet, k: int) -> Tensor:
        """The derivatives by input ``k`` of the components that the residual reads."""
        if jet.order != 0:
            slope = jet.differentiate(k)
            if ORDERS.index(slope.order) >= ORDERS.index(self._reads) or self._is_hessian(slope):
                return self._part(slope).components
        fix = f"Ask for cc.jet(net, x, order={self.order!r})."
        fail("jet", f"a jet of order {self.order!r} or above", f"one of order {jet.order!r}", fix)

    def _part(self, jet: Jet) -> Jet:
        """What the residual reads of a jet."""
        return jet if self._is_hessian(jet) else jet.truncate(self._reads)

    def _is_hessian(self, jet: Jet) -> bool:
        """Whether order 2 is wanted and the Laplacian is it, as in one input."""
        return self._reads == 2 and jet.order == "laplacian" and len(jet.wrt) == 1

    def __repr__(self) -> str:
        return f"gradient_enhanced({self.residual}, order={self._reads!r})"


def gradient_enhanced(
    residual: Residual, order: Order | None = None, *, check: bool = True
) -> GradientEnhanced:
    """A residual together with its derivatives by every input k that the jet has (its ``wrt``)::

        R = (r, dr/dx_0, ..., dr/dx_(n-1))

    for gradient-enhanced (Sobolev) training. All q columns of r come first, then q columns for
    each k. Example, with the derivatives in a term of their own::

        enhanced = cc.pde.gradient_enhanced(cc.pde.helmholtz(1.0, f))
        inside = cc.Term("interior", net, points, enhanced, order=enhanced.order)
        slopes = cc.Term("slopes", net, points, cc.pde.columns(enhanced, [1, 2]),
                         order=enhanced.order, weight=0.01)

    A residual reads nothing but a jet and the points, so dr/dx_k is the derivative of the residual
    along the jet's own derivatives by x_k (one order of jet more) and the unit vector e_k: forward
    mode (``torch.func.jvp``), with a copy of the points for each k. What the residual computes of
    the points, as f(x), is differentiated on the way. The result has ordinary gradients by the
    network's weights and runs under ``torch.compile(fullgraph=True)``, where each number of points
    is compiled anew.

    Some operations have no derivatives in forward mode without saying so: ``detach``, ``.data``,
    operators registered with a backward alone. So the first evaluation outside ``torch.compile``,
    autocast and ``torch.func`` transforms is compared with difference quotients on some points:
    an error there, not a term that is missing. Data of the points that the residual holds, (N, q)
    tensors in place of f(x), have unknown derivatives and are refused likewise. Nothing is
    compared where the residual is only ever evaluated compiled: call it once without.

    Args:
        residual: ``residual(jet, x) -> (N, q)``, one of :mod:`colloc.pde` or your own, row i
            depending on point i alone.
        order: the order of jet that the residual itself reads; None where it has an attribute
            ``order``.
        check: False leaves the comparison out, e.g. for a residual with random numbers.

    Returns:
        ``residual(jet, x) -> (N, q (1 + n))``. ``order``: what it reads, 1 for 0, 2 for 1,
        ``"grad_laplacian"`` for ``"laplacian"``, 3 for 2.

    Raises:
        TypeError: residual is not callable.
        ValueError: the order is unknown, or ``"grad_laplacian"`` or 3, whose derivatives no jet
            holds; when called, the jet's order is too low, the residual is not (N, q), it holds
            data of the points, or forward mode misses some of its derivatives.
        NotImplementedError, RuntimeError: torch refuses an operation in forward mode.

    Source: Son et al., arXiv:2101.08932; Yu et al., arXiv:2111.02801.
    """
    return GradientEnhanced(residual, order, check)


def _direction(x: Tensor, k: int) -> Tensor:
    """e_k at every point, (N, d)."""
    direction = torch.zeros_like(x)
    direction[:, k] = 1.0
    return direction
