"""Pictures of fields and of the course of a training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colloc._checks import fail
from colloc.training._extras import require
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
    scale = float(np.abs(truth).max()) or 1.0
    worst = float(np.nanmax(np.abs(error), initial=0.0)) or 1e-300

    figure = _figure(13.0, 4.2)
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
    title: str = "",
) -> None:
    """Losses, errors and weights over the steps on logarithmic scales, a panel for each.

    Args:
        path: the picture to write, atomically.
        steps: the abscissa, common to all curves.
        curves: losses by name.
        errors: curves of a second panel, e.g. the relative L2 error.
        weights: curves of a further panel, e.g. the losses' weights by a balancer.
        title: a line above the panels.

    Raises:
        ValueError: a curve whose length is not that of steps.
        ImportError: matplotlib is not installed.
    """
    further = (("error", errors), ("weight", weights))
    panels_of = [("loss", curves), *((label, group) for label, group in further if group)]
    for _, group in panels_of:
        for name, values in group.items():
            if len(values) != len(steps):
                fail(f"curves[{name!r}]", f"{len(steps)} values, one a step", f"{len(values)}")
    figure = _figure(6.5 * len(panels_of), 4.2)
    panels = figure.subplots(1, len(panels_of), squeeze=False)[0]
    for panel, (label, group) in zip(panels, panels_of, strict=True):
        for name, values in group.items():
            panel.plot(steps, values, label=name, linewidth=1.3)
        panel.set(xlabel="step", ylabel=label)
        if any(value > 0 for values in group.values() for value in values):
            panel.set_yscale("log")
        panel.grid(True, which="major", alpha=0.4)
        panel.legend()
    if title:
        figure.suptitle(title)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    # No pyplot: it would pick a window system and keep every figure alive.
    require("matplotlib", "plotting")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)


def _array(value: Tensor) -> Any:
    return value.detach().to("cpu", torch.float64).numpy()
