"""The slope-recovery term: a loss that keeps trainable slopes growing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import describe, fail, fail_type
from colloc.nn import AdaptiveActivation


def slope_recovery(net: Any) -> Tensor:
    """``1 / mean_k exp(mean_i a_i^k)`` over the trainable slopes a^k of a network, shape ().

    Added to a loss it makes the slopes of :class:`colloc.nn.AdaptiveActivation` grow, and so
    training start faster. k goes over the layers, i over a layer's slopes (one, or one a neuron);
    a slope that several layers share counts once. Jagtap, Kawaguchi and Karniadakis, Locally
    adaptive activation functions with slope recovery, Proc. R. Soc. A 476, 2020 (equation 2.6;
    the slopes a without their fixed scale n).

    Args:
        net: a module with trainable slopes, anywhere in it.

    Raises:
        TypeError: net is no module.
        ValueError: it has no trainable slopes.
    """
    if not isinstance(net, nn.Module):
        fail_type("net", "an nn.Module", describe(net))
    slopes = {
        id(module.a): module.a
        for module in net.modules()
        if isinstance(module, AdaptiveActivation) and module.a.requires_grad
    }
    if not slopes:
        fail(
            "net",
            "a module with trainable slopes",
            f"{type(net).__name__} without any",
            "Make the network with adaptive='layer' or 'neuron'.",
        )
    means = torch.stack([slope.mean() for slope in slopes.values()])
    return 1.0 / means.exp().mean()
