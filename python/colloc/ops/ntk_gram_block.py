"""Inner products of gradients by a layer's weight: ``colloc::ntk_gram_block``."""

from __future__ import annotations

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.ops._registration import check_device, formula_needed, one_by_one
from colloc.ops.ntk_trace import check_layer, check_no_grad


def ntk_gram_block(h1: Tensor, zbar1: Tensor, h2: Tensor, zbar2: Tensor) -> Tensor:
    """<sum_k zbar1_ik h1_ik^T, sum_l zbar2_jl h2_jl^T>_F for all points i and j.

    A dense layer's share of the neural tangent kernel between two sets of points: with h the
    layer's inputs and zbar the gradients by its outputs (see :func:`ntk_trace`),

        K_ij = sum_kl <zbar1_ik, zbar2_jl> <h1_ik, h2_jl>.

    The matrix products are computed in tiles that stay in the cache.

    Args:
        h1: (N1, K1, in), float32 or float64.
        zbar1: (N1, K1, out).
        h2: (N2, K2, in).
        zbar2: (N2, K2, out). All of one dtype and device.

    Returns:
        (N1, N2), of the same dtype.

    Raises:
        TypeError, ValueError: arguments that are not such tensors, or do not match.
        RuntimeError: an argument requires grad, or a device without kernels.
    """
    check_layer("h1", h1, "zbar1", zbar1)
    check_layer("h2", h2, "zbar2", zbar2)
    if h2.dtype != h1.dtype or h2.device != h1.device:
        got = f"{h2.dtype} on {h2.device}"
        fail("h2", f"the dtype and device of h1, {h1.dtype} on {h1.device}", got)
    for name, one, other in (("h2", h2, h1), ("zbar2", zbar2, zbar1)):
        if one.shape[2] != other.shape[2]:
            fail(name, f"the layer of the first points, (N2, K2, {other.shape[2]})", one)
    check_device("h1", h1.device)
    if formula_needed(h1.device):
        return _formula(h1, zbar1, h2, zbar2)
    check_no_grad("ntk_gram_block", h1, zbar1, h2, zbar2)
    found: Tensor = _op(h1, zbar1, h2, zbar2)
    return found


def _formula(h1: Tensor, zbar1: Tensor, h2: Tensor, zbar2: Tensor) -> Tensor:
    inputs = torch.einsum("nki,mli->nkml", h1, h2)
    return (inputs * torch.einsum("nki,mli->nkml", zbar1, zbar2)).sum((1, 3))


def _fake(h1: Tensor, zbar1: Tensor, h2: Tensor, zbar2: Tensor) -> Tensor:
    return h1.new_empty((h1.shape[0], h2.shape[0]))


_op = torch.ops.colloc.ntk_gram_block.default
torch.library.register_fake("colloc::ntk_gram_block", _fake)
torch.library.register_vmap("colloc::ntk_gram_block", one_by_one(_op))
