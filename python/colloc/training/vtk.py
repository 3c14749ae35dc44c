"""Fields on a grid as a VTK file, for ParaView and its like."""

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


def write_grid(
    path: str | os.PathLike[str], axes: Sequence[Tensor], fields: Mapping[str, Tensor]
) -> None:
    """Write fields on a two-dimensional grid as quadrilaterals with point data, atomically.

    Args:
        path: the file; its suffix chooses the format (.vtu, .vtk).
        axes: the grid's coordinates (nx,) and (ny,).
        fields: by name, tensors (nx, ny), indexed [i, j] at (axes[0][i], axes[1][j]).

    Raises:
        ValueError: a shape that does not fit.
        ImportError: meshio is not installed.
        OSError: the folder is missing or not writable.
    """
    meshio = require("meshio", "writing VTK files")
    x, y = (_array(axis) for axis in axes)
    for name, field in fields.items():
        if tuple(field.shape) != (len(x), len(y)):
            fail(f"fields[{name!r}]", f"a tensor of shape {(len(x), len(y))}", field)
    corners = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.concatenate([corners, np.zeros((len(corners), 1))], axis=1)
    number = np.arange(len(points)).reshape(len(x), len(y))
    cells = np.stack(
        [number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], axis=-1
    ).reshape(-1, 4)
    data = {name: _array(field).reshape(-1) for name, field in fields.items()}
    with atomic_path(path) as aside:
        meshio.Mesh(points, [("quad", cells)], point_data=data).write(aside)


def _array(value: Tensor) -> Any:
    return value.detach().to("cpu", torch.float64).numpy()
