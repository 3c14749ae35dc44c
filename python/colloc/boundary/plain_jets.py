"""Jets of distance functions and of transfinite weights in plain torch, for graphs that are used
without this package; the ops take them from here."""

from __future__ import annotations

import torch
from torch import Tensor

from colloc.jets.algebra import Formula, chain, inverse_powers, known_layout, product
from colloc.jets.layout import Layout, Order, check_order
from colloc.ops._distance_formula import Place, place, share


def _order_of(name: int | str) -> Order:
    """The order of a jet that an op takes, 2 as well as "2"."""
    return check_order(int(name) if str(name).isdigit() else name)


def distance_jet(
    x: Tensor, pieces: Tensor, piece: Tensor | None, m: int, k: float, order: int | str
) -> Tensor:
    """phi and its derivatives, components (K, N), by the same formulas: no kernel, and no
    autograd, which loses digits near the pieces."""
    form = known_layout(_order_of(order), 2)
    at = place(x, pieces, piece)
    return _joined_jets(_piece_jets(at, pieces, k, form), m, form).to(x.dtype)


def transfinite_jet(phi: Tensor, mu: list[int], length: float, order: int | str, n: int) -> Tensor:
    """The weights' jets (K, N, M) in plain torch, as in csrc/math/transfinite.h."""
    form = known_layout(_order_of(order), n)
    groups = phi.shape[0]
    wide = phi.double().transpose(0, 1)  # (K, M, N)
    value = wide[0].detach()
    zero = value < 1e-75  # below, powers of the reciprocal would overflow
    exponents = torch.tensor(mu, dtype=torch.float64, device=phi.device).unsqueeze(1)
    terms = exponents * (torch.where(zero, 1.0, value) / length).log()
    terms = torch.where(zero, -1e300, terms)
    first = torch.arange(groups, device=phi.device).unsqueeze(1) == terms.argmin(0, keepdim=True)
    second = torch.where(first, 1e300, terms).amin(0, keepdim=True)
    unit = length * (second / exponents).clamp(-170, 690).exp()
    joint = zero.sum(0) > 1

    own = chain(wide, _reciprocal_power(exponents, unit, first | zero), form)
    # What is not the leading group's is not taken: no infinite power there.
    leader = torch.cat((torch.where(first, wide[:1], unit), wide[1:]))
    power = torch.where(first, chain(leader, _whole_power(exponents, unit), form), 0.0)
    power = power.sum(1, keepdim=True)
    z = product(power, own.sum(1, keepdim=True), form)
    leading = chain(z, lambda z, degree: inverse_powers(1 + z, degree + 1), form)
    rest = product(product(power, leading, form), own, form)
    weights = torch.where(first, leading, rest)
    shared = zero.double() / zero.sum(0).clamp(min=1)
    corner = torch.cat((shared.unsqueeze(0), torch.zeros_like(weights[1:])))
    return torch.where(joint, corner, weights).to(phi.dtype).transpose(1, 2)


def _trimmed(f: Tensor, t: Tensor, k: float, degree: int) -> dict[str, Tensor]:
    """phi and its derivatives by F and t; ``trimmed`` of csrc/math/distance.h."""
    square = f * f
    kf2 = k * square
    kf3 = kf2 * f
    root = (t * t + kf2 * square + 1e-300).sqrt()
    inverse = 1 / root
    before = t >= 0  # between the ends
    total = root + t.abs()
    half = 0.5 / total
    ratio = kf3 * half  # w / F between the ends
    w = torch.where(before, ratio * f, 0.5 * total)
    norm = torch.where(before, 1 + ratio * ratio, square + w * w).sqrt()
    inverse_norm = 1 / norm
    c = torch.where(before, inverse_norm, f * inverse_norm)
    s = torch.where(before, ratio, w) * inverse_norm
    w_f, w_t = kf3 * inverse, -w * inverse
    h = {"": torch.where(before, f * norm, norm), "f": c + s * w_f, "t": s * w_t}
    if degree < 2:
        return h
    x = kf2 * inverse * (square * inverse)  # in [0, 1]
    slope = t * inverse  # in [-1, 1]
    w_ff = kf2 * inverse * (3 - 2 * x)
    w_ft = -(w_f * slope * inverse)
    w_tt = 0.5 * x * inverse
    o_f = torch.where(before, c * c * kf2 * (half - inverse), (s - c * w_f) * inverse_norm)
    o_t = c * s * inverse
    h["ff"] = h[""] * o_f * o_f + s * w_ff
    h["ft"] = h[""] * o_f * o_t + s * w_ft
    h["tt"] = h[""] * o_t * o_t + s * w_tt
    if degree < 3:
        return h
    w_fff = 6 * k * f * inverse * (1 - 3 * x + 2 * x * x)
    w_fft = kf2 * inverse * (slope * inverse) * (6 * x - 3)
    w_ftt = w_f * inverse * inverse * (2 - 3 * x)
    w_ttt = -1.5 * x * slope * inverse * inverse
    h["fff"] = -3 * o_f * (o_f * h["f"] + c * w_ff) + s * w_fff
    h["fft"] = (
        -o_f * (o_f * h["t"] + 2 * o_t * h["f"]) - c * (2 * o_f * w_ft + o_t * w_ff) + s * w_fft
    )
    h["ftt"] = (
        -o_t * (o_t * h["f"] + 2 * o_f * h["t"]) - c * (2 * o_t * w_ft + o_f * w_tt) + s * w_ftt
    )
    h["ttt"] = -3 * o_t * (o_t * h["t"] + c * w_tt) + s * w_ttt
    return h


def _piece_jets(at: Place, pieces: Tensor, k: float, form: Layout) -> Tensor:
    """The jets (K, P, N) of the pieces' phi: those by F and t, whose Hessians are multiples of
    the identity, by the chain rule."""
    columns = pieces.unsqueeze(2).unbind(1)
    f2, t1, t2, ends = columns[13], columns[14:16], columns[16], columns[17] != 0
    degree = 3 if form.has_grad_laplacian else 2 if form.has_laplacian else 1
    zero = torch.zeros_like(at.f)
    untrimmed = {"": at.f, "f": zero + 1}
    h = {
        name: torch.where(ends, found, untrimmed.get(name, zero))
        for name, found in _trimmed(at.f, at.t, k, degree).items()
    }
    by = [  # of F and of t, by each coordinate
        [at.side * (at.f1[i] + 2 * f2 * at.n[i]) for i in (0, 1)],
        [t1[i] + t2 * at.both[i] for i in (0, 1)],
    ]
    bend = [at.side * (2 * f2), 2 * t2]
    names = ("f", "t")

    def taken(*axes: int, after: str = "") -> Tensor | float:
        """The derivative of ``after`` by F and t, times their gradients along the axes."""
        if not axes:
            return h["".join(sorted(after))]
        first, *rest = axes
        return sum(by[p][first] * taken(*rest, after=after + names[p]) for p in (0, 1))

    def level(*axes: int) -> Tensor | float:
        """What the Hessians of F and t give."""
        return sum(bend[p] * taken(*axes, after=names[p]) for p in (0, 1))

    def partial(*axes: int) -> Tensor | float:
        found = taken(*axes)
        if len(axes) == 2 and axes[0] == axes[1]:
            found = found + level()
        if len(axes) == 3:
            for left in range(3):
                others = axes[:left] + axes[left + 1 :]
                if others[0] == others[1]:
                    found = found + level(axes[left])
        return found

    parts = [partial(*axes) for axes in form.positions]
    if form.laplacian is not None:
        parts.append(partial(0, 0) + partial(1, 1))
    if form.grad_laplacian is not None:
        parts += [partial(0, 0, i) + partial(1, 1, i) for i in (0, 1)]
    return torch.stack([torch.as_tensor(part) for part in parts])


def _joined_jets(phi: Tensor, m: int, form: Layout) -> Tensor:
    """R-equivalence of jets (K, P, N) over the pieces, as in csrc/math/equivalence.h."""
    value = phi[0]
    if value.shape[0] == 1:
        return phi[:, 0]
    index = value.detach().argmin(0, keepdim=True)
    is_nearest = torch.arange(value.shape[0], device=phi.device).unsqueeze(1) == index
    nearest = torch.where(is_nearest, phi, torch.zeros_like(phi)).sum(1, keepdim=True)
    second = torch.where(is_nearest, torch.inf, value).amin(0, keepdim=True).detach()
    joint = second == 0
    unit = torch.where(joint, 1.0, second)
    others = chain(phi, _reciprocal_power(m, unit, is_nearest | (value == 0)), form)
    small = chain(nearest, _whole_power(m, unit), form)
    z = product(small, others.sum(1, keepdim=True), form)
    found = product(nearest, chain(z, _inverse_root(m), form), form)[:, 0]
    zeros = torch.where(value == 0, phi, torch.zeros_like(phi)).sum(1)
    return torch.where(joint[0], share(value, m) * zeros, found)


def _reciprocal_power(m: int | Tensor, unit: Tensor, skip: Tensor) -> Formula:
    """(unit / phi)^m, 0 where ``skip``."""

    def formula(phi: Tensor, degree: int) -> list[Tensor]:
        inverse = torch.where(skip, 0.0, 1 / torch.where(skip, 1.0, phi))
        found = [torch.where(skip, 0.0, (unit * torch.where(skip, 1.0, inverse)) ** m)]
        for j in range(degree):
            found.append(-(m + j) * found[-1] * inverse)
        return found

    return formula


def _whole_power(m: int | Tensor, unit: Tensor) -> Formula:
    """(phi / unit)^m, also where phi is 0."""

    def formula(phi: Tensor, degree: int) -> list[Tensor | float]:
        v = phi / unit
        found: list[Tensor | float] = [v**m]
        factor: Tensor | float = 1.0
        for j in range(1, degree + 1):
            # A power below 0 has the factor 0: no 0 * inf there.
            left = (m - j).clamp(min=0) if isinstance(m, Tensor) else max(m - j, 0)
            factor = factor * (m - j + 1)
            found.append(factor * v**left / unit**j)
        return found

    return formula


def _inverse_root(m: int) -> Formula:
    """(1 + z)^(-1/m)."""

    def formula(z: Tensor, degree: int) -> list[Tensor]:
        inverse = 1 / (1 + z)
        found = [(1 + z) ** (-1 / m)]
        for j in range(degree):
            found.append(-(1 / m + j) * found[-1] * inverse)
        return found

    return formula
