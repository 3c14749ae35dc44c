"""Importance sampling in plain torch: probabilities, inclusion, draws and their random numbers."""

from __future__ import annotations

import math

import numpy as np
import torch

F64 = torch.float64
BLOCK = 512


def column(value, size):
    return torch.ones(size, dtype=F64) if value is None else value.double().reshape(-1)


def probabilities(measure, area=None, floor=0.0, *, norm=False, power=1.0, relative_floor=0.0):
    """q (N,), straight from the formula."""
    m = torch.linalg.vector_norm(measure.double(), dim=1) if norm else measure.double().reshape(-1)
    a = column(area, m.shape[0])
    m = m**power
    mean = (m * a).sum() / a.sum()
    q = (m + floor + relative_floor * mean) * a
    return q / q.sum()


def inclusion(q, n):
    """pi (N,): min(1, c q) with c such that they sum to n, by bisection in log c."""
    q = q.double().reshape(-1)
    low, high = math.log(n / q.sum()), math.log(n / q[q > 0].min()) + 1
    for _ in range(100):
        middle = (low + high) / 2
        if (q * math.exp(middle)).clamp(max=1).sum() < n:
            low = middle
        else:
            high = middle
    return (q * math.exp(high)).clamp(max=1)


def weights(q, index, n, area, scheme):
    """The weights of drawn points, (n,)."""
    q = q.double().reshape(-1)
    a = column(area, q.shape[0])
    f = a / a.sum()
    if scheme == "without_replacement":
        return n * f[index] / inclusion(q, n)[index]
    return f[index] / (q / q.sum())[index]


def locate(q, places):
    """The items of places in [0, 1): the i with P_(i-1) <= u < P_i."""
    q = q.double().reshape(-1)
    sums = q.cumsum(0)
    index = torch.searchsorted(sums, places * sums[-1], right=True)
    return index.clamp(max=int(q.nonzero().max()))


def systematic(q, n, u):
    """n different points in the pool's order, for a start u in [0, 1); sure where pi is 1."""
    pi = inclusion(q, n)
    sure = pi > 1 - 1e-12
    rest = torch.where(sure, 0.0, pi)
    drawn = n - int(sure.sum())
    places = (torch.arange(drawn, dtype=F64) + u) / max(drawn, 1)
    others = locate(rest, places) if drawn else torch.empty(0, dtype=torch.int64)
    return torch.cat([sure.nonzero()[:, 0], others]).sort().values


# ---- the op's random numbers


def mix(z):
    with np.errstate(over="ignore"):
        z = np.asarray(z, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def unit(seed, sequence, counter):
    """Number `counter` of a sequence of a seed, in (0, 1)."""
    with np.errstate(over="ignore"):
        key = mix(mix(np.uint64(seed % 2**64)) + np.uint64(sequence))
        bits = mix(key + np.asarray(counter, np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (2 * (bits >> np.uint64(12)).astype(np.float64) + 1) / 2.0**53


def gamma(shape, seed, counter):
    d = shape - 1 / 3
    for i in range(21):
        first, second, third = (float(unit(seed, 1, counter * 63 + 3 * i + k)) for k in range(3))
        normal = math.sqrt(-2 * math.log(first)) * math.sin(2 * math.pi * second)
        v = (1 + normal / (3 * math.sqrt(d))) ** 3
        if v > 0 and math.log(third) < normal**2 / 2 + d - d * v + d * math.log(v):
            return d * v
    raise AssertionError("21 rejections")


def order(size, seed):
    """The op's random order of a pool, (size,): Fisher and Yates' shuffle from inside out."""
    key = mix(mix(np.uint64(seed % 2**64)) + np.uint64(2))
    with np.errstate(over="ignore"):
        counters = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = mix(key + counters).tolist()
    found = [0] * size
    for i in range(size):
        place = bits[i] * (i + 1) >> 64
        found[i] = found[place]
        found[place] = i
    return torch.tensor(found)


def places(scheme, n, seed):
    """The n places of the op in [0, 1), ascending."""
    j = np.arange(n)
    if scheme == "stratified":
        return torch.from_numpy((j + unit(seed, 0, j)) / n)
    if scheme == "without_replacement":
        return torch.from_numpy((j + unit(seed, 0, 0)) / n)
    each = -np.log(unit(seed, 0, j))
    arrivals, time = [], 0.0
    for b in range(0, n, BLOCK):
        part = each[b : b + BLOCK]
        length = gamma(len(part), seed, b // BLOCK)
        arrivals.append(time + length * part.cumsum() / part.sum())
        time += length
    return torch.from_numpy(np.concatenate(arrivals) / (time + gamma(1, seed, -(-n // BLOCK))))
