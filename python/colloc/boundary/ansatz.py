"""Fields that meet boundary conditions exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from colloc import ops
from colloc._checks import (
    check_float,
    check_int,
    check_points,
    concrete,
    describe,
    fail,
    fail_type,
)
from colloc.boundary.conditions import Condition, Dirichlet, Robin
from colloc.boundary.coordinates import called, checked_space, checked_time
from colloc.boundary.faces import Own, Start
from colloc.boundary.facing import Facing
from colloc.boundary.joints import (
    refuse_overlaps,
    uncovered,
    warn_conflicts,
    warn_initial_conflicts,
)
from colloc.boundary.kept import Kept, may_keep, nothing_hidden
from colloc.boundary.phi import At, Phi
from colloc.boundary.pieces import check_precision
from colloc.jets import Jet, Order, cat, jet
from colloc.jets.known import raised
from colloc.jets.rules import own_rule

#: Sets of points whose jets of phi and of the data are kept: as many as batches that are gone
#: through in turn, with the boundary's points, may be; fewer where they are large, but the last 8.
_KEPT, _KEPT_BYTES, _KEPT_LEAST = 64, 2**28, 8


class _Shape(NamedTuple):
    """What one component has from the points alone; None: absent."""

    phi1: Jet | None  # of the Dirichlet set
    phi2: Jet | None  # of the Robin set
    phi: Jet | None  # of both; of the Robin set, where there is no other
    share1: Jet | None  # weights of several Dirichlet conditions
    share2: Jet | None  # of several Robin conditions


class _Data(NamedTuple):
    """The data of one component's conditions; None: absent or 0."""

    g: Jet | None
    c: Jet | None
    h: Jet | None


class Ansatz(nn.Module):
    """A field that meets its boundary conditions exactly, whatever the network's weights.

    With phi > 0 the distance function of the conditions' parts, n the outward normal and N the
    network, component by component:

    * Dirichlet, u = g:  u = g + phi N.
    * Robin, du/dn + c u = h (Neumann: c = 0), psi the network:
      u = psi + phi (c psi - grad phi . grad psi - h) [+ phi^2 N2].
    * both, on sets 1 and 2: psi = g + phi1 N under the Dirichlet conditions alone, then
      u = psi + phi (c psi - grad phi2 . grad psi - h) [+ phi1 phi2^2 N2], phi that of all parts.
    * none: u = N.

    Parts may be curves of the plane, faces of solids, end points of intervals, and an initial
    time besides (a value there is a Dirichlet condition, at the distance t - start in units in
    which it grows to the parts' diameter over the domain's duration; a velocity v the Neumann
    condition -v, which may come with a value); :class:`Dirichlet` lists them. All are in one
    space: where inputs are time and parameters too, walls stand for all their values, and data
    may depend on them. Parts without a condition are free: :attr:`uncovered` names them, or is
    None where no condition is on a part of a boundary (but on lines or functions of one's own).

    Several Dirichlet conditions: g is their transfinite interpolation (mu = 2 by default), several
    Robin ones: c and h are. At a joint of Dirichlet parts whose values differ the mean is taken,
    and one warning names the joint; at a joint of the two kinds u = g. Source: Sukumar and
    Srivastava, CMAME 389 (2022) 114333, sections 4.2 and 5; but where they weight the Dirichlet
    and the Robin field by phi, which makes layers at the joints that no network can follow, psi
    here has the values g already and phi takes the normal derivative in.

    Training: exact values cost little, most easily on whole lines (:class:`Line`) that do not
    cross the domain, with m = 1. Exact normal derivatives bend u near walls and joints, more than
    a smooth network follows: where u is smooth, put them into the loss and leave them out here,
    or take the first-order form and L-BFGS as examples/poisson_mixed.py does. N2 helps, but not
    enough for second derivatives. What depends on points and fixed data alone is kept for each set
    of points: with functions as data, new points at every step make it 1.5 to 1.9 times as long
    (``python -m benchmarks new_points``). Figures: docs/performance.md.

    ``field(x)`` is the value, ``cc.jet(field, x, order)`` its jet, differentiable in the weights
    by one backward. A Robin or Neumann condition needs the network one order higher: its
    Laplacian comes from order "grad_laplacian", its first derivatives from order 2; what would
    need fourth derivatives is refused. Save ``field.state_dict()``: data by lambdas is not
    pickled.

    The jets of phi and of fixed data are computed once for a set of points and kept for the last
    64 sets, or the last 8 where all take over 256 MiB (the same tensor, unchanged; writing through
    ``x.data`` or ``x.numpy()`` is not noticed). Data is fixed if it is a number or a function
    without parameters and buffers, which has to give the same values at every call: one that reads
    what changes elsewhere has to be a module with a buffer. Points that require grad are
    differentiated through.

    Example::

        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(square.boundary, 0.0)])
        u = cc.jet(field, x, order="laplacian")

    Args:
        net: network or callable from (N, d) to (N, outputs), or with the option ``outputs`` to
            (N, 2 outputs), the second half being N2.
        conditions: Dirichlet, Neumann and Robin conditions; a component may have several.
        outputs: components of the field, where the network gives N2 as well; None: as many as
            the network has outputs.
        enrichment: a field from (N, d) to (N, outputs) that is added to psi, before Robin
            conditions are met, e.g. with singular functions of corners and trainable factors.
            Where Dirichlet conditions hold it has to be 0 itself. If it has a ``field_jet``,
            that is given ``piece`` too, with the numbers that this field counts by.
        m: order of the R-equivalence.
        mu: exponent of the transfinite interpolation of Dirichlet values, >= 1.
        length: the unit of length of phi, see :func:`colloc.boundary.distance`.
        space: the inputs that are the parts' coordinates, e.g. two in the plane; None: the first
            ones (all, where every part is a function of one's own). Normals lie in it.
        time: the input that is the time of an initial value; None: the first one not in space.

    Raises:
        ValueError, TypeError: an argument of another kind, no condition, parts in spaces of
            different dimensions, or parts of conditions of one component that overlap along a
            length or have a face in common.
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        conditions: Sequence[Condition],
        *,
        outputs: int | None = None,
        enrichment: Callable[[Tensor], Tensor] | None = None,
        m: int = 2,
        mu: int = 2,
        length: float = 1.0,
        space: Sequence[int] | None = None,
        time: int | None = None,
    ) -> None:
        super().__init__()
        if not callable(net):
            fail_type("net", "a module or callable from (N, d) to (N, m)", describe(net))
        if enrichment is not None and not callable(enrichment):
            fail_type("enrichment", "a module or callable from (N, d) to (N, m)", enrichment)
        self._listed = _check_conditions(conditions)
        self.net = net
        self.enrichment = enrichment
        self.conditions = nn.ModuleList(self._listed)
        self.outputs = None if outputs is None else check_int("outputs", outputs, minimum=1)
        self.m = check_int("m", m, minimum=1, maximum=ops.MAX_M)
        self.mu = check_int("mu", mu, minimum=1, maximum=ops.MAX_MU)
        self.length = check_float("length", length, positive=True)
        self.space = checked_space(space, self._listed)
        self.time = checked_time(time, self.space, self._listed)
        self._phi = Phi(self._listed, self.time, self.m, self.length)
        mentioned = {i for one in self._listed for i in (one.components or (0,))}
        self._last = max(mentioned)
        self._kept = Kept(_KEPT, _KEPT_BYTES, _KEPT_LEAST)
        self._facing = Facing(piece for one in self._listed for piece in one.pieces)
        for component in mentioned:
            refuse_overlaps(self._of(component, Condition))
        fixed = [one for one in self._listed if isinstance(one, Dirichlet)]
        if self.space is not None:
            warn_conflicts(fixed, self.space)
        if self.space is not None and self.time is not None:
            warn_initial_conflicts(fixed, self.space, self.time)

    @property
    def uncovered(self) -> tuple[str, ...] | None:
        """The names of the pieces that no condition is about, of the boundaries that conditions'
        parts belong to. There u is what the network makes of it: give it a condition, or a
        penalty in the loss. None: not known, as no condition is on a part of a boundary."""
        return uncovered(self._listed)

    def extra_repr(self) -> str:
        """The pieces without a condition."""
        return f"uncovered={', '.join(self.uncovered)}" if self.uncovered else ""

    def forward(self, x: Tensor, piece: Tensor | None = None) -> Tensor:
        """The field's values, (N, outputs), at points x (N, d)."""
        check_points("x", x)
        return self.field_jet(x, 0, tuple(range(x.shape[1])), piece).value

    def field_jet(
        self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None = None
    ) -> Jet:
        """What :func:`colloc.jet` calls. ``piece``: (N,) int64, the numbers of the pieces that
        boundary points lie on, counted in the conditions' common boundary, -1 for none."""
        at = self._check_at(x, order, wrt, piece)
        network = _in_dtype_of(x, jet(self.net, x, at.deep, wrt))
        count = network.value.shape[1]
        outputs = count if self.outputs is None else self.outputs
        if count not in (outputs, 2 * outputs):
            fail("net(x)", f"{outputs} or {2 * outputs} outputs", f"{count}")
        if self._last >= outputs:
            fail("components", f"outputs of the field, 0 to {outputs - 1}", f"{self._last}")
        added = self._enrichment(at, outputs)
        made = []
        for i in range(outputs):
            second = network[:, outputs + i] if count > outputs else None
            more = None if added is None else added[:, i]
            made.append(self._component(i, network[:, i], second, more, outputs, at))
        return made[0] if outputs == 1 else cat(made)

    def _check_at(self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None) -> At:
        check_points("x", x)
        if x.dtype not in (torch.float32, torch.float64):
            fix = "Use x.float(), with a network of that dtype; autocast may round the network."
            fail("x", "points of float32 or float64", x, fix)
        space = self.space or tuple(range(x.shape[1]))
        needed = space if self.time is None else (*space, self.time)
        if x.shape[1] <= max(needed):
            time = "" if self.time is None else f", and {self.time}, the time"
            fail("x", f"points with inputs {space}, {called(space)}{time}", x)
        for one in self._listed:
            if one.pieces:
                check_precision(x, one.pieces)
        if not torch.compiler.is_compiling() and not self._facing.is_done and concrete(x):
            self._facing.look(x[:, list(space)])
        piece = self._phi.numbering.check(piece, x)
        natural = [one for one in self._listed if isinstance(one, Robin)]
        if not natural:
            return At(x, order, order, wrt, piece, space, ())
        starts = any(isinstance(face, Start) for one in natural for face in one.faces)
        normal = needed if starts else space
        if not set(normal) <= set(wrt):
            time = f" and {self.time}, the time," if starts else ""
            wanted = f"{called(space)} {space}{time} in it, for the normal derivative"
            fail("wrt", wanted, str(wrt))
        deep = raised("order", order, "where a Neumann or Robin condition is met")
        return At(x, order, deep, wrt, piece, space, normal)

    def _enrichment(self, at: At, outputs: int) -> Jet | None:
        if self.enrichment is None:
            return None
        piece = at.piece if own_rule(self.enrichment, "field_jet") is not None else None
        found = jet(self.enrichment, at.x, at.deep, at.wrt, piece=piece)
        found = _in_dtype_of(at.x, found)
        if found.value.shape[1] != outputs:
            wanted = f"a tensor of shape ({at.x.shape[0]}, {outputs}), as the field has"
            fail("enrichment(x)", wanted, found.value)
        return found

    # ---- one component --------------------------------------------------------------------

    def _component(
        self,
        i: int,
        psi: Jet,
        second: Jet | None,
        added: Jet | None,
        outputs: int,
        at: At,
    ) -> Jet:
        """u of component i from its network psi, N2 and enrichment."""
        fixed, natural = self._of(i, Dirichlet), self._of(i, Robin)
        if not fixed and not natural:
            return (psi if added is None else psi + added).truncate(at.order)

        def build() -> _Shape:
            return self._shape(fixed, natural, at)

        def read() -> _Data:
            return self._data(i, fixed, natural, shape, psi.detach(), outputs, at)

        if may_keep(at.x):
            listed = (*fixed, *natural)
            sets = (tuple(map(id, fixed)), tuple(map(id, natural)), at.order, at.wrt)
            own = any(isinstance(face, Own) for one in listed for face in one.faces)
            store = nothing_hidden()
            values = [value for one in listed for value in one.values()]
            # Parts with data of 0 alone need no weights between them.
            zeros = tuple(value.is_zero for value in values)
            shape = self._kept.get((zeros, sets), at.x, at.piece, build, store or not own)
            if all(value.is_fixed for value in values):
                made_of = tuple(value.data for value in values)
                data = self._kept.get((i, outputs, *sets), at.x, at.piece, read, store, made_of)
            else:
                data = read()
        else:
            shape = build()
            data = read()

        if shape.phi1 is not None:
            psi = shape.phi1 * psi.truncate(shape.phi1.order)
            if data.g is not None:
                psi = data.g + psi
        if added is not None:
            psi = psi + added.truncate(psi.order)
        if shape.phi2 is None:
            return psi
        assert shape.phi is not None
        u = psi.truncate(at.order)
        u = u + shape.phi * self._normal_part(psi, u, shape.phi2, data, at)
        if second is None:
            return u
        low = shape.phi2.truncate(at.order)
        second = low * low * second.truncate(at.order)
        if shape.phi1 is not None:
            second = shape.phi1.truncate(at.order) * second
        return u + second

    def _normal_part(self, psi: Jet, plain: Jet, phi2: Jet, data: _Data, at: At) -> Jet:
        """c psi - grad phi2 . grad psi - h."""
        inner = -_sum(phi2.differentiate(k) * psi.differentiate(k) for k in at.normal)
        if data.c is not None:
            inner = data.c * plain + inner
        return inner if data.h is None else inner - data.h

    def _shape(self, fixed: list[Dirichlet], natural: list[Robin], at: At) -> _Shape:
        deep = at.deep if natural else at.order  # of psi
        phi2 = self._phi.of(natural, at.deep, at) if natural else None
        every = phi2.truncate(at.order) if phi2 is not None else None
        if fixed and natural:
            every = self._phi.of([*fixed, *natural], at.order, at)

        def share(conditions: Sequence[Condition], mu: int, order: Order) -> Jet | None:
            data = [[value.is_zero for value in one.values()] for one in conditions]
            if len(conditions) < 2 or all(all(zeros) for zeros in data):
                return None
            return self._phi.weights([[one] for one in conditions], mu, order, at)

        return _Shape(
            phi1=self._phi.of(fixed, deep, at) if fixed else None,
            phi2=phi2,
            phi=every,
            share1=share(fixed, self.mu, deep),
            share2=share(natural, 2, at.order),
        )

    def _data(
        self,
        i: int,
        fixed: list[Dirichlet],
        natural: list[Robin],
        shape: _Shape,
        like: Jet,
        outputs: int,
        at: At,
    ) -> _Data:
        def data(
            conditions: Sequence[Condition], name: str, share: Jet | None, order: Order
        ) -> Jet | None:
            values = [getattr(one, name) for one in conditions]
            if all(value.is_zero for value in values):
                return None
            jets = []
            for one, value in zip(conditions, values, strict=True):
                found = value.jet(at.x, like.truncate(order), order, at.wrt, one.count(outputs))
                jets.append(found[:, one.column(i) if found.value.shape[1] > 1 else 0])
            if share is None:
                return jets[0]
            return _sum(share[:, k] * one for k, one in enumerate(jets))

        return _Data(
            g=data(fixed, "g", shape.share1, at.deep if natural else at.order),
            c=data(natural, "c", shape.share2, at.order),
            h=data(natural, "h", shape.share2, at.order),
        )

    def _of(self, component: int, kind: type) -> list[Any]:
        return [one for one in self._listed if isinstance(one, kind) and one.about(component)]


def _in_dtype_of(x: Tensor, found: Jet) -> Jet:
    """A jet made under autocast, in the dtype of the points."""
    rounded = found.value.dtype in (torch.float16, torch.bfloat16)
    return found.to(x.dtype) if rounded else found


def _sum(jets: Iterable[Jet]) -> Jet:
    first, *rest = jets
    for one in rest:
        first = first + one
    return first


def _check_conditions(conditions: Any) -> list[Condition]:
    wanted = "a list of Dirichlet, Neumann and Robin conditions"
    listed = [conditions] if isinstance(conditions, Condition) else conditions
    if not isinstance(listed, (list, tuple)):
        fail_type("conditions", wanted, describe(conditions))
    if not listed:
        fail("conditions", wanted, "an empty list", "Without one use the network itself.")
    for k, one in enumerate(listed):
        if not isinstance(one, Condition):
            fail_type(f"conditions[{k}]", "a Dirichlet, Neumann or Robin condition", describe(one))
    return list(listed)
