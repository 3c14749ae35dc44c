"""Probabilities of importance sampling: op ``colloc::importance_probabilities``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from colloc._checks import check_float, describe, fail, fail_type
from colloc.ops._registration import check_device

_op = torch.ops.colloc.importance_probabilities.default

#: The largest power of a measure.
MAX_POWER = 100.0

_FLOATS = (torch.float32, torch.float64)


@torch.library.register_fake("colloc::importance_probabilities")
def _fake(
    measure: Tensor,
    area: Tensor | None,
    norm: bool,
    power: float,
    floor: float,
    relative_floor: float,
) -> tuple[Tensor, Tensor]:
    q = measure.new_empty((measure.shape[0],), dtype=torch.float64)
    return q, torch.empty((), dtype=torch.bool, device="cpu")


def importance_probabilities(
    measure: Tensor,
    area: Tensor | None = None,
    floor: float = 0.0,
    *,
    norm: bool = False,
    power: float = 1.0,
    relative_floor: float = 0.0,
) -> Tensor:
    """The probabilities with which the points of a pool are drawn.

    For points with shares a_i of an area and a measure r_i of what is to be found there,

        q_i = (m_i + floor + relative_floor mean) a_i / Z,  m_i = r_i^power,
        mean = sum m_i a_i / sum a_i,  Z such that sum q_i = 1,

    with sums in float64. The floor bounds the weights: no point's f_i / q_i (f_i = a_i / sum a)
    exceeds 1 + 1 / relative_floor. ``power=k, relative_floor=c`` is RAD's density
    |r|^k / mean |r|^k + c (Wu, Zhu, Tan, Kartha and Lu, CMAME 403, 2023, 115671). Source:
    M. A. Nabian, R. J. Gladstone, H. Meidani, Computer-Aided Civil and Infrastructure Engineering
    36 (2021) 962-977.

    Huge and tiny numbers neither overflow nor vanish. The result is a constant: it is not
    differentiable, and what requires grad is taken by its value. The number of threads does not
    change it. On a GPU the call waits for its results to be checked.

    Args:
        measure: (N,) or (N, 1), >= 0, float32 or float64; with ``norm`` rows (N, C) of any sign,
            whose 2-norms are the measure. Any strides.
        area: the points' shares, (N,) or (N, 1), >= 0 with a sum > 0; None: equal ones.
        floor: added to every m_i, >= 0.
        norm: take the 2-norms of the rows of ``measure``.
        power: 0 to 100.
        relative_floor: the same in units of the mean, >= 0.

    Returns:
        Tensor of the shape of measure, (N,) or (N, 1), with ``norm`` (N, 1); float64, sum 1 to
        1e-12. Where all (m_i + floor) a_i are 0, the shares a_i / sum a, and a warning (not under
        ``torch.compile``).

    Raises:
        ValueError: no points; shapes that do not fit; a number out of range; entries of measure
            or area that are NaN, infinite or negative (their number and the first index are
            named), or an area of nothing but zeros. Under ``torch.compile`` entries are refused by
            a RuntimeError with the same words.
        TypeError: an argument of another type.
        RuntimeError: a device without kernels.
    """
    measure = _check_measure(measure, bool(norm))
    area = check_area(area, measure, "measure")
    floor = check_float("floor", floor, nonnegative=True)
    power = check_float("power", power, nonnegative=True)
    if power > MAX_POWER:
        fail("power", f"a number from 0 to {MAX_POWER:g}", f"{power:g}")
    relative_floor = check_float("relative_floor", relative_floor, nonnegative=True)
    with entries_refused():
        q, uniform = _op(measure, area, bool(norm), power, floor, relative_floor)
    if not torch.compiler.is_compiling() and q.device.type != "meta" and _true(uniform):
        warnings.warn(
            "importance_probabilities: all measures are 0 where there is area, so that the points "
            "are drawn by their area.",
            stacklevel=2,
        )
    return q.unsqueeze(1) if measure.ndim == 2 else q


def _true(flag: Tensor) -> bool:
    """False for a fake tensor, whose value is not known."""
    return type(flag) is Tensor and flag.device.type == "cpu" and bool(flag)


def _check_measure(measure: Tensor, norm: bool) -> Tensor:
    wanted = "a float32 or float64 tensor " + ("of rows (N, C)" if norm else "(N,) or (N, 1)")
    if not isinstance(measure, Tensor):
        fail_type("measure", wanted, describe(measure))
    if measure.dtype not in _FLOATS:
        fail_type("measure", wanted, measure)
    if norm and (measure.ndim != 2 or measure.shape[1] == 0):
        fail("measure", wanted, measure, "Give one column as measure[:, None].")
    if not norm and not _is_column(measure):
        fix = "Pass norm=True for the 2-norms of its rows." if measure.ndim == 2 else ""
        fail("measure", wanted, measure, fix)
    if measure.shape[0] == 0:
        fail("measure", "at least one point", measure)
    check_device("measure", measure.device)
    return measure.detach()


def _is_column(value: Tensor) -> bool:
    return value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)


def check_area(area: Tensor | None, pool: Tensor, name: str) -> Tensor | None:
    """Shares of area (N,) or (N, 1) that fit the pool, the argument ``name``."""
    if area is None:
        return None
    wanted = "None or a float32 or float64 tensor (N,) or (N, 1)"
    if not isinstance(area, Tensor):
        fail_type("area", wanted, describe(area))
    if area.dtype not in _FLOATS:
        fail_type("area", wanted, area)
    if not _is_column(area):
        fail("area", wanted, area)
    if area.shape[0] != pool.shape[0]:
        fail("area", f"{pool.shape[0]} shares, one for each point of {name}", area)
    if area.device != pool.device:
        fail("area", f"a tensor on the device of {name}, {pool.device}", str(area.device))
    return area.detach()


@contextmanager
def entries_refused() -> Iterator[None]:
    """What an op finds in the entries of its arguments, as a ValueError."""
    if torch.compiler.is_compiling():
        yield
        return
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        for name in ("measure", "area", "probabilities", "n"):
            begin = said.find(f"{name}: expected ")
            if begin == 0 or (begin > 0 and not said[begin - 1].isalnum()):
                text = said[begin:].splitlines()[0]
                raise ValueError(text + _FIXES.get(name, "")) from None
        raise


_FIXES = {
    "measure": " Look where the residual or derivative is not finite, and take norms or absolute "
    "values of what has a sign.",
    "n": " Draw fewer points, or give all some probability.",
}
