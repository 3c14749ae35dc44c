"""Mixed precision of a perceptron's jets: when it serves, and its products.

Under autocast jets of orders 0 and 1 are of 16 bits (``low``: float16 or bfloat16). Wide layers
have products, and jets between them, of 16 bits too; those of narrow ones are as fast in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from colloc.ops._mlp_jet_layers import Mlp

ORDERS = ("0", "1")
#: Hidden layers as wide as this have products that are faster in 16 bits.
NARROWEST = {"cpu": 256, "cuda": 64}

_INSTRUCTIONS = ("avx512_bf16", "amx_tile")


def _cpu_multiplies() -> bool:
    """Whether the CPU has instructions for products of bfloat16."""
    # torch's own names, which a later release may change.
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in _INSTRUCTIONS)
    return any(bool(one()) for one in asked if one is not None)


#: The dtypes that a device multiplies faster than float32.
DTYPES: dict[str, tuple[torch.dtype, ...]] = {
    "cpu": (torch.bfloat16,) if _cpu_multiplies() else (),
    "cuda": (torch.bfloat16, torch.float16),
}


def asked_for(net: Mlp) -> torch.dtype | None:
    """The dtype in which autocast wants jets of this network; None: that of x."""
    device = net.x.device.type
    if device not in NARROWEST or not torch.is_autocast_enabled(device):
        return None
    if net.order not in ORDERS or net.x.dtype != torch.float32:
        return None
    return torch.get_autocast_dtype(device)


def serves(net: Mlp, low: torch.dtype) -> bool:
    """Whether jets between the layers are faster in ``low``."""
    device = net.x.device.type
    if low not in DTYPES[device] or max(net.widths) < NARROWEST[device]:
        return False
    return all(width % 2 == 0 for width in net.widths)


def lowered(weights: Sequence[Tensor], low: torch.dtype | None) -> Sequence[Tensor]:
    """The weights as operands: the first one stays as it is."""
    if low is None:
        return weights
    return [weights[0], *(weight.to(low) for weight in weights[1:])]


def add_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out += a b, of many terms; out is float32 where a and b have 16 bits."""
    if a.dtype == out.dtype:
        out.addmm_(a, b)
    elif a.device.type == "cuda":
        out += torch.mm(a, b, out_dtype=out.dtype)
    else:  # a CPU's products of 16 bits give 16 bits
        out += torch.mm(a, b)
