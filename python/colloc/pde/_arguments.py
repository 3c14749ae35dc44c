"""Checks of what the equations are given: coefficients, sources, vectors, jets and inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from colloc._checks import check_float, check_int, concrete, describe, fail, fail_type
from colloc.jets import Jet, Order

#: A number, a floating tensor of one entry, which may be trained, or a function without arguments
#: that gives one of these; the package's docstring says more.
Coefficient: TypeAlias = "float | Tensor | Callable[[], float | Tensor]"
#: f of the points: (N, d) to (N, m) or (N, 1); or the same number everywhere.
Source: TypeAlias = "Callable[[Tensor], Tensor] | float | Tensor | None"
#: Components along the inputs of space: (N, d) to (N, dim), or as many coefficients.
Vector: TypeAlias = "Callable[[Tensor], Tensor] | Sequence[Coefficient]"
#: What a term evaluates.
Residual: TypeAlias = "Callable[[Jet, Tensor], Tensor]"

AXES = ("x", "y", "z")


def check_coefficient(
    name: str, value: Any, *, positive: bool = False, nonnegative: bool = False
) -> Coefficient:
    """A finite number (optionally > 0 or >= 0), a tensor of one entry that keeps its gradient, or
    a function without arguments, whose values are not looked at."""
    if callable(value):
        return _check_function(name, value)
    checked = check_number_or_tensor(name, value, positive=positive, nonnegative=nonnegative)
    return checked if not isinstance(checked, Tensor) else check_leaf(name, checked)


def check_number_or_tensor(
    name: str, value: Any, *, positive: bool = False, nonnegative: bool = False
) -> float | Tensor:
    """A finite number (optionally > 0 or >= 0), or a floating tensor of shape () or (1,)."""
    if not isinstance(value, Tensor):
        return check_float(name, value, positive=positive, nonnegative=nonnegative)
    if value.shape not in ((), (1,)) or not value.is_floating_point():
        fail(name, "a number or a floating tensor of shape () or (1,)", value)
    if concrete(value):
        check_float(name, value.detach(), positive=positive, nonnegative=nonnegative)
    return value


def check_leaf(name: str, value: Tensor, function: str = "lambda: raw.exp()") -> Tensor:
    """A tensor that was not computed from what is trained: its graph would be gone after the
    first backward. Within torch.compile and torch.func the equation is made anew at each call."""
    if (
        not torch.compiler.is_compiling()
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        and value.requires_grad
        and not value.is_leaf
    ):
        fail(
            name,
            "a number, an nn.Parameter or a function",
            f"{describe(value)} that was computed from what is trained",
            "It would keep the value that it has now, and its graph serves one backward alone: "
            f"give the function that computes it, as {function}.",
        )
    return value


def _check_function(name: str, value: Callable[..., Any]) -> Coefficient:
    """A callable without arguments."""
    try:
        signature = inspect.signature(value.forward if isinstance(value, nn.Module) else value)
    except (TypeError, ValueError):  # of builtins nothing is known
        return value
    try:
        signature.bind()
    except TypeError:
        fail_type(
            name,
            "a number, a tensor of one entry or a function without arguments",
            f"{describe(value)} with the arguments {signature}",
            "As a function of the points it is no coefficient: write that equation yourself.",
        )
    return value


def value_of(name: str, coefficient: Coefficient) -> float | Tensor:
    """A coefficient at this call: a number or a tensor of shape ()."""
    value: Any = coefficient
    if callable(coefficient):
        value, wanted = coefficient(), "a number or a floating tensor of shape () or (1,)"
        if not isinstance(value, (int, float, Tensor)) or isinstance(value, bool):
            fail_type(f"{name}()", wanted, describe(value))
        if isinstance(value, Tensor) and (
            value.shape not in ((), (1,)) or not value.is_floating_point()
        ):
            fail(f"{name}()", wanted, value)
    if isinstance(value, Tensor) and value.ndim == 1:  # (1,) would change dtypes of products
        value = value.reshape(())
    found: float | Tensor = value
    return found


def check_source(name: str, value: Any) -> Source:
    """None, a function of the points, a number or a tensor of one entry."""
    if value is None or callable(value):
        return value
    checked = check_number_or_tensor(name, value)
    if isinstance(checked, Tensor):
        check_leaf(name, checked, "lambda x: raw.exp().expand(len(x), 1)")
    return checked


def check_vector(name: str, value: Any, dim: int | None = None) -> Vector:
    """A callable, or a tuple of coefficients, ``dim`` of them where given."""
    if callable(value):
        return value
    if not isinstance(value, (list, tuple)):
        count = "numbers" if dim is None else f"{dim} numbers"
        wanted = f"a tuple of {count}, one for each input of space, or a callable"
        fail_type(name, wanted, describe(value))
    check_length(name, value, dim)
    return tuple(check_coefficient(f"{name}[{i}]", part) for i, part in enumerate(value))


def check_length(name: str, value: Sequence[Any], dim: int | None, fix: str = "") -> None:
    """As many components as there are inputs of space."""
    if not value or (dim is not None and len(value) != dim):
        wanted = "at least one component" if dim is None else f"{dim} components"
        fail(name, f"{wanted}, one for each input of space", f"{len(value)}", fix)


def check_flag(name: str, value: Any) -> bool:
    """True or False, nothing that merely looks like it."""
    if not isinstance(value, bool):
        fail_type(name, "True or False", describe(value))
    return value


def check_time(name: str, value: Any) -> int:
    """The index of an input, negative ones counting from the last."""
    return check_int(name, value)


def check_jet(jet: Any, x: Any, order: Order | None) -> Jet:
    """``jet`` if it is one and ``x`` are its points."""
    if not isinstance(jet, Jet):
        wanted = "order" if order is None else f"order={order!r}"
        fail_type("jet", f"a Jet, cc.jet(net, x, {wanted})", describe(jet))
    if not isinstance(x, Tensor) or x.shape != (jet.components.shape[1], jet.inputs):
        # Words only where they are needed: a symbolic size in them would become a fixed one.
        wanted = f"the jet's points, a tensor of shape ({jet.components.shape[1]}, {jet.inputs})"
        (fail if isinstance(x, Tensor) else fail_type)("x", wanted, describe(x))
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


def space_of(
    jet: Jet, time: int | None, dim: int | None = None, timed: bool = False
) -> tuple[int, ...]:
    """The inputs that are space, in ascending order: all that the jet is differentiated by, but
    time. The jet's ``wrt`` may have them in another order. ``timed``: the equation could have a
    time."""
    index = None if time is None else time_of(jet, time)
    space = tuple(sorted(i for i in jet.wrt if i != index))
    besides = "" if index is None else f" besides time (input {index})"
    if not space or (dim is not None and len(space) != dim):
        wanted = "at least one input" if dim is None else f"{dim} input{'s' * (dim > 1)}"
        fix = "Select them with cc.jet(net, x, wrt=...)" + (
            "." if dim is None else f", or say dim={len(space)}." if space else "."
        )
        if timed and time is None and dim is not None and len(space) == dim + 1:
            fix += f" {time_hint(space)}"
        got = f"{len(space)}, wrt = {jet.wrt}"
        fail("jet", f"a jet differentiated by {wanted} of space{besides}", got, fix)
    return space


def time_hint(space: Sequence[int]) -> str:
    """What to do where one of the inputs is time."""
    return f"If one of the inputs is time, say which: time={space[-1]} for the last one."


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


def scaled(coefficient: float | Tensor, tensor: Tensor) -> Tensor:
    """coefficient * tensor."""
    if isinstance(coefficient, Tensor):
        return coefficient * tensor
    # In forward mode the other overload takes half a millisecond: it makes a tensor of the number
    # and then another one of zeros for its tangent.
    product: Tensor = torch.ops.aten.mul.Scalar(tensor, coefficient)
    return product


def source_values(source: Source, x: Tensor, value: Tensor) -> float | Tensor:
    """f at the points, in the shape of ``value`` (N, m), or (N, 1); or a number, or a tensor of
    shape ()."""
    if callable(source):
        return _check_values("source(x)", source(x), value, (1,))
    return 0.0 if source is None else value_of("source", source)


def vector_columns(
    name: str, vector: Vector, x: Tensor, value: Tensor, dim: int, fix: str = ""
) -> list[float | Tensor]:
    """The ``dim`` components at the points: numbers, tensors of shape () or columns (N, 1).
    ``fix``: what to do where they are not ``dim``."""
    if callable(vector):
        values = _check_values(f"{name}(x)", vector(x), value[:, :1].expand(-1, dim), (), fix)
        return list(values.split(1, dim=1))
    check_length(name, vector, dim, fix)
    return [value_of(f"{name}[{i}]", component) for i, component in enumerate(vector)]


def vector_values(name: str, vector: Vector, x: Tensor, value: Tensor, dim: int) -> Tensor:
    """The ``dim`` components at the points, (N, dim)."""
    columns = vector_columns(name, vector, x, value, dim)
    return torch.cat([torch.zeros_like(value[:, :1]) + column for column in columns], dim=1)


def _check_values(name: str, f: Any, like: Tensor, also: tuple[int, ...], fix: str = "") -> Tensor:
    """``f`` if its shape is that of ``like``, or has a number of columns among ``also``."""
    points, outputs = like.shape

    def wanted() -> str:
        others = [f" or (N, {count})" for count in also if count != outputs]
        return f"a tensor of shape ({points}, {outputs})" + "".join(others)

    if not isinstance(f, Tensor):
        fail_type(name, wanted(), describe(f))
    if f.ndim != 2 or f.shape[0] != points or f.shape[1] not in (outputs, *also):
        fix = "Keep the last axis: x[:, :1], not x[:, 0]." if f.ndim == 1 else fix
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
