"""Boundary conditions and their data."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from colloc._checks import check_float, check_int, describe, fail, fail_type
from colloc.boundary.faces import places_of, without_parameters
from colloc.jets import Jet, Order, constant, jet

#: A number, a trainable tensor of shape () or (k,), or a function of the points.
Data: TypeAlias = "float | Tensor | Callable[[Tensor], Tensor]"


class Condition(nn.Module):
    """What Dirichlet, Neumann and Robin share: a part of the boundary, and which components of
    the field it is about."""

    def __init__(self, part: Any, components: int | Sequence[int] | None) -> None:
        super().__init__()
        self.part = part = without_parameters(part)
        self.pieces, self.faces = places_of("part", part)
        self.components = _components(components)

    def about(self, component: int) -> bool:
        """Whether the condition is about a component of the field."""
        return self.components is None or component in self.components

    def column(self, component: int) -> int:
        """The column of the data that belongs to a component."""
        return component if self.components is None else self.components.index(component)

    def count(self, outputs: int) -> int:
        """How many components of a field with ``outputs`` of them the condition is about."""
        return outputs if self.components is None else len(self.components)

    def values(self) -> list[Values]:
        """The condition's data."""
        return [value for value in self.children() if isinstance(value, Values)]

    def extra_repr(self) -> str:
        """The part and the components."""
        names = getattr(self.part, "piece_names", None)
        count = len(self.pieces) + len(self.faces)
        where = ", ".join(dict.fromkeys(names)) if names else f"{count} pieces"
        which = "" if self.components is None else f", components={list(self.components)}"
        return f"{where}{which}"


class Dirichlet(Condition):
    """u = g on a part of the boundary; at an initial time beside a Neumann condition, if wanted.

    On a straight part training is slower than on the whole line that it lies on, whose phi has no
    ends to bend around: take ``boundary["left"].line`` where that line does not cross the domain.

    Args:
        part: where, one of these, or a list of some:

            * a boundary of the plane, a part of one, or pieces of curves;
            * the boundary of an interval or a solid, or faces of it, as far as
              :func:`colloc.boundary.solid_distance` knows them;
            * of a :class:`colloc.geometry.TimeDomain` the boundary, walls over time, or
              ``domain.initial``;
            * any of these over ranges of parameters, see :class:`colloc.geometry.ParameterDomain`
              (columns behind the coordinates, which data may depend on);
            * a distance function of one's own, ``phi(x, order, wrt)`` to a jet with one output:
              0 on the part, > 0 inside, with the slope 1 on it if a derivative is given there,
              e.g. ``lambda *at: half_space((0, 0, 0), (0, 0, 1), *at)``.
        g: a number; a tensor of shape () or (k,), one value for each component, which may be
            trained; or a function from points (N, d) to (N, k) or (N, 1), whose derivatives are
            taken by :func:`colloc.jet`. It is asked inside of the domain, too, where it continues
            the data: one of the place along the part alone says nothing of the solution there.
        components: the outputs of the field that the condition is about; None: all.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self, part: Any, g: Data = 0.0, components: int | Sequence[int] | None = None
    ) -> None:
        super().__init__(part, components)
        self.g = Values("g", g)


class Robin(Condition):
    """du/dn + c u = h on a part of the boundary, n the outward normal.

    Args:
        part: as for :class:`Dirichlet`.
        c, h: data as for :class:`Dirichlet`.
        components: the outputs of the field that the condition is about; None: all.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self, part: Any, c: Data, h: Data = 0.0, components: int | Sequence[int] | None = None
    ) -> None:
        super().__init__(part, components)
        self.c, self.h = Values("c", c), Values("h", h)


class Neumann(Robin):
    """du/dn = h on a part of the boundary, n the outward normal.

    Args:
        part: as for :class:`Dirichlet`.
        h: data as for :class:`Dirichlet`.
        components: the outputs of the field that the condition is about; None: all.

    Raises:
        ValueError, TypeError: otherwise.
    """

    def __init__(
        self, part: Any, h: Data = 0.0, components: int | Sequence[int] | None = None
    ) -> None:
        super().__init__(part, 0.0, h, components)


class Values(nn.Module):
    """Boundary data: what it is at points, as a jet."""

    def __init__(self, name: str, data: Data) -> None:
        super().__init__()
        self.name = name
        self.data: Any
        if isinstance(data, nn.Module) or callable(data):
            self.data = data
        elif isinstance(data, Tensor):
            if data.ndim > 1 or not data.is_floating_point():
                fix = "Values at points have no derivatives: give a function of the points."
                fail(name, "a floating tensor of shape () or (k,)", data, fix)
            if isinstance(data, nn.Parameter):
                self.data = data
            else:
                self.register_buffer("data", data)
        else:
            self.data = _number(name, data)

    @property
    def is_zero(self) -> bool:
        """Whether the data is the number 0."""
        return isinstance(self.data, float) and self.data == 0.0

    @property
    def is_fixed(self) -> bool:
        """Whether the values at given points never change: no tensor that may be written to."""
        if isinstance(self.data, Tensor):
            return False
        if isinstance(self.data, nn.Module):
            return not any(True for _ in (*self.data.parameters(), *self.data.buffers()))
        return True

    def jet(self, x: Tensor, like: Jet, order: Order, wrt: tuple[int, ...], count: int) -> Jet:
        """The jet of the values at the points x (N, d), with one output or ``count`` of them."""
        if isinstance(self.data, float):
            return constant(self.data, like)
        if isinstance(self.data, Tensor):
            if self.data.ndim == 1 and self.data.shape[0] not in (1, count):
                fail(self.name, f"a tensor of shape () or ({count},)", self.data)
            values = self.data.to(x.dtype)
            return constant(values.expand(x.shape[0], max(1, values.numel())), like)
        data = self.data if isinstance(self.data, nn.Module) else self._checked
        found = jet(data, x, order, wrt)
        if found.value.dtype != x.dtype:  # autocast, or constants of another dtype
            found = found.to(x.dtype)
        outputs = found.value.shape[1]
        if outputs not in (1, count):
            wanted = f"(N, {count}) or (N, 1)" if count > 1 else "(N, 1)"
            fail(f"{self.name}(x)", f"a tensor of shape {wanted}", found.value)
        return found

    def _checked(self, x: Tensor) -> Tensor:
        """The function's values, if they are a floating tensor (N, k)."""
        found = self.data(x)
        wanted = f"a floating tensor of shape ({x.shape[0]}, k)"
        if not isinstance(found, Tensor) or not found.is_floating_point():
            fail_type(f"{self.name}(x)", wanted, describe(found))
        if found.ndim != 2 or found.shape[0] != x.shape[0] or found.shape[1] == 0:
            fix = "Take columns by slices, x[:, :1]." if found.shape == x.shape[:1] else ""
            fail(f"{self.name}(x)", wanted, found, fix)
        return found

    def at(self, x: Tensor) -> Tensor:
        """The values at points, (N, k)."""
        with torch.no_grad():
            if isinstance(self.data, float):
                return x.new_full((x.shape[0], 1), self.data)
            if isinstance(self.data, Tensor):
                return self.data.detach().to(x).reshape(1, -1).expand(x.shape[0], -1)
            found: Tensor = self.data(x)
            return found

    def extra_repr(self) -> str:
        """The data."""
        return describe(self.data)


def _number(name: str, data: Any) -> float:
    """A number; what else data may be has been seen to."""
    if isinstance(data, numbers.Real) and not isinstance(data, bool):
        return check_float(name, data)
    fix = ""
    if hasattr(data, "__array_interface__"):
        fix = f"Give torch.from_numpy({name})."
    elif isinstance(data, (list, tuple)) and all(isinstance(one, numbers.Real) for one in data):
        fix = f"Give torch.tensor({[float(one) for one in data]}), one value for each component."
    fail_type(
        name,
        "a number, a floating tensor of shape () or (k,), or a function from points (N, d) to "
        "(N, k)",
        describe(data),
        fix,
    )


def _components(components: Any) -> tuple[int, ...] | None:
    if components is None:
        return None
    listed = [components] if isinstance(components, int) else components
    if not isinstance(listed, (list, tuple)):
        fail_type("components", "None, an output's number, or a list of them", describe(components))
    found = tuple(check_int("components", one, minimum=0) for one in listed)
    if not found or len(set(found)) < len(found):
        fail("components", "different outputs of the field", describe(components))
    return found
