"""In which precision a step is computed, and which pairings are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from colloc._checks import check_choice, describe, fail
from colloc.pde import Term

PRECISIONS = ("float64", "float32", "bfloat16", "float16")
# Scaled losses that give gradients which are not finite even here, 30 halvings down, did not
# overflow by their scale.
FIRST_SCALE, LEAST_SCALE = 2.0**16, 2.0**-14
_LOWERED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """Autocast and the scaler that float16 needs.

    "float64" and "float32" are the network's own dtype. "bfloat16" and "float16" keep the
    parameters in float32 and compute the network's products in the lower precision (autocast);
    gradients of float16 are scaled so that they do not underflow, and a step whose gradients
    overflow is left out, with half the scale for the next (torch.amp.GradScaler). Gradients that
    are not finite after 30 halvings either are so by themselves, and end the run. Second
    derivatives lose all their digits there: a relative error eps of the values becomes one of
    eps / h^2 over a length h of the network, so terms of an order above 1 are refused.
    First-order forms (``first_order=True`` of the equations in :mod:`colloc.pde`) need no more
    than order 1.

    Args:
        name: one of ``PRECISIONS``, or None: the network as it is.
        net: the network.
        terms: whose orders are looked at.
        device: where the step runs.

    Raises:
        ValueError: no such precision; the network has another dtype; a term of order 2 or more
            with a lowered precision.
    """

    def __init__(
        self, name: str | None, net: nn.Module, terms: Sequence[Term], device: torch.device
    ) -> None:
        self.name = None if name is None else check_choice("precision", name, PRECISIONS)
        self.device = device
        self.lowered = _LOWERED.get(self.name or "")
        dtypes = {p.dtype for p in net.parameters() if p.is_floating_point()}
        own = torch.float32 if self.lowered is not None else getattr(torch, self.name or "", None)
        if own is not None and dtypes != {own}:
            listed = ", ".join(sorted(describe(d).removeprefix("torch.") for d in dtypes))
            wanted = f"a network in {str(own).removeprefix('torch.')} with precision={name!r}"
            fail("net", wanted, listed, f"Use net.to({own}), and samplers of that dtype.")
        if self.lowered is not None:
            for term in terms:
                if term.order not in (0, 1):
                    fail(
                        "precision",
                        f"float32 or float64 with term {term.name!r} of order {term.order!r}",
                        repr(name),
                        "Second derivatives lose their digits under autocast. Write the equation "
                        "in first-order form (first_order=True in colloc.pde), order 1.",
                    )
        scaled = self.name == "float16"
        self.scaler = torch.amp.GradScaler(device.type, FIRST_SCALE) if scaled else None

    def context(self) -> Any:
        """In which the losses are computed."""
        if self.lowered is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.lowered)

    def scale_anew(self) -> None:
        """Begin with the first scale: one that went down for nothing would let gradients
        underflow."""
        if self.scaler is not None:
            anew = {"scale": FIRST_SCALE, "_growth_tracker": 0}
            self.scaler.load_state_dict(self.scaler.state_dict() | anew)

    def state_dict(self) -> dict[str, Any] | None:
        """The scaler's state."""
        return None if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on with a scaler's state."""
        if self.scaler is not None and state is not None:
            self.scaler.load_state_dict(state)
