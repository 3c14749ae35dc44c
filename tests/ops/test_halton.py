"""Op halton: values, options, capabilities, errors, torch's transformations."""

from __future__ import annotations

from pathlib import Path

import colloc as cc
import numpy as np
import pytest
import torch
import torch._dynamo.testing
from reference.halton import halton_exact, halton_torch

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "halton.npz")


@pytest.mark.parametrize("n", [1, 7, 256])
def test_golden_vectors(capability, n):
    points = cc.ops.halton(n, 8, dtype=torch.float64).numpy()
    assert np.array_equal(points, GOLDEN["first256x8"][:n])


def test_golden_far_indices(capability):
    for index, row in zip(GOLDEN["indices_far"], GOLDEN["far"], strict=True):
        point = cc.ops.halton(1, 8, start=int(index), dtype=torch.float64)
        assert np.array_equal(point[0].numpy(), row)


@pytest.mark.parametrize("start", [0, 1, 5, 4095, 4096, 10**6, 2**31 - 3, 2**32 - 3, 2**40 - 4])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 9, 40])
def test_correctly_rounded_everywhere(capability, start, dim):
    points = cc.ops.halton(9, dim, start=start, dtype=torch.float64)
    exact = torch.tensor(halton_exact(range(start, start + 9), dim), dtype=torch.float64)
    assert torch.equal(points, exact)


def test_long_stretch_crosses_tables_and_blocks(capability):
    n, start = 20_011, 4096 * 3 - 17
    points = cc.ops.halton(n, 3, start=start, dtype=torch.float64)
    plain = halton_torch(n, 3, start)
    assert (points - plain).abs().max() <= 2.2e-16 * 2
    some = torch.arange(0, n, 97)
    exact = torch.tensor(halton_exact((some + start).tolist(), 3), dtype=torch.float64)
    assert torch.equal(points[some], exact)


def test_capabilities_give_the_same_bits(capability):
    for dtype in (torch.float32, torch.float64):
        points = cc.ops.halton(3000, 7, start=12345, dtype=dtype, seed=4)
        cc._C.set_cpu_capability("baseline")
        assert torch.equal(points, cc.ops.halton(3000, 7, start=12345, dtype=dtype, seed=4))
        cc._C.set_cpu_capability(capability)


def test_threads_do_not_matter():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = cc.ops.halton(100_000, 2)
        torch.set_num_threads(2)
        assert torch.equal(one, cc.ops.halton(100_000, 2))
    finally:
        torch.set_num_threads(before)


def test_stretches_continue():
    whole = cc.ops.halton(1000, 5, start=77)
    parts = [cc.ops.halton(n, 5, start=s) for n, s in ((400, 77), (1, 477), (599, 478))]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("seed", [None, 11])
@pytest.mark.parametrize("leap", [2, 409, 2**20 + 7])
def test_leap(leap, seed):
    points = cc.ops.halton(50, 6, start=3, leap=leap, seed=seed, dtype=torch.float64)
    # one by one: a single point takes no tables
    each = [
        cc.ops.halton(1, 6, start=3 + leap * i, seed=seed, dtype=torch.float64) for i in range(50)
    ]
    assert torch.equal(points, torch.cat(each))


def test_float32_is_the_rounded_float64_and_never_one():
    wide = cc.ops.halton(5000, 4, start=2**24 - 2500, dtype=torch.float64)
    narrow = cc.ops.halton(5000, 4, start=2**24 - 2500, dtype=torch.float32)
    below_one = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    assert torch.equal(narrow, wide.float().clamp(max=below_one))
    # base 2 at 2^k - 1 is 1 - 2^-k, which rounds to 1 in float32 from k = 25 on
    for k in (24, 25, 30, 40):
        point = cc.ops.halton(1, 1, start=2**k - 1, dtype=torch.float32)
        assert point.item() == min(1 - 2.0**-k, below_one.item())


def test_float64_is_never_one_even_past_53_bits():
    point = cc.ops.halton(1, 1, start=2**60 - 1, dtype=torch.float64)
    assert 1 - 2.0**-52 <= point.item() < 1.0
    far = cc.ops.halton(3, 5, start=2**58 + 12345, dtype=torch.float64)
    exact = torch.tensor(halton_exact(range(2**58 + 12345, 2**58 + 12348), 5), dtype=torch.float64)
    assert (far - exact).abs().max() <= 2.3e-16


def test_scrambling_is_a_permutation_of_each_digit():
    """In base b the first b^k scrambled points hit each of the b^k cells once."""
    points = cc.ops.halton(3**5, 6, seed=9, dtype=torch.float64)
    for axis, base in ((0, 2), (1, 3), (2, 5)):
        k = int(np.log(3**5) / np.log(base) + 1e-9)
        cells = (points[: base**k, axis] * base**k).floor().long()
        assert torch.equal(cells.sort().values, torch.arange(base**k))


def test_scrambling_depends_on_the_seed_alone():
    a = cc.ops.halton(200, 5, seed=1)
    assert torch.equal(a, cc.ops.halton(200, 5, seed=1))
    for other in (0, 2, -1, None):
        assert not torch.equal(a, cc.ops.halton(200, 5, seed=other))
    assert torch.equal(a[50:], cc.ops.halton(150, 5, start=50, seed=1))


def test_scrambling_removes_the_stripes_of_high_bases():
    plain = cc.ops.halton(100, 40, start=1, dtype=torch.float64)[:, 38:]
    mixed = cc.ops.halton(100, 40, start=1, seed=3, dtype=torch.float64)[:, 38:]
    assert np.corrcoef(plain.numpy().T)[0, 1] > 0.8
    assert abs(np.corrcoef(mixed.numpy().T)[0, 1]) < 0.35
    assert abs(mixed.mean() - 0.5) < 0.06


def test_scrambled_mean_over_seeds_is_a_half():
    means = torch.stack(
        [cc.ops.halton(1, 3, start=5, seed=s, dtype=torch.float64)[0] for s in range(4000)]
    ).mean(0)
    assert (means - 0.5).abs().max() < 4 * (1 / 12) ** 0.5 / 4000**0.5


@pytest.mark.parametrize("n", [0, 1])
def test_few_points(n):
    points = cc.ops.halton(n, 3, dtype=torch.float32)
    assert points.shape == (n, 3) and points.dtype == torch.float32
    assert torch.equal(points, torch.zeros(n, 3))


def test_many_dimensions():
    points = cc.ops.halton(3, 500, start=1, dtype=torch.float64)
    exact = torch.tensor(halton_exact([1, 2, 3], 500), dtype=torch.float64)
    assert torch.equal(points, exact)
    assert cc.ops.halton(2, 10_000, start=10**9).shape == (2, 10_000)


def test_default_dtype_and_device():
    assert cc.ops.halton(2, 2).dtype == torch.get_default_dtype()
    assert cc.ops.halton(2, 2, device="meta").device.type == "meta"
    with torch.device("meta"):
        assert cc.ops.halton(2, 2).device.type == "meta"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": -1, "dim": 2}, ValueError, "n: expected an integer >= 0, got -1"),
        ({"n": 2.0, "dim": 2}, TypeError, "n: expected an integer"),
        ({"n": True, "dim": 2}, TypeError, "n: expected an integer"),
        ({"n": 4, "dim": 0}, ValueError, "dim: expected an integer >= 1, got 0"),
        ({"n": 4, "dim": 10_001}, ValueError, "dim: expected an integer <= 10000"),
        ({"n": 4, "dim": 2, "start": -3}, ValueError, "start: expected an integer >= 0, got -3"),
        ({"n": 4, "dim": 2, "leap": 0}, ValueError, "leap: expected an integer >= 1, got 0"),
        ({"n": 4, "dim": 2, "start": 2**62}, ValueError, "start: expected start"),
        ({"n": 2**40, "dim": 2, "leap": 2**40}, ValueError, "start: expected start"),
        ({"n": 4, "dim": 2, "seed": 1.5}, TypeError, "seed: expected an integer"),
        ({"n": 4, "dim": 2, "dtype": torch.int64}, ValueError, "dtype: expected torch.float32"),
        ({"n": 4, "dim": 2, "dtype": torch.float16}, ValueError, "dtype: expected torch.float32"),
        ({"n": 4, "dim": 2, "dtype": "float32"}, TypeError, "dtype: expected torch.float32"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        cc.ops.halton(**arguments)
    assert message in str(info.value)


def test_raw_op_checks_its_arguments():
    cpu = torch.device("cpu")
    op = torch.ops.colloc.halton
    for arguments, message in (
        ((-1, 2, 0, 1, None, torch.float32, cpu), "n: expected"),
        ((1, 0, 0, 1, None, torch.float32, cpu), "dim: expected"),
        ((1, 2, -1, 1, None, torch.float32, cpu), "start: expected"),
        ((1, 2, 0, 0, None, torch.float32, cpu), "leap: expected"),
        ((1, 2, 2**63 - 1, 1, None, torch.float32, cpu), "start: expected"),
        ((1, 2, 0, 1, None, torch.int32, cpu), "dtype: expected"),
    ):
        with pytest.raises(RuntimeError, match=message):
            op(*arguments)


def test_device_without_kernels_is_named():
    device = "mps" if not torch.cuda.is_available() else "xpu"
    with pytest.raises(RuntimeError, match="device: expected"):
        cc.ops.halton(2, 2, device=device)


def test_opcheck():
    cpu = torch.device("cpu")
    for arguments in (
        (5, 3, 0, 1, None, torch.float32, cpu),
        (0, 2, 7, 3, 5, torch.float64, cpu),
    ):
        torch.library.opcheck(torch.ops.colloc.halton.default, arguments)


def test_compiles_without_recompiling_for_every_start():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter, dynamic=True)
    def batch(start):
        return cc.ops.halton(64, 2, start) * 2

    for start in (64, 128, 192, 256):
        assert torch.equal(batch(start), cc.ops.halton(64, 2, start) * 2)
    assert counter.frame_count <= 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 2**45, "dim": 1}, MemoryError, "n: expected a number of points that memory holds"),
        ({"n": 2**62, "dim": 1}, MemoryError, "bytes"),
        ({"n": 1, "dim": 1, "leap": 2**63}, ValueError, "leap: expected an integer <="),
        ({"n": 1, "dim": 1, "start": 2**63}, ValueError, "start: expected an integer <="),
        ({"n": 2**63, "dim": 1}, ValueError, "n: expected an integer <="),
        ({"n": "3", "dim": 2}, TypeError, "n: expected an integer, got '3' (str)"),
        ({"n": 3, "dim": 2, "dtype": "float32"}, TypeError, "got 'float32' (str)"),
    ],
)
def test_sizes_and_types(arguments, error, message):
    with pytest.raises(error) as info:
        cc.ops.halton(**arguments)
    assert message in str(info.value)
