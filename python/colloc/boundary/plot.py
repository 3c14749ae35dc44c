"""A picture of a boundary and its distance function."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail_type
from colloc._figure import new_figure
from colloc.boundary.distance import distance
from colloc.boundary.pieces import pieces_of
from colloc.geometry.boundary import Boundary
from colloc.geometry.curves import Line, Piece
from colloc.geometry.piece_boundary import PieceBoundary
from colloc.jets import Jet

#: Panels wider than this many times their height stand one above the other.
_WIDE = 2.2

_Window = tuple[tuple[float, float], tuple[float, float]]


def plot(
    part: Any,
    path: str | os.PathLike[str] | None = None,
    m: int = 2,
    *,
    resolution: int = 240,
    title: str | None = None,
) -> Any:
    """Three panels: the pieces with their names and inner normals, phi with its contours, and
    |grad phi|, which is 1 on the pieces.

    The last two leave out what is outside of a closed boundary, of which ``part`` may be a part.

    Example::

        cc.boundary.plot(shape.boundary["inlet"], "inlet.png")

    Args:
        part: a boundary of the plane, a part of one, a piece, or a list of those.
        path: where to write the picture (.png, .pdf, .svg).
        m: order of the R-equivalence, as in :func:`colloc.boundary.distance`.
        resolution: points along the longer side of the grid, >= 16.
        title: a line above the panels; None: what is shown, and m.

    Returns:
        The matplotlib Figure. It is not known to pyplot: no window, and nothing to close.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError, TypeError: as for :func:`colloc.boundary.distance`, the boundary of something
            else than a shape of the plane; resolution < 16.
    """
    if isinstance(part, Boundary) and not hasattr(part._parent[0], "pieces"):
        fix = "Draw its points: cc.sampling.plot(boundary.sample(1000))."
        fail_type("plot", "a boundary of the plane, made of curves", repr(part), fix)
    pieces = pieces_of("part", part)
    resolution = check_int("resolution", resolution, minimum=16)
    if title is not None and not isinstance(title, str):
        fail_type("title", "a string or None", describe(title))
    names = _names(part, pieces)
    window = _window(pieces)
    x, shape = _grid(window, resolution)
    jet = distance(part, x, m, 1)
    assert isinstance(jet, Jet)
    phi, slope = (v.reshape(shape) for v in (jet.value[:, 0], jet.grad[:, 0].norm(dim=1)))
    inside = _inside(part, x)
    within = phi if inside is None else phi[(inside >= 0).reshape(shape)]
    largest = float((within if within.numel() else phi).max())

    width, height = (high - low for low, high in zip(*window, strict=True))
    figure = _figure(width / height)
    panels = figure.subplots(1, 3) if width <= _WIDE * height else figure.subplots(3, 1)
    across, up = (x.T[k].reshape(shape).numpy() for k in (0, 1))
    _draw_pieces(panels[0], pieces, names, window)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    steps = torch.linspace(0, largest, 25, dtype=torch.float64, device="cpu").numpy()
    image = panels[1].contourf(across, up, phi.numpy(), levels=steps, cmap="viridis", extend="max")
    panels[1].contour(across, up, phi.numpy(), levels=steps[1::2], colors="white", linewidths=0.5)
    figure.colorbar(image, ax=panels[1], shrink=0.85, ticks=steps[::6], format="%.3g")
    image = panels[2].pcolormesh(
        across, up, slope.numpy(), cmap="RdBu_r", vmin=0, vmax=2, shading="gouraud",
        rasterized=True,
    )  # fmt: skip
    figure.colorbar(image, ax=panels[2], shrink=0.85, extend="max")
    for panel, name in zip(panels, ("pieces and inner normals", "phi", "|grad phi|"), strict=True):
        panel.set(title=name, xlabel="x", ylabel="y", aspect="equal")
        panel.set(xlim=(window[0][0], window[1][0]), ylim=(window[0][1], window[1][1]))
    for panel in panels[1:]:
        if inside is not None:
            outer = inside.reshape(shape).numpy()
            panel.contourf(across, up, outer, levels=[-math.inf, 0.0], colors="white")
        for piece in pieces:
            panel.plot(*_curve(piece, window, 257), color="black", linewidth=1.0)
    count = f"{len(pieces)} piece{'s' if len(pieces) > 1 else ''}"
    figure.suptitle(f"distance function of {count}, m = {m}" if title is None else title)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _names(part: Any, pieces: Sequence[Piece]) -> tuple[str, ...]:
    if isinstance(part, (list, tuple)):
        return tuple(name for one in part for name in _names(one, pieces_of("part", one)))
    kind = type(part).__name__.lower()
    return tuple(getattr(part, "piece_names", (kind,) * len(pieces)))


def _window(pieces: Sequence[Piece]) -> _Window:
    """A box around all pieces; of a line its two points."""
    boxes = [
        tuple(zip(*map(sorted, zip(piece.p1, piece.p2, strict=True)), strict=True))
        if isinstance(piece, Line)
        else piece.bounds
        for piece in pieces
    ]
    low = [min(box[0][k] for box in boxes) for k in (0, 1)]
    high = [max(box[1][k] for box in boxes) for k in (0, 1)]
    size = max(high[0] - low[0], high[1] - low[1])
    for k in (0, 1):  # a single segment has no width
        margin = max(0.08 * size, (0.5 * size - (high[k] - low[k])) / 2)
        low[k], high[k] = low[k] - margin, high[k] + margin
    return (low[0], low[1]), (high[0], high[1])


def _grid(window: _Window, resolution: int) -> tuple[Tensor, tuple[int, int]]:
    sides = [high - low for low, high in zip(*window, strict=True)]
    counts = [max(16, round(resolution * side / max(sides))) for side in sides]
    across, up = (
        torch.linspace(low, high, count, dtype=torch.float64, device="cpu")
        for low, high, count in zip(*window, counts, strict=True)
    )
    y, x = torch.meshgrid(up, across, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1), (counts[1], counts[0])


def _inside(part: Any, x: Tensor) -> Tensor | None:
    """The signed distance (N,) to the closed boundary that this is or is a part of, if any."""
    whole = getattr(part, "boundary", part)
    if not isinstance(whole, PieceBoundary) or not whole.is_closed:
        return None
    return whole._tables.signed_distance(x)[:, 0]


def _curve(piece: Piece, window: _Window, count: int) -> tuple[Any, Any]:
    """Coordinates of points along a piece, of a line within the window."""
    share = torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
    if isinstance(piece, Line):
        reach = sum(high - low for low, high in zip(*window, strict=True))
        along = (2 * share - 1) * reach
        return tuple(  # type: ignore[return-value]
            (p + along * e).numpy() for p, e in zip(piece.p1, piece.direction, strict=True)
        )
    at = piece.at(share * piece.length)[0]
    return at[:, 0].numpy(), at[:, 1].numpy()


def _draw_pieces(
    panel: Any, pieces: Sequence[Piece], names: Sequence[str], window: _Window
) -> None:
    """Each name in a colour, arrows along the inner normals, dots where pieces end."""
    listed = list(dict.fromkeys(names))
    size = max(high - low for low, high in zip(*window, strict=True))
    for k, (piece, name) in enumerate(zip(pieces, names, strict=True)):
        number = listed.index(name)
        colour, style = f"C{number % 10}", ("-", "--", ":")[number // 10 % 3]
        label = name if names.index(name) == k else None
        panel.plot(
            *_curve(piece, window, 129), color=colour, linestyle=style, linewidth=2, label=label
        )
        for end in piece.ends or ():
            panel.plot(*end, marker="o", color=colour, markersize=3)
        at, outward = piece.at(_arrows(piece, size))
        panel.quiver(
            *at.T.numpy(), *(-outward).T.numpy(), color=colour, angles="xy",
            scale_units="xy", scale=1 / (0.03 * size), width=0.003,
        )  # fmt: skip


def _arrows(piece: Piece, size: float) -> Tensor:
    """Arc lengths at which arrows start."""
    if isinstance(piece, Line):
        return torch.zeros(1, dtype=torch.float64, device="cpu")
    count = max(1, min(12, round(piece.length / (0.08 * size))))
    places = torch.arange(count, dtype=torch.float64, device="cpu")
    return (places + 0.5) / count * piece.length


def _figure(ratio: float) -> Any:
    if ratio > _WIDE:
        return new_figure(9.0, 3 * (7.4 / ratio + 0.9) + 0.8)
    return new_figure(15.0, min(9.0, 4.0 / ratio + 1.5))
