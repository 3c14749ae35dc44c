"""What every balancer shares: names, weights as state, checks of the losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import describe, fail, fail_type


class Balancer(nn.Module):
    """Base of the rules that turn named losses into one: ``total = sum_j w_j L_j``.

    A rule defines ``forward(losses, step=None, *, terms=None) -> Tensor`` of shape (). Its
    weights are the buffer ``weight`` (n,), in the order of ``names``, changed in place and
    saved by ``state_dict()`` together with the names, so that a resumed run continues as it
    was and a state of other losses is refused.

    Args:
        names: the losses' names, all different.
        weights: their first weights.
    """

    weight: Tensor

    def __init__(self, names: Iterable[str], weights: Iterable[float]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("weight", torch.tensor(list(weights), dtype=torch.float64))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each named loss. Reading it waits for a GPU that holds the weights."""
        return dict(zip(self.names, self.weight.tolist(), strict=True))

    def get_extra_state(self) -> list[str]:
        """The losses' names, for ``state_dict()``."""
        return list(self.names)

    def set_extra_state(self, state: Sequence[str]) -> None:
        """Nothing to set: the names were compared before the weights were copied."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        # Refused here and not in set_extra_state, which torch calls after copying the weights.
        saved = state_dict.get(f"{prefix}_extra_state")
        if saved is not None and tuple(saved) != self.names:
            fail(
                "state_dict",
                f"the weights of the losses {list(self.names)}",
                f"those of {list(saved)}",
                "Make the balancer with the same names, in the same order, as the saved one.",
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def extra_repr(self) -> str:
        """The weights by name, for ``repr``."""
        return ", ".join(f"{name}={weight:.6g}" for name, weight in self.weights.items())


def check_losses(losses: Any) -> Mapping[str, Tensor]:
    """``losses`` if it maps at least one name to 0-dimensional floating tensors on one device."""
    if not isinstance(losses, Mapping):
        fail_type("losses", "a dict of names and 0-dimensional tensors", describe(losses))
    if not losses:
        fail("losses", "at least one named loss", "an empty dict")
    device = None
    for name, loss in losses.items():
        label, wanted = f"losses[{name!r}]", "a floating tensor of shape ()"
        if not isinstance(name, str):
            fail_type("losses", "names that are strings", name)
        if not isinstance(loss, Tensor) or not loss.is_floating_point():
            fail_type(label, wanted, describe(loss))
        if loss.ndim != 0:
            fail(label, wanted, loss, "Take its mean().")
        device = device or loss.device
        if loss.device != device:
            fail(label, f"a tensor on {device} as the losses before it", f"one on {loss.device}")
    return losses


def check_known(names: Iterable[str], losses: Mapping[str, Tensor]) -> None:
    """ValueError if a name with a weight is not among the losses."""
    missing = [name for name in names if name not in losses]
    if missing:
        fail(
            "losses",
            f"a loss for each weight, here {', '.join(map(repr, missing))} too",
            f"only {', '.join(map(repr, losses))}",
            "Rename the loss or the weight.",
        )
