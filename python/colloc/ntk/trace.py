"""Trace and diagonal of the neural tangent kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from colloc._checks import check_points, fail
from colloc.jets import Order, jet
from colloc.jets.rules import Unsupported
from colloc.ntk._one_by_one import jacobians
from colloc.ntk._rows import (
    Rows,
    check_field,
    check_precision,
    check_rows,
    order_of,
    ordinary,
    residual_call,
    wanted_parameters,
    whole_precision,
)
from colloc.pde import Term


def trace(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
) -> Tensor:
    """Tr(J J^T), J the Jacobian of the residual's rows by the parameters of ``field``.

    Exact, and without J: for a dense layer with inputs H and adjoints Zbar of a point,
    ``|dr/dW|^2 = <Zbar Zbar^T, H H^T>`` (see :func:`colloc.ops.ntk_trace`), so that the trace
    costs little more than a loss and its gradient. The plain sum over rows, not a mean.

    Served that way are all networks that :func:`colloc.jet` has rules for, alone or inside an
    :class:`colloc.boundary.Ansatz`: any order of jets, biases, trained slopes and betas, weight
    normalisation and other parametrizations, parameters that are used several times (the sum of
    all uses is squared). Any other module goes by chunks of ``torch.func.vmap(jacrev)``.

    Args:
        field: a module from (N, d) to (N, m).
        x: points (N, d).
        residual: ``residual(jet)`` or ``residual(jet, x)`` -> (N,) or (N, q), row i depending
            on point i alone.
        order: the order of jet that the residual reads; None: the residual's own ``order``, as
            those of ``colloc.pde`` have, and "laplacian" for one without.
        parameters: those of the field to differentiate by; None: all. Frozen ones count as
            constants.

    Returns:
        A scalar of float64, without grad.

    Raises:
        TypeError, ValueError: an argument of the wrong type or shape.
        RuntimeError: a module without rules that torch.func cannot differentiate either.

    Source: Wang, Yu and Perdikaris, When and why PINNs fail to train: A neural tangent kernel
    perspective, Journal of Computational Physics 449 (2022), 110768. J is that of the residual
    vectors, never of the losses.
    """
    return diagonal(field, x, residual, order, parameters=parameters).sum()


def diagonal(
    field: nn.Module,
    x: Tensor,
    residual: Callable[..., Tensor],
    order: Order | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
) -> Tensor:
    """The diagonal of J J^T: each row's squared gradient by the parameters of ``field``.

    Arguments and errors as of :func:`trace`.

    Returns:
        (N, q), float64, without grad.
    """
    module, at = check_field(field), order_of(residual, order)
    check_precision(check_points("x", x))
    wanted, call = wanted_parameters(module, parameters), residual_call(residual)

    def evaluate(points: Tensor) -> Tensor:
        return call(jet(module, points, at), points)

    with whole_precision(x):
        return _diagonal(module, x, evaluate, call, at, wanted)


def term_trace(term: Term) -> Tensor:
    """Tr(J J^T) of a term's rows, each scaled as its square is in ``term.loss()``.

    With ``loss = sum_i c_i r_i^2`` it is ``sum_i c_i |dr_i/dtheta|^2``, theta the parameters of
    ``term.field``: Tr / (N q) where the loss is a plain mean. Rows that ``term.reduce`` makes
    are differentiated as they are: sums over points first, squares after.

    Returns:
        A scalar of float64, without grad.

    Raises:
        TypeError, ValueError: the term has no points, or a field that is not a module.
        RuntimeError: as of :func:`trace`.
    """
    field = check_field(term.field)
    if term.x.shape[0] == 0:
        fail("points", f"at least one point in term {term.name!r}", "none")
    check_precision(term.x)
    wanted = wanted_parameters(field, None)
    with whole_precision(term.x):
        if term.reduce is not None:
            squares = _of_integrals(term, wanted)
        else:
            points = term.points if term.takes_points else None
            squares = _diagonal(
                field,
                term.x,
                lambda x: term.rows(x if points is None else points),
                term.residual if points is None else None,
                term.order,
                wanted,
            )
        share = term.shares(squares)
        return (share.double() * squares).sum() / squares.shape[1]


def _diagonal(
    field: nn.Module,
    x: Tensor,
    evaluate: Callable[[Tensor], Tensor],
    residual: Callable[..., Tensor] | None,
    order: Order,
    wanted: dict[int, Tensor],
) -> Tensor:
    x = ordinary(x)
    if x.shape[0] == 0:
        return check_rows(evaluate(x), 0).double()
    try:
        return Rows(lambda: evaluate(x), x, wanted).squares()
    except Unsupported as reason:
        if residual is None:  # one row at a time has no points
            raise RuntimeError(
                f"trace of a term: expected networks that colloc.jet knows with a residual that "
                f"takes points, got {reason}. Use a residual(jet, x), or nn.Linear, activations "
                "and colloc.nn modules in the field."
            ) from reason
        parts = jacobians(field, x, residual, order, wanted)
        return torch.cat([part.square().sum(2, dtype=torch.float64) for part in parts])


def _of_integrals(term: Term, wanted: dict[int, Tensor]) -> Tensor:
    """The squared gradients of integral rows (k, q), one backward each."""
    with torch.enable_grad():
        rows = term()
        numbers = [list(row) for row in rows]
    squares = rows.new_zeros(rows.shape, dtype=torch.float64)
    parameters = list(wanted.values())
    for i, row in enumerate(numbers):
        for c, number in enumerate(row):
            if not parameters or not number.requires_grad:
                continue
            grads = torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True)
            squares[i, c] = sum(g.square().sum(dtype=torch.float64) for g in grads if g is not None)
    return squares
