"""Whether forward mode gave all derivatives of a residual, by difference quotients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from colloc._checks import fail

_POINTS = 256
_FIX = (
    "Look for detach(), .data or an operator without forward mode in it or in what it calls. If "
    "it is right, say gradient_enhanced(..., check=False)."
)


def inspectable(*tensors: Tensor) -> bool:
    """Whether the entries may be looked at and are precise enough to be compared."""
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0:
        return False
    device = tensors[0].device.type
    if device == "meta" or torch.is_autocast_enabled(device) or tensors[0].shape[1] == 0:
        return False
    if device == "cuda" and torch.cuda.is_current_stream_capturing():
        return False
    return all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dtype in (torch.float32, torch.float64)
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        for tensor in tensors
    )


@torch.no_grad()
def check_derivatives(
    rows: Callable[[Tensor, Tensor], Tensor],
    components: Tensor,
    x: Tensor,
    slopes: Sequence[Tensor],
    wrt: Sequence[int],
) -> None:
    """ValueError if ``rows`` holds data of the points, or if forward mode misses something in it.

    The derivative along one direction is compared with central differences of three widths, whose
    spread says how far they can be trusted; in double precision, if what the residual holds
    allows it.

    Args:
        rows: the residual (N, q) of components (K, N, m) and points (N, d).
        components: of the jet.
        x: its points.
        slopes: for each input in ``wrt`` the derivatives of the components, (K, N, m).
        wrt: the inputs.
    """
    step = -(-x.shape[0] // _POINTS)
    chosen = torch.arange(x.shape[0] - 1, -1, -step, device=x.device)
    part, points = components[:, chosen], x[chosen]
    _check_rows_alone(rows, part, points, rows(components, x)[chosen])

    # All inputs at once, each by its own extent: a time may be long where a domain is small.
    slope, along = torch.zeros_like(part), torch.zeros_like(points)
    for i, k in enumerate(wrt):
        extent = float(x[:, k].amax() - x[:, k].amin()) or float(x[:, k].abs().max()) or 1.0
        slope += extent / (1 + i) * slopes[i][:, chosen]
        along[:, k] = extent / (1 + i)
    try:
        known, found, trust = _compare(rows, part.double(), points.double(), slope, along)
    except Exception:  # it holds something of single precision
        known, found, trust = _compare(rows, part, points, slope, along)
    missing = (known - found).abs()
    usable = (trust + missing).isfinite()
    missing, trust, size = (
        torch.where(usable, t, 0.0).sum(0)
        for t in (missing, trust, torch.maximum(known.abs(), found.abs()))
    )
    wrong = missing > 10 * trust + 0.01 * size
    if bool(wrong.any()):
        column = int(wrong.nonzero()[0])
        share = 100 * float(missing[column] / size[column])
        fail(
            "residual",
            "derivatives in forward mode as difference quotients have them",
            f"a deviation of {share:.3g} % in column {column}",
            _FIX,
        )


def _compare(
    rows: Callable[[Tensor, Tensor], Tensor],
    components: Tensor,
    x: Tensor,
    slope: Tensor,
    along: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivative in forward mode, by differences, and the error that these may have."""
    slope, along = slope.to(components.dtype), along.to(x.dtype)
    value, known, *_ = torch.func.jvp(rows, (components, x), (slope, along))

    def quotient(h: float) -> Tensor:
        ahead = rows(components + h * slope, x + h * along)
        return (ahead - rows(components - h * slope, x - h * along)) / (2 * h)

    eps = torch.finfo(value.dtype).eps
    h = eps ** (1 / 3)
    found, wider, widest = quotient(h), quotient(2 * h), quotient(4 * h)
    trust = torch.maximum((found - wider).abs(), (wider - widest).abs())
    return known, found, trust + eps / h * (value.abs().max() + components.abs().max())


def _check_rows_alone(
    rows: Callable[[Tensor, Tensor], Tensor], part: Tensor, points: Tensor, expected: Tensor
) -> None:
    """ValueError unless the residual of some points alone, in another order, is the same."""
    wanted = "rows that depend on their own point alone, the same at every call"
    fix = (
        "Data of the points have unknown derivatives: give the residual a function of x. If it is "
        "random, say gradient_enhanced(..., check=False)."
    )
    try:
        alone = rows(part, points)
    except (RuntimeError, ValueError, IndexError) as error:
        got = f"an error on {points.shape[0]} of the points ({error})"
        raise ValueError(f"residual: expected {wanted}, got {got}. {fix}") from error
    scale = float(expected.abs().max()) + float(part.abs().max())
    tolerance = (1e-3 if expected.dtype == torch.float32 else 1e-6) * scale
    if alone.shape != expected.shape or bool(((alone - expected).abs() > tolerance).any()):
        fail("residual", wanted, "others for the points in another order", fix)
