"""Fields on a grid or at points as a VTK file, for ParaView and its like."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colloc._checks import check_points, fail
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


def write_points(
    path: str | os.PathLike[str], x: Tensor, fields: Mapping[str, Tensor] | None = None
) -> None:
    """Write a cloud of points with data as VTK vertices, atomically.

    Args:
        path: the file; its suffix chooses the format (.vtu, .vtk).
        x: points (N, d), d from 1 to 3; what is missing of three coordinates is 0.
        fields: by name, tensors (N,), (N, 1) or (N, k).

    Raises:
        ValueError, TypeError: no points, a shape that does not fit.
        ImportError: meshio is not installed.
        OSError: the folder is missing or not writable.
    """
    meshio = require("meshio", "writing VTK files")
    check_points("x", x)
    count, dim = x.shape
    if count == 0 or not 1 <= dim <= 3:
        fail("x", "at least one point with one to three coordinates", x)
    for name, field in (fields or {}).items():
        if field.ndim not in (1, 2) or len(field) != count:
            fail(f"fields[{name!r}]", f"a tensor of shape ({count},) or ({count}, k)", field)
    points = np.concatenate([_array(x), np.zeros((count, 3 - dim))], axis=1)
    data = {
        name: _array(field[:, 0] if field.ndim == 2 and field.shape[1] == 1 else field)
        for name, field in (fields or {}).items()
    }
    cells = [("vertex", np.arange(count).reshape(-1, 1))]
    with atomic_path(path) as aside:
        meshio.Mesh(points, cells, point_data=data).write(aside)


def _array(value: Tensor) -> Any:
    return value.detach().to("cpu", torch.float64).numpy()
