"""Every op on small shapes, for compute-sanitizer: ``python -m benchmarks.gpu.small [PART ...]``.

Nothing is compared here: that is what the tests are for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import colloc as cc
import torch

DTYPES = (torch.float32, torch.float64)


def halton() -> None:
    for dtype in DTYPES:
        cc.ops.halton(1037, 33, 5, seed=1, device="cuda", dtype=dtype)


def activations() -> None:
    for dtype in DTYPES:
        for kind in ("tanh", "gelu", "stan"):
            x = torch.randn(1031, 17, device="cuda", dtype=dtype, requires_grad=True)
            a = torch.ones(17, device="cuda", dtype=dtype, requires_grad=True)
            beta = torch.ones_like(a).requires_grad_() if kind == "stan" else None
            cc.ops.adaptive_activation(x, a, kind, 1.0, beta).square().sum().backward()


def jets() -> None:
    for dtype in DTYPES:
        for n in (1, 2, 3):
            for order in ("laplacian", 1, 3):
                for kind in ("tanh", "stan"):
                    net = cc.nn.MLP(n, 2, 19, 3, kind, "neuron", device="cuda", dtype=dtype)
                    x = torch.rand(33, n, device="cuda", dtype=dtype, requires_grad=True)
                    cc.jet(net, x, order).components.square().sum().backward()


def mixed_precision() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        for order in (0, 1):
            net = cc.nn.MLP(2, 1, 200, 3, "stan", device="cuda")
            x = torch.rand(33, 2, device="cuda", requires_grad=True)
            with torch.autocast("cuda", dtype):
                loss = cc.jet(net, x, order).components.float().square().sum()
            loss.backward()


def networks() -> None:
    """Wide enough for every path through a perceptron, with its optimiser."""
    for width, outputs in ((64, 1), (50, 3), (128, 2), (200, 1)):
        net = cc.nn.MLP(2, outputs, width, 3, "tanh", device="cuda")
        optimizer = torch.optim.Adam(net.parameters(), fused=True)
        for points in (1, 33, 700):
            x = torch.rand(points, 2, device="cuda")
            optimizer.zero_grad()
            u = cc.jet(net, x, "laplacian")
            (u.laplacian + u.value).square().mean().backward()
            optimizer.step()


def distances() -> None:
    ring = (cc.geometry.Channel((-4, -1), (4, 1)) | cc.geometry.Disk((0, 0), 2)) - (
        cc.geometry.Disk((0, 0), 1)
    )
    for dtype in DTYPES:
        x = torch.rand(1001, 2, device="cuda", dtype=dtype) * 4 - 2
        for order in (0, 1, "laplacian", 2, 3):
            cc.boundary.distance(ring.boundary, x, order=order)
        ring.distance(x.requires_grad_()).sum().backward()
        ring.boundary.sample(50, device="cuda")


def importance() -> None:
    for dtype in DTYPES:
        rows = torch.randn(3001, 4, device="cuda", dtype=dtype)
        area = torch.rand(3001, 1, device="cuda", dtype=dtype) + 0.1
        q = cc.ops.importance_probabilities(rows, area, norm=True, relative_floor=1e-3)
        for scheme in cc.ops.SCHEMES:
            cc.ops.importance_sample(q, 500, area, scheme, seed=3)


def kernels_of_tangents() -> None:
    for dtype in DTYPES:
        net = cc.nn.MLP(2, 2, 23, 3, "tanh", device="cuda", dtype=dtype)
        x = torch.rand(65, 2, device="cuda", dtype=dtype)

        def residual(u: cc.Jet, x: torch.Tensor) -> torch.Tensor:
            return u.laplacian + u.value

        cc.ntk.trace(net, x, residual)
        cc.ntk.gram(net, x, residual)


def ansatz() -> None:
    square = cc.geometry.Rectangle((0, 0), (1, 1))
    net = cc.nn.MLP(2, 1, 16, 2, device="cuda")
    field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(square.boundary, 0.0)])
    cc.jet(field, torch.rand(40, 2, device="cuda"), "laplacian").laplacian.sum().backward()


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part
    for part in (
        halton,
        activations,
        jets,
        mixed_precision,
        networks,
        distances,
        importance,
        kernels_of_tangents,
        ansatz,
    )
}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
        torch.cuda.synchronize()
        print(f"small: {name} done", flush=True)


if __name__ == "__main__":
    main()
