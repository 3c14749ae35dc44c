"""``colloc.jet``: the jet of a network at points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from colloc._checks import check_points, fail, fail_type
from colloc.jets import recording
from colloc.jets.autograd import autograd_components, traced_components
from colloc.jets.container import Jet
from colloc.jets.layout import Order, check_order, check_wrt
from colloc.jets.modules import components_of, noted_components_of, warn_unsupported
from colloc.jets.rules import Unsupported, own_rule


def jet(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    order: Order = 1,
    wrt: Sequence[int] | None = None,
    *,
    piece: Tensor | None = None,
) -> Jet:
    """The jet of ``net`` at the points ``x``: its values and the derivatives asked for.

    With gradients enabled the derivatives carry a graph to the network's weights, and to ``x``
    where ``x`` requires grad; under ``torch.no_grad()`` or ``torch.inference_mode()``, and where
    nothing requires grad (a frozen network), they are computed all the same and returned
    detached. ``x`` itself is never modified.

    Networks of known modules run on the kernels: one sweep forward carries all derivatives
    through the layers (Taylor mode; the Laplacian as one number a neuron), one sweep backward
    gives the gradients of the weights. Known are ``nn.Linear``, ``nn.Sequential``, the common
    activations, the modules of ``colloc.nn``, weights under a parametrization, and every module
    with a method ``forward_jet(jet) -> Jet``. There ``torch.compile(fullgraph=True)``,
    ``torch.func`` transforms, forward mode and gradients of gradients work (the last three by a
    plain torch formula: slower). Parameter hooks run; modules with hooks of their own, and any
    other module, are differentiated by nested ``torch.autograd.grad``, with the same results and
    one warning for each kind of module, and by ``torch.func`` inside its transforms. They and
    plain functions compile with ``fullgraph=True`` as far as the compiler can follow their own
    code; each output and derivative is a trace of its own there, so that compiling takes long.

    Precision is that of x and the network, float32 or float64. Under ``torch.autocast`` jets of
    orders 0 and 1 have its dtype, higher ones stay in float32. In wide perceptrons (256 neurons
    and more on a CPU with instructions for bfloat16; on a GPU those that have no kernel of their
    own, see below) the jets between the layers are of 16 bits then too, half the memory, with
    activations, first layer and sums of gradients in float32: right to about 0.5 to 1 %
    (bfloat16; relative L2). Others are computed in float32, as fast, and rounded at the end. A
    network in bfloat16 or float16 (with x of that dtype) is evaluated in it, its activations in
    float32: all its derivatives in bfloat16 are then right to 0.5 to 3 % (measured up to the
    Laplacian).

    On a GPU hidden widths up to 128 in float32 run on kernels that keep 22 bits of each number,
    or what lies above 2^-39 of the largest one of the same component among 16 neighbouring points
    and neurons, or among 8 neurons' weights. Where these differ by more than 1e5 in size, the
    small ones lose digits; the environment variable ``COLLOC_FUSED=0`` takes torch's products.

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
        piece: (N,) int64, for fields on boundaries (:class:`colloc.boundary.Ansatz`): the number
            of the piece of the boundary that each point lies on, -1 for none.

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
    as_field = own_rule(net, "field_jet")
    if as_field is not None:
        found: Jet = as_field(net, x, order, wrt, piece)
        return found
    if piece is not None:
        fail("piece", "None for a field that does not know pieces", f"one for {type(net).__name__}")
    components = _by_rules(net, x, order, wrt) if isinstance(net, nn.Module) else None
    if components is None:
        evaluate = traced_components if torch.compiler.is_compiling() else autograd_components
        components = evaluate(net, x, order, wrt)
    return Jet(components, order, wrt, x.shape[1])


def _by_rules(net: nn.Module, x: Tensor, order: Order, wrt: tuple[int, ...]) -> Tensor | None:
    """Components by the kernels; None where a part of the network has no rule."""
    compiling = torch.compiler.is_compiling()
    if not compiling and x.is_inference() and not torch.is_inference_mode_enabled():
        x = x.clone()  # autograd refuses to save a tensor made in inference mode
    noted = None if compiling else recording.calls()
    try:
        if noted is not None:
            return recording.note_call(noted, noted_components_of, net, x, order, wrt)
        return components_of(net, x, order, wrt)
    except Unsupported as reason:
        if noted is not None:
            raise
        if not compiling:
            warn_unsupported(net, reason)
        return None
