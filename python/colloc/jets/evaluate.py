"""``colloc.jet``: the jet of a network at points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from colloc._checks import check_points, fail, fail_type
from colloc.jets.autograd import autograd_components
from colloc.jets.container import Jet
from colloc.jets.layout import Order, check_order, check_wrt


def jet(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    order: Order = 1,
    wrt: Sequence[int] | None = None,
) -> Jet:
    """The jet of ``net`` at the points ``x``: its values and the derivatives asked for.

    ``net`` is evaluated once, under the gradient mode in force: with gradients enabled the
    derivatives carry a graph to the network's weights, and to ``x`` where ``x`` requires grad;
    under ``torch.no_grad()`` or ``torch.inference_mode()``, and where nothing requires grad (a
    frozen network), they are computed all the same and returned detached. ``x`` itself is never
    modified. The derivatives come from nested ``torch.autograd.grad``; a network that does not
    depend on some or all of its inputs has zero derivatives there. Under ``torch.compile`` that
    is a break in the graph; inside ``torch.func`` transforms, which have no
    ``torch.autograd.grad``, torch refuses it.

    Args:
        net: module or callable that maps (N, d) to (N, m), row i of the output depending on
            row i of the input alone (no batch normalisation in training mode: derivatives of
            such a network are not those of a field).
        x: points, (N, d), floating. N may be 0.
        order: ``0`` the value; ``1`` (default) also the gradient; ``"laplacian"`` value, gradient
            and Laplacian only; ``2`` the full Hessian too; ``"grad_laplacian"`` Hessian and
            gradient of the Laplacian; ``3`` all third derivatives.
        wrt: indices of the inputs to differentiate by (None: all), e.g. the coordinates but not
            a parameter of the geometry. Derivative axes have ``len(wrt)`` entries in this order
            and the Laplacian sums over them alone.

    Returns:
        A :class:`colloc.jets.Jet`.

    Raises:
        TypeError: net is not callable, x or the network's output is not a floating tensor,
            wrt is not a list or tuple of integers.
        ValueError: x is not (N, d) with d >= 1, the output is not (N, m), the order is unknown,
            or wrt is empty, repeats an input or names one that does not exist.
    """
    if not callable(net):
        fail_type("net", "a module or callable that maps (N, d) to (N, m)", net)
    check_points("x", x)
    if x.shape[1] == 0:
        fail("x", "points with at least one input, (N, d) with d >= 1", x)
    order = check_order(order)
    wrt = check_wrt(wrt, x.shape[1])
    evaluate = _outside_compile() if torch.compiler.is_compiling() else autograd_components
    return Jet(evaluate(net, x, order, wrt), order, wrt, x.shape[1])


def _outside_compile() -> Callable[..., Tensor]:
    """The autograd fallback as a break in the compiled graph: the compiler has no double
    backward. Made when first needed, since it imports the compiler."""
    if not _disabled:
        _disabled.append(torch.compiler.disable(autograd_components))
    return _disabled[0]


_disabled: list[Callable[..., Tensor]] = []
