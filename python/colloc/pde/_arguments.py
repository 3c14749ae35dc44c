"""Checks of what the equations are given: coefficients, sources, vectors, jets and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, concrete, describe, fail, fail_type
from colloc.jets import Jet, Order

#: A number or a floating tensor of shape (), which may be trained.
Coefficient: TypeAlias = "float | Tensor"
#: f of the points: (N, d) to (N, m) or (N, 1); or the same number everywhere.
Source: TypeAlias = "Callable[[Tensor], Tensor] | float | Tensor | None"
#: Components along the inputs of space: (N, d) to (N, dim), or as many coefficients.
Vector: TypeAlias = "Callable[[Tensor], Tensor] | Sequence[float | Tensor]"
#: What a term evaluates.
Residual: TypeAlias = "Callable[[Jet, Tensor], Tensor]"

AXES = ("x", "y", "z")


def check_coefficient(
    name: str, value: Any, *, positive: bool = False, nonnegative: bool = False
) -> Coefficient:
    """A finite number (optionally > 0 or >= 0), or a tensor of shape () that keeps its gradient."""
    if not isinstance(value, Tensor):
        return check_float(name, value, positive=positive, nonnegative=nonnegative)
    if value.ndim != 0 or not value.is_floating_point():
        fail(name, "a number or a floating tensor of shape ()", value)
    if concrete(value):
        check_float(name, value.detach(), positive=positive, nonnegative=nonnegative)
    return value


def check_source(name: str, value: Any) -> Source:
    """None, a callable or a coefficient."""
    return value if value is None or callable(value) else check_coefficient(name, value)


def check_vector(name: str, value: Any, dim: int | None = None) -> Vector:
    """A callable, or a tuple of coefficients, ``dim`` of them where given."""
    if callable(value):
        return value
    if not isinstance(value, (list, tuple)):
        count = "numbers" if dim is None else f"{dim} numbers"
        fail_type(name, f"a tuple of {count}, one for each input of space, or a callable", value)
    check_length(name, value, dim)
    return tuple(check_coefficient(f"{name}[{i}]", part) for i, part in enumerate(value))


def check_length(name: str, value: Sequence[Any], dim: int | None) -> None:
    """As many components as there are inputs of space."""
    if not value or (dim is not None and len(value) != dim):
        wanted = "at least one component" if dim is None else f"{dim} components"
        fail(name, f"{wanted}, one for each input of space", f"{len(value)}")


def check_flag(name: str, value: Any) -> bool:
    """True or False, nothing that merely looks like it."""
    if not isinstance(value, bool):
        fail_type(name, "True or False", value)
    return value


def check_time(name: str, value: Any) -> int:
    """The index of an input, negative ones counting from the last."""
    return check_int(name, value)


def check_jet(jet: Any, x: Any, order: Order | None) -> Jet:
    """``jet`` if it is one and ``x`` are its points."""
    if not isinstance(jet, Jet):
        wanted = "order" if order is None else f"order={order!r}"
        fail_type("jet", f"a Jet, cc.jet(net, x, {wanted})", jet)
    if not isinstance(x, Tensor) or x.shape != (jet.components.shape[1], jet.inputs):
        # Words only where they are needed: a symbolic size in them would become a fixed one.
        wanted = f"the jet's points, a tensor of shape ({jet.components.shape[1]}, {jet.inputs})"
        (fail if isinstance(x, Tensor) else fail_type)("x", wanted, x)
    return jet


def time_of(jet: Jet, time: int) -> int:
    """The input that is time, counted from 0, if the jet is differentiated by it."""
    if not -jet.inputs <= time < jet.inputs:
        wanted = f"the index of one of the field's {jet.inputs} inputs"
        fail("time", wanted, str(time))
    index = time % jet.inputs
    if index not in jet.wrt:
        fix = f"Ask for cc.jet(net, x, wrt=...) with {index} in it."
        fail("jet", f"a jet differentiated by time, input {index}", f"wrt = {jet.wrt}", fix)
    return index


def space_of(jet: Jet, time: int | None, dim: int | None = None) -> tuple[int, ...]:
    """The inputs that are space, in ascending order: all that the jet is differentiated by, but
    time. The jet's ``wrt`` may have them in another order."""
    index = None if time is None else time_of(jet, time)
    space = tuple(sorted(i for i in jet.wrt if i != index))
    besides = "" if index is None else f" besides time (input {index})"
    if not space or (dim is not None and len(space) != dim):
        wanted = "at least one input" if dim is None else f"{dim} input{'s' * (dim > 1)}"
        fix = "Select them with cc.jet(net, x, wrt=...)" + (
            "." if dim is None else f", or say dim={len(space)}." if space else "."
        )
        got = f"{len(space)}, wrt = {jet.wrt}"
        fail("jet", f"a jet differentiated by {wanted} of space{besides}", got, fix)
    return space


def along(gradient: Tensor, jet: Jet, inputs: Sequence[int]) -> Tensor:
    """The entries of a gradient (..., n) that belong to ``inputs``, (..., len(inputs))."""
    axes = [jet.wrt.index(i) for i in inputs]
    if axes == list(range(axes[0], axes[0] + len(axes))):
        return gradient[..., axes[0] : axes[0] + len(axes)]
    return torch.stack([gradient[..., axis] for axis in axes], dim=-1)


def laplacian_over(jet: Jet, space: Sequence[int]) -> Tensor:
    """The sum of the second derivatives by the inputs ``space``, (N, m)."""
    if len(space) == len(jet.wrt):
        return jet.laplacian
    total = jet.d(space[0], space[0])
    for i in space[1:]:
        total = total + jet.d(i, i)
    return total


def scaled(coefficient: Coefficient, tensor: Tensor) -> Tensor:
    """coefficient * tensor."""
    if isinstance(coefficient, Tensor):
        return coefficient * tensor
    # In forward mode the other overload takes half a millisecond: it makes a tensor of the number
    # and then another one of zeros for its tangent.
    product: Tensor = torch.ops.aten.mul.Scalar(tensor, coefficient)
    return product


def source_values(source: Source, x: Tensor, value: Tensor) -> Coefficient:
    """f at the points, in the shape of ``value`` (N, m), or (N, 1), or a coefficient."""
    if callable(source):
        return _check_values("source(x)", source(x), value, (1,))
    return 0.0 if source is None else source


def vector_columns(
    name: str, vector: Vector, x: Tensor, value: Tensor, dim: int
) -> list[Coefficient]:
    """The ``dim`` components at the points: coefficients or columns (N, 1)."""
    if callable(vector):
        values = _check_values(f"{name}(x)", vector(x), value[:, :1].expand(-1, dim), ())
        return list(values.split(1, dim=1))
    check_length(name, vector, dim)
    return list(vector)


def vector_values(name: str, vector: Vector, x: Tensor, value: Tensor, dim: int) -> Tensor:
    """The ``dim`` components at the points, (N, dim)."""
    columns = vector_columns(name, vector, x, value, dim)
    return torch.cat([torch.zeros_like(value[:, :1]) + column for column in columns], dim=1)


def _check_values(name: str, f: Any, like: Tensor, also: tuple[int, ...]) -> Tensor:
    """``f`` if its shape is that of ``like``, or has a number of columns among ``also``."""
    points, outputs = like.shape

    def wanted() -> str:
        others = [f" or (N, {count})" for count in also if count != outputs]
        return f"a tensor of shape ({points}, {outputs})" + "".join(others)

    if not isinstance(f, Tensor):
        fail_type(name, wanted(), f)
    if f.ndim != 2 or f.shape[0] != points or f.shape[1] not in (outputs, *also):
        fix = "Keep the last axis: x[:, :1], not x[:, 0]." if f.ndim == 1 else ""
        fail(name, wanted(), f, fix)
    if f.device != like.device:
        fail(name, f"a tensor on {like.device}", f"{describe(f)} on {f.device}")
    return f


def check_residual(name: str, value: Any) -> Residual:
    """A callable."""
    if not callable(value):
        fail_type(name, "a callable residual(jet, x) -> (N, q)", describe(value))
    return value


def check_rows(name: str, rows: Any, jet: Jet) -> Tensor:
    """What a residual returned, if it is (N, q)."""
    count = jet.components.shape[1]

    def wanted() -> str:
        return f"a floating tensor of shape ({count}, q), one row a point"

    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        fail_type(name, wanted(), describe(rows))
    if rows.ndim != 2 or rows.shape[0] != count or rows.shape[1] == 0:
        fix = "Keep the last axis: u.d(0) is (N, 1), x[:, :1] too; x[:, 0] is not."
        fail(name, wanted(), rows, fix if rows.ndim == 1 else "")
    return rows
