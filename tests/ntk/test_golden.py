"""Traces, Gram matrices and weights of the golden network."""

from __future__ import annotations

from pathlib import Path

import colloc as cc
import numpy as np
import pytest
import torch
from torch import nn

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ntk.npz")
LAPLACIAN, VALUE = lambda u: u.laplacian, lambda u: u.value


def golden(name):
    return torch.from_numpy(np.asarray(GOLDEN[name]))


@pytest.fixture(scope="module")
def net():
    made = nn.Sequential(
        nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)
    ).double()
    nn.utils.vector_to_parameters(golden("theta"), made.parameters())
    return made


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_traces(net):
    residual = cc.ntk.trace(net, golden("Xr"), LAPLACIAN)
    boundary = cc.ntk.trace(net, golden("Xb"), VALUE, 0)
    close(residual, golden("tr_rr"))
    close(boundary, golden("tr_bb"))
    close(cc.ntk.diagonal(net, golden("Xr"), LAPLACIAN)[:, 0], golden("K_rr").diagonal())
    close((residual + boundary) / boundary, golden("lambda_b"))
    close((residual + boundary) / residual, golden("lambda_r"))


def test_gram(net):
    close(cc.ntk.gram(net, golden("Xr"), LAPLACIAN), golden("K_rr"))
    close(cc.ntk.gram(net, golden("Xb"), VALUE, 0), golden("K_bb"))
    crossed = cc.ntk.gram(net, golden("Xr"), LAPLACIAN, x2=golden("Xb"), residual2=VALUE, order2=0)
    close(crossed, golden("K_rb"))


def test_terms(net):
    inside = cc.Term("inside", net, golden("Xr"), lambda u, x: u.laplacian)
    wall = cc.Term("wall", net, golden("Xb"), lambda u, x: u.value, 0)
    close(cc.ntk.term_trace(inside), golden("tr_rr_mean"))
    close(cc.ntk.term_trace(wall), golden("tr_bb_mean"))
