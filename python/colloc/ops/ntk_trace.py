"""Squared gradients by a layer's weight, point by point: ``colloc::ntk_trace``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.ops._registration import check_device, formula_needed, one_by_one


def ntk_trace(h: Tensor, zbar: Tensor) -> Tensor:
    """|sum_k zbar_k h_k^T|_F^2 of each point, from inner products of rows alone.

    A dense layer maps the K components h_k of a point's jet to z_k = W h_k. With zbar_k the
    gradient of a number r by z_k, the gradient of r by W is sum_k zbar_k h_k^T, and its squared
    norm, the layer's share of the diagonal of the neural tangent kernel, is

        sum_kl <zbar_k, zbar_l> <h_k, h_l>.

    It takes K (K + 1) / 2 (in + out) products a point in place of K in out, and no memory.

    Args:
        h: the layer's inputs, (N, K, in), float32 or float64.
        zbar: the gradients by its outputs, (N, K, out), of the same dtype and device.

    Returns:
        (N,), float64. Inner products are summed in the dtype of h, the rest in float64.

    Raises:
        TypeError: an argument is not such a tensor.
        ValueError: shapes, dtypes or devices that do not match.
        RuntimeError: an argument requires grad (the result has none; detach it), or a device
            without kernels.

    Source: Wang, Yu and Perdikaris, When and why PINNs fail to train: A neural tangent kernel
    perspective, Journal of Computational Physics 449 (2022), for the kernel; the product form is
    that of per-example gradient norms (Goodfellow, 2015).
    """
    check_layer("h", h, "zbar", zbar)
    check_device("h", h.device)
    if formula_needed(h.device):
        return _formula(h, zbar)
    check_no_grad("ntk_trace", h, zbar)
    found: Tensor = _op(h, zbar)
    return found


def check_layer(h_name: str, h: Any, z_name: str, zbar: Any) -> None:
    """(N, K, in) and (N, K, out) of one dtype and device."""
    for name, value, last in ((h_name, h, "in"), (z_name, zbar, "out")):
        wanted = f"a float32 or float64 tensor (N, K, {last})"
        if not isinstance(value, Tensor):
            fail_type(name, wanted, describe(value))
        if value.dtype not in (torch.float32, torch.float64):
            fail_type(name, wanted, value)
        if value.ndim != 3:
            fail(name, wanted, value, "Give one component as [:, None].")
    if zbar.shape[:2] != h.shape[:2]:
        fail(z_name, f"a tensor ({h.shape[0]}, {h.shape[1]}, out) as {h_name}", zbar)
    if zbar.dtype != h.dtype or zbar.device != h.device:
        got = f"{zbar.dtype} on {zbar.device}"
        fail(z_name, f"the dtype and device of {h_name}, {h.dtype} on {h.device}", got)


def check_no_grad(name: str, *tensors: Tensor) -> None:
    """Refuse what requires grad: the op gives none."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            f"{name}: expected tensors without grad, got one that requires it; the result would "
            "be a constant. Detach it, or call under torch.no_grad()."
        )


def _formula(h: Tensor, zbar: Tensor) -> Tensor:
    inputs = torch.matmul(h, h.transpose(-1, -2)).double()
    return (inputs * torch.matmul(zbar, zbar.transpose(-1, -2)).double()).sum((-1, -2))


def _fake(h: Tensor, zbar: Tensor) -> Tensor:
    return h.new_empty(h.shape[:1], dtype=torch.float64)


_op = torch.ops.colloc.ntk_trace.default
torch.library.register_fake("colloc::ntk_trace", _fake)
torch.library.register_vmap("colloc::ntk_trace", one_by_one(_op))
