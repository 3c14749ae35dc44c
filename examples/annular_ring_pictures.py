"""Pictures of the flow: fields, errors and streamlines; a file for ParaView."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from annular_ring_problem import END, OUTPUTS, Reference, geometry
from colloc import training
from torch import Tensor, nn


def on_grid(net: nn.Module, step: float = 0.02) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Axes, which points of their grid are inside, and the fields there (NaN outside)."""
    x = torch.arange(-END, END + step / 2, step, dtype=torch.float64)
    y = torch.arange(-2.0, 2.0 + step / 2, step, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    inside = geometry().distance(grid)[:, 0] > 0
    like = next(net.parameters())
    with torch.no_grad():
        values = torch.cat([net(part) for part in grid.to(like).split(65536)]).cpu().double()
    values[~inside] = torch.nan
    shape = (len(x), len(y))
    fields = {name: values[:, k].reshape(shape) for k, name in enumerate(OUTPUTS)}
    return x, y, inside.reshape(shape), fields


def write_pictures(folder: Path, net: nn.Module, reference: Reference) -> None:
    """fields.png, errors.png, streamlines.png and solution.vtu."""
    x, y, _, fields = on_grid(net)
    _write_fields(folder / "fields.png", x, y, fields)
    _write_errors(folder / "errors.png", net, reference)
    _write_streamlines(folder / "streamlines.png", x, y, fields)
    training.write_grid(folder / "solution.vtu", (x, y), fields)


def _axes(rows: int, height: float):  # type: ignore[no-untyped-def]
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        rows, 1, figsize=(10, height * rows), sharex=True, constrained_layout=True, squeeze=False
    )
    for ax in axes[:, 0]:
        ax.set_aspect("equal")
        ax.set_ylabel("y")
    axes[-1, 0].set_xlabel("x")
    return figure, axes[:, 0]


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    from matplotlib import pyplot as plt

    with training.atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)
    plt.close(figure)


def _write_fields(path: Path, x: Tensor, y: Tensor, fields: dict[str, Tensor]) -> None:
    figure, axes = _axes(3, 3.1)
    for ax, (name, field) in zip(axes, fields.items(), strict=True):
        shown = ax.pcolormesh(x, y, field.T, cmap="viridis", shading="nearest", rasterized=True)
        figure.colorbar(shown, ax=ax, label=name, shrink=0.9)
        ax.set_title(f"network, {name}")
    _save(figure, path)


def _write_errors(path: Path, net: nn.Module, reference: Reference) -> None:
    figure, axes = _axes(3, 3.1)
    with torch.no_grad():
        found = net(reference.x).cpu().double()
    x = reference.x.cpu()
    for k, (ax, name) in enumerate(zip(axes, OUTPUTS, strict=True)):
        error = (found[:, k] - reference.values[name][:, 0]).numpy()
        limit = float(np.quantile(np.abs(error), 0.995))
        shown = ax.scatter(x[:, 0], x[:, 1], c=error, s=5, cmap="RdBu_r", vmin=-limit, vmax=limit)
        figure.colorbar(shown, ax=ax, label=f"error of {name}", shrink=0.9, extend="both")
        ax.set_title(f"network less reference, {name}")
    _save(figure, path)


def _write_streamlines(path: Path, x: Tensor, y: Tensor, fields: dict[str, Tensor]) -> None:
    figure, (ax,) = _axes(1, 3.6)
    u, v = fields["u"].T.numpy(), fields["v"].T.numpy()
    speed = np.hypot(u, v)
    shown = ax.pcolormesh(x, y, speed, cmap="viridis", shading="nearest", rasterized=True)
    figure.colorbar(shown, ax=ax, label="speed", shrink=0.9)
    # Matplotlib wants axes that are evenly spaced to the last digit.
    even_x = np.linspace(float(x[0]), float(x[-1]), len(x))
    even_y = np.linspace(float(y[0]), float(y[-1]), len(y))
    ax.streamplot(
        even_x, even_y, u, v, density=(3, 1.2), color="white", linewidth=0.6, arrowsize=0.7
    )
    ax.set_title("streamlines")
    _save(figure, path)
