"""hammersley, sobol, uniform and latin_hypercube."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc.ops.sequences import mixed

F64 = torch.float64
ALL = ("halton", "hammersley", "sobol", "uniform", "latin_hypercube")


def test_hammersley_is_its_definition():
    points = cc.sampling.hammersley(7, 3, dtype=F64)
    index = torch.arange(7, dtype=F64)
    assert torch.equal(points[:, 0], (index + 0.5) / 7)
    assert torch.equal(points[:, 1:], cc.sampling.halton(7, 2, dtype=F64))


def test_hammersley_stretches_of_one_set():
    whole = cc.sampling.hammersley(50, 4, total=50, dtype=F64)
    parts = [cc.sampling.hammersley(10, 4, start, 50, dtype=F64) for start in range(0, 50, 10)]
    assert torch.equal(torch.cat(parts), whole)


def test_hammersley_far_out_and_one_dimension():
    points = cc.sampling.hammersley(3, 1, 2**40, 2**41, dtype=F64)
    exact = [(2**40 + i + 0.5) / 2**41 for i in range(3)]
    assert points[:, 0].tolist() == exact


def test_sobol_is_torchs():
    engine = torch.quasirandom.SobolEngine(5)
    assert torch.equal(cc.sampling.sobol(64, 5, dtype=F64), engine.draw(64, dtype=F64))
    scrambled = torch.quasirandom.SobolEngine(5, scramble=True, seed=3)
    points = cc.sampling.sobol(64, 5, seed=3, dtype=F64)
    expected = scrambled.draw(64, dtype=F64)
    assert torch.equal(points[1:], expected[1:])
    # torch rounds its first point to the default dtype; ours is the multiple of 2^-30
    torch.testing.assert_close(points[0], expected[0], rtol=0, atol=1e-7)
    assert torch.equal(points[0] * 2**30, (points[0] * 2**30).round())


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("method", ["halton", "sobol"])
def test_consecutive_batches_are_one_sequence(method, seed):
    draw = getattr(cc.sampling, method)
    whole = draw(96, 3, seed=seed, dtype=F64)
    parts = [draw(32, 3, start, seed=seed, dtype=F64) for start in (0, 32, 64)]
    assert torch.equal(torch.cat(parts), whole)


def test_uniform_seeds_and_starts():
    draw = cc.sampling.uniform
    assert torch.equal(draw(9, 2, 4, seed=1), draw(9, 2, 4, seed=1))
    batches = [draw(2000, 2, start, seed=seed) for start, seed in ((0, 1), (2000, 1), (0, 2))]
    for a in range(3):
        for b in range(a):
            correlation = torch.corrcoef(torch.stack([batches[a][:, 0], batches[b][:, 0]]))[0, 1]
            assert abs(correlation) < 0.1
    torch.manual_seed(7)
    first = draw(5, 2)
    torch.manual_seed(7)
    assert torch.equal(first, draw(5, 2))
    assert not torch.equal(first, draw(5, 2))


def test_latin_hypercube_has_one_point_in_every_slice():
    draw = cc.sampling.latin_hypercube
    for n in (1, 2, 7, 1000):
        points = draw(n, 3, seed=4, dtype=F64)
        slices = (points * n).floor().long()
        assert torch.equal(slices.sort(dim=0).values, torch.arange(n)[:, None].expand(n, 3))
    # jittered, and the axes in orders of their own
    inside = (points * n - slices).mean(dim=0)
    assert bool(((inside - 0.5).abs() < 0.05).all())
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(torch.corrcoef(points[:, [a, b]].T)[0, 1]) < 0.1
    assert abs(torch.corrcoef(torch.stack((points[:, 0], torch.arange(n) / n)))[0, 1]) < 0.1


def test_latin_hypercube_seeds_and_starts():
    draw = cc.sampling.latin_hypercube
    assert torch.equal(draw(9, 2, 4, seed=1), draw(9, 2, 4, seed=1))
    assert torch.equal(draw(9, 2, 4, seed=1, dtype=F64).float(), draw(9, 2, 4, seed=1))
    sets = [draw(9, 2, start, seed=seed) for start, seed in ((0, 1), (9, 1), (0, 2))]
    assert all(not torch.equal(sets[a], sets[b]) for a in range(3) for b in range(a))
    torch.manual_seed(7)
    first = draw(5, 2)
    torch.manual_seed(7)
    assert torch.equal(first, draw(5, 2))
    assert not torch.equal(first, draw(5, 2))


def test_seeds_of_several_draws_are_unrelated():
    seeds = {mixed(seed, number) for seed in (0, 1, -5, 2**63 - 1) for number in range(100)}
    assert len(seeds) == 400 and all(0 <= seed < 2**63 for seed in seeds)
    assert mixed(3, 7) == mixed(3, 7) != mixed(7, 3)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("method", ALL)
def test_shape_dtype_and_range(method, dtype):
    draw = getattr(cc.sampling, method)
    for n in (0, 1, 1000):
        points = draw(n, 6, dtype=dtype)
        assert points.shape == (n, 6) and points.dtype == dtype
        assert bool(((points >= 0) & (points < 1)).all())


def test_float32_never_rounds_to_one():
    # (i + 1/2) / total rounds to 1 in float32 for the last of so many points
    assert cc.sampling.hammersley(1, 1, 2**40 - 1, 2**40, dtype=torch.float32).item() < 1


@pytest.mark.parametrize("method", ALL)
def test_even_enough_to_integrate(method):
    points = getattr(cc.sampling, method)(4096, 2, dtype=F64)
    value = (torch.pi / 2 * torch.sin(torch.pi * points)).prod(1).mean().item()
    assert abs(value - 1) < {"uniform": 0.05, "latin_hypercube": 0.015}.get(method, 0.003)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"n": -1, "dim": 2}, "n: expected an integer >= 0, got -1"),
        ({"n": 2, "dim": 0}, "dim: expected an integer >= 1, got 0"),
        ({"n": 2, "dim": 2, "start": -3}, "start: expected an integer >= 0"),
        ({"n": 2, "dim": 2, "dtype": torch.int64}, "dtype: expected torch.float32 or"),
        ({"n": 2.5, "dim": 2}, "n: expected an integer"),
        ({"n": True, "dim": 2}, "n: expected an integer"),
        ({"n": 2, "dim": 2, "seed": "x"}, "seed: expected an integer"),
    ],
)
def test_errors(method, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(cc.sampling, method)(**arguments)


def test_limits_of_their_own():
    with pytest.raises(ValueError, match="total: expected at least start \\+ n = 12, got 11"):
        cc.sampling.hammersley(10, 2, 2, 11)
    with pytest.raises(ValueError, match="dim: expected an integer <= 21201"):
        cc.sampling.sobol(2, 30_000)
    with pytest.raises(ValueError, match="start \\+ n: expected at most 1073741824"):
        cc.sampling.sobol(2, 2, 2**30)


@pytest.mark.parametrize("method", ["hammersley", "uniform", "latin_hypercube"])
def test_more_points_than_memory_holds(method):
    with pytest.raises(MemoryError, match=r"n: expected .* bytes .* chunks"):
        getattr(cc.sampling, method)(2**45, 2)
    with pytest.raises(ValueError, match="expected"):
        getattr(cc.sampling, method)(2**63, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("method", ALL)
def test_a_gpu_that_is_not_there(method):
    with pytest.raises(RuntimeError, match=r"device: expected a device that .* got cuda"):
        getattr(cc.sampling, method)(4, 2, seed=1, device="cuda")
