"""Which rule each operation has."""

from __future__ import annotations

import operator

import torch

from colloc.training import _onnx_functions as functions
from colloc.training import _onnx_rules as rules
from colloc.training._onnx_rules import Rule

#: Python's operations on numbers of points, and on lists of tensors.
BUILTIN = {
    operator.getitem: "getitem",
    operator.mul: "number.mul",
    operator.add: "number.add",
    operator.sub: "number.sub",
    operator.floordiv: "number.floordiv",
}

RULES: dict[str, Rule] = {
    "getitem": rules.pick,
    "number.mul": rules.number("Mul"),
    "number.add": rules.number("Add"),
    "number.sub": rules.number("Sub"),
    "number.floordiv": rules.number("Div"),
}


def _add(rule: Rule, *names: str) -> None:
    """A rule of the operations ``aten.NAME``; without a dot the form is "default"."""
    for name in names:
        RULES[f"aten.{name}" if "." in name else f"aten.{name}.default"] = rule


for _name in ("Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Log", "Tanh", "Sigmoid", "Sin", "Cos"):
    _add(rules.unary(_name), _name.lower())
for _name in ("Relu", "Sign", "Floor"):
    _add(rules.unary(_name), _name.lower())
_add(rules.unary("Sign"), "sgn")
for _name in ("Add", "Sub", "Mul", "Div"):
    _add(rules.binary(_name), f"{_name.lower()}.Tensor", f"{_name.lower()}.Scalar")
_add(rules.binary("Pow"), "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")
_add(rules.binary("Max"), "maximum")
_add(rules.binary("Min"), "minimum")
for _name, _kind in (
    ("eq", "Equal"),
    ("gt", "Greater"),
    ("ge", "GreaterOrEqual"),
    ("lt", "Less"),
    ("le", "LessOrEqual"),
):
    _add(rules.compare(_kind), f"{_name}.Tensor", f"{_name}.Scalar")
_add(rules.compare("Equal", negated=True), "ne.Tensor", "ne.Scalar")
_add(rules.logical("And"), "bitwise_and.Tensor", "logical_and")
_add(rules.logical("Or"), "bitwise_or.Tensor", "logical_or")
_add(rules.logical("Not"), "bitwise_not", "logical_not")
_add(rules.same, "detach", "alias", "clone", "_to_copy", "lift_fresh_copy")
_add(rules.where, "where.self")
_add(rules.clamp, "clamp", "clamp_min")
_add(rules.beside_one("Add", "Log"), "log1p")
_add(rules.beside_one("Exp", "Sub"), "expm1")
_add(functions.erf, "erf")
_add(functions.erfc, "erfc")
_add(functions.gelu, "gelu")
_add(functions.softplus, "softplus")
_add(lambda w, node, a: w.op("Softmax", a[0], axis=a[1]), "_softmax")

_add(rules.reduce("ReduceSum"), "sum", "sum.dim_IntList")
_add(rules.reduce("ReduceMean"), "mean.dim")
_add(rules.reduce("ReduceMax"), "amax")
_add(rules.reduce("ReduceMin"), "amin")
_add(rules.reduce("ReduceMax", torch.int32), "any.dim")
_add(rules.reduce("ReduceMin", torch.int32), "all.dim")
_add(rules.best("ArgMin"), "argmin")
_add(rules.best("ArgMax"), "argmax")
_add(lambda w, node, a: w.op("MatMul", *a), "mm", "bmm")
_add(rules.addmm, "addmm")

_add(rules.size, "sym_size.int")
_add(rules.filled(0), "zeros_like")
_add(rules.filled(1), "ones_like")
_add(rules.filled(None), "full_like", "fill.Tensor", "fill.Scalar")
_add(rules.made(0, 1), "new_zeros")
_add(rules.made(1, 1), "new_ones")
_add(rules.made(None, 1), "new_full")
_add(rules.made(0, 0), "zeros")
_add(rules.made(1, 0), "ones")
_add(rules.made(None, 0), "full")
_add(rules.expand, "expand")
_add(rules.reshape, "view", "_unsafe_view", "reshape")
_add(lambda w, node, a: w.op("Unsqueeze", a[0], w.shape([a[1]])), "unsqueeze")
_add(lambda w, node, a: w.op("Squeeze", a[0], w.shape([a[1]])), "squeeze.dim")
_add(rules.permute, "permute")
_add(rules.transpose, "t", "transpose.int")
_add(rules.cat, "cat")
_add(rules.stack, "stack")
_add(rules.select, "select.int")
_add(rules.slice, "slice.Tensor")
_add(rules.parts, "split.Tensor", "split_with_sizes")
_add(rules.unbind, "unbind.int")
_add(rules.index, "index.Tensor")
_add(lambda w, node, a: w.op("Gather", a[0], a[2], axis=a[1]), "index_select")
_add(lambda w, node, a: w.op("GatherElements", a[0], a[2], axis=a[1]), "gather")
_add(rules.scatter_add, "scatter_add")
_add(rules.select_scatter, "select_scatter")
_add(rules.slice_scatter, "slice_scatter")
_add(rules.select_backward, "select_backward")
_add(rules.slice_backward, "slice_backward")
_add(lambda w, node, a: w.op("Expand", a[1], w.op("Shape", a[0])), "copy")
