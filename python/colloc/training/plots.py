"""Pictures of fields and of the course of a training."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colloc._checks import check_int, check_points, fail
from colloc._figure import new_figure
from colloc.training.atomic import atomic_path


def plot_solution(
    path: str | os.PathLike[str],
    axes: Sequence[Tensor],
    exact: Tensor,
    prediction: Tensor,
    *,
    title: str = "",
    labels: Sequence[str] = ("x", "y"),
) -> None:
    """Exact field, prediction and their difference side by side, each with a colour bar.

    Args:
        path: the picture to write (.png, .pdf, .svg), atomically.
        axes: the grid's coordinates (nx,) and (ny,).
        exact, prediction: (nx, ny), indexed [i, j] at (axes[0][i], axes[1][j]).
        title: a line above the panels.
        labels: names of the axes.

    Raises:
        ValueError: a shape that does not fit.
        ImportError: matplotlib is not installed.
    """
    x, y = (_array(axis) for axis in axes)
    for name, field in (("exact", exact), ("prediction", prediction)):
        if tuple(field.shape) != (len(x), len(y)):
            fail(name, f"a tensor of shape {(len(x), len(y))}", field)
    truth, found = _array(exact), _array(prediction)
    error = found - truth
    scale = float(np.nanmax(np.abs(truth))) or 1.0
    worst = float(np.nanmax(np.abs(error), initial=0.0)) or 1e-300

    figure = new_figure(13.0, 4.2)
    panels = figure.subplots(1, 3)
    shown = (
        ("exact", truth, "viridis", (-scale, scale)),
        ("network", found, "viridis", (-scale, scale)),
        (f"network - exact, at most {worst:.2g}", error, "RdBu_r", (-worst, worst)),
    )
    for panel, (name, field, colours, (low, high)) in zip(panels, shown, strict=True):
        image = panel.pcolormesh(
            x, y, field.T, cmap=colours, vmin=low, vmax=high, shading="gouraud", rasterized=True
        )
        panel.set(title=name, xlabel=labels[0], ylabel=labels[1], aspect="equal")
        figure.colorbar(image, ax=panel, shrink=0.85)
    if title:
        figure.suptitle(title)
    _save(figure, path)


def plot_history(
    path: str | os.PathLike[str],
    steps: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    errors: Mapping[str, Sequence[float]] | None = None,
    weights: Mapping[str, Sequence[float]] | None = None,
    parameters: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
) -> None:
    """Losses, errors and weights over the steps on logarithmic scales, a panel for each; unknown
    parameters on a linear one.

    Args:
        path: the picture to write, atomically.
        steps: the abscissa, common to all curves.
        curves: losses by name.
        errors: curves of a second panel, e.g. the relative L2 error.
        weights: curves of a further panel, e.g. the losses' weights by a balancer.
        parameters: curves of a last panel, unknown coefficients.
        title: a line above the panels.

    Raises:
        ValueError: a curve whose length is not that of steps.
        ImportError: matplotlib is not installed.
    """
    unknown = "unknown parameter"
    further = (("error", errors), ("weight", weights), (unknown, parameters))
    panels_of = [("loss", curves), *((label, group) for label, group in further if group)]
    for _, group in panels_of:
        for name, values in group.items():
            if len(values) != len(steps):
                fail(f"curves[{name!r}]", f"{len(steps)} values, one a step", f"{len(values)}")
    figure = new_figure(6.5 * len(panels_of), 4.2)
    panels = figure.subplots(1, len(panels_of), squeeze=False)[0]
    for panel, (label, group) in zip(panels, panels_of, strict=True):
        for name, values in group.items():
            lone = sum(map(math.isfinite, values)) == 1
            panel.plot(steps, values, "o" if lone else "", label=name, linewidth=1.3)
        panel.set(xlabel="step", ylabel=label)
        positive = any(value > 0 for values in group.values() for value in values)
        if positive and label != unknown:
            panel.set_yscale("log")
        panel.grid(True, which="major", alpha=0.4)
        panel.legend()
    if title:
        figure.suptitle(title)
    _save(figure, path)


def plot_points(
    path: str | os.PathLike[str],
    x: Tensor,
    values: Tensor | None = None,
    *,
    label: str = "",
    axes: Sequence[int] | None = None,
    title: str = "",
    log: bool = False,
) -> None:
    """A cloud of points, coloured by values: a field, an error, the probability of being drawn.

    Of a sampler :func:`colloc.sampling.plot` shows both by itself.

    Args:
        path: the picture to write, atomically.
        x: points (N, d).
        values: (N,) or (N, 1), finite; the largest are drawn on top.
        label: what the values are, beside the colour bar.
        axes: the two coordinates to show; None: the first two, or all of three. Of points on a
            line the values are the other axis.
        title: a line above.
        log: whether colours are by the logarithm; values > 0.

    Raises:
        ValueError, TypeError: a shape that does not fit, no points, values that are not finite.
        ImportError: matplotlib is not installed.
    """
    check_points("x", x)
    if len(x) == 0:
        fail("x", "at least one point", x)
    dim = x.shape[1]
    if axes is None:
        axes = tuple(range(dim)) if dim <= 3 else (0, 1)
    shown = tuple(check_int("axes", k, minimum=0, maximum=dim - 1) for k in axes)
    if len(set(shown)) != len(shown) or not 1 <= len(shown) <= 3:
        fail("axes", "one to three different coordinates", str(axes))
    colours = None
    if values is not None:
        if values.ndim not in (1, 2) or values.numel() != len(x) or len(values) != len(x):
            fail("values", f"a tensor of shape ({len(x)},) or ({len(x)}, 1)", values)
        colours = _array(values).reshape(-1)
        if not np.isfinite(colours).all() or (log and colours.min() <= 0):
            fail("values", "finite numbers, > 0 for log=True", values)
    points = _array(x)[:, list(shown)]
    order = np.arange(len(x)) if colours is None else colours.argsort(kind="stable")
    figure = new_figure(7.0, 5.6)
    if len(shown) == 1:
        panel = figure.subplots()
        height = np.zeros(len(x)) if colours is None else colours
        panel.plot(points[:, 0], height, ".", markersize=4, color="#0072B2")
        panel.set(xlabel=f"x_{shown[0]}", ylabel=label)
        if log:
            panel.set_yscale("log")
    else:
        panel = figure.add_subplot(projection="3d" if len(shown) == 3 else None)
        norm = None
        if log:
            from matplotlib.colors import LogNorm

            norm = LogNorm()
        given: Any = {"color": "#0072B2"} if colours is None else {
            "c": colours[order], "cmap": "viridis", "norm": norm
        }  # fmt: skip
        image = panel.scatter(*points[order].T, s=8, linewidths=0, **given)
        names = zip(("xlabel", "ylabel", "zlabel"), shown, strict=False)
        panel.set(**{name: f"x_{k}" for name, k in names})
        extent = np.ptp(points, axis=0)
        if len(shown) == 2 and extent.min() > extent.max() / 8:
            panel.set_aspect("equal")
        if colours is not None:
            far = 0.12 if len(shown) == 3 else 0.02
            figure.colorbar(image, ax=panel, label=label, shrink=0.85, pad=far)
    if title:
        figure.suptitle(title)
    _save(figure, path)


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)


def _array(value: Tensor) -> Any:
    return value.detach().to("cpu", torch.float64).numpy()
