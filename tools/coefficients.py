"""Prints the polynomial coefficients of csrc/math/elementary.h, with their errors.

Chebyshev interpolation in 60 digits, rewritten in powers; run ``python tools/coefficients.py``.
"""

from __future__ import annotations

import mpmath as mp

mp.mp.dps = 60


def chebyshev(f, low, high, degree):
    """Powers of x (lowest first) of the polynomial that interpolates f at Chebyshev nodes."""
    n = degree + 1
    mid, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    nodes = [mp.cos(mp.pi * (k + mp.mpf(1) / 2) / n) for k in range(n)]
    values = [f(mid + half * t) for t in nodes]
    c = [
        2
        * mp.fsum(v * mp.cos(mp.pi * j * (k + mp.mpf(1) / 2) / n) for k, v in enumerate(values))
        / n
        for j in range(n)
    ]
    c[0] /= 2
    # to powers of t
    previous, current = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    powers = [mp.mpf(0)] * n
    powers[0] += c[0]
    for j in range(1, n):
        for i, v in enumerate(current):
            powers[i] += c[j] * v
        following = [mp.mpf(0)] + [2 * v for v in current]
        for i, v in enumerate(previous):
            following[i] -= v
        previous, current = current, following
    # t = (x - mid) / half
    result = [mp.mpf(0)] * n
    basis = [mp.mpf(1)]
    for p in powers:
        for i, b in enumerate(basis):
            result[i] += p * b
        basis = [
            ((basis[i - 1] if i else 0) - (mid * basis[i] if i < len(basis) else 0)) / half
            for i in range(len(basis) + 1)
        ]
    return result


def error(f, coefficients, low, high, weight=lambda x: mp.mpf(1)):
    worst = mp.mpf(0)
    for i in range(2001):
        x = mp.mpf(low) + (mp.mpf(high) - low) * i / 2000
        worst = max(worst, abs(mp.polyval(coefficients[::-1], x) - f(x)) * weight(x))
    return worst


def expm1_tail(r):
    return (mp.expm1(r) - r) / r**2 if abs(r) > mp.mpf(10) ** -20 else mp.mpf(1) / 2


def sin_tail(s):
    r = mp.sqrt(s)
    return (mp.sin(r) - r) / r**3 if s > mp.mpf(10) ** -30 else -mp.mpf(1) / 6


def cos_tail(s):
    r = mp.sqrt(s)
    return (mp.cos(r) - 1 + s / 2) / s**2 if s > mp.mpf(10) ** -20 else mp.mpf(1) / 24


def log1p_tail(s2):
    s = mp.sqrt(s2)
    return (2 * mp.atanh(s) - 2 * s) / (2 * s**3) if s2 > mp.mpf(10) ** -30 else mp.mpf(1) / 3


SHIFT = mp.mpf("3.75")


def erfcx_scaled(y):
    """(1 + 2 z) exp(z^2) erfc(z) with y = (z - K) / (z + K) (Shepherd and Laframboise 1981)."""
    if y >= 1:
        return 2 / mp.sqrt(mp.pi)
    z = SHIFT * (1 + y) / (1 - y)
    if z > 50:
        tail = mp.fsum((-1) ** k * mp.fac2(2 * k - 1) / (2 * z * z) ** k for k in range(12))
        return (1 + 2 * z) * tail / (z * mp.sqrt(mp.pi))
    return (1 + 2 * z) * mp.exp(z * z) * mp.erfc(z)


def show(name, f, low, high, degree, digits):
    c = chebyshev(f, low, high, degree)
    print(f"// {name}, degree {degree}, error {mp.nstr(error(f, c, low, high), 3)}")
    print(", ".join(mp.nstr(v, digits) for v in c) + ",\n")


def main():
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.001")
    quarter_pi2 = (mp.pi / 4 * mp.mpf("1.001")) ** 2
    most_s2 = mp.mpf("0.02944")  # ((sqrt(2) - 1) / (sqrt(2) + 1))^2
    for label, degrees, digits in (
        ("double", (10, 6, 6, 10, 24), 19),
        ("float", (5, 3, 3, 5, 11), 11),
    ):
        print(f"// ---- {label}")
        show("expm1: (expm1(r) - r) / r^2", expm1_tail, -half_ln2, half_ln2, degrees[0], digits)
        show("sin: (sin(r) - r) / r^3 in r^2", sin_tail, 0, quarter_pi2, degrees[1], digits)
        show("cos: (cos(r) - 1 + r^2/2) / r^4 in r^2", cos_tail, 0, quarter_pi2, degrees[2], digits)
        show("log1p: (atanh(s) - s) / s^3 in s^2", log1p_tail, 0, mp.mpf(1) / 9, degrees[3], digits)
        if label == "double":
            show("log: (atanh(s) - s) / s^3 in s^2", log1p_tail, 0, most_s2, 6, digits)
        show("erfcx", erfcx_scaled, -1, 1, degrees[4], digits)


if __name__ == "__main__":
    main()
