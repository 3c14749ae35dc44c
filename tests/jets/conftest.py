"""The fixture of both ways through a multilayer perceptron."""

from __future__ import annotations

import pytest
import torch
from colloc.ops import mlp_jet


@pytest.fixture(params=["tiled", "layers"])
def path(request, monkeypatch):
    """Both ops that evaluate a multilayer perceptron."""
    if request.param == "layers":
        monkeypatch.setattr(mlp_jet, "WIDEST_TILED", 0)
    elif not torch.ops.colloc.has_tiled_mlp_jet():
        pytest.skip("torch's BLAS was not found")
    return request.param
