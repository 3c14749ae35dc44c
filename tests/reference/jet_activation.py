"""A jet through an activation, one partial derivative after the other, by Faa di Bruno."""

from __future__ import annotations

import torch
from colloc.jets.layout import layout
from reference.adaptive_activation import derivative


def jet_activation(y, kind, order, n, beta=None):
    """(N, K, W) -> (N, K, W), K in the order of the layout."""
    form = layout(order, n)
    value = y[:, 0]
    f = [derivative(kind, value, k, beta) for k in range(4)]

    def at(*axes):
        return y[:, form.positions[tuple(sorted(axes))]]

    out = [None] * form.size
    for axes, position in form.positions.items():
        if len(axes) == 0:
            out[position] = f[0]
        elif len(axes) == 1:
            out[position] = f[1] * at(*axes)
        elif len(axes) == 2:
            i, j = axes
            out[position] = f[1] * at(i, j) + f[2] * at(i) * at(j)
        else:
            i, j, k = axes
            mixed = at(i, j) * at(k) + at(i, k) * at(j) + at(j, k) * at(i)
            out[position] = f[1] * at(i, j, k) + f[2] * mixed + f[3] * at(i) * at(j) * at(k)
    if form.laplacian is not None or form.grad_laplacian is not None:
        square = sum(at(i) ** 2 for i in range(n))
    if form.laplacian is not None:
        out[form.laplacian] = f[1] * y[:, form.laplacian] + f[2] * square
    if form.grad_laplacian is not None:
        trace = sum(at(i, i) for i in range(n))
        for k in range(n):
            here = form.grad_laplacian + k
            mixed = at(k) * trace + 2 * sum(at(i, k) * at(i) for i in range(n))
            out[here] = f[1] * y[:, here] + f[2] * mixed + f[3] * at(k) * square
    return torch.stack(out, dim=1)
