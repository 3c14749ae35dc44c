"""Exported fields at points from files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from colloc._checks import check_int, describe, fail, fail_type
from colloc.training.atomic import atomic_path
from colloc.training.export import Exported, load_exported
from colloc.training.vtk import write_points

_RESULTS = (".csv", ".npy", ".vtu")


def evaluate_file(
    file: str | os.PathLike[str],
    points: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    chunk: int = 65536,
    names: Sequence[str] | None = None,
) -> tuple[int, int]:
    """Evaluate an exported field at the points of a file and write its values, atomically.

    Args:
        file: a field written by :func:`colloc.training.export` (.pt2, .onnx).
        points: a row for each point: .csv (commas, semicolons or blanks; a first line of names
            if any) or .npy of shape (N, d).
        output: .csv, a column for each coordinate and each value; .npy, the values (N, m); or
            .vtu, points with data, up to three coordinates.
        chunk: points at a time.
        names: what the values are called in .csv and .vtu, one for each; None: u, or u0, u1, ...

    Returns:
        The numbers of points and of values that are not finite (a warning names them).

    Raises:
        FileNotFoundError, OSError: a file that is missing, a folder that is not writable.
        ValueError: another kind of file, columns of another number, points that are no finite
            numbers, names that are too many, too few, alike or none.
        TypeError: names are no strings.
        ImportError: onnxruntime or meshio is not installed.
    """
    output = Path(output)
    if output.suffix not in _RESULTS:
        fail("output", f"a file that ends in {', '.join(_RESULTS)}", str(output))
    chunk = check_int("chunk", chunk, minimum=1)
    if names is not None:
        names = _checked_names(names, output)
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"output: expected a file in an existing folder, got {output}. Make "
            f"{output.parent} first."
        )
    _check_file(Path(points))  # before a field is loaded, which takes long
    field = load_exported(file)
    x, coordinates = read_points(points, field.inputs)
    some = _values(field, x[:1], 1)
    columns = _columns(names, some.shape[1], coordinates)
    values = _values(field, x, chunk)
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        warnings.warn(f"{bad} of {len(x)} points have values that are not finite", stacklevel=2)
    if output.suffix == ".vtu":
        shown = {name: torch.from_numpy(values[:, k]) for k, name in enumerate(columns)}
        write_points(output, torch.from_numpy(x), shown)
        return len(x), bad
    with atomic_path(output) as aside:
        if output.suffix == ".npy":
            np.save(aside, values)
        else:
            header = ",".join([*coordinates, *columns])
            rows = np.concatenate((x, values), axis=1)
            np.savetxt(aside, rows, fmt="%.17g", delimiter=",", header=header, comments="")
    return len(x), bad


def _checked_names(names: Any, output: Path) -> list[str]:
    """Names of values, if the file can have them."""
    wanted = "a list of different names, without commas and blanks around them"
    if isinstance(names, str) or not isinstance(names, Sequence):
        fail_type("names", wanted, describe(names))
    found = list(names)
    if not all(isinstance(name, str) for name in found):
        fail_type("names", wanted, describe(found))
    clean = all(name and name == name.strip() and not set(name) & set(',"\n') for name in found)
    if not clean or len(set(found)) < len(found):
        fail("names", wanted, describe(found), "For example u,v,p.")
    if output.suffix == ".npy":
        fail("names", "None for a .npy file, which has no names", describe(found))
    return found


def _columns(names: list[str] | None, count: int, coordinates: list[str]) -> list[str]:
    """What the values are called."""
    if names is None:
        return ["u"] if count == 1 else [f"u{k}" for k in range(count)]
    if len(names) != count:
        fail("names", f"{count}, one for each value of the field", f"{len(names)}: {names}")
    both = sorted(set(names) & set(coordinates))
    if both:
        fail("names", f"others than the coordinates' {coordinates}", f"{both}")
    return names


def _values(field: Exported, x: Any, chunk: int) -> Any:
    parts = []
    with torch.no_grad():
        for start in range(0, len(x), chunk):
            some = torch.from_numpy(x[start : start + chunk]).to(field.dtype)
            parts.append(field.evaluate(some).numpy())
    return np.concatenate(parts).astype(np.float64)


def read_points(path: str | os.PathLike[str], inputs: int) -> tuple[Any, list[str]]:
    """Points (N, d) in float64 from a .csv or .npy file, and the columns' names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no points, other columns, something else than finite numbers.
    """
    path = Path(path)
    _check_file(path)
    names = [f"x{k}" for k in range(inputs)]
    if path.suffix == ".npy":
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            fail("points", "a .npy file of numbers", f"{path}: {error}")
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            fail("points", "an array of real numbers", f"{path} of {found.dtype}")
        first = 1
    else:
        found, listed, first = _read_text(path)
        names = listed if len(listed) == inputs else names
    if found.ndim != 2 or found.shape[1] != inputs:
        wanted = f"points (N, {inputs}), a column for each input of the field"
        fail("points", wanted, f"{path} of shape {found.shape}")
    if len(found) == 0:
        fail("points", "at least one point", f"{path} without any")
    found = found.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        where = "line" if path.suffix != ".npy" else "row"
        row = int(wrong[0])
        got = f"{path} with NaN or infinity in {len(wrong)} of them"
        if where == "row" or first:
            got += f", first in point {row + 1}"
        fail("points", "finite coordinates", got)
    return found, names


def _check_file(path: Path) -> None:
    """Refuse a file of points that is not there, or of another kind."""
    if not path.is_file():
        raise FileNotFoundError(f"points: expected a .csv or .npy file, got {path}, which does "
                                "not exist.")  # fmt: skip
    if path.suffix not in (".npy", ".csv", ".txt"):
        fail("points", "a .csv or .npy file", str(path))


def _read_text(path: Path) -> tuple[Any, list[str], int]:
    """The numbers of a text file (N, k), the names of its columns, its lines of names."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = next((line for line in file if line.strip()), "")
    separator = next((mark for mark in (",", ";") if mark in head), None)
    cells = [cell.strip() for cell in head.split(separator)]
    named = not all(_is_number(cell) for cell in cells)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input contained no data.*")
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                lines = (line for line in file if line.strip())
                if named:
                    next(lines, None)
                found = np.loadtxt(lines, delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        fail("points", "rows of numbers, as many in each", f"{path}: {error}")
    if found.size == 0:
        found = found.reshape(0, len(cells))
    return found, _unique([cell.strip("\"' ").replace(",", " ") for cell in cells]), int(named)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _unique(names: Sequence[str]) -> list[str]:
    """The names, if they are names and no two are alike; else none."""
    usable = all(name and not _is_number(name) for name in names)
    return list(names) if usable and len(set(names)) == len(names) else []
