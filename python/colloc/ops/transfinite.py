"""Weights of transfinite interpolation: op ``colloc::transfinite``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colloc._checks import check_float, check_int, describe, fail, fail_type
from colloc.ops._registration import (
    check_device,
    formula_needed,
    jet_formulas,
    plain_formulas_wanted,
)
from colloc.ops.jet_activation import MAX_JET_INPUTS, jet_size

_op = torch.ops.colloc.transfinite.default
_ORDERS = ("0", "1", "laplacian", "2", "grad_laplacian", "3")
#: The largest exponent mu.
MAX_MU = 64


@torch.library.register_fake("colloc::transfinite")
def _fake(phi: Tensor, mu: Tensor, length: float, order: str, n: int) -> Tensor:
    groups, size, points = phi.shape
    return phi.new_empty((size, points, groups))


def check_mu(mu: int | Sequence[int], groups: int) -> list[int]:
    """An exponent for each group, whole numbers >= 1."""
    listed = [mu] * groups if isinstance(mu, int) else mu
    if not isinstance(listed, (list, tuple)):
        fail_type("mu", "a whole number, or one for each group", describe(mu))
    if len(listed) != groups:
        fail("mu", f"one exponent for each of the {groups} groups", describe(mu))
    return [check_int("mu", value, minimum=1, maximum=MAX_MU) for value in listed]


def transfinite(
    phi: Tensor,
    mu: int | Sequence[int] = 2,
    order: int | str = 0,
    n: int = 2,
    length: float = 1.0,
) -> Tensor:
    """The weights of transfinite interpolation from the jets of distance functions:

        w_i = phi_i^-mu_i / sum_j phi_j^-mu_j,  phi in units of ``length``.

    w_i is 1 where phi_i is 0 and 0 where another one is; they sum to 1 to rounding at any scale
    (the logarithms' differences are taken, no epsilon is added). Where several are 0, at a
    joint, they share the weight equally and the derivatives are set to 0. ``length`` cancels
    where all mu are equal. Source: Sukumar and Srivastava, CMAME 389 (2022) 114333, equation 33,
    in the form of Rvachev et al., Appl. Mech. Rev. 54 (2001).

    Computed in double. No gradient by phi: see :func:`colloc.boundary.transfinite` for one by
    the points.

    Args:
        phi: (M, K, N), float32 or float64: for each of M groups the components of the jet of
            its distance function, >= 0.
        mu: exponents, whole numbers from 1 to 64, one for all or one for each group. At a point
            of group i the derivatives of the weights below the order mu_i are 0.
        order: of the jets: 0, 1, "laplacian", 2, "grad_laplacian" or 3.
        n: inputs that the jets are differentiated by, 1 to 4.
        length: the unit of length, > 0.

    Returns:
        (K, N, M): the jet of the M weights.

    Raises:
        ValueError, TypeError: an argument of another kind or shape.
        RuntimeError: phi requires grad, or a device without kernels.
    """
    n = check_int("n", n, minimum=1, maximum=MAX_JET_INPUTS)
    if str(order) not in _ORDERS or isinstance(order, bool):
        fail("order", f"one of {', '.join(_ORDERS)}", describe(order))
    size = jet_size(str(order), n)
    wanted = f"a float32 or float64 tensor (M, {size}, N)"
    if not isinstance(phi, Tensor):
        fail_type("phi", wanted, describe(phi))
    if phi.ndim != 3 or phi.shape[1] != size or phi.dtype not in (torch.float32, torch.float64):
        fail("phi", f"{wanted} for order {order!r}", phi)
    if phi.shape[0] == 0:
        fail("phi", "at least one group", phi)
    check_device("phi", phi.device)
    listed = check_mu(mu, phi.shape[0])
    length = check_float("length", length, positive=True)
    forward = formula_needed(phi.device)
    if str(order) != "0" and plain_formulas_wanted():
        return jet_formulas["transfinite"](phi, listed, length, order, n)
    if forward and str(order) != "0":
        raise RuntimeError(
            f"transfinite: expected order 0 in forward mode (jvp, jacfwd, dual numbers), and under "
            f"torch.func inside torch.compile, got {order!r}. Ask for the order that holds the "
            "derivatives you need, outside of the transform, or use reverse mode."
        )
    if forward or (str(order) == "0" and torch._C._are_functorch_transforms_active()):
        return _formula(phi[:, 0], listed, length).unsqueeze(0)
    if torch.is_grad_enabled() and phi.requires_grad:
        raise RuntimeError(
            "transfinite: expected phi without grad. Weights that are differentiated by the "
            "points come from colloc.boundary.transfinite."
        )
    exponents = torch.tensor(listed, dtype=torch.int64, device=phi.device)
    return _op(phi, exponents, length, str(order), n)


def _formula(phi: Tensor, mu: list[int], length: float) -> Tensor:
    """The weights (N, M) of values phi (M, N) in plain torch, differentiable in every way."""
    zero = phi == 0
    joint = zero.any(0)
    wide = torch.where(zero, 1.0, phi).double()
    exponents = torch.tensor(mu, dtype=torch.float64, device=phi.device).unsqueeze(1)
    weights = torch.softmax(-exponents * (wide / length).log(), dim=0)
    shared = zero.double() / zero.sum(0).clamp(min=1)
    return torch.where(joint, shared, weights).to(phi.dtype).T
