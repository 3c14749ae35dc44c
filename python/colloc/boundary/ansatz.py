"""Fields that meet boundary conditions exactly."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from colloc import ops
from colloc._checks import check_float, check_int, check_points, describe, fail, fail_type
from colloc.boundary.conditions import Condition, Dirichlet, Robin
from colloc.boundary.embed import embedded, plane_order
from colloc.boundary.joints import warn_conflicts
from colloc.boundary.pieces import Numbering, check_precision, diameter, table
from colloc.geometry.curves import Piece
from colloc.jets import Jet, Order, cat, jet
from colloc.jets.known import known_components, raised

_KEPT = 8  # point sets whose jets of phi and of the data are kept


class Ansatz(nn.Module):
    """A field that meets its boundary conditions exactly, whatever the network's weights.

    With phi > 0 the distance function of the conditions' parts, n the outward normal and N the
    network, component by component:

    * Dirichlet, u = g:  u = g + phi N.
    * Robin, du/dn + c u = h (Neumann: c = 0), psi the network:
      u = psi + phi (c psi - grad phi . grad psi - h) [+ phi^2 N2].
    * both, on sets 1 and 2: u = w g + (1 - w) u2 + phi1 phi2^2 N2, with u2 the Robin field of
      set 2, w = phi2^2 / (l phi1 + phi2^2) and l the diameter of all pieces.
    * none: u = N.

    Several Dirichlet parts: g is their transfinite interpolation (mu = 2 by default), several
    Robin parts: c and h are. At a joint of Dirichlet parts whose values differ the mean is taken,
    and one warning names the joint; at a joint of the two kinds u = g. Source: Sukumar and
    Srivastava, CMAME 389 (2022) 114333, sections 4.2 and 5.

    ``field(x)`` is the value, ``cc.jet(field, x, order)`` its jet, differentiable in the weights
    by one backward. A Robin or Neumann condition needs the network one order higher: its
    Laplacian comes from order "grad_laplacian", its first derivatives from order 2; what would
    need fourth derivatives is refused.

    The jets of phi and of fixed data are computed once for a set of points and kept for the last
    few sets (the same tensor, unchanged); points that require grad are differentiated through.

    Example::

        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        field = cc.boundary.Ansatz(net, [cc.boundary.Dirichlet(square.boundary, 0.0)])
        u = cc.jet(field, x, order="laplacian")

    Args:
        net: network or callable from (N, d) to (N, outputs), or to (N, 2 outputs), the second
            half being N2.
        conditions: Dirichlet, Neumann and Robin conditions; a component may have several.
        outputs: components of the field, where the network gives N2 as well; None: as many as
            the network has outputs.
        m: order of the R-equivalence.
        mu: exponent of the transfinite interpolation of Dirichlet values, >= 1.
        length: the unit of length of phi, see :func:`colloc.boundary.distance`.
        space: the two inputs that are the plane's coordinates; others are time or parameters.

    Raises:
        ValueError, TypeError: an argument of another kind, no condition, or parts of conditions
            of one component that overlap along a length.
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        conditions: Sequence[Condition],
        *,
        outputs: int | None = None,
        m: int = 2,
        mu: int = 2,
        length: float = 1.0,
        space: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        if not callable(net):
            fail_type("net", "a module or callable from (N, d) to (N, m)", describe(net))
        wanted = "a list of Dirichlet, Neumann and Robin conditions"
        if isinstance(conditions, Condition):
            conditions = [conditions]
        if not isinstance(conditions, (list, tuple)) or not all(
            isinstance(one, Condition) for one in conditions
        ):
            fail_type("conditions", wanted, describe(conditions))
        if not conditions:
            fail("conditions", wanted, "an empty list", "Without conditions use the network itself.")
        self.net = net
        self.conditions = nn.ModuleList(conditions)
        self.outputs = None if outputs is None else check_int("outputs", outputs, minimum=1)
        self.m = check_int("m", m, minimum=1, maximum=ops.MAX_M)
        self.mu = check_int("mu", mu, minimum=1, maximum=ops.MAX_MU)
        self.length = check_float("length", length, positive=True)
        self.space = _check_space(space)
        self._numbering = Numbering([one.part for one in conditions])
        self._diameter = diameter([p for one in conditions for p in one.pieces])
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        for component in self._mentioned():
            for kind in (Dirichlet, Robin):
                found = self._of(component, kind)
                table(tuple(p for one in found for p in one.pieces), torch.device("cpu"))
        warn_conflicts([one for one in conditions if isinstance(one, Dirichlet)])

    def forward(self, x: Tensor, piece: Tensor | None = None) -> Tensor:
        """The field's values, (N, outputs), at points x (N, d)."""
        return self.field_jet(x, 0, tuple(range(x.shape[1])), piece).value

    def field_jet(
        self, x: Tensor, order: Order, wrt: tuple[int, ...], piece: Tensor | None = None
    ) -> Jet:
        """What :func:`colloc.jet` calls. ``piece``: (N,) int64, the numbers of the pieces that
        boundary points lie on, counted in the conditions' common boundary, -1 for none."""
        check_points("x", x)
        if x.shape[1] <= max(self.space):
            fail("x", f"points with inputs {self.space}, the plane's coordinates", x)
        for one in self.conditions:
            check_precision(x, one.pieces)
        piece = self._numbering.check(piece, x)
        robin = any(isinstance(one, Robin) for one in self.conditions)
        deep = raised("order", order, "where a Neumann or Robin condition is met") if robin else order
        by = wrt
        if robin and not set(self.space) <= set(wrt):
            fail(
                "wrt",
                f"the plane's coordinates {self.space} among them, for the normal derivative",
                str(wrt),
            )
        network = jet(self.net, x, deep, by)
        count = network.value.shape[1]
        outputs = count if self.outputs is None else self.outputs
        if count not in (outputs, 2 * outputs):
            fail("net(x)", f"{outputs} or {2 * outputs} outputs", f"{count}")
        last = max(self._mentioned(), default=0)
        if last >= outputs:
            fail("components", f"outputs of the field, 0 to {outputs - 1}", f"{last}")
        made = [
            self._component(i, network, outputs, x, order, deep, wrt, piece) for i in range(outputs)
        ]
        return made[0] if outputs == 1 else cat(made)

    # ---- one component --------------------------------------------------------------------

    def _component(
        self,
        i: int,
        network: Jet,
        outputs: int,
        x: Tensor,
        order: Order,
        deep: Order,
        wrt: tuple[int, ...],
        piece: Tensor | None,
    ) -> Jet:
        psi = network[:, i]
        second = network[:, outputs + i] if network.value.shape[1] > outputs else None
        fixed, natural = self._of(i, Dirichlet), self._of(i, Robin)
        key = (i, order, wrt)
        if not fixed and not natural:
            return psi.truncate(order)
        like = psi.truncate(order)

        def phi_of(conditions: Sequence[Condition], wanted: Order) -> Jet:
            pieces = tuple(p for one in conditions for p in one.pieces)
            local = self._numbering.local(piece, pieces)

            def evaluate(at: Tensor, o: Order) -> Tensor:
                return ops.distance(
                    at, table(pieces, at.device), self.m, o, local, self.length
                ).unsqueeze(2)

            return self._plane_jet(evaluate, x, wanted, wrt)

        def weights(groups: Sequence[Sequence[Condition]], mu: Any, length: float) -> Jet:
            listed = [tuple(p for one in group for p in one.pieces) for group in groups]
            local = [self._numbering.local(piece, pieces) for pieces in listed]

            def evaluate(at: Tensor, o: Order) -> Tensor:
                phi = [
                    ops.distance(at, table(pieces, at.device), self.m, o, ids, self.length)
                    for pieces, ids in zip(listed, local, strict=True)
                ]
                return ops.transfinite(torch.stack(phi), mu, o, 2, length)

            return self._plane_jet(evaluate, x, order, wrt)

        def data(conditions: Sequence[Condition], name: str, mu: int) -> Jet | None:
            values = [getattr(one, name) for one in conditions]
            if all(value.is_zero for value in values):
                return None
            jets = []
            for one, value in zip(conditions, values, strict=True):
                found = value.jet(x, like, order, wrt, one.count(outputs))
                column = one.column(i) if found.value.shape[1] > 1 else 0
                jets.append(found[:, column])
            if len(jets) == 1:
                return jets[0]
            share = weights([[one] for one in conditions], mu, 1.0)
            total = share[:, 0] * jets[0]
            for k in range(1, len(jets)):
                total = total + share[:, k] * jets[k]
            return total

        fixed_data = all(
            value.is_fixed for one in (*fixed, *natural) for value in one.children()
        )
        kept = self._keep(key, x, piece, fixed_data)
        parts = kept(
            lambda: {
                "g": data(fixed, "g", self.mu) if fixed else None,
                "phi1": phi_of(fixed, order) if fixed else None,
                "phi2": phi_of(natural, deep) if natural else None,
                "c": data(natural, "c", 2) if natural else None,
                "h": data(natural, "h", 2) if natural else None,
                "w": self._joint_weight(weights([fixed, natural], [1, 2], self._diameter), fixed,
                                        x, piece) if fixed and natural else None,
            }
        )
        g, phi1, phi2 = parts["g"], parts["phi1"], parts["phi2"]
        if not natural:
            u = phi1 * psi
            return u if g is None else g + u
        normal = sum_of(
            phi2.differentiate(axis) * psi.differentiate(axis)
            for axis in wrt if axis in self.space
        )
        inner = -normal
        if parts["c"] is not None:
            inner = parts["c"] * like + inner
        if parts["h"] is not None:
            inner = inner - parts["h"]
        low = phi2.truncate(order)
        u2 = like + low * inner
        if not fixed:
            return u2 if second is None else u2 + low * low * second.truncate(order)
        w = parts["w"]
        u = u2 - w * u2
        if g is not None:
            u = u + w * g
        return u if second is None else u + phi1 * low * low * second.truncate(order)

    def _plane_jet(
        self, evaluate: Callable[[Tensor, Order], Tensor], x: Tensor, order: Order, wrt: Any
    ) -> Jet:
        """A jet by the plane's coordinates as one by ``wrt`` of all inputs."""
        plane = x[:, list(self.space)] if x.shape[1] > 2 or self.space != (0, 1) else x
        wanted = plane_order(order, wrt, self.space)
        components = known_components(evaluate, plane, wanted)
        return Jet(
            embedded(components, wanted, order, wrt, self.space), order, wrt, x.shape[1]
        )

    def _joint_weight(
        self, both: Jet, fixed: Sequence[Condition], x: Tensor, piece: Tensor | None
    ) -> Jet:
        """The weight of the Dirichlet set; at a joint of the two sets it is 1."""
        w = both[:, 0]
        pieces = tuple(p for one in fixed for p in one.pieces)
        plane = x.detach()[:, list(self.space)]
        local = self._numbering.local(piece, pieces)
        on = ops.distance(plane, table(pieces, x.device), self.m, 0, local, self.length)[0] == 0
        at_joint = (on & (w.value[:, 0] < 0.75)).view(1, -1, 1)
        one = torch.zeros_like(w.components)
        one[0] = 1
        return Jet(torch.where(at_joint, one, w.components), w.order, w.wrt, w.inputs)

    # ---- what is kept -----------------------------------------------------------------------

    def _keep(
        self, key: Any, x: Tensor, piece: Tensor | None, fixed_data: bool
    ) -> Callable[[Callable[[], Any]], Any]:
        """A function that makes the parts, or finds those of the same points again."""

        def make(build: Callable[[], Any]) -> Any:
            if torch.compiler.is_compiling() or not fixed_data or x.requires_grad or x.is_inference():
                return build()
            if torch._C._functorch.is_functorch_wrapped_tensor(x):
                return build()
            # A tensor's identity and version: one that is written to, or another one, is noticed.
            names = (key, id(x), None if piece is None else id(piece))
            found = self._kept.get(names)
            if found is not None:
                (of_x, version), (of_piece, piece_version), parts = found
                same = of_x() is x and version == x._version
                if piece is not None:
                    same = same and of_piece() is piece and piece_version == piece._version
                if same:
                    self._kept.move_to_end(names)
                    return parts
            with torch.no_grad():
                parts = build()
            mark = (weakref.ref(x), x._version)
            other = (None, 0) if piece is None else (weakref.ref(piece), piece._version)
            self._kept[names] = (mark, other, parts)
            while len(self._kept) > _KEPT * max(1, len(self._mentioned())):
                self._kept.popitem(last=False)
            return parts

        return make

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__() if hasattr(super(), "__getstate__") else self.__dict__)
        state["_kept"] = OrderedDict()
        return state

    def _mentioned(self) -> list[int]:
        """Components that conditions name; [0] where they are about all."""
        found = {i for one in self.conditions for i in (one.components or (0,))}
        return sorted(found)

    def _of(self, component: int, kind: type) -> list[Any]:
        return [
            one for one in self.conditions if isinstance(one, kind) and one.about(component)
        ]


def sum_of(jets: Any) -> Jet:
    """The sum of at least one jet."""
    total: Jet | None = None
    for one in jets:
        total = one if total is None else total + one
    assert total is not None
    return total


def _check_space(space: Any) -> tuple[int, int]:
    if not isinstance(space, (list, tuple)) or len(space) != 2 or space[0] == space[1]:
        fail("space", "two different inputs, the plane's coordinates", describe(space))
    first, second = (check_int("space", one, minimum=0) for one in space)
    return first, second


Pieces = tuple[Piece, ...]
