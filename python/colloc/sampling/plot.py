"""Pictures of points, and of what they were drawn by."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from colloc._checks import check_int, describe, fail, fail_type
from colloc._figure import new_figure
from colloc.geometry import Points

#: More points than these make a picture no clearer, only larger.
_MOST_POINTS, _MOST_OF_POOL = 5000, 40_000


def plot(
    sampler: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    step: int | None = None,
    axes: tuple[int, int] | None = None,
    title: str | None = None,
) -> Any:
    """The points of a step; of a sampler with probabilities over their density q / f, where 1
    is even sampling.

    Points in one dimension are shown below the curve of the density, those in three or more by
    two of their coordinates, or in perspective if there are three.

    Args:
        sampler: any sampler of ``colloc.sampling``, or :class:`colloc.geometry.Points`.
        path: where to write the picture (.png, .pdf, .svg).
        step: whose points; None: those of the last refresh, or 0. Of samplers that follow the
            field a step since their last refresh, if they have been called.
        axes: the two coordinates to show; None: the first two, or all of three.
        title: a line above the picture; None: what is shown.

    Returns:
        The matplotlib Figure. It is not known to pyplot: no window, and nothing to close.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError, TypeError: otherwise.
    """
    points, pool, density = _shown(sampler, step)
    dim = points.x.shape[1]
    if title is None:
        title = f"{len(points)} points"
        if density is not None:
            title += f" of a pool of {len(density)}, and their density q / f"
    elif not isinstance(title, str):
        fail_type("title", "a string or None", describe(title))
    if axes is not None:
        axes = _checked_axes(axes, dim)
    figure = new_figure(8.0, 6.0)
    x = _thinned(points.x, _MOST_POINTS)
    if dim == 1:
        _line(figure.subplots(), x, pool, density)
    elif dim == 3 and axes is None:
        panel = figure.add_subplot(projection="3d")
        _scatter(figure, panel, x, pool, density, (0, 1, 2))
    else:
        panel = figure.subplots()
        _scatter(figure, panel, x, pool, density, axes or (0, 1))
        panel.set_aspect("equal" if _similar(x, axes or (0, 1)) else "auto")
    figure.suptitle(title)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _shown(sampler: Any, step: int | None) -> tuple[Points, Tensor | None, Tensor | None]:
    """Points, the pool (P, d) and the density q / f (P,)."""
    if isinstance(sampler, Points):
        return sampler, None, None
    if not callable(sampler):
        fail_type("sampler", "a sampler of colloc.sampling, or Points", describe(sampler))
    epoch = getattr(sampler, "epoch", None)
    if step is None:
        step = 0 if epoch is None else epoch * sampler.refresh_every
    elif epoch is not None and check_int("step", step) // sampler.refresh_every != epoch:
        first = epoch * sampler.refresh_every
        fail("step", f"one from {first} to {first + sampler.refresh_every - 1}", str(step),
             "Another one would make the sampler look at the field anew.")  # fmt: skip
    points = sampler(step)
    if not hasattr(sampler, "probabilities"):
        return points, None, None
    pool, q = sampler.pool, sampler.probabilities
    share = pool.measure.double()
    return points, pool.x, (q * share.sum() / share)[:, 0]


def _line(panel: Any, x: Tensor, pool: Tensor | None, density: Tensor | None) -> None:
    if pool is not None and density is not None:
        order = pool[:, 0].argsort()
        panel.plot(_numpy(pool[order, 0]), _numpy(density[order]), linewidth=1)
        panel.set_ylabel("q / f")
        panel.set_ylim(bottom=0)
    at = panel.get_xaxis_transform()
    low = torch.zeros(len(x)).numpy() + 0.02
    panel.plot(_numpy(x[:, 0]), low, "|", color="black", alpha=0.6, transform=at)
    panel.set_xlabel("x_0")


def _scatter(
    figure: Any, panel: Any, x: Tensor, pool: Tensor | None, density: Tensor | None,
    axes: tuple[int, ...],
) -> None:  # fmt: skip
    if pool is not None and density is not None:
        from matplotlib.colors import LogNorm

        behind = _thinned(pool, _MOST_OF_POOL)
        colour = _thinned(density, _MOST_OF_POOL)
        positive = colour[colour > 0]
        low, high = float(positive.min()), float(positive.max())
        norm = LogNorm(low, high) if high > low * (1 + 1e-6) else None
        image = panel.scatter(
            *(_numpy(behind[:, k]) for k in axes), c=_numpy(colour.clamp(min=low)), s=6,
            cmap="viridis", norm=norm, linewidths=0, alpha=None if len(axes) == 2 else 0.2,
        )  # fmt: skip
        figure.colorbar(image, ax=panel, label="q / f")
    panel.scatter(
        *(_numpy(x[:, k]) for k in axes), s=5, color="white" if pool is not None else "C0",
        edgecolors="black" if pool is not None else "none", linewidths=0.4,
    )  # fmt: skip
    panel.set_xlabel(f"x_{axes[0]}")
    panel.set_ylabel(f"x_{axes[1]}")
    if len(axes) == 3:
        panel.set_zlabel("x_2")


def _similar(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether the extents are near enough for equal units on both axes."""
    if len(x) < 2:
        return False
    one, two = ((x[:, k].max() - x[:, k].min()).clamp(min=1e-30) for k in axes)
    return bool(1 / 8 < one / two < 8)


def _thinned(values: Tensor, most: int) -> Tensor:
    values = values.detach()
    return values[:: -(-len(values) // most)] if len(values) > most else values


def _numpy(values: Tensor) -> Any:
    return values.detach().cpu().numpy()


def _checked_axes(axes: Any, dim: int) -> tuple[int, int]:
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        fail_type("axes", "two numbers of coordinates", describe(axes))
    one, two = (check_int("axes", k, minimum=0, maximum=dim - 1) for k in axes)
    if one == two:
        fail("axes", "two different coordinates", describe(axes))
    return one, two
