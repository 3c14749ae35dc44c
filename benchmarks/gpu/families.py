"""Ops on a GPU at sizes that fill it, against eager torch, torch.compile and their floors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import colloc as cc
import torch
from torch import Tensor

from benchmarks.gpu.timing import Call, compare_on_gpu
from benchmarks.harness import Comparison
from benchmarks.ops import distance, importance, ntk, signed_distance

EAGER, COMPILED = "eager torch", "torch.compile"
#: The goals of every family.
BARS = {EAGER: 3.0, COMPILED: 1.0}
SIZE = {torch.float32: 4, torch.float64: 8}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _compiled(function: Callable[..., object]) -> Callable[..., object]:
    return torch.compile(function, fullgraph=True, dynamic=False)


def _close(calls: dict[str, Call], rtol: float, atol: float) -> None:
    """All contenders compute the same."""
    found = {label: call() for label, call in calls.items()}
    tensors = {k: f if isinstance(f, (tuple, list)) else [f] for k, f in found.items()}
    for label, others in tensors.items():
        for one, other in zip(tensors["colloc"], others, strict=True):
            assert isinstance(one, Tensor) and isinstance(other, Tensor)
            error = (other.reshape(one.shape) - one).abs() - rtol * one.abs()
            if not bool((error <= atol).all()):
                raise RuntimeError(f"{label}: differs from colloc by up to {error.max().item():g}.")


# ---- low-discrepancy points --------------------------------------------------------------------


def radical_inverses(n: int, bases: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Halton points with as many digits as the last index has: nothing waits for the GPU."""
    columns = []
    for base in bases:
        index = torch.arange(1, n + 1, dtype=torch.int64, device="cuda")
        value = torch.zeros(n, dtype=dtype, device="cuda")
        factor, left = 1.0 / base, n
        while left > 0:
            value = value + factor * (index % base)
            index = index // base
            factor /= base
            left //= base
        columns.append(value)
    return torch.stack(columns, 1)


def halton(ceiling: float, rounds: int) -> Iterator[Comparison]:
    for n, dim, dtype in (
        (1 << 24, 4, torch.float32),
        (1 << 23, 4, torch.float64),
        (100_000, 2, torch.float32),
    ):
        bases = (2, 3, 5, 7)[:dim]
        compiled = _compiled(radical_inverses)
        calls: dict[str, Call] = {
            "colloc": lambda n=n, d=dim, t=dtype: cc.ops.halton(n, d, 1, dtype=t, device="cuda"),
            EAGER: lambda n=n, b=bases, t=dtype: radical_inverses(n, b, t),
            COMPILED: lambda f=compiled, n=n, b=bases, t=dtype: f(n, b, t),
        }
        _close(calls, 0, 4e-7)
        yield from compare_on_gpu(
            f"halton {n:,} x {dim} {_name(dtype)}",
            "points from index 1",
            calls,
            moved=n * dim * SIZE[dtype],
            ceiling=ceiling,
            bars=BARS,
            rounds=rounds,
        )


# ---- activations -------------------------------------------------------------------------------

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
}


def activation(ceiling: float, rounds: int) -> Iterator[Comparison]:
    n, width = 1 << 18, 128
    for kind, plain in PLAIN.items():
        x = torch.randn(n, width, device="cuda", requires_grad=True)
        grad = torch.randn(n, width, device="cuda")
        a = torch.ones(width, device="cuda", requires_grad=True)

        def ours(x: Tensor, a: Tensor, kind: str = kind) -> Tensor:
            return cc.ops.adaptive_activation(x, a, kind)

        def eager(x: Tensor, a: Tensor, plain: Callable[[Tensor], Tensor] = plain) -> Tensor:
            return plain(a * x)

        functions = {"colloc": ours, EAGER: eager, COMPILED: _compiled(eager)}

        def forward(function: Callable[..., Tensor], x: Tensor, a: Tensor) -> Tensor:
            with torch.no_grad():
                return function(x, a)

        def both(
            function: Callable[..., Tensor], x: Tensor, a: Tensor, grad: Tensor
        ) -> tuple[Tensor, ...]:
            return torch.autograd.grad(function(x, a), (x, a), grad)

        calls: dict[str, Call] = {
            k: lambda f=f, x=x, a=a, forward=forward: forward(f, x, a) for k, f in functions.items()
        }
        _close(calls, 1e-4, 1e-5)
        size = 4 * n * width
        yield from compare_on_gpu(
            f"adaptive {kind}, forward",
            f"x ({n}, {width}) float32, a slope a neuron",
            calls,
            moved=2 * size,
            ceiling=ceiling,
            bars={COMPILED: 1.0},
            rounds=rounds,
            eager=False,
        )
        calls = {
            k: lambda f=f, x=x, a=a, g=grad, both=both: both(f, x, a, g)
            for k, f in functions.items()
        }
        _close(calls, 1e-3, 0.05)
        yield from compare_on_gpu(
            f"adaptive {kind}, forward and backward",
            f"x ({n}, {width}) float32, a slope a neuron",
            calls,
            moved=5 * size,
            ceiling=ceiling,
            bars=BARS,
            rounds=rounds,
        )


# ---- jets through an activation ------------------------------------------------------------------


def _tanh_jet(y: Tensor) -> Tensor:
    """(N, 4, W): value, two derivatives, Laplacian."""
    t = torch.tanh(y[:, 0])
    d = 1 - t * t
    bent = -2 * t * d * (y[:, 1] ** 2 + y[:, 2] ** 2) + d * y[:, 3]
    return torch.stack((t, d * y[:, 1], d * y[:, 2], bent), 1)


def jets(ceiling: float, rounds: int) -> Iterator[Comparison]:
    n, width = 100_000, 128
    y = torch.randn(n, 4, width, device="cuda")
    g = torch.randn_like(y)
    form = (None, None, None, "tanh", "laplacian", 2)
    op, op_backward = torch.ops.colloc.jet_activation, torch.ops.colloc.jet_activation_backward

    def adjoint(y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        t = torch.tanh(y[:, 0])
        d = 1 - t * t
        f2 = -2 * t * d
        f3 = d * (6 * t * t - 2)
        square = y[:, 1] ** 2 + y[:, 2] ** 2
        h = torch.stack((t, d * y[:, 1], d * y[:, 2], f2 * square + d * y[:, 3]), 1)
        by_value = (
            d * g[:, 0]
            + f2 * (y[:, 1] * g[:, 1] + y[:, 2] * g[:, 2] + y[:, 3] * g[:, 3])
            + f3 * square * g[:, 3]
        )
        by_1 = d * g[:, 1] + 2 * f2 * y[:, 1] * g[:, 3]
        by_2 = d * g[:, 2] + 2 * f2 * y[:, 2] * g[:, 3]
        return torch.stack((by_value, by_1, by_2, d * g[:, 3]), 1), h

    forward, backward = _compiled(_tanh_jet), _compiled(adjoint)
    for name, calls, passes in (
        (
            "forward",
            {
                "colloc": lambda: op(y, *form),
                EAGER: lambda: _tanh_jet(y),
                COMPILED: lambda: forward(y),
            },
            2,
        ),
        (
            "backward, with the activation again",
            {
                "colloc": lambda: op_backward(g, y, *form)[:2],
                EAGER: lambda: adjoint(y, g),
                COMPILED: lambda: backward(y, g),
            },
            4,
        ),
    ):
        _close(calls, 1e-4, 1e-3)
        yield from compare_on_gpu(
            f"jet of tanh, {name}",
            f"({n}, 4, {width}) float32: value, gradient and Laplacian in two inputs",
            calls,
            moved=passes * y.numel() * 4,
            ceiling=ceiling,
            bars=BARS,
            rounds=rounds,
        )


# ---- distances -----------------------------------------------------------------------------------


def distances(ceiling: float, rounds: int) -> Iterator[Comparison]:
    n = 1_000_000
    for dtype in (torch.float32, torch.float64):
        for count in (4, 32):
            pieces = distance.polygon(count)
            x = 2 * torch.rand(n, 2, dtype=dtype, device="cuda") - 1
            table = torch.tensor(
                [[*p.p1, *p.p2, p.length] for p in pieces], dtype=dtype, device="cuda"
            )
            compiled = _compiled(distance.derived)
            compiled(table, x)
            yield from compare_on_gpu(
                f"distance, {count} segments, {_name(dtype)}",
                f"{n} points: value, gradient and Laplacian",
                {
                    "colloc": lambda p=pieces, x=x: cc.boundary.distance(
                        p, x, 2, order="laplacian"
                    ),
                    EAGER: lambda p=pieces, x=x: distance.by_autograd(p, x),
                    COMPILED: lambda f=compiled, t=table, x=x: f(t, x),
                },
                moved=n * 6 * SIZE[dtype],
                ceiling=ceiling,
                bars=BARS,
                rounds=rounds,
            )
        for name, shape in signed_distance.shapes().items():
            low, high = (torch.tensor(c, dtype=dtype, device="cuda") for c in shape.bounds)
            x = low + (high - low) * torch.rand(n, 2, dtype=dtype, device="cuda")
            tables = signed_distance.tables(shape.boundary.pieces, dtype, "cuda")
            compiled = _compiled(signed_distance.by_torch)
            calls = {
                "colloc": lambda s=shape, x=x: s.distance(x),
                EAGER: lambda t=tables, x=x: signed_distance.by_torch(*t, x),
                COMPILED: lambda f=compiled, t=tables, x=x: f(*t, x),
            }
            _close(calls, 0, 1e-4 if dtype == torch.float32 else 1e-12)
            yield from compare_on_gpu(
                f"signed distance, {name}, {_name(dtype)}",
                f"{n} points",
                calls,
                moved=n * 3 * SIZE[dtype],
                ceiling=ceiling,
                bars=BARS,
                rounds=rounds,
            )


# ---- importance sampling -------------------------------------------------------------------------


def sampling(ceiling: float, rounds: int) -> Iterator[Comparison]:
    n = 10_000_000
    rows = torch.randn(n, 4, device="cuda")
    area = 0.1 + torch.rand(n, 1, device="cuda")
    # read rows and area, write q; read q and area; write indices and weights of n draws
    moved = n * (16 + 4 + 8) + n * (8 + 4) + n * (8 + 4)
    for other, draw, scheme in (
        (importance.MULTINOMIAL, importance.by_multinomial, "multinomial"),
        (importance.SORTED, importance.by_search, "stratified"),
    ):
        calls: dict[str, Call] = {
            "colloc": lambda s=scheme: importance.ours(rows, area, n, s),
            other: lambda f=draw: f(rows, area, n),
        }
        if scheme == "stratified":
            compiled = _compiled(importance.by_search)
            calls[COMPILED] = lambda f=compiled: f(rows, area, n)
        for call in calls.values():
            call()
        yield from compare_on_gpu(
            f"importance sampling, {scheme}",
            f"{n:,} rows of 4 float32 with area, as many draws with weights",
            calls,
            moved=moved,
            ceiling=ceiling,
            bars={other: 3.0, **({COMPILED: 1.0} if COMPILED in calls else {})},
            rounds=rounds,
            eager=False,
            waits=True,
        )


# ---- neural tangent kernel -----------------------------------------------------------------------


def _products(h: Tensor, zbar: Tensor) -> Tensor:
    """Squares of the gradients by a layer's weight, point by point."""
    return ((h @ h.transpose(1, 2)) * (zbar @ zbar.transpose(1, 2))).sum((1, 2))


def tangents(ceiling: float, rounds: int) -> Iterator[Comparison]:
    n, width = 100_000, 128
    h, zbar = (torch.randn(n, 4, width, device="cuda") for _ in range(2))
    compiled = _compiled(_products)
    calls: dict[str, Call] = {
        "colloc": lambda: cc.ops.ntk_trace(h, zbar),
        EAGER: lambda: _products(h, zbar),
        COMPILED: lambda: compiled(h, zbar),
    }
    found = [call().double() for call in calls.values()]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=2e-2, atol=1.0)
    yield from compare_on_gpu(
        "squares of a layer's gradients (ntk_trace)",
        f"({n}, 4, {width}) float32",
        calls,
        moved=8 * h.numel(),
        ceiling=ceiling,
        bars=BARS,
        rounds=rounds,
    )
    points = 20_000
    for second in (False, True):
        net = ntk.network(128, "cuda")
        x = 2 * torch.rand(points, 2, device="cuda") - 1

        def residual(u: cc.Jet, x: Tensor, second: bool = second) -> Tensor:
            return u.laplacian + u.value if second else u.value

        order = "laplacian" if second else 0
        products = ntk.closed_form(net, second)
        calls = {
            "colloc": lambda net=net, x=x, r=residual, o=order: cc.ntk.trace(net, x, r, o),
            "closed form in torch": lambda f=products, x=x: f(x),
        }
        what = "a residual with a Laplacian" if second else "u"
        yield from compare_on_gpu(
            f"trace of {what}, 4 x 128", f"{points} points", calls, rounds=rounds
        )


FAMILIES = {
    "halton": halton,
    "activation": activation,
    "jets": jets,
    "distances": distances,
    "sampling": sampling,
    "tangents": tangents,
}
