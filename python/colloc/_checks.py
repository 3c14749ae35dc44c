"""Argument checks shared by the whole package: every message names the argument,
what was expected, what came, and how to fix it."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any, NoReturn

import torch
from torch import Tensor


def describe(value: Any) -> str:
    """A short, readable description of any value, for error messages."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    text = repr(value)
    if len(text) > 80:
        text = text[:77] + "..."
    return f"{text} ({type(value).__name__})"


def _message(name: str, expected: str, got: str, fix: str) -> str:
    return f"{name}: expected {expected}, got {got}." + (f" {fix}" if fix else "")


def fail(name: str, expected: str, got: Any, fix: str = "") -> NoReturn:
    """Raise ValueError ``name: expected ..., got .... fix``."""
    raise ValueError(_message(name, expected, got if isinstance(got, str) else describe(got), fix))


def fail_type(name: str, expected: str, got: Any, fix: str = "") -> NoReturn:
    """Raise TypeError with the same wording as :func:`fail`."""
    raise TypeError(_message(name, expected, got if isinstance(got, str) else describe(got), fix))


def check_int(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """``value`` as an int within [minimum, maximum]; bool and floats are refused.

    Symbolic integers (torch.SymInt, under torch.compile) pass through unchanged.
    """
    if isinstance(value, bool):
        fail_type(name, "an integer", describe(value))
    if not isinstance(value, (int, torch.SymInt)):
        try:
            value = operator.index(value)
        except TypeError:
            fail_type(name, "an integer", describe(value))
    if minimum is not None and value < minimum:
        fail(name, f"an integer >= {minimum}", str(value))
    if maximum is not None and value > maximum:
        fail(name, f"an integer <= {maximum}", str(value))
    return value


def check_float(
    name: str, value: Any, *, positive: bool = False, nonnegative: bool = False
) -> float:
    """``value`` as a finite Python float (optionally > 0 or >= 0).

    A tensor with one entry will do, unless it requires grad: it would be detached.
    """
    scalar = isinstance(value, Tensor) and value.numel() == 1 and value.dtype != torch.bool
    if isinstance(value, bool) or not (scalar or isinstance(value, numbers.Real)):
        array = hasattr(value, "__array_interface__")
        fix = f"Pass a tensor, torch.from_numpy({name}), where one is taken." if array else ""
        fail_type(name, "a number", describe(value), fix)
    if isinstance(value, Tensor) and value.requires_grad:
        fail(
            name,
            "a number",
            f"{describe(value)} that requires grad",
            f"It is a constant here and would not be trained: pass {name}.item().",
        )
    try:
        number = float(value)
    except OverflowError:
        fail(name, "a number within the range of float64", describe(value))
    # No math.isfinite: torch.compile may hand in a symbolic number.
    if not -math.inf < number < math.inf:
        fail(name, "a finite number", str(number))
    if positive and number <= 0:
        fail(name, "a number > 0", str(number))
    if nonnegative and number < 0:
        fail(name, "a number >= 0", str(number))
    return number


def check_float_dtype(name: str, dtype: torch.dtype | None) -> torch.dtype:
    """float32 or float64 (None: torch's default dtype)."""
    if dtype is None:
        dtype = torch.get_default_dtype()
    if not isinstance(dtype, torch.dtype):
        fail_type(name, "torch.float32 or torch.float64", describe(dtype))
    if dtype not in (torch.float32, torch.float64):
        fail(name, "torch.float32 or torch.float64", str(dtype))
    return dtype


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """``value`` if it is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        fail(name, f"one of {listed}", describe(value))
    return str(value)


def under_fake_tensors() -> bool:
    """Whether what is computed now has shapes but no values: a graph is being traced."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def concrete(value: Tensor) -> bool:
    """Whether the entries of a tensor may be looked at, for nothing but a check.

    Not while compiling or under fake tensors; not on a GPU, which would have to be waited for.
    """
    if torch.compiler.is_compiling() or value.device.type != "cpu" or under_fake_tensors():
        return False
    return type(value) in (Tensor, torch.nn.Parameter) and not (
        torch._C._functorch.is_functorch_wrapped_tensor(value)
    )


def coordinates_fix(value: Any) -> str:
    """What to do with a sample, given in place of its points; "" for anything else."""
    sample = isinstance(getattr(value, "x", None), Tensor)
    return "Give the coordinates alone: points.x." if sample else ""


def check_points(name: str, x: Any, dim: int | None = None) -> Tensor:
    """A floating tensor of shape (N, d), with d = ``dim`` where given."""
    wanted = f"a floating tensor of shape (N, {'d' if dim is None else dim})"
    if not isinstance(x, Tensor):
        fail_type(name, wanted, describe(x), coordinates_fix(x))
    if not x.is_floating_point():
        fail_type(name, wanted, x)
    if x.ndim != 2 or (dim is not None and x.shape[1] != dim):
        fix = "Give one point as x[None, :]." if x.ndim == 1 else ""
        fail(name, wanted, x, fix)
    return x
