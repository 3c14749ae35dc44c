"""The trace of the neural tangent kernel against vmap(grad) and its closed form in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import colloc as cc
import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, compare

N = 2000
BY_ROW, CLOSED = "vmap(grad)", "closed form in torch"
NOTES = {
    "colloc": "cc.ntk.trace(net, x, residual, order)",
    BY_ROW: "torch.func.vmap of grad of the residual at one point, in chunks of 250 points, "
    "squared and summed; derivatives by x by torch.func.jacrev and hessian",
    CLOSED: "jets through the layers by hand, adjoints by torch.autograd.grad by every layer's "
    "output, products of the rows by bmm",
}


def network(width: int, device: str) -> nn.Sequential:
    torch.manual_seed(0)
    return cc.nn.MLP(2, 1, width, 4, "tanh", device=device)


def by_row(net: nn.Module, second: bool) -> Callable[[Tensor], Tensor]:
    """The trace by the gradient of every row."""
    values = {name: p.detach() for name, p in net.named_parameters()}

    def u(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(net, parameters, (x.unsqueeze(0),))[0, 0]
        return found

    def row(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        if not second:
            return u(parameters, x)
        hessian = torch.func.hessian(u, argnums=1)(parameters, x)
        return hessian.diagonal().sum() + u(parameters, x)

    gradient = torch.func.vmap(torch.func.grad(row), in_dims=(None, 0))

    def call(x: Tensor) -> Tensor:
        total = x.new_zeros(())
        for part in x.split(250):
            found = gradient(values, part)
            total = total + sum(g.square().sum() for g in found.values())
        return total

    return call


def closed_form(net: nn.Sequential, second: bool) -> Callable[[Tensor], Tensor]:
    """The trace by inner products of layers' inputs and adjoints, as a user would write it."""
    layers = [module for module in net if isinstance(module, nn.Linear)]

    def call(x: Tensor) -> Tensor:
        count = x.shape[0]
        size = 4 if second else 1
        h = x.new_zeros((count, size, 2))
        h[:, 0] = x
        if second:
            h[:, 1, 0] = 1
            h[:, 2, 1] = 1
        inputs, outputs = [], []
        for k, layer in enumerate(layers):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            inputs.append(h.detach())
            z = h @ weight.t()
            z = torch.cat((z[:, :1] + bias, z[:, 1:]), 1) if second else z + bias
            z = z.requires_grad_() if k == 0 else z
            outputs.append(z)
            if k + 1 == len(layers):
                break
            t = torch.tanh(z[:, 0])
            if not second:
                h = t.unsqueeze(1)
                continue
            d = 1 - t * t
            curved = -2 * t * d * (z[:, 1] ** 2 + z[:, 2] ** 2) + d * z[:, 3]
            h = torch.stack((t, d * z[:, 1], d * z[:, 2], curved), 1)
        rows = z[:, 3] + z[:, 0] if second else z[:, 0]
        adjoints = torch.autograd.grad(rows.sum(), outputs)
        total = x.new_zeros((), dtype=torch.float64)
        for one, zbar in zip(inputs, adjoints, strict=True):
            products = (one @ one.transpose(1, 2)) * (zbar @ zbar.transpose(1, 2))
            total = total + products.sum(dtype=torch.float64)
            total = total + zbar[:, 0].square().sum(dtype=torch.float64)
        return total

    return call


def run(rounds: int, device: str = "cpu") -> Iterator[Comparison]:
    """One comparison for u and for a residual with a Laplacian, at two widths."""
    for width in (64, 128):
        for second in (False, True):
            net = network(width, device)
            x = 2 * torch.rand(N, 2, device=device) - 1
            order = "laplacian" if second else 0

            def residual(u: cc.Jet, x: Tensor, second: bool = second) -> Tensor:
                return u.laplacian + u.value if second else u.value

            def ours(net=net, x=x, residual=residual, order=order) -> Tensor:
                return cc.ntk.trace(net, x, residual, order)

            rows, products = by_row(net, second), closed_form(net, second)
            contenders = {
                "colloc": ours,
                BY_ROW: lambda rows=rows, x=x: rows(x),
                CLOSED: lambda products=products, x=x: products(x),
            }
            _check(contenders)
            bars = {BY_ROW: 25.0 if second else 50.0}
            if width == 64:
                bars[CLOSED] = 2.0
            what = "a residual with a Laplacian" if second else "u"
            yield compare(
                f"trace of {what}, width {width}",
                f"{N} points, tanh network of 4 layers, float32",
                contenders,
                bars=bars,
                rounds=rounds,
                device=device,
                notes=dict(NOTES),
            )


def _check(contenders: dict[str, Callable[[], Tensor]]) -> None:
    found = {name: float(call()) for name, call in contenders.items()}
    for name, value in found.items():
        assert abs(value / found["colloc"] - 1) < 1e-4, (name, found)
