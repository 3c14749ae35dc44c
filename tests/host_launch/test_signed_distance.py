"""The bodies of the kernels signed_distance and signed_distance_slope, run on the host with the
grid they have on the GPU. Arrays have guard values behind them; behind an input they are NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from colloc.geometry import Arc, Circle, Segment
from colloc.geometry._tables import Tables, _made

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


@DTYPES
@pytest.mark.parametrize("columns", [1, 2])
def test_bodies(columns, dtype):
    name = "signed_distance" if columns == 1 else "signed_distance_slope"
    tables = {key: Tables(pieces) for key, pieces in SETS.items()}
    for key, pieces in SETS.items():
        straight, circular = _made(tables[key], torch.device("cpu"))
        for count in (1, 3, 65, 132 * 32 * 128 + 77 if key == "triangle" else 64):
            x = points(pieces, count, dtype)
            out = np.full(columns * count + GUARDS, GUARD, NUMPY[dtype])
            arrays = (
                with_guards(x.numpy(), NUMPY[dtype]),
                with_guards(straight.numpy(), np.float64),
                with_guards(circular.numpy(), np.float64),
            )
            suffix = "float32" if dtype == torch.float32 else "float64"
            sizes = (count, len(straight), len(circular))
            getattr(host, f"{name}_{suffix}")(*sizes, *arrays, tables[key]._size, out)
            assert np.all(out[columns * count :] == GUARD), "written past the end"
            found = torch.from_numpy(out[: columns * count]).reshape(count, columns)
            expected = getattr(torch.ops.colloc, name)(x, straight, circular, tables[key]._size)
            torch.testing.assert_close(found, expected, equal_nan=True, rtol=4e-7 if
                                       dtype == torch.float32 else 1e-15, atol=1e-6 if
                                       dtype == torch.float32 else 1e-15)  # fmt: skip
