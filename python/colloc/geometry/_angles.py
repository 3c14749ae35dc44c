"""Points on circles with more digits than a float has: near a short arc of a large circle the
centre is far away, and its rounding would move the arc."""

from __future__ import annotations

from decimal import Decimal, localcontext

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_DIGITS = 60


def _sine(angle: Decimal) -> Decimal:
    """sin by its series; for |angle| <= 7."""
    total = term = angle
    k = 1
    while abs(term) > Decimal(10) ** -_DIGITS:
        term = -term * angle * angle / ((k + 1) * (k + 2))
        k += 2
        total += term
    return total


def point_on_circle(
    center: tuple[float, float], radius: float, start: float, stop: float | None = None
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """The point at an angle, or in the middle of the arc from ``start`` to ``stop``.

    Returns:
        The point, what it lacks by rounding, and the unit vector towards it from the centre.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        angle = Decimal(start)
        if stop is not None:
            angle = (angle + Decimal(stop)) / 2 + (_PI if stop < start else 0)
        angle %= 2 * _PI
        unit = (_sine(_PI / 2 - angle), _sine(angle))
        x, y = (Decimal(c) + Decimal(radius) * u for c, u in zip(center, unit, strict=True))
        low = float(x - Decimal(float(x))), float(y - Decimal(float(y)))
    return (float(x), float(y)), low, (float(unit[0]), float(unit[1]))
