"""The weighted sum with fixed weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from colloc._checks import check_float, describe, fail_type
from colloc.balancing.base import Balancer, check_known, check_losses


class Sum(Balancer):
    """``total = sum_j w_j L_j`` with fixed weights.

    Args:
        weights: weight (>= 0) by the name of the loss; losses that it does not name have
            weight 1. None: the plain sum.

    Raises:
        TypeError: weights is not a dict of names and numbers.
        ValueError: a weight is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        weights = {} if weights is None else weights
        if not isinstance(weights, Mapping):
            fail_type("weights", "a dict of names and numbers", describe(weights))
        for name in weights:
            if not isinstance(name, str):
                fail_type("weights", "names that are strings", name)
        values = [check_float(f"weights[{n!r}]", w, nonnegative=True) for n, w in weights.items()]
        super().__init__(weights, values)
        self._unnamed: tuple[str, ...] = ()

    @property
    def weights(self) -> dict[str, float]:
        """Weight by name: of the losses named at construction, and of the last call's others."""
        return super().weights | dict.fromkeys(self._unnamed, 1.0)

    def forward(
        self, losses: dict[str, Tensor], step: int | None = None, *, terms: Any = None
    ) -> Tensor:
        """The weighted sum of ``losses``, shape ().

        Args:
            losses: 0-dimensional floating tensors by name, on one device.
            step: not used by this rule.
            terms: not used by this rule.

        Raises:
            TypeError, ValueError: losses is empty, a loss is not such a tensor, or a weight
                was given for a loss that is not there.
        """
        check_losses(losses)
        check_known(self.names, losses)
        self._unnamed = tuple(name for name in losses if name not in self.names)
        weighted = [
            weight.to(losses[name].dtype) * losses[name]
            for name, weight in zip(self.names, self.weight, strict=True)
        ]
        weighted += [losses[name] for name in self._unnamed]
        total = weighted[0]
        for part in weighted[1:]:
            total = total + part
        return total
