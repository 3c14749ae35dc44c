"""The rules by which a graph's operations become those of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from colloc._checks import fail
from colloc.training._onnx_writer import Writer, numpy_dtype

#: Converts one node: (writer, node, arguments by their names) -> the name of the result.
Rule = Callable[[Writer, fx.Node, list[Any]], Any]

# ---- what nodes are ---------------------------------------------------------------------------


def meta(value: Any) -> Any:
    return value.meta["val"] if isinstance(value, fx.Node) else value


def dtype_of(node: fx.Node) -> torch.dtype:
    found: torch.dtype = node.meta["val"].dtype
    return found


def rank(value: Any) -> int:
    return int(meta(value).ndim)


def operand(w: Writer, given: Any, name: Any, dtype: torch.dtype) -> str:
    """A tensor or number as a tensor of ``dtype``."""
    if isinstance(given, fx.Node) and isinstance(meta(given), Tensor):
        return w.cast(name, dtype_of(given), dtype)
    return w.constant(name, numpy_dtype(dtype))


def sized(node: fx.Node, index: int, dim: int) -> int:
    """A size that has to be a number."""
    size = meta(node.args[index]).shape[dim]
    if not isinstance(size, int):
        fail("field", "operations along other axes than that of the points", str(node.target))
    return size


# ---- rules ------------------------------------------------------------------------------------


def unary(kind: str) -> Rule:
    return lambda w, node, a: w.op(kind, operand(w, node.args[0], a[0], dtype_of(node)))


def binary(kind: str) -> Rule:
    """Arithmetic of two tensors, or of a tensor and a number."""

    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        dtype = dtype_of(node)
        one, two = (operand(w, node.args[k], a[k], dtype) for k in (0, 1))
        alpha = node.kwargs.get("alpha", 1)
        if alpha != 1:
            two = w.op("Mul", two, w.constant(alpha, numpy_dtype(dtype)))
        # ONNX Runtime drops x + 1e-300 and x * (1 + 1e-12), as if the numbers were single ones.
        for k, number in enumerate(map(single, node.args[:2])):
            if number is None:
                continue
            if kind in ("Add", "Sub") and 0 < abs(number) < 1e-4:
                return w.op("Sum", one, two if kind == "Add" else w.op("Neg", two))
            beside = number - 1
            if kind in ("Mul", "Div") and 0 < abs(beside) < 1e-4 and (kind == "Mul" or k == 1):
                factor = beside if kind == "Mul" else -beside / number
                small = w.constant(factor, numpy_dtype(dtype))
                other = two if k == 0 else one
                return w.op("Sum", other, w.op("Mul", other, small))
        return w.op(kind, one, two)

    return rule


def single(value: Any) -> float | None:
    """The number that an operand is, if it is one of a single entry."""
    if isinstance(value, fx.Node):
        if value.op != "get_attr":
            return None
        value = meta(value)
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 and value.is_floating_point() else None
    return float(value) if isinstance(value, (int, float)) else None


def logical(kind: str) -> Rule:
    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        return w.op(kind, *(operand(w, node.args[k], a[k], torch.bool) for k in range(len(a))))

    return rule


def compare(kind: str, negated: bool = False) -> Rule:
    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        dtype = torch.result_type(*(like(meta(one)) for one in node.args[:2]))
        if dtype == torch.bool:
            dtype = torch.int32
        found = w.op(kind, *(operand(w, node.args[k], a[k], dtype) for k in (0, 1)))
        return w.op("Not", found) if negated else found

    return rule


def like(value: Any) -> Any:
    """A tensor without entries that promotes as ``value`` does."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty((1,) if value.ndim else (), dtype=value.dtype)


def where(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    dtype = dtype_of(node)
    one, two = (operand(w, node.args[k], a[k], dtype) for k in (1, 2))
    if dtype != torch.bool:
        return w.op("Where", a[0], one, two)
    return w.op("Or", w.op("And", a[0], one), w.op("And", w.op("Not", a[0]), two))


def clamp(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    found, dtype = a[0], dtype_of(node)
    bounds = [*a[1:], *[node.kwargs.get(name) for name in ("min", "max")[len(a) - 1 :]]]
    for kind, bound in zip(("Max", "Min"), bounds, strict=True):
        if bound is not None:
            found = w.op(kind, found, w.constant(bound, numpy_dtype(dtype)))
    return found


def reduce(kind: str, through: torch.dtype | None = None) -> Rule:
    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        dims = a[1] if len(a) > 1 else None
        keep = a[2] if len(a) > 2 else False
        dtype = through or dtype_of(node)
        axes = list(range(rank(node.args[0]))) if dims in (None, []) else dims
        axes = axes if isinstance(axes, list) else [axes]
        inner = operand(w, node.args[0], a[0], dtype)
        if not axes:
            return inner
        if kind in ("ReduceMax", "ReduceMin", "ReduceMean"):
            axes = [int(one) % rank(node.args[0]) for one in axes]
        listed = w.constant(axes, np.int64)
        found = w.op(kind, inner, listed, keepdims=int(keep))
        return w.cast(found, dtype, dtype_of(node))

    return rule


def best(kind: str) -> Rule:
    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        if len(a) < 2 or a[1] is None:
            fail("field", "argmin and argmax along a dimension", str(node.target))
        return w.op(kind, a[0], axis=a[1], keepdims=int(a[2] if len(a) > 2 else False))

    return rule


def filled(value: float | None) -> Rule:
    """zeros_like and its like, in the shape of the argument."""

    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        if value is None:
            one = operand(w, node.args[1], a[1], dtype_of(node))
        else:
            one = w.constant(value, numpy_dtype(dtype_of(node)))
        return w.op("Expand", one, w.op("Shape", a[0]))

    return rule


def made(value: float | None, first: int) -> Rule:
    """new_zeros, full and their like; the sizes are argument ``first``."""

    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        number = a[first + 1] if value is None else value
        return w.op("Expand", w.constant(number, numpy_dtype(dtype_of(node))), w.shape(a[first]))

    return rule


def expand(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Expand", a[0], w.shape([1 if n == -1 else n for n in a[1]]))


def select(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Gather", a[0], w.constant(a[2], np.int64), axis=a[1])


def slice(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    dim, start, end, step = tuple(a[1:]) + (0, None, None, 1)[len(a) - 1 :]
    first, last = 0 if start is None else start, 2**63 - 1 if end is None else end
    if (first, last, step) == (0, 2**63 - 1, 1):
        return a[0]
    return w.op("Slice", a[0], *(w.shape([n]) for n in (first, last, dim, step)))


def parts(w: Writer, node: fx.Node, a: list[Any]) -> list[Any]:
    dim, start, found = a[2] if len(a) > 2 else 0, 0, []
    size = sized(node, 0, dim)
    given = a[1] if isinstance(a[1], list) else [a[1]] * (-(-size // a[1]))
    for one in given:
        end = start + one
        found.append(w.op("Slice", a[0], *(w.shape([n]) for n in (start, end, dim))))
        start = end
    return found


def unbind(w: Writer, node: fx.Node, a: list[Any]) -> list[Any]:
    dim = a[1] if len(a) > 1 else 0
    size = sized(node, 0, dim)
    return [w.op("Gather", a[0], w.constant(k, np.int64), axis=dim) for k in range(size)]


def cat(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    parts: Any = node.args[0]
    # Runtimes get the shapes of empty parts wrong.
    full = [0 not in (n for n in meta(p).shape if isinstance(n, int)) for p in parts]
    named = [
        operand(w, p, n, dtype_of(node))
        for p, n, some in zip(parts, a[0], full, strict=True)
        if some or not any(full)
    ]
    return w.op("Concat", *named, axis=a[1] if len(a) > 1 else 0)


def stack(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    dim = (a[1] if len(a) > 1 else 0) % rank(node)
    parts: Any = node.args[0]
    named = [operand(w, p, n, dtype_of(node)) for p, n in zip(parts, a[0], strict=True)]
    return w.op("Concat", *(w.op("Unsqueeze", n, w.shape([dim])) for n in named), axis=dim)


def permute(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Transpose", a[0], perm=[k % rank(node) for k in a[1]])


def transpose(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    order = list(range(rank(node)))
    if len(order) > 1:
        one, two = a[1:] if len(a) > 1 else (0, 1)
        order[one], order[two] = order[two], order[one]
    return w.op("Transpose", a[0], perm=order)


def addmm(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Add", w.op("MatMul", a[1], a[2]), a[0])


def index(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    chosen = [k for k, one in enumerate(a[1]) if one is not None]
    given: Any = node.args[1]
    if len(chosen) != 1 or dtype_of(given[chosen[0]]) == torch.bool:
        fail("field", "indices of one axis, by numbers", str(node.target))
    return w.op("Gather", a[0], a[1][chosen[0]], axis=chosen[0])


def scatter_add(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("ScatterElements", a[0], a[2], a[3], axis=a[1], reduction="add")


def padded(w: Writer, node: fx.Node, name: Any, dim: int, start: int, behind: int) -> Any:
    """Zeros before and behind along an axis."""
    before, after = [0] * rank(node), [0] * rank(node)
    before[dim], after[dim] = start, behind
    zero = w.constant(0, numpy_dtype(dtype_of(node)))
    return w.op("Pad", name, w.shape([*before, *after]), zero)


def slice_backward(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    grad, sizes, dim, start, end, step = a
    size = sizes[dim]
    if start in (0, None) and not isinstance(end, str) and end >= 2**62 and step == 1:
        return grad
    if not isinstance(size, int) or step != 1:
        fail("field", "derivatives of slices along other axes than the points", str(node.target))
    return padded(w, node, grad, dim, start, size - min(end, size))


def select_backward(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    grad, sizes, dim, index = a
    size = sizes[dim]
    if not isinstance(size, int):
        fail("field", "derivatives of entries along other axes than the points", str(node.target))
    dim, index = dim % rank(node), index % size
    return padded(w, node, w.op("Unsqueeze", grad, w.shape([dim])), dim, index, size - 1 - index)


def mask(w: Writer, node: fx.Node, dim: int, start: int, end: int) -> str:
    """Which entries along an axis are from ``start`` on, before ``end``."""
    size = meta(node).shape[dim]
    if not isinstance(size, int):
        fail("field", "writing to other axes than that of the points", str(node.target))
    shape = [1] * rank(node)
    shape[dim] = size
    number = np.arange(size)
    return w.constant(((number >= start) & (number < end)).reshape(shape), bool)


def select_scatter(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    base, source, dim, index = a
    dim = dim % rank(node)
    index = index % meta(node).shape[dim]
    chosen = mask(w, node, dim, index, index + 1)
    return w.op("Where", chosen, w.op("Unsqueeze", source, w.shape([dim])), base)


def slice_scatter(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    base, source, dim, start, end, step = tuple(a) + (0, None, None, 1)[len(a) - 2 :]
    start = 0 if start is None else start
    if start == 0 and (end is None or end >= 2**62) and step == 1:
        return source
    if step != 1 or end is None:
        fail("field", "slices by steps of 1", str(node.target))
    chosen = mask(w, node, dim, start, end)
    size = meta(node).shape[dim]
    return w.op("Where", chosen, padded(w, node, source, dim, start, size - min(end, size)), base)


def beside_one(first: str, second: str) -> Rule:
    """log(1 + x) and exp(x) - 1, to rounding of 1: ONNX has no better ones."""

    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        one = w.constant(1, numpy_dtype(dtype_of(node)))
        if first == "Add":
            return w.op(second, w.op("Add", a[0], one))
        return w.op(second, w.op(first, a[0]), one)

    return rule


def number(kind: str) -> Rule:
    """Arithmetic on numbers of points."""

    def rule(w: Writer, node: fx.Node, a: list[Any]) -> Any:
        return w.op(kind, *(w.constant([n], np.int64) if isinstance(n, int) else n for n in a))

    return rule


def size(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Gather", w.op("Shape", a[0]), w.constant([a[1]], np.int64), axis=0)


def pick(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return a[0][a[1]]


def same(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.cast(a[0], dtype_of(node.args[0]), dtype_of(node))  # type: ignore[arg-type]


def reshape(w: Writer, node: fx.Node, a: list[Any]) -> Any:
    return w.op("Reshape", a[0], w.shape(a[1]), allowzero=1)
