"""Which networks op ``colloc::mlp_jet_fused`` serves (NVIDIA GPUs), and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.ops._mlp_jet_layers import Mlp
from colloc.ops._registration import has_kernel
from colloc.ops.adaptive_activation import KINDS

# See csrc/cuda/mlp_jet_fused_layout.h.
GROUP = 16
WIDTHS = (64, 128)
MOST_INPUTS, MOST_OUTPUTS, MOST_LAYERS, MOST_POINTS = 8, 4, 62, 1 << 34
#: The orders, with the numbers of inputs that they may be differentiated by.
FORMS = {"0": (1, 2, 3, 4), "1": (1, 2, 3), "2": (1, 2), "laplacian": (1, 2, 3)}

_T = TypeVar("_T")

DEVICE = "cuda"
_STAN = KINDS.index("stan")
_VARIABLE = "COLLOC_FUSED"


def _wanted() -> bool:
    text = os.environ.get(_VARIABLE, "").strip()
    if text not in ("", "0", "1"):
        fail(_VARIABLE, "1, or 0 to go layer by layer on a GPU", repr(text), "Unset it.")
    return text != "0"


#: Whether the op is used at all: for comparisons.
enabled = _wanted()

_block_memory: dict[int | None, int] = {}


def _constant(function: Callable[..., _T]) -> Callable[..., _T]:
    """torch.compiler.assume_constant_result without its import of torch._dynamo, which takes a
    second and more."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch does it
    return function


@_constant
def _memory_of(device: int | None) -> int:
    """Bytes of shared memory that a block may have; 0 on a GPU older than the kernels need."""
    if device not in _block_memory:
        found = torch.cuda.get_device_properties(device)
        most = getattr(found, "shared_memory_per_block_optin", 0)
        _block_memory[device] = int(most) if found.major >= 8 else 0
    return _block_memory[device]


@_constant
def exact() -> bool:
    """Whether torch multiplies float32 matrices on a GPU in float32, not in TF32."""
    # The older settings refuse to be read once the newer one was used. torch.compile guards it.
    return bool(torch.backends.cuda.matmul.fp32_precision != "tf32")


def width(net: Mlp) -> int:
    """That of every hidden layer in the kernels, which pad them with zeros."""
    return WIDTHS[0] if max(net.widths) <= WIDTHS[0] else WIDTHS[1]


def memory(width: int, size: int, inputs: int) -> int:
    """Bytes of shared memory that a block of the backward needs, which needs the most."""
    rows = 128 // width  # of warps; each takes as many groups as give work enough
    groups = rows * {1: 4, 2: 2}.get(size, 1)
    tile = groups * size * (GROUP * width + width // 16)  # with its units
    return 4 * (width * width + 3 * tile + rows * inputs * width)


def serves(net: Mlp) -> bool:
    """Whether the op is there for this network and its GPU."""
    x = net.x
    if x.device.type != DEVICE or not enabled or x.dtype != torch.float32:
        return False
    if len(net.wrt) not in FORMS.get(net.order, ()) or _STAN in net.kinds:
        return False
    if max(net.widths) > WIDTHS[-1] or x.shape[1] > MOST_INPUTS or x.shape[0] > MOST_POINTS:
        return False
    if net.weights[-1].shape[0] > MOST_OUTPUTS or len(net.weights) > MOST_LAYERS:
        return False
    if not has_kernel(x.device):
        return False
    return bool(memory(width(net), net.size, x.shape[1]) <= _memory_of(x.device.index))


def kept_per_point(net: Mlp) -> int:
    """Pre-activations of a point, those of the padding too."""
    return width(net) * (1 + net.size * (len(net.widths) - 1))


def kept_shape(net: Mlp, kept_points: int) -> tuple[int, int]:
    """A row for each group of points, as many as hold ``kept_points``."""
    return (kept_points + GROUP - 1) // GROUP, GROUP * kept_per_point(net)


def kept_by(net: Mlp, kept: Tensor) -> bool:
    """Whether ``kept`` is what the op kept of this network, and not another op."""
    return max(net.widths) <= WIDTHS[-1] and kept.shape[1] == kept_shape(net, 0)[1]
