"""A residual's rows, and their gradients by the parameters of the field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc._checks import describe, fail, fail_type
from colloc._graph import leaves_of
from colloc.jets import Jet, Order, check_order
from colloc.jets.recording import Call, record_calls
from colloc.jets.rules import Unsupported
from colloc.ntk._network import gradients, values_per_point
from colloc.ntk._perceptron import squares
from colloc.ntk._pieces import Pieces
from colloc.pde.residual_points import takes_points
from colloc.pde.term import residual_order

#: Numbers that the jets of a stretch of points take in all layers together.
_CHUNK = {"cpu": 1 << 22, "cuda": 1 << 27}


@contextmanager
def whole_precision(x: Tensor) -> Iterator[None]:
    """Without autocast, which would lower some of the products, and without a graph."""
    # In inference mode there would be no graph to the jets, and every gradient 0.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(x.device.type, enabled=False),
    ):
        yield


def ordinary(x: Tensor) -> Tensor:
    """The points without graph, and as autograd can save them."""
    return x.clone() if x.is_inference() else x.detach()


class Parts(NamedTuple):
    """The gradients of a stretch of rows, by column."""

    begin: int
    end: int
    pieces: list[Pieces]


class Rows:
    """The rows of a residual on points, with what their gradients are made of.

    Args:
        evaluate: gives the rows, (N,) or (N, q), by :func:`colloc.jet` of the field.
        x: the points (N, d).
        wanted: the parameters, by id.

    Raises:
        Unsupported: the rows depend on wanted parameters in a way that is not seen here.
    """

    def __init__(
        self, evaluate: Callable[[], Tensor], x: Tensor, wanted: dict[int, Tensor]
    ) -> None:
        self.count = x.shape[0]
        self._wanted = wanted
        with torch.enable_grad(), record_calls() as calls:
            self.values = check_rows(evaluate(), self.count)
        self.columns = self.values.shape[1]
        self._calls: list[Call] = calls
        leaves = {id(leaf) for leaf in leaves_of([self.values])}
        if leaves & set(wanted):
            raise Unsupported("parameters that are used outside of networks")
        if any(call.x.shape[0] != self.count for call in calls):
            raise Unsupported("a network that is evaluated at more points than there are rows")
        self._used = [call for call in calls if id(call.components) in leaves]

    def squares(self) -> Tensor:
        """The rows' squared gradients, (N, q) float64."""
        if self.columns == 0:
            return self.values.detach().double()
        grads = self.by_jets()
        if len(self._used) == 1:
            found = squares(self._used[0], grads[0], self._wanted)
            if found is not None:
                return found
        result = self.values.new_zeros((self.count, self.columns), dtype=torch.float64)
        for begin, end, pieces in self.parts(grads):
            for column, part in enumerate(pieces):
                result[begin:end, column] = part.squares()
        return result

    def by_jets(self) -> list[list[Tensor]]:
        """For each network the gradients of all columns by its jet, (K, N, m) each."""
        jets = [call.components for call in self._used]
        by_column = []
        for c in range(self.columns if jets else 0):
            one = torch.zeros_like(self.values)
            one[:, c] = 1
            by_column.append(
                torch.autograd.grad(self.values, jets, one, retain_graph=True, allow_unused=True)
            )
        return [
            [torch.zeros_like(jets[k]) if column[k] is None else column[k] for column in by_column]
            for k in range(len(jets))
        ]

    def parts(self, grads: list[list[Tensor]], *, whole: bool = False) -> Iterator[Parts]:
        """The gradients, a stretch of points at a time, or of all points at once, from those by
        the networks' jets."""
        width = sum(values_per_point(call) for call in self._used)
        device = self.values.device.type
        each = max(1, _CHUNK.get(device, _CHUNK["cpu"]) // max(1, width))
        if whole:
            each = max(1, self.count)
        for begin in range(0, self.count, each):
            end = min(begin + each, self.count)
            merged: list[Pieces] | None = None
            for call, columns in zip(self._used, grads, strict=True):
                stretch = [g[:, begin:end] for g in columns]
                found = gradients(call, begin, end, stretch, self._wanted)
                merged = found if merged is None else list(map(Pieces.merge, merged, found))
            yield Parts(begin, end, merged or [Pieces(self._wanted)] * self.columns)


def check_rows(rows: Any, count: int) -> Tensor:
    """(N, q) of the N or (N, q) rows that a residual gave."""
    wanted = f"a floating tensor of shape ({count},) or ({count}, q)"
    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        fail_type("residual(jet, x)", wanted, describe(rows))
    if rows.ndim not in (1, 2) or rows.shape[0] != count:
        fail("residual(jet, x)", wanted, rows)
    return rows.unsqueeze(1) if rows.ndim == 1 else rows


def check_precision(x: Tensor) -> None:
    """Points in float32 or float64."""
    if x.dtype not in (torch.float32, torch.float64):
        fix = "Use x.float() and net.float()."
        fail("x", "points in float32 or float64, the dtype of the network", str(x.dtype), fix)


def check_field(field: Any) -> nn.Module:
    """A module, whose parameters can be asked for."""
    if not isinstance(field, nn.Module):
        fix = "Wrap it in an nn.Module: the kernel is that of its parameters."
        fail_type("field", "an nn.Module that maps (N, d) to (N, m)", describe(field), fix)
    return field


def wanted_parameters(field: nn.Module, parameters: Iterable[Tensor] | None) -> dict[int, Tensor]:
    """The parameters by id: those given, or all of the field's that require grad."""
    if isinstance(parameters, Tensor):
        fix = "Give a list of them."
        fail_type("parameters", "an iterable of tensors", describe(parameters), fix)
    if parameters is None:
        return {id(p): p for p in field.parameters() if p.requires_grad}
    listed = list(parameters)
    own = {id(parameter) for parameter in field.parameters()}
    for position, parameter in enumerate(listed):
        label = f"parameters[{position}]"
        if not isinstance(parameter, Tensor):
            fail_type(label, "a parameter of the field", describe(parameter))
        if id(parameter) not in own:
            fix = "" if parameter.is_leaf else "Give the leaves that it is made of."
            fail(label, "a parameter of the field", parameter, fix)
    return {id(p): p for p in listed if p.requires_grad}


def order_of(residual: Any, order: Order | None) -> Order:
    """The order that is asked for, or that the residual says it reads."""
    return residual_order(residual) if order is None else check_order(order)


def residual_call(residual: Any) -> Callable[[Jet, Tensor], Tensor]:
    """The residual as a function of jet and points, whether it takes the points or not."""
    if not callable(residual):
        wanted = "a callable residual(jet) or residual(jet, x)"
        fail_type("residual", wanted, describe(residual))
    function: Callable[..., Tensor] = residual
    if takes_points(function):
        fix = "Close over what it needs of the points."
        fail("residual", "residual(jet) or residual(jet, x)", "one that takes points", fix)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function
    try:
        signature.bind(None, None)
    except TypeError:
        return lambda values, x: function(values)
    # A second parameter with a default is an option of the user's, unless it is called x.
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [p for p in signature.parameters.values() if p.kind in kinds][1:2]
    if second and second[0].name != "x" and second[0].default is not inspect.Parameter.empty:
        return lambda values, x: function(values)
    return function
