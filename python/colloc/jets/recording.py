"""Hooks by which :mod:`colloc.ntk` sees what a jet is made of.

Two recorders, both off by default. The first notes each network that :func:`colloc.jet`
evaluates and cuts the graph there, so that a residual's gradient by the networks' jets can be
taken. The second notes each use of a parameter inside a network, so that the gradient by it can
be put together point by point.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from colloc.jets.layout import Order
from colloc.jets.perceptron import Perceptron


class Call(NamedTuple):
    """One evaluation of a network."""

    net: nn.Module
    x: Tensor
    """(N, d)."""
    order: Order
    wrt: tuple[int, ...]
    components: Tensor
    """(K, N, m), a leaf: the graph of what follows begins here."""
    perceptron: Perceptron | None
    """What it is made of, where it is one perceptron."""


class LinearUse(NamedTuple):
    """y = W h + b of jets."""

    weight: Tensor
    bias: Tensor | None
    h: Tensor
    """(K, N, in)."""
    y: Tensor
    """(K, N, out)."""


class SlopeUse(NamedTuple):
    """y = n a z of jets."""

    slope: Tensor
    scale: float
    z: Tensor
    """(K, N, W)."""
    y: Tensor
    """(K, N, W)."""


class BetaUse(NamedTuple):
    """y = c + beta g of jets."""

    beta: Tensor
    by_beta: Tensor
    """g, (K, N, W)."""
    y: Tensor
    """(K, N, W)."""


Use = LinearUse | SlopeUse | BetaUse

_calls: list[Call] | None = None
_uses: list[Use] | None = None
_thread: int | None = None
_lock = threading.RLock()


def calls() -> list[Call] | None:
    """Where networks are noted, None outside of :func:`record_calls`."""
    if _calls is None or _thread != threading.get_ident():
        return None
    return _calls


def uses() -> list[Use] | None:
    """Where uses of parameters are noted, None outside of :func:`record_uses`."""
    if _uses is None or _thread != threading.get_ident():
        return None
    return _uses


@contextmanager
def record_calls() -> Iterator[list[Call]]:
    """Jets of networks made by this thread are leaves, and listed."""
    global _calls, _thread
    with _lock:
        before = _calls, _thread
        _calls, _thread = [], threading.get_ident()
        try:
            yield _calls
        finally:
            _calls, _thread = before


@contextmanager
def record_uses() -> Iterator[list[Use]]:
    """Modules that act on jets in this thread do so with detached parameters, and list them."""
    global _uses, _thread
    with _lock:
        before = _uses, _thread
        _uses, _thread = [], threading.get_ident()
        try:
            yield _uses
        finally:
            _uses, _thread = before


def note_call(
    found: list[Call],
    evaluate: Callable[..., tuple[Tensor, Perceptron | None]],
    net: nn.Module,
    x: Tensor,
    order: Order,
    wrt: tuple[int, ...],
) -> Tensor:
    """The jet of a network as a leaf."""
    components, perceptron = evaluate(net, x.detach(), order, wrt)
    leaf = components.detach().requires_grad_()
    found.append(Call(net, x.detach(), order, wrt, leaf, perceptron))
    return leaf


def in_graph(y: Any) -> Any:
    """A tensor whose gradient can be asked for, without a copy."""
    return y if y.requires_grad else y.detach().requires_grad_()
