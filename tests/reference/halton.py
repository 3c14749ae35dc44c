"""Halton's sequence in exact fractions, and in plain vectorised torch."""

from __future__ import annotations

from fractions import Fraction

import torch


def primes(count):
    found = []
    candidate = 2
    while len(found) < count:
        if all(candidate % p for p in found):
            found.append(candidate)
        candidate += 1
    return found


def radical_inverse(index, base):
    """The radical inverse as a Fraction."""
    value, weight = Fraction(0), Fraction(1, base)
    while index:
        index, digit = divmod(index, base)
        value += digit * weight
        weight /= base
    return value


def halton_exact(indices, dim):
    """The correctly rounded float64 values, as a list of rows."""
    return [[float(radical_inverse(int(i), p)) for p in primes(dim)] for i in indices]


def halton_torch(n, dim, start=0, dtype=torch.float64):
    """Digit by digit in vectorised torch: what a user would write."""
    index = torch.arange(start, start + n)
    columns = []
    for base in primes(dim):
        rest, value, weight = index.clone(), torch.zeros(n, dtype=dtype), 1.0 / base
        while bool((rest > 0).any()):
            value += (rest % base).to(dtype) * weight
            rest //= base
            weight /= base
        columns.append(value)
    return torch.stack(columns, 1)
