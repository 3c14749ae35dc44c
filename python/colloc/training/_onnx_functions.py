"""Functions that ONNX or its runtimes lack, from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from colloc.training._onnx_rules import dtype_of
from colloc.training._onnx_writer import Writer, numpy_dtype


def erfc(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    """1 - erf in float32; in float64, which ONNX Runtime has no erf for, by Chebyshev's
    polynomials: erfc(|z|) = t exp(P(t) - z^2) with t = 2 / (2 + |z|), to 1e-15."""
    dtype = dtype_of(node)
    kind = numpy_dtype(dtype)

    def c(value: Any) -> str:
        return w.constant(value, kind)

    if dtype != torch.float64:
        return w.op("Sub", c(1), w.op("Erf", a[0]))
    size = w.op("Abs", a[0])
    t = w.op("Div", c(2), w.op("Add", size, c(2)))
    y = w.op("Sub", w.op("Mul", t, c(2)), c(1))
    twice = w.op("Mul", y, c(2))
    one, two = c(0), c(0)
    weights = erfc_weights()
    for weight in weights[:0:-1]:  # Clenshaw
        one, two = w.op("Add", w.op("Sub", w.op("Mul", twice, one), two), c(weight)), one
    polynomial = w.op("Add", w.op("Sub", w.op("Mul", y, one), two), c(weights[0]))
    power = w.op("Sub", polynomial, w.op("Mul", size, size))
    found = w.op("Mul", t, w.op("Exp", power))
    return w.op("Where", w.op("Less", a[0], c(0)), w.op("Sub", c(2), found), found)


def erfc_weights() -> list[float]:
    def logarithm(y: Any) -> Any:
        t = torch.from_numpy((y + 1) / 2)
        return (torch.special.erfcx(2 / t - 2) / t).log().numpy()

    found: list[float] = np.polynomial.chebyshev.chebinterpolate(logarithm, 40).tolist()
    return found


def erf(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    if dtype_of(node) != torch.float64:
        return w.op("Erf", a[0])
    return w.op("Sub", w.constant(1, np.float64), erfc(w, node, a))


def gelu(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    kind = numpy_dtype(dtype_of(node))
    x = a[0]
    if node.kwargs.get("approximate") == "tanh":
        cube = w.op("Mul", x, w.op("Mul", x, x))
        inner = w.op("Add", x, w.op("Mul", w.constant(0.044715, kind), cube))
        inner = w.op("Mul", inner, w.constant((2 / np.pi) ** 0.5, kind))
        factor = w.op("Add", w.op("Tanh", inner), w.constant(1, kind))
    else:
        factor = erfc(w, node, [w.op("Mul", x, w.constant(-(0.5**0.5), kind))])
    return w.op("Mul", w.op("Mul", x, w.constant(0.5, kind)), factor)


def softplus(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    """max(z, 0) + log(1 + exp(-|z|)) with z = beta x."""
    kind = numpy_dtype(dtype_of(node))
    beta = a[1] if len(a) > 1 else 1
    z = w.op("Mul", a[0], w.constant(beta, kind))
    small = w.op("Log", w.op("Add", w.op("Exp", w.op("Neg", w.op("Abs", z))), w.constant(1, kind)))
    found = w.op("Add", w.op("Max", z, w.constant(0, kind)), small)
    return w.op("Div", found, w.constant(beta, kind))
