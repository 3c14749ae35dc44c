"""Selective term suppression: one equation in several copies, each with addends detached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from colloc._checks import describe, fail, fail_type
from colloc.jets import Jet, Order
from colloc.pde._arguments import check_jet, check_rows
from colloc.pde._moving import MovingJet
from colloc.pde.equation import Block, Equation, summed
from colloc.pde.residual_points import refuse_points

Parts: TypeAlias = "Mapping[str, Callable[[Jet, Tensor], Tensor]]"


class Suppressed:
    """A copy of an equation with addends detached, made by :func:`suppress`."""

    def __init__(self, parts: Equation | Parts, detached: tuple[str, ...]) -> None:
        self.parts = parts
        self.detached = detached
        """The addends without a gradient."""
        self.order: Order | None = getattr(parts, "order", None)
        self.names: tuple[str, ...] | None = getattr(parts, "names", None)

    def __call__(self, jet: Jet, x: Tensor) -> Tensor:
        """The residual (N, q) of ``jet`` at its points ``x`` (N, d)."""
        blocks = self._blocks(check_jet(jet, x, self.order), x)
        return summed(blocks, self.detached, isinstance(jet, MovingJet))

    def _blocks(self, jet: Jet, x: Tensor) -> Sequence[Block]:
        if isinstance(self.parts, Equation):
            return self.parts.blocks(jet, x)
        block: dict[str, Tensor | float] = {}
        shape = None
        for name, part in self.parts.items():
            rows = check_rows(f"parts[{name!r}]", part(jet, x), jet)
            if shape is not None and rows.shape != shape:
                fail(f"parts[{name!r}]", f"the shape of the first part, {tuple(shape)}", rows)
            shape, block[name] = rows.shape, rows
        return [block]

    def __repr__(self) -> str:
        parts = self.parts if isinstance(self.parts, Equation) else list(self.parts)
        return f"suppress({parts}, detached={list(self.detached)})"


def suppress(
    parts: Equation | Parts, detached: Sequence[str | Sequence[str]]
) -> tuple[Suppressed, ...]:
    """Copies of one equation, each with some of its addends detached.

    All copies have the equation's value. The gradient of a copy leaves the detached addends out,
    so that each copy adjusts the network to the remaining ones: where addends of very different
    size compete, several copies, each with other addends detached, train better than one
    (selective equations term suppression in NVIDIA Modulus, there ``create_instances`` with
    ``freeze_terms``). A detached addend is a constant for every weight, trained coefficients
    included.

    Example::

        flow = cc.pde.navier_stokes(0.01)
        copies = cc.pde.suppress(flow, ["convection", ["pressure", "diffusion"]])
        terms = [cc.Term(f"flow {i}", net, points, copy) for i, copy in enumerate(copies)]

    Args:
        parts: an equation of :mod:`colloc.pde` (its ``addends`` are the names), or a dictionary
            from names to callables ``(jet, x) -> (N, q)`` whose sum is the residual.
        detached: for each copy the name of an addend, or a sequence of names; an empty one is a
            copy with nothing detached.

    Returns:
        As many residuals ``(jet, x) -> (N, q)`` as ``detached`` has entries, with the ``order``
        and ``names`` of the equation (None for a dictionary). Under :func:`gradient_enhanced`
        the derivatives of detached addends are there, detached too.

    Raises:
        TypeError: parts is neither an equation nor a dictionary of callables; detached is not a
            sequence of names and sequences of names.
        ValueError: there are no parts, detached is empty, a name is unknown or repeated, or a
            copy would have no gradient at all; when called, parts differ in shape.
    """
    if isinstance(parts, Equation):
        known = parts.addends
    elif isinstance(parts, Mapping):
        known = _check_parts(parts)
        parts = dict(parts)
    else:
        wanted = "an equation of cc.pde or a dictionary of callables"
        fix = "Write the residual as a dictionary of its addends."
        fail_type("parts", wanted, describe(parts), fix if callable(parts) else "")
    if isinstance(detached, str) or not isinstance(detached, (list, tuple)):
        fix = f"For one copy give [{detached!r}]." if isinstance(detached, str) else ""
        fail_type("detached", "a list with the addends of each copy", describe(detached), fix)
    if not detached:
        fail("detached", "the addends of at least one copy", describe(detached))
    return tuple(
        Suppressed(parts, _check_detached(f"detached[{i}]", entry, known))
        for i, entry in enumerate(detached)
    )


def _check_parts(parts: Mapping[Any, Any]) -> tuple[str, ...]:
    if not parts:
        fail("parts", "at least one addend", describe(parts))
    for name, part in parts.items():
        if not isinstance(name, str):
            fail_type("parts", "names as keys", describe(name))
        if not callable(part):
            fail_type(f"parts[{name!r}]", "a callable (jet, x) -> (N, q)", describe(part))
        refuse_points(f"parts[{name!r}]", part, "an addend")
    return tuple(parts)


def _check_detached(label: str, entry: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    names = (entry,) if isinstance(entry, str) else entry
    if not isinstance(names, (list, tuple)):
        fail_type(label, "a name or a sequence of names", describe(entry))
    for name in names:
        if name not in known:
            fail(label, f"names among {', '.join(known)}", describe(name))
    if len(set(names)) < len(names):
        fail(label, "different names", describe(entry))
    if len(names) == len(known):
        fix = "Without a gradient the copy trains nothing."
        fail(label, "at least one addend left out", describe(entry), fix)
    return tuple(names)
