"""Errors of a prediction against the exact field."""

from __future__ import annotations

import torch
from torch import Tensor

from colloc._checks import fail, fail_type


def relative_l2(prediction: Tensor, exact: Tensor) -> float:
    """||prediction - exact||_2 / ||exact||_2 over all entries.

    Args:
        prediction, exact: floating tensors of one shape.

    Raises:
        ValueError: the shapes differ (nothing broadcasts), there are no entries, or exact is 0.
    """
    prediction, exact = _pair(prediction, exact)
    size = torch.linalg.vector_norm(exact)
    if float(size) == 0:
        fail("exact", "a field that is not 0 everywhere", "zeros", "Use max_error.")
    return float(torch.linalg.vector_norm(prediction - exact) / size)


def max_error(prediction: Tensor, exact: Tensor) -> float:
    """The largest absolute difference. Arguments and errors as for :func:`relative_l2`."""
    prediction, exact = _pair(prediction, exact)
    return float((prediction - exact).abs().max())


def nrmse(prediction: Tensor, exact: Tensor) -> float:
    """sqrt(mean((prediction - exact)^2) / var(exact)), the metric of PhysicsNeMo-Sym.

    var is the sample variance (divided by n - 1). Arguments and errors as for
    :func:`relative_l2`; exact must not be constant.
    """
    prediction, exact = _pair(prediction, exact)
    variance = exact.var() if exact.numel() > 1 else exact.new_zeros(())
    if float(variance) == 0:
        fail("exact", "a field that is not constant", "a constant", "Use max_error.")
    return float(((prediction - exact).square().mean() / variance).sqrt())


def _pair(prediction: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
    for name, value in (("prediction", prediction), ("exact", exact)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            fail_type(name, "a floating tensor", value)
    if prediction.shape != exact.shape:
        fail("prediction", f"the shape of exact, {tuple(exact.shape)}", prediction)
    if exact.numel() == 0:
        fail("exact", "at least one entry", exact)
    return prediction.detach().double(), exact.detach().double()
