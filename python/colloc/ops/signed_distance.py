"""Signed distances to closed plane pieces: ops ``colloc::signed_distance`` and its derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_float, check_points, fail, fail_type
from colloc.ops._registration import DifferentiableOp, check_device, formula_needed
from colloc.ops._signed_distance_formula import signed_distance_formula, slope_formula

#: Numbers that describe a piece: the fields of StraightPiece and CircularPiece in
#: csrc/math/signed_distance.h.
STRAIGHT_NUMBERS, CIRCULAR_NUMBERS = 12, 19

_slope = torch.ops.colloc.signed_distance_slope.default


@torch.library.register_fake("colloc::signed_distance")
def _fake(x: Tensor, straight: Tensor, circular: Tensor, size: float) -> Tensor:
    return x.new_empty((x.shape[0], 1))


@torch.library.register_fake("colloc::signed_distance_slope")
def _fake_slope(x: Tensor, straight: Tensor, circular: Tensor, size: float) -> Tensor:
    return x.new_empty((x.shape[0], 2))


def _setup(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, straight, circular, ctx.size = inputs
    ctx.save_for_backward(x, straight, circular)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Second derivatives are those of the plain formula.
    slope: Any = slope_formula if torch.is_grad_enabled() else _slope
    return grad * slope(*ctx.saved_tensors, ctx.size), None, None, None


def _vmap_by(op: Any) -> Any:
    def rule(
        info: Any, in_dims: Any, x: Tensor, straight: Tensor, circular: Tensor, size: float
    ) -> Any:
        x_dim, *others, _ = in_dims
        if any(dim is not None for dim in others):
            raise RuntimeError(
                "signed_distance: expected the same pieces for the whole batch of vmap."
            )
        x = x.movedim(x_dim, 0)
        found = op(x.reshape(-1, 2), straight, circular, size)
        return found.unflatten(0, (info.batch_size, x.shape[1])), 0

    return rule


def _vmap(*inputs: Any) -> Any:
    return _vmap_by(_op)(*inputs)


_op = DifferentiableOp("signed_distance", _setup, _backward, _vmap)
torch.library.register_vmap("colloc::signed_distance_slope", _vmap_by(_slope))


def signed_distance(x: Tensor, straight: Tensor, circular: Tensor, size: float) -> Tensor:
    """The distance to the nearest of closed plane pieces, negative outside of them.

        d(x) = s min_i |x - piece_i|,  s = 1 where the pieces run counter-clockwise around x
               (their winding number is above 0), else -1.

    Where the foot of the perpendicular lies on the nearest piece and the distance is not above
    8 eps (abs(x_0) + abs(x_1) + size), which side a rounded point is on does not decide: there d
    is the offset from that piece, positive on its own inner side, and so is its derivative. The
    winding number is counted by a ray, without angles, in double whatever the dtype of x.

    Differentiable in x: the gradient is a unit vector, that of the nearest piece (0 where that is
    a vertex and x lies on it); second and higher derivatives by a plain torch formula, as
    everything in forward mode. Most users want ``shape.distance``.

    Args:
        x: points, (N, 2), float32 or float64.
        straight: (S, 12) float64 on the device of x, a row for each segment: its ends p1, p2; its
            direction e, a unit vector; the arc lengths from p1 where it begins and ends, 0 and
            its length; p1 and p2 again, the same numbers for all pieces that meet there. The
            domain lies on the left.
        circular: (C, 19) float64, a row for each arc or circle: the centre c; its middle a = c +
            r u; the unit vector u; the radius r; half of its angle; 1 if the domain lies towards
            the centre, else -1; the ends p1 and p2, counter-clockwise; p1 and p2 again, the same
            numbers for all pieces that meet there; cosine and sine of half the angle. Of a circle
            half of the angle is infinite, the cosine -1, the sine 0, and the ends are equal.
        size: the extent of all pieces, >= 0.

    Returns:
        (N, 1), in the dtype of x. NaN where a coordinate is.

    Raises:
        ValueError, TypeError: an argument of another kind, shape, dtype or device; no pieces.
        RuntimeError: a device without kernels.
    """
    check_points("x", x, 2)
    if x.dtype not in (torch.float32, torch.float64):
        fail("x", "float32 or float64", x)
    check_device("x", x.device)
    tables = (("straight", straight, STRAIGHT_NUMBERS), ("circular", circular, CIRCULAR_NUMBERS))
    for name, table, numbers in tables:
        wanted = f"a float64 tensor (P, {numbers})"
        if not isinstance(table, Tensor):
            fail_type(name, wanted, table)
        if table.dtype != torch.float64 or table.ndim != 2 or table.shape[1] != numbers:
            fail(name, wanted, table)
        if table.device != x.device:
            fail(name, f"a tensor on the device of x, {x.device}", str(table.device))
    if straight.shape[0] + circular.shape[0] == 0:
        fail("straight", "at least one piece here or in circular", straight)
    size = check_float("size", size, nonnegative=True)
    if formula_needed(x.device):
        return signed_distance_formula(x, straight, circular, size)
    return _op(x, straight, circular, size)
