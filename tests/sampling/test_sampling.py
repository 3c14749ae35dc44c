"""``colloc.sampling``: what it offers, and the sequences at their limits."""

from __future__ import annotations

import inspect

import colloc as cc
import pytest
import torch
from colloc.ops.sequences import METHODS

F64 = torch.float64


#: The samplers by the name of their sequence.
SAMPLERS = {
    one.method: one
    for one in (getattr(cc.sampling, name) for name in cc.sampling.__all__)
    if inspect.isclass(one) and isinstance(getattr(one, "method", None), str)
}


def test_names_and_signatures():
    functions = {
        name
        for name in cc.sampling.__all__
        if inspect.isfunction(getattr(cc.sampling, name))
        and list(inspect.signature(getattr(cc.sampling, name)).parameters)[:2] == ["n", "dim"]
    }
    assert set(METHODS) == functions == set(SAMPLERS)
    for name, sampler in SAMPLERS.items():
        assert sampler.__name__.lower() == name.replace("_", "")
    for name, function in METHODS.items():
        assert getattr(cc.sampling, name) is function is getattr(cc.ops, name)
        parameters = list(inspect.signature(function).parameters)
        assert parameters[:3] == ["n", "dim", "start"]
        assert {"seed", "dtype", "device"} <= set(parameters)
    assert list(inspect.signature(cc.sampling.hammersley).parameters)[3] == "total"


def test_first_points():
    expected = [[0, 0], [1 / 2, 1 / 3], [1 / 4, 2 / 3], [3 / 4, 1 / 9]]
    assert cc.sampling.halton(4, 2, dtype=F64).tolist() == expected
    expected = [[1 / 8, 0], [3 / 8, 1 / 2], [5 / 8, 1 / 4], [7 / 8, 3 / 4]]
    assert cc.sampling.hammersley(4, 2, dtype=F64).tolist() == expected
    expected = [[0, 0], [1 / 2, 1 / 2], [3 / 4, 1 / 4], [1 / 4, 3 / 4]]
    assert cc.sampling.sobol(4, 2, dtype=F64).tolist() == expected


def test_hammersley_as_far_as_its_first_coordinate_is_exact():
    total = 2**52
    last = cc.sampling.hammersley(3, 1, total - 3, total, dtype=F64)
    assert last[:, 0].tolist() == [(2 * (total - k) - 1) / (2 * total) for k in (2, 1, 0)]
    assert cc.sampling.hammersley(1, 1, total - 1, total, dtype=torch.float32).item() < 1
    for n, start, size in ((3, 2**54, 2**55), (3, 2**62, 2**63), (3, 2**70, None)):
        with pytest.raises(ValueError, match="total: expected at most 4503599627370496, got"):
            cc.sampling.hammersley(n, 1, start, size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", ["x", 1.5, True])
def test_a_wrong_seed_is_refused_in_one_dimension_too(method, seed):
    with pytest.raises(TypeError, match="seed: expected an integer"):
        METHODS[method](3, 1, seed=seed)


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_leaves_torchs_generator_alone(method):
    before = torch.get_rng_state()
    METHODS[method](8, 2, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("dim", [1, 5, 40])
def test_sobol_jumps_to_where_torchs_engine_walks(dim, seed):
    for start in (1, 2, 3, 64, 1000, 65535, 65536, 123_457):
        engine = torch.quasirandom.SobolEngine(dim, scramble=seed is not None, seed=seed)
        engine.fast_forward(start)
        points = cc.sampling.sobol(33, dim, start, seed=seed, dtype=F64)
        assert torch.equal(points, engine.draw(33, dtype=F64))


def test_sobol_reaches_its_last_point_and_no_further():
    last = cc.sampling.sobol(2, 1, 2**20 - 2, dtype=F64)
    both = cc.sampling.sobol(2**20, 1, dtype=F64)
    assert torch.equal(last, both[-2:])
    # the first 2^20 points are the multiples of 2^-20, each once
    assert torch.equal(both[:, 0].sort().values, torch.arange(2**20, dtype=F64) / 2**20)
    with pytest.raises(
        ValueError, match=r"start \+ n: expected at most 1073741824, got 1073741825"
    ):
        cc.sampling.sobol(1, 1, 2**30)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("seed", [None, 11])
@pytest.mark.parametrize("method", METHODS)
def test_empty_batches(method, seed, dtype):
    points = METHODS[method](0, 5, 3, seed=seed, dtype=dtype)
    assert points.shape == (0, 5) and points.dtype == dtype
