"""Distance functions of conditions' parts and weights made of them, as jets by any inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from colloc import ops
from colloc.boundary.conditions import Condition, Dirichlet
from colloc.boundary.embed import embedded, given_order
from colloc.boundary.faces import Face, FaceNumbering, Local, Own, Start
from colloc.boundary.pieces import diameter, table
from colloc.boundary.rfunctions import equivalence
from colloc.geometry.curves import Line, Piece
from colloc.jets import Jet, Order
from colloc.jets.known import known_components


class At(NamedTuple):
    """Where and how far a field is evaluated."""

    x: Tensor
    order: Order
    deep: Order  # of the network and phi: one more where there is a normal derivative
    wrt: tuple[int, ...]
    piece: Tensor | None
    space: tuple[int, ...]  # the inputs that are the parts' coordinates
    normal: tuple[int, ...]  # the inputs that normals have components in


class _Group(NamedTuple):
    """The parts of some conditions, at some points."""

    pieces: tuple[Piece, ...]
    faces: tuple[Face, ...]
    local: Tensor | None  # the number of each point's piece among the pieces
    on: tuple[Tensor | None, ...]  # for each face: which points lie on it
    scales: tuple[float | None, ...]


class Phi:
    """phi of the parts of conditions, and weights of several such.

    Args:
        conditions: all that there are.
        time: which input is the time.
        m, length: as for :class:`colloc.boundary.Ansatz`.
    """

    def __init__(
        self, conditions: Sequence[Condition], time: int | None, m: int, length: float
    ) -> None:
        self.time, self.m, self.length = time, m, length
        self.numbering = FaceNumbering([one.part for one in conditions])
        pieces = [p for one in conditions for p in one.pieces]
        sizes = [face.size for one in conditions for face in one.faces if face.size is not None]
        if not sizes or not all(isinstance(p, Line) for p in pieces):
            sizes.append(diameter(pieces))
        self.diameter = max(sizes)

    def of(self, conditions: Sequence[Condition], order: Order, at: At) -> Jet:
        """phi of the conditions' parts."""
        group = self._group(conditions, at)
        axes = self._axes([group], at)
        return _by_inputs(
            lambda x, o: self._values(group, x, o, axes, at).unsqueeze(2), axes, order, at
        )

    def weights(self, groups: Sequence[Sequence[Condition]], mu: int, order: Order, at: At) -> Jet:
        """Transfinite weights of groups of conditions, by their parts."""
        found = [self._group(conditions, at) for conditions in groups]
        axes = self._axes(found, at)

        def evaluate(x: Tensor, order: Order) -> Tensor:
            phi = [
                self._positive(group, self._values(group, x, order, axes, at), x, axes)
                for group in found
            ]
            return ops.transfinite(torch.stack(phi), mu, order, len(axes))

        return _by_inputs(evaluate, axes, order, at)

    def _group(self, conditions: Sequence[Condition], at: At) -> _Group:
        pieces = tuple(piece for one in conditions for piece in one.pieces)
        # A normal derivative needs slope 1. Where values are given, phi's share in time and in
        # space should be alike whatever the units.
        scaled = {
            face.keys: (face, self.diameter if isinstance(one, Dirichlet) else None)
            # An initial time may have a value and a velocity: it counts once, with slope 1.
            for one in sorted(conditions, key=lambda one: not isinstance(one, Dirichlet))
            for face in one.faces
        }
        faces = tuple(face for face, _ in scaled.values())
        scales = tuple(scale for _, scale in scaled.values())
        places = [self.numbering.local(at.piece, face.keys) for face in faces]
        return _Group(
            pieces,
            faces,
            self.numbering.local(at.piece, pieces) if pieces else None,
            tuple(None if place is None else place >= 0 for place in places),
            scales,
        )

    def _axes(self, groups: Sequence[_Group], at: At) -> tuple[int, ...]:
        """The inputs that phi of these groups depends on."""
        faces = [face for group in groups for face in group.faces]
        if any(isinstance(face, Own) for face in faces):
            return tuple(range(at.x.shape[1]))
        if any(isinstance(face, Start) for face in faces):
            assert self.time is not None
            return (*at.space, self.time)
        return at.space

    def _values(
        self, group: _Group, x: Tensor, order: Order, axes: tuple[int, ...], at: At
    ) -> Tensor:
        """Components (K, N) of phi by ``axes`` at the points x (N, len(axes))."""
        every = tuple(range(len(axes)))
        time = axes.index(self.time) if self.time in axes else None
        local = Local(tuple(axes.index(i) for i in at.space), time)
        if group.pieces:
            on_plane = x if local.space == every else x[:, list(local.space)]
            known = table(group.pieces, x.device)
            plane = ops.distance(on_plane, known, self.m, order, group.local, self.length)
            if not group.faces and local.space == every:
                return plane
            plane = embedded(plane.unsqueeze(2), order, order, every, local.space)
        found = [Jet(plane, order, every, len(axes))] if group.pieces else []
        for face, on, scale in zip(group.faces, group.on, group.scales, strict=True):
            phi = face.phi(x, order, local, self.m, scale)
            if on is not None:
                value = torch.where(on.view(1, -1, 1), 0.0, phi.components[:1])
                phi = phi._like(torch.cat((value, phi.components[1:])))
            found.append(phi)
        return equivalence(*found, m=self.m).components[:, :, 0]

    def _noise(self, group: _Group, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """What rounding the coordinates of points (N, len(axes)) may do to phi, (N,)."""
        size = x.abs()
        if self.time in axes:
            rates = [
                scale / face.duration
                for face, scale in zip(group.faces, group.scales, strict=True)
                if isinstance(face, Start) and scale is not None
            ]
            if rates:
                rate = torch.ones(len(axes), dtype=x.dtype, device=x.device)
                rate[axes.index(self.time)] = max(rates)
                size = size * rate
        return 8 * torch.finfo(x.dtype).eps * (size.sum(1) + self.diameter)

    def _positive(self, group: _Group, values: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """|phi|, but beside a zero with the derivatives of the side where phi > 0."""
        if not group.faces:
            return values
        below = values[:1] < -self._noise(group, x, axes)
        values = torch.where(below, -values, values)
        return torch.cat((values[:1].clamp(min=0), values[1:]))


def _by_inputs(
    evaluate: Callable[[Tensor, Order], Tensor], axes: tuple[int, ...], order: Order, at: At
) -> Jet:
    """A jet by the inputs ``axes`` as one by ``wrt`` of all inputs."""
    inputs = at.x.shape[1]
    x = at.x if axes == tuple(range(inputs)) else at.x[:, list(axes)]
    given = given_order(order, at.wrt, axes)
    components = known_components(evaluate, x, given)
    return Jet(embedded(components, given, order, at.wrt, axes), order, at.wrt, inputs)
