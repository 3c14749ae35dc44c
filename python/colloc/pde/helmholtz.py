"""The Helmholtz equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from colloc._checks import check_float, concrete, describe, fail, fail_type
from colloc.jets import Jet, Order

Source: TypeAlias = "Callable[[Tensor], Tensor] | float | Tensor | None"


class Helmholtz:
    """Residual of the Helmholtz equation, made by :func:`helmholtz`."""

    order: Order = "laplacian"
    """The order of jet that the residual reads."""

    def __init__(self, k: float | Tensor = 1.0, source: Source = None) -> None:
        self.k = _check_coefficient("k", k)
        if source is not None and not callable(source):
            source = _check_coefficient("source", source)
        self.source = source

    def __call__(self, jet: Jet, x: Tensor) -> Tensor:
        """The residual (N, m) of ``jet`` at its points ``x`` (N, d)."""
        if not isinstance(jet, Jet):
            fail_type("jet", "a Jet, cc.jet(net, x, order='laplacian')", jet)
        value = jet.value
        residual = jet.laplacian + self.k**2 * value
        if self.source is None:
            return residual
        if not callable(self.source):
            return residual - self.source
        return residual - _check_source(self.source(x), value)

    def __repr__(self) -> str:
        return f"helmholtz(k={self.k}, source={self.source})"


def helmholtz(k: float | Tensor = 1.0, source: Source = None) -> Helmholtz:
    """Residual of the Helmholtz equation::

        r = lap u + k^2 u - f(x)

    with a plus before k^2 u, as of time-harmonic waves. The Laplacian is taken over the jet's
    ``wrt``; each of the m outputs is a field of its own.

    Args:
        k: wave number, a number or a 0-dimensional tensor (which may be trained).
        source: f, a callable from points (N, d) to (N, m), or to (N, 1) for all outputs alike;
            a number or a 0-dimensional tensor (which may be trained); or None for f = 0.

    Returns:
        ``residual(jet, x) -> (N, m)``, for jets of order ``"laplacian"`` or above: what
        :class:`colloc.Term` takes. Its attribute ``order`` is ``"laplacian"``.

    Raises:
        TypeError: k or source is not of a kind listed above.
        ValueError: k or source is not finite; when called, the jet holds no Laplacian, or the
            source's shape is neither that of u nor (N, 1).
    """
    return Helmholtz(k, source)


def _check_coefficient(name: str, value: Any) -> float | Tensor:
    """A finite number, or a tensor of shape () that keeps its gradient."""
    if not isinstance(value, Tensor):
        return check_float(name, value)
    if value.ndim != 0 or not value.is_floating_point():
        fail(name, "a number or a floating tensor of shape ()", value)
    if concrete(value) and not bool(torch.isfinite(value)):
        fail(name, "a finite number", f"{float(value)}")
    return value


def _check_source(f: Any, value: Tensor) -> Tensor:
    """The source's values if their shape is that of ``value`` or (N, 1): nothing broadcasts."""
    points, outputs = value.shape
    wanted = f"a tensor of shape ({points}, {outputs})" + ("" if outputs == 1 else " or (N, 1)")
    if not isinstance(f, Tensor):
        fail_type("source(x)", wanted, f)
    if f.shape not in (value.shape, (points, 1)):
        fix = "Keep the last axis: x[:, :1], not x[:, 0]." if f.ndim == 1 else ""
        fail("source(x)", wanted, f, fix)
    if f.device != value.device:
        fail("source(x)", f"a tensor on {value.device}", f"{describe(f)} on {f.device}")
    return f
