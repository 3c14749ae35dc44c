"""Jets by torch.func, one point at a time: independent of colloc's own fallback."""

from __future__ import annotations

import torch
from torch.func import jacrev, vmap


def derivatives(net, x, degree):
    """The tensors of all partial derivatives up to ``degree``: (N, m), (N, m, d), ..."""

    def at(point):
        return net(point[None])[0]

    found, function = [], at
    for _ in range(degree + 1):
        found.append(vmap(function)(x))
        function = jacrev(function)
    return found


def contents(net, x, order, wrt):
    """What a jet of ``order`` must hold, by attribute name."""
    degree = {0: 0, 1: 1, "laplacian": 2, 2: 2, "grad_laplacian": 3, 3: 3}[order]
    full = derivatives(net, x, degree)
    index = torch.tensor(list(wrt))
    parts = [full[0]]
    for level in range(1, degree + 1):
        part = full[level]
        for axis in range(2, 2 + level):
            part = part.index_select(axis, index)
        parts.append(part)
    held = {"value": parts[0]}
    if degree >= 1:
        held["grad"] = parts[1]
    if degree >= 2:
        held["laplacian"] = torch.einsum("nmii->nm", parts[2])
        if order != "laplacian":
            held["hess"] = parts[2]
    if degree >= 3:
        held["grad_laplacian"] = torch.einsum("nmiik->nmk", parts[3])
        if order == 3:
            held["third"] = parts[3]
    return held
