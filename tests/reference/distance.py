"""Distance functions in 60 digits, with all derivatives up to the third by Taylor series in x and
y: the formulas as they are printed, of one point at a time."""

from __future__ import annotations

from colloc.geometry.curves import Arc, Circle, Line, Piece, Segment
from mpmath import mp, mpf

DEGREE = 3
TERMS = [(i, d - i) for d in range(DEGREE + 1) for i in range(d, -1, -1)]
PRODUCTS = [
    ((i, j), (k, l), (i + k, j + l)) for i, j in TERMS for k, l in TERMS if i + j + k + l <= DEGREE
]


class Series:
    """A Taylor polynomial of degree 3 in two variables: coefficients of x^i y^j."""

    def __init__(self, terms):
        self.terms = {key: mpf(terms.get(key, 0)) for key in TERMS}

    def __add__(self, other):
        other = as_series(other)
        return Series({key: self.terms[key] + other.terms[key] for key in TERMS})

    __radd__ = __add__

    def __neg__(self):
        return Series({key: -value for key, value in self.terms.items()})

    def __sub__(self, other):
        return self + -as_series(other)

    def __mul__(self, other):
        other = as_series(other)
        out = {}
        for one, two, into in PRODUCTS:
            a, b = self.terms[one], other.terms[two]
            if a and b:  # most terms of a variable, a number or a power of the rest are 0
                out[into] = out.get(into, 0) + a * b
        return Series(out)

    __rmul__ = __mul__

    def compose(self, derivatives):
        """f of this, from f's derivatives at the value."""
        rest = Series({**self.terms, (0, 0): 0})
        out, power, factorial = as_series(derivatives[0]), as_series(1), mpf(1)
        for k in range(1, DEGREE + 1):
            power, factorial = power * rest, factorial * k
            out = out + power * (derivatives[k] / factorial)
        return out

    def power(self, exponent):
        """This to a real power; the value must be positive."""
        value, factor, found = self.terms[0, 0], mpf(1), []
        for k in range(DEGREE + 1):
            found.append(factor * value ** (mpf(exponent) - k))
            factor *= mpf(exponent) - k
        return self.compose(found)

    def derivatives(self):
        """phi; phi_x, phi_y; phi_xx, phi_xy, phi_yy; phi_xxx, phi_xxy, phi_xyy, phi_yyy."""
        return [self.terms[i, j] * mp.factorial(i) * mp.factorial(j) for i, j in TERMS]


def as_series(value):
    return value if isinstance(value, Series) else Series({(0, 0): value})


def exact(value):
    """A coordinate as mpf: a number of any kind, or an mpf with all its digits."""
    return value if isinstance(value, mpf) else mpf(float(value))


def variables(x, y):
    return Series({(0, 0): x, (1, 0): 1}), Series({(0, 0): y, (0, 1): 1})


def line(p1, p2, x, y):
    """Positive on the left of p1 -> p2."""
    (a, b), (c, d) = [[mpf(v) for v in p] for p in (p1, p2)]
    length = mp.sqrt((c - a) ** 2 + (d - b) ** 2)
    return ((y - b) * (c - a) - (x - a) * (d - b)) * (1 / length)


def circle(center, radius, x, y):
    u, v = x - mpf(center[0]), y - mpf(center[1])
    return (-(u * u + v * v) + mpf(radius) ** 2) * (1 / (2 * mpf(radius)))


def curves(piece: Piece, x, y):
    """f and t of a piece (t None: no ends)."""
    if isinstance(piece, Line):
        return line(piece.p1, piece.p2, x, y), None
    if isinstance(piece, Segment):
        p1, p2 = [[mpf(v) for v in p] for p in (piece.p1, piece.p2)]
        middle = [(a + b) / 2 for a, b in zip(p1, p2, strict=True)]
        length = mp.sqrt(sum((a - b) ** 2 for a, b in zip(p1, p2, strict=True)))
        return line(p1, p2, x, y), circle(middle, length / 2, x, y)
    assert isinstance(piece, (Arc, Circle))
    f = circle(piece.center, piece.radius, x, y)
    f = f if piece.inward else -f
    if isinstance(piece, Circle) or piece.is_full:
        return f, None
    start, stop = mpf(piece.start), mpf(piece.stop)
    stop += 2 * mp.pi if stop < start else 0
    center, radius = [mpf(v) for v in piece.center], mpf(piece.radius)
    ends = [(center[0] + radius * mp.cos(a), center[1] + radius * mp.sin(a)) for a in (stop, start)]
    return f, line(*ends, x, y)


def piece_series(piece: Piece, x, y, length=1):
    """phi of one piece; not on the piece itself, where it has a kink."""
    f, t = curves(piece, x, y)
    square = f * f
    if t is None:
        return square.power(mpf(1) / 2)
    root = (t * t + square * square * (1 / mpf(length) ** 2)).power(mpf(1) / 2)
    w = (root - t) * mpf("0.5")
    return (square + w * w).power(mpf(1) / 2)


def distance(pieces, point, m=2, length=1):
    """phi and its derivatives at a point, as mpf, by the formulas as printed."""
    with mp.workdps(60):
        x, y = variables(*(exact(v) for v in point))
        parts = [piece_series(piece, x, y, length) for piece in pieces]
        if len(parts) == 1:
            return parts[0].derivatives()
        total = sum((part.power(-m) for part in parts), as_series(0))
        return total.power(mpf(-1) / m).derivatives()


def transfinite(groups, point, m=2, mu=2, length=1):
    """The weights of the groups and their derivatives, a list for each group."""
    with mp.workdps(60):
        x, y = variables(*(exact(v) for v in point))
        powers = [mu] * len(groups) if isinstance(mu, int) else mu
        weights = []
        for group, exponent in zip(groups, powers, strict=True):
            parts = [piece_series(piece, x, y) for piece in group]
            total = sum((part.power(-m) for part in parts), as_series(0))
            phi = total.power(mpf(-1) / m) * (1 / mpf(length))
            weights.append(phi.power(-exponent))
        scale = sum(weights, as_series(0)).power(-1)
        return [(weight * scale).derivatives() for weight in weights]
