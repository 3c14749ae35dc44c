"""The bodies of the kernels signed_distance and signed_distance_slope, run on the host with the
grid they have on the GPU. Arrays have guard values behind them; behind an input they are NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from colloc.geometry import Arc, Circle, Segment
from colloc.geometry._tables import Tables, _made
from reference.signed_distance_cases import SHAPES, levels, places

host = pytest.importorskip(
    "colloc._host_launch", reason="built without COLLOC_HOST_LAUNCH=ON (make build sets it)"
)

GUARD, GUARDS = 7.25, 256
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
HALF = [Arc((0.0, 0.0), 1.0, 0.0, math.pi), Segment((-1.0, 0.0), (1.0, 0.0))]
SETS = {
    "half disk with a hole": [*HALF, Circle((0.0, 0.5), 0.2, inward=False)],
    "circle": [Circle((0.3, -0.2), 0.7)],
    "triangle": [Segment(p, q) for p, q in (((0, 0), (1, 0)), ((1, 0), (0, 1)), ((0, 1), (0, 0)))],
}


def with_guards(value, dtype):
    flat = np.asarray(value, dtype=dtype).reshape(-1)
    return np.concatenate((flat, np.full(GUARDS, np.nan, dtype)))


def points(pieces, count, dtype):
    x = torch.randn(count, 2, dtype=dtype)
    special = [e for p in pieces for e in p.ends or ()]
    special += [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.5, 0.5), (1e6, -1e6), (math.nan, 0.0)]
    special = torch.tensor(special, dtype=dtype)[:count]
    x[: len(special)] = special
    return x


def run(name, x, straight, circular, size):
    """What the body of op `name` gives for points (N, 2)."""
    columns, count = 1 if name == "signed_distance" else 2, len(x)
    out = np.full(columns * count + GUARDS, GUARD, NUMPY[x.dtype])
    arrays = (
        with_guards(x.numpy(), NUMPY[x.dtype]),
        with_guards(straight.numpy(), np.float64),
        with_guards(circular.numpy(), np.float64),
    )
    suffix = "float32" if x.dtype == torch.float32 else "float64"
    getattr(host, f"{name}_{suffix}")(count, len(straight), len(circular), *arrays, size, out)
    assert np.all(out[columns * count :] == GUARD), "written past the end"
    return torch.from_numpy(out[: columns * count]).reshape(count, columns)


@DTYPES
@pytest.mark.parametrize("columns", [1, 2])
def test_bodies(columns, dtype):
    name = "signed_distance" if columns == 1 else "signed_distance_slope"
    tables = {key: Tables(pieces) for key, pieces in SETS.items()}
    for key, pieces in SETS.items():
        straight, circular = _made(tables[key], torch.device("cpu"))
        # the grid has 132 * 32 blocks of 128 threads at most, of two points each
        for count in (1, 3, 65, 132 * 32 * 256 + 77 if key == "triangle" else 64):
            x = points(pieces, count, dtype)
            found = run(name, x, straight, circular, tables[key]._size)
            expected = getattr(torch.ops.colloc, name)(x, straight, circular, tables[key]._size)
            torch.testing.assert_close(found, expected, equal_nan=True, rtol=4e-7 if
                                       dtype == torch.float32 else 1e-15, atol=1e-6 if
                                       dtype == torch.float32 else 1e-15)  # fmt: skip


@DTYPES
@pytest.mark.parametrize("name", SHAPES)
def test_sides_are_those_of_the_cpu(name, dtype):
    """On pieces, a few roundings beside them, on chords and on a level with ends."""
    pieces, eps = SHAPES[name], torch.finfo(dtype).eps
    tables = Tables(pieces)
    straight, circular = _made(tables, torch.device("cpu"))
    share = torch.linspace(0, 1, 41, dtype=torch.float64)
    found = [places(pieces, torch.float64)]
    for piece in pieces:
        x, normal = piece.at(share * piece.length)
        found += [x + k * eps * normal for k in (0, 1, -1, 4, -4, 30, -30, 300, -300)]
        if piece.ends:
            a, b = torch.tensor(piece.ends, dtype=torch.float64)
            chord = a + share[:, None] * (b - a)
            found += [chord, chord + 2 * eps, chord - 2 * eps, chord + 1e-5]
    heights, across = levels(pieces)
    across = torch.cat((torch.tensor(across, dtype=torch.float64), 4 * share - 2))
    for y in heights:
        moved = [y * (1 + k * eps) for k in (-1, 0, 1)]
        found.append(torch.cartesian_prod(across, torch.tensor(moved, dtype=torch.float64)))
    x = torch.cat(found).to(dtype)
    body = run("signed_distance", x, straight, circular, tables._size)
    expected = torch.ops.colloc.signed_distance(x, straight, circular, tables._size)
    assert torch.equal(body > 0, expected > 0) and torch.equal(body == 0, expected == 0)
    torch.testing.assert_close(body, expected, rtol=4 * eps, atol=4 * eps * tables._size)
