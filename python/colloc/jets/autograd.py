"""Jets of any callable by nested automatic differentiation.

Works for whatever autograd can differentiate, at autograd's price: a pass backward through
everything done so far for each derivative level, input and output.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail, fail_type
from colloc._graph import leaves_of
from colloc.jets.layout import Order, ascending, layout


def autograd_components(
    net: Callable[[Tensor], Tensor], x: Tensor, order: Order, wrt: tuple[int, ...]
) -> Tensor:
    """Packed jet components (K, N, m) of ``net`` at ``x`` (N, d), see ``layout``.

    With gradients enabled the result carries a graph to the weights, and to ``x`` where it
    requires grad. Without (``no_grad``, ``inference_mode``) it is detached, and everything
    built on the way is freed.
    """
    tracked = torch.is_grad_enabled()
    if order == 0:
        if x.is_inference() and not torch.is_inference_mode_enabled():
            x = x.clone()  # autograd refuses to save a tensor made in inference mode
        return _check_output(net(x), x).unsqueeze(0)
    if torch._C._are_functorch_transforms_active():
        # Tensors cannot be marked as requiring grad there. Nested forward mode would be faster,
        # but torch's rules for it are wrong inside of grad for some functions (layer_norm).
        return traced_components(net, x, order, wrt)
    inference = torch.is_inference_mode_enabled()
    with torch.inference_mode(False) if inference else nullcontext(), torch.enable_grad():
        own = not (tracked and x.requires_grad)
        if own:
            x = x.detach().clone().requires_grad_(True)
        value = _check_output(net(x), x)
        # A frozen network leads nowhere but to our own copy of x: no graph is worth keeping.
        tracked = tracked and (not own or _leads_beyond(value, x))
        components = _components(value, x, order, wrt, tracked)
    return components if tracked else components.detach()


def traced_components(
    net: Callable[[Tensor], Tensor], x: Tensor, order: Order, wrt: tuple[int, ...]
) -> Tensor:
    """Packed jet components (K, N, m) by nested reverse mode of ``torch.func``: inside its
    transforms, and in ``torch.compile``, which follows two levels of forward mode, not three."""
    value = _check_output(net(x), x)

    def along(function: Callable[[Tensor], Tensor], axis: int) -> Callable[[Tensor], Tensor]:
        """From outputs at points, (N,), to their derivatives there."""
        slope = torch.func.grad(lambda at: function(at).sum())
        return lambda at: slope(at)[:, wrt[axis]]

    def output(column: int) -> Callable[[Tensor], Tensor]:
        return lambda at: net(at)[:, column]

    def partial(*chosen: int) -> Tensor:
        columns = []
        for column in range(value.shape[1]):
            function = output(column)
            for axis in chosen:
                function = along(function, axis)
            columns.append(function(x))
        return torch.stack(columns, dim=1)

    return _stacked(value, partial, order, wrt)


def _stacked(
    value: Tensor, partial: Callable[..., Tensor], order: Order, wrt: tuple[int, ...]
) -> Tensor:
    """Components from the value and a function that gives any partial derivative."""
    form = layout(order, len(wrt))
    axes = range(form.n)
    parts = [value]
    if order != 0:
        parts += [partial(a) for a in axes]
    if form.laplacian is not None:
        parts.append(sum((partial(a, a) for a in axes), torch.zeros_like(value)))
    elif form.holds(2):
        parts += [partial(*pair) for pair in ascending(form.n, 2)]
    if form.grad_laplacian is not None:
        parts += [sum((partial(a, a, b) for a in axes), torch.zeros_like(value)) for b in axes]
    elif form.holds(3):
        parts += [partial(*triple) for triple in ascending(form.n, 3)]
    return torch.stack(_one_dtype(parts))


def _leads_beyond(value: Tensor, x: Tensor) -> bool:
    """Whether the graph of ``value`` has a leaf other than ``x``: something to be trained."""
    return any(leaf is not x for leaf in leaves_of([value]))


def _components(
    value: Tensor,
    x: Tensor,
    order: Order,
    wrt: tuple[int, ...],
    tracked: bool,
) -> Tensor:
    """Stack of the value and its derivatives; the last level has a graph only if ``tracked``."""
    form = layout(order, len(wrt))
    axes = range(form.n)

    # gradients[o]: (N, d), the gradient of output o
    keep = tracked or order != 1
    gradients = [_gradient(value, o, x, keep) for o in range(value.shape[1])]
    parts = [value, *(_column(gradients, wrt[a]) for a in axes)]
    if order == 1:
        return torch.stack(_one_dtype(parts))

    # rows[a][o]: (N, d), the gradient of d_a of output o
    keep = tracked or order in ("grad_laplacian", 3)
    rows = [[_gradient(g, wrt[a], x, keep) for g in gradients] for a in axes]
    if form.laplacian is not None:
        parts.append(_laplacian(rows, wrt))
    else:
        parts += [_column(rows[a], wrt[b]) for a, b in ascending(form.n, 2)]

    if form.grad_laplacian is not None:
        laplacian = _laplacian(rows, wrt)
        slopes = [_gradient(laplacian, o, x, tracked) for o in range(value.shape[1])]
        parts += [_column(slopes, wrt[a]) for a in axes]
    elif form.holds(3):
        third = _third(rows, x, wrt, tracked)
        parts += [third[triple] for triple in ascending(form.n, 3)]
    return torch.stack(_one_dtype(parts))


def _third(
    rows: list[list[Tensor]], x: Tensor, wrt: tuple[int, ...], tracked: bool
) -> dict[tuple[int, ...], Tensor]:
    """Third derivatives (N, m) by ascending local axes.

    Of any three axes two have the same parity, so differentiating the Hessian's entries of
    equal parity reaches every third derivative: 4 passes of 6 in three inputs, 6 of 10 in four.
    """
    third: dict[tuple[int, ...], Tensor] = {}
    for a, b in ascending(len(wrt), 2):
        if (a - b) % 2 == 0:
            entries = [_gradient(row, wrt[b], x, tracked) for row in rows[a]]
            for c in range(len(wrt)):
                triple = tuple(sorted((a, b, c)))
                if triple not in third:
                    third[triple] = _column(entries, wrt[c])
    return third


def _gradient(y: Tensor, column: int, x: Tensor, create_graph: bool) -> Tensor:
    """d y[:, column] / dx, (N, d), for rowwise y; zeros where y does not depend on x."""
    if not y.requires_grad:
        return torch.zeros_like(x, requires_grad=False)
    seed = torch.zeros_like(y)
    seed[:, column] = 1
    # The graph is shared by the passes of one level and freed with its last reference.
    (gradient,) = torch.autograd.grad(
        y, x, seed, retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    return torch.zeros_like(x, requires_grad=False) if gradient is None else gradient


def _column(gradients: list[Tensor], index: int) -> Tensor:
    """Entry ``index`` of each output's gradient, (N, m)."""
    return torch.stack([gradient[:, index] for gradient in gradients], dim=1)


def _laplacian(rows: list[list[Tensor]], wrt: tuple[int, ...]) -> Tensor:
    """The sum of the Hessian's diagonal, (N, m)."""
    total = _column(rows[0], wrt[0])
    for a in range(1, len(wrt)):
        total = total + _column(rows[a], wrt[a])
    return total


def _one_dtype(parts: list[Tensor]) -> list[Tensor]:
    """The parts in their common dtype: under autocast a value may be of lower precision."""
    dtype = parts[0].dtype
    for part in parts:
        dtype = torch.promote_types(dtype, part.dtype)
    return [part.to(dtype) for part in parts]


def _check_output(value: Any, x: Tensor) -> Tensor:
    """The network's output, if it is a floating (N, m) tensor."""
    wanted = f"a floating tensor of shape ({x.shape[0]}, m), m >= 1"
    if not isinstance(value, Tensor) or not value.is_floating_point():
        fail_type("net(x)", wanted, value)
    if value.ndim != 2 or value.shape[0] != x.shape[0] or value.shape[1] == 0:
        one_output = value.shape == x.shape[:1]
        fail("net(x)", wanted, value, "Return u[:, None]." if one_output else "")
    return value
