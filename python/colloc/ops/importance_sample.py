"""Draws of importance sampling and their weights: op ``colloc::importance_sample``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from colloc._checks import check_choice, check_float_dtype, check_int, describe, fail, fail_type
from colloc.ops._registration import LARGEST_INT, check_device, memory_for
from colloc.ops.importance_probabilities import check_area, entries_refused

_op = torch.ops.colloc.importance_sample.default

#: The ways to draw.
SCHEMES = ("multinomial", "stratified", "without_replacement")


class ImportanceDraw(NamedTuple):
    """Points drawn from a pool, and the weights that make a mean over them unbiased."""

    index: Tensor  # type: ignore[assignment]  # not tuple.index
    """The points' places in the pool, (n,) int64; without replacement in random order, else
    ascending."""
    weight: Tensor
    """Their weights, (n,) or (n, 1) as the probabilities were."""


@torch.library.register_fake("colloc::importance_sample")
def _fake(
    probabilities: Tensor,
    n: int,
    area: Tensor | None,
    scheme: str,
    seed: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    index = probabilities.new_empty((n,), dtype=torch.int64)
    return index, probabilities.new_empty((n,), dtype=dtype)


def importance_sample(
    probabilities: Tensor,
    n: int,
    area: Tensor | None = None,
    scheme: str = "multinomial",
    *,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
) -> ImportanceDraw:
    """Draw n points of a pool with given probabilities, and weigh them.

    With shares a_i of an area, f_i = a_i / sum a and any numbers l_i (losses),

        mean over the draws of weight * l[index]

    is an unbiased estimate of sum f_i l_i in all schemes:

    - ``"multinomial"``: n independent draws, weight f_i / q_i. Made in ascending order at once,
      from the arrivals of a Poisson process, in O(N + n).
    - ``"stratified"``: one draw from each n-th of the probability, u_j = (j + U_j) / n, weight
      f_i / q_i: the number of draws of a point differs from n q_i by less than 2.
    - ``"without_replacement"``: n different points, point i with probability
      pi_i = min(1, c q_i), c such that they sum to n; weight n f_i / pi_i. Points with pi_i = 1 are
      taken surely, the others systematically, u_j = (j + U) / n with a single U, from the pool in
      random order: in its own order every 16th point of a Halton sequence, say, lies in one strip
      (Hartley and Rao, Annals of Mathematical Statistics 33, 1962, 350-374; weights of Horvitz and
      Thompson, Journal of the American Statistical Association 47, 1952, 663-685).

    A point of probability 0 is never drawn. Prefix sums are in float64, for pools of any size.
    Equal seeds give equal draws, whatever the number of threads; on a GPU they are those of the CPU
    up to the rounding of sums. The results are constants, not differentiable.

    Args:
        probabilities: (N,) or (N, 1), >= 0, float32 or float64; they are divided by their sum.
            Those of :func:`colloc.ops.importance_probabilities`.
        n: number of draws, >= 0.
        area: the points' shares, the same as for the probabilities, (N,) or (N, 1), >= 0 with a sum
            from 1e-290 to 1e290; None: equal ones.
        scheme: one of the three above.
        seed: None draws one from torch's global generator (the CPU's).
        dtype: of the weights, float32 or float64. None: that of area, else torch's default dtype.

    Returns:
        ImportanceDraw(index, weight).

    Raises:
        ValueError: no points; shapes that do not fit; a number out of range; entries that are NaN,
            infinite or negative (their number and the first index are named); nothing but
            zeros, or nothing above 1e-290; without replacement, an n above the number of points
            with a probability > 0.
            Under ``torch.compile`` entries are refused by a RuntimeError with the same words.
        TypeError: an argument of another type.
        RuntimeError: a device without kernels.
        MemoryError: more draws than memory holds.
    """
    wanted = "a float32 or float64 tensor (N,) or (N, 1)"
    if not isinstance(probabilities, Tensor):
        fail_type("probabilities", wanted, describe(probabilities))
    if probabilities.dtype not in (torch.float32, torch.float64):
        fail_type("probabilities", wanted, probabilities)
    if probabilities.ndim != 1 and (probabilities.ndim != 2 or probabilities.shape[1] != 1):
        fail("probabilities", wanted, probabilities)
    if probabilities.shape[0] == 0:
        fail("probabilities", "at least one point", probabilities)
    check_device("probabilities", probabilities.device)
    n = check_int("n", n, minimum=0, maximum=LARGEST_INT)
    area = check_area(area, probabilities, "probabilities")
    scheme = check_choice("scheme", scheme, SCHEMES)
    if seed is not None:
        seed = check_int("seed", seed, minimum=-(2**63), maximum=2**63 - 1)
    else:
        seed = _drawn_seed()
    if dtype is None and area is not None:
        dtype = area.dtype
    dtype = check_float_dtype("dtype", dtype)
    q = probabilities.detach().double()
    if torch.compiler.is_compiling():
        index, weight = _op(q, n, area, scheme, seed, dtype)
    else:
        with memory_for(n, 1, torch.float64), entries_refused():
            index, weight = _op(q, n, area, scheme, seed, dtype)
    return ImportanceDraw(index, weight.unsqueeze(1) if probabilities.ndim == 2 else weight)


def _drawn_seed() -> int:
    """A seed from torch's global generator on the CPU."""
    if torch.compiler.is_compiling():
        fail("seed", "an integer under torch.compile", "None", "Draw it outside, and pass it in.")
    return int(torch.randint(-(2**63), 2**63 - 1, (), dtype=torch.int64, device="cpu"))
