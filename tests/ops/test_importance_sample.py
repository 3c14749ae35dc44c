"""Op importance_sample: draws, weights, unbiasedness, extreme pools, errors, transformations."""

from __future__ import annotations

import itertools

import colloc as cc
import pytest
import torch
import torch._dynamo.testing
from reference import importance as reference
from reference.chi_square import uniform_enough

F32, F64 = torch.float32, torch.float64
SCHEMES = cc.ops.SCHEMES
ALL = pytest.mark.parametrize("scheme", SCHEMES)
sample = cc.ops.importance_sample


def pool(size, spread=3.0, zeros=True):
    generator = torch.Generator().manual_seed(size)
    q = torch.randn(size, generator=generator, dtype=F64).mul(spread).exp()
    if zeros and size > 3:
        q[:: max(size // 9, 2)] = 0
    return q / q.sum(), 0.1 + torch.rand(size, generator=generator, dtype=F64)


def expected_index(q, n, scheme, seed):
    if scheme == "without_replacement":
        order = reference.order(len(q), seed)
        return order[reference.systematic(q[order], n, float(reference.unit(seed, 0, 0)))]
    return reference.locate(q, reference.places(scheme, n, seed))


@ALL
@pytest.mark.parametrize("size", [1, 2, 10, 1025, 5000])
@pytest.mark.parametrize("n", [1, 5, 512, 513, 3000])
def test_against_the_reference(size, n, scheme, capability):
    for spread in (0.0, 4.0):
        q, area = pool(size, spread)
        if scheme == "without_replacement" and n > (q > 0).sum():
            continue
        for seed in (3, -(2**63)):
            draw = sample(q, n, area, scheme, seed=seed)
            index = expected_index(q, n, scheme, seed)
            assert draw.index.dtype == torch.int64 and torch.equal(draw.index, index)
            expected = reference.weights(q, index, n, area, scheme)
            torch.testing.assert_close(draw.weight, expected, rtol=1e-9, atol=0)


@ALL
def test_results(scheme):
    q, area = pool(300)
    for probabilities in (q, q[:, None], q.float(), q.repeat_interleave(2)[::2], 7.5 * q):
        for share in (None, area, area[:, None], area.float()):
            draw = sample(probabilities, 40, share, scheme, seed=1)
            assert torch.equal(draw.index, sample(q, 40, area, scheme, seed=1)[0])
            shape = (40, 1) if probabilities.ndim == 2 else (40,)
            wanted = torch.get_default_dtype() if share is None else share.dtype
            assert draw.weight.shape == shape and draw.weight.dtype == wanted
            expected = reference.weights(q, draw.index, 40, share, scheme)
            close = draw.weight.double().reshape(-1)
            torch.testing.assert_close(close, expected, rtol=1e-6, atol=0)
    assert sample(q, 4, area, scheme, seed=1, dtype=F32).weight.dtype == F32
    assert sample(q, 4, None, scheme, seed=1, dtype=F64).weight.dtype == F64


@ALL
def test_ascending_or_different_and_never_impossible(scheme):
    q, _ = pool(20_000, spread=6.0)
    for seed in range(20):
        index = sample(q, 3000, None, scheme, seed=seed).index
        if scheme == "without_replacement":
            assert len(index.unique()) == 3000
        else:
            assert index.diff().min() >= 0
        assert index.min() >= 0 and index.max() < 20_000 and (q[index] > 0).all()


@ALL
def test_unbiased_on_average(scheme):
    """The mean over seeds, within 4 standard errors, and exact for a loss that is q / f."""
    q, area = pool(40, spread=1.0, zeros=False)
    loss = torch.randn(40, dtype=F64)
    exact = (area * loss).sum() / area.sum()
    estimates = []
    for seed in range(3000):
        index, weight = sample(q, 9, area, scheme, seed=seed)
        estimates.append((weight * loss[index]).mean())
    estimates = torch.stack(estimates)
    assert (estimates.mean() - exact).abs() < 4 * estimates.std() / 3000**0.5
    if scheme != "without_replacement":
        index, weight = sample(q, 9, area, scheme, seed=0)
        ratio = (q * area.sum() / area)[index]
        torch.testing.assert_close((weight * ratio).mean(), torch.tensor(1.0, dtype=F64))


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_systematic_draws_are_unbiased_exactly(n):
    """The integral over the start, piece by piece: no start is left out."""
    q = torch.tensor([0.05, 0.5, 0.0, 0.02, 0.13, 0.2, 0.1], dtype=F64)
    area = torch.tensor([1.0, 2, 3, 0.5, 1, 1, 2], dtype=F64) * (q > 0)
    loss = torch.tensor([1.0, -2, 5, 4, 0.3, 7, 1], dtype=F64)
    pi = reference.inclusion(q, n)
    rest = torch.where(pi > 1 - 1e-12, 0.0, pi)
    breaks = torch.cat([rest.cumsum(0) % 1.0, torch.tensor([0.0, 1.0], dtype=F64)]).sort().values
    total, seen = 0.0, torch.zeros_like(pi)
    for low, high in itertools.pairwise(breaks):
        index = reference.systematic(q, n, float(low + high) / 2)
        assert len(index.unique()) == n
        weight = reference.weights(q, index, n, area, "without_replacement")
        total += (high - low) * (weight * loss[index]).mean()
        seen[index] += high - low
    torch.testing.assert_close(total, (area * loss).sum() / area.sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(seen, pi, rtol=0, atol=1e-12)
    # and the op draws as the reference does, for whatever start its seed gives
    counts = torch.zeros_like(pi)
    for seed in range(3000):
        index = sample(q, n, area, "without_replacement", seed=seed).index
        if seed < 50:
            assert torch.equal(index, expected_index(q, n, "without_replacement", seed))
        counts[index] += 1
    assert ((counts / 3000 - pi).abs() <= 4 * (pi * (1 - pi) / 3000).sqrt() + 1e-12).all()


@pytest.mark.parametrize("size", [30, 200_000])
@pytest.mark.parametrize("n", [100_000, 300])
def test_multinomial_chi_square(size, n):
    q, _ = pool(size, spread=1.0, zeros=False)
    groups = torch.arange(size) * 20 // size
    expected = torch.zeros(20, dtype=F64).index_add_(0, groups, q)
    counts = torch.zeros(20, dtype=F64)
    for seed in range(5):
        index = sample(q, n, None, seed=seed).index
        counts.index_add_(0, groups[index], torch.ones(n, dtype=F64))
    uniform_enough(counts, 5 * n * expected)


def test_stratified_places_are_uniform_in_their_strata():
    n, parts = 20_000, 64
    q = torch.ones(n * parts, dtype=F64)
    index = sample(q, n, None, "stratified", seed=2).index
    assert torch.equal(index // parts, torch.arange(n))
    counts = torch.bincount(index % parts, minlength=parts).double()
    uniform_enough(counts, torch.full((parts,), n / parts, dtype=F64))


def test_systematic_starts_are_uniform():
    n, parts, seeds = 3, 16, 4000
    q = torch.ones(n * parts, dtype=F64)
    counts = torch.zeros(parts, dtype=F64)
    for seed in range(seeds):
        index = sample(q, n, None, "without_replacement", seed=seed).index
        place = reference.order(n * parts, seed).argsort()[index]
        assert torch.equal(place.diff(), torch.full((n - 1,), parts))
        counts[place[0]] += 1
    uniform_enough(counts, torch.full((parts,), seeds / parts, dtype=F64))


def test_stratified_counts_stay_near_their_expectation():
    q, _ = pool(500, spread=1.0)
    for n in (100, 5000):
        index = sample(q, n, None, "stratified", seed=1).index
        counts = torch.bincount(index, minlength=500)
        assert (counts - n * q).abs().max() < 2


def test_pools_larger_than_float32_can_count():
    size = 2**24 + 2**20 + 3
    q = torch.rand(size, dtype=F64)
    for scheme in SCHEMES:
        index = sample(q, 2000, None, scheme, seed=5).index
        assert index.max() > 2**24
        if scheme == "stratified":
            expected = reference.locate(q, reference.places(scheme, 2000, 5))
            assert (index - expected).abs().max() <= 1


@ALL
def test_threads_and_capabilities_draw_the_same(scheme, capability):
    q, area = pool(100_000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = sample(q, 40_000, area, scheme, seed=8)
        torch.set_num_threads(2)
        two = sample(q, 40_000, area, scheme, seed=8)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.index, two.index) and torch.equal(one.weight, two.weight)
    cc._C.set_cpu_capability("baseline")
    assert torch.equal(one.index, sample(q, 40_000, area, scheme, seed=8).index)
    cc._C.set_cpu_capability(capability)


@ALL
def test_seeds(scheme):
    q, _ = pool(1000, zeros=False)
    a, b = (sample(q, 100, None, scheme, seed=s).index for s in (1, 2))
    assert not torch.equal(a, b)
    torch.manual_seed(4)
    first, second = (sample(q, 100, None, scheme).index for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert torch.equal(sample(q, 100, None, scheme).index, first)


@ALL
def test_skewed_pools(scheme, capability):
    tiny = torch.full((3000,), 1e-300, dtype=F64)
    tiny[1500] = 1.0
    index, weight = sample(tiny, 700, None, scheme, seed=1, dtype=F64)
    if scheme == "without_replacement":
        assert len(index.unique()) == 700 and 1500 in index
        sure = index == 1500
        torch.testing.assert_close(weight[sure].item(), 700 / 3000)
        torch.testing.assert_close(
            weight[~sure], torch.full((699,), 700 / 3000 * 2999 / 699, dtype=F64)
        )
    else:
        assert (index == 1500).all()
        torch.testing.assert_close(weight, torch.full((700,), 1 / 3000, dtype=F64))
    ends = torch.zeros(2500, dtype=F64)
    ends[0], ends[-1] = 1e-5, 1.0
    index = sample(ends, 2, None, scheme, seed=1).index.sort().values
    assert index.tolist() == ([0, 2499] if scheme == "without_replacement" else [2499, 2499])
    huge = torch.tensor([1e300, 5e299, 0.0, 5e299], dtype=F64)
    expected = sample(huge / 1e300, 3, None, scheme, seed=1, dtype=F64)
    found = sample(huge, 3, None, scheme, seed=1, dtype=F64)
    assert torch.equal(found.index, expected.index)
    torch.testing.assert_close(found.weight, expected.weight, rtol=1e-14, atol=0)


@pytest.mark.parametrize("least", [1e-11, 1e-14])
def test_probabilities_just_below_one_give_no_point_twice(least, capability):
    """Every place lies at the edge of a point."""
    for seed in range(4):
        start = float(reference.unit(seed, 0, 0))
        q = torch.full((100_001,), 1 - least, dtype=F64)
        q[0], q[-1] = start, 1 - start + 99_999 * least
        q = q[reference.order(100_001, seed).argsort()]  # so that it is this in the op's order
        index = sample(q * 0.7346513, 100_000, None, "without_replacement", seed=seed).index
        assert len(index.unique()) == 100_000 and index.min() >= 0 and index.max() <= 100_000


@pytest.mark.parametrize("n", [1, 3, 500, 900, 999, 1000])
def test_a_pool_that_is_certain_step_by_step(n):
    """With q = 2^-i every pass over the pool makes only a few more points certain."""
    q = 2.0 ** -torch.arange(1000, dtype=F64)
    q = q[torch.randperm(1000)]
    index, weight = sample(q, n, None, "without_replacement", seed=6, dtype=F64)
    assert len(index.unique()) == n
    largest = q.topk(max(n - 4, 1)).indices
    if n > 3:
        assert set(largest.tolist()) <= set(index.tolist())
    sure = torch.isin(index, largest)
    if n > 3:
        torch.testing.assert_close(weight[sure], torch.full_like(weight[sure], n / 1000))
    expected = reference.weights(q, index, n, None, "without_replacement")
    torch.testing.assert_close(weight, expected, rtol=1e-9, atol=0)


@ALL
def test_no_draws_and_one_point(scheme):
    q, area = pool(10)
    index, weight = sample(q[:, None], 0, area, scheme, seed=1)
    assert index.shape == (0,) and weight.shape == (0, 1) and index.dtype == torch.int64
    one = torch.tensor([0.3], dtype=F64)
    assert sample(one, 1, None, scheme, seed=1).index.tolist() == [0]
    torch.testing.assert_close(sample(one, 1, None, scheme, seed=1, dtype=F64).weight.item(), 1.0)
    if scheme != "without_replacement":
        assert sample(one, 600, None, scheme, seed=1).index.eq(0).all()


def test_with_the_probabilities_of_a_residual():
    """The chain that a training step uses: the estimate of a mean loss from drawn points."""
    residual, area = torch.randn(50_000, 2).mul(2).exp(), torch.rand(50_000, 1)
    q = cc.ops.importance_probabilities(residual, area, norm=True, relative_floor=1e-3)
    exact = (area[:, 0] * residual.square().sum(1)).sum() / area.sum()
    for scheme in SCHEMES:
        index, weight = sample(q, 5000, area, scheme, seed=0)
        estimate = (weight[:, 0] * residual[index].square().sum(1)).mean()
        assert (estimate / exact - 1).abs() < 0.2
    torch.testing.assert_close(sample(q, 5000, area, "stratified", seed=0).weight.mean().item(),
                               1.0, rtol=0.1, atol=0)  # fmt: skip


@ALL
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e-9])
def test_bad_entries_are_counted(scheme, bad):
    q, area = pool(5000)
    for at in (0, 1023, 4999):
        broken = q.clone()
        broken[at] = broken[4999] = bad
        text = f"got {1 if at == 4999 else 2} of 5000 that are not, the first at index {at}."
        with pytest.raises(ValueError, match="probabilities: expected finite numbers >=") as info:
            sample(broken, 5, area, scheme, seed=1)
        assert text in str(info.value)
        with pytest.raises(ValueError, match="area: expected finite numbers >= 0") as info:
            sample(q, 5, broken, scheme, seed=1)
        assert text in str(info.value)


THREE = torch.ones(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], 2), TypeError, "probabilities: expected a float32 or float64"),
        ((torch.ones(3, dtype=torch.int64), 2), TypeError, "probabilities: expected a float32"),
        ((torch.ones(3, 2), 2), ValueError, "probabilities: expected a float32"),
        ((torch.ones(0), 2), ValueError, "probabilities: expected at least one point"),
        ((torch.zeros(3), 2), ValueError, "probabilities: expected a sum > 0"),
        ((torch.full((3,), 1.7e308, dtype=F64), 2), ValueError, "expected a finite sum"),
        ((THREE, -1), ValueError, "n: expected an integer >= 0, got -1"),
        ((THREE, 2.0), TypeError, "n: expected an integer"),
        ((THREE, 2**63), ValueError, "n: expected an integer <="),
        ((THREE, 2, torch.ones(2)), ValueError, "area: expected 3 shares"),
        ((THREE, 2, torch.ones(1, 3)), ValueError, "area: expected None or"),
        ((THREE, 2, torch.zeros(3)), ValueError, "area: expected a sum from 1e-290"),
        ((THREE, 2, None, "random"), ValueError, "scheme: expected one of 'multinomial'"),
        ((THREE, 4, None, "without_replacement"), ValueError, "n: expected at most 3"),
        ((torch.tensor([1.0, 0, 2]), 3, None, "without_replacement"), ValueError, "at most 2, the"),
        ((THREE, 2**50), MemoryError, "n: expected a number of points that memory holds"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        sample(*arguments)
    assert message in str(info.value)


def test_errors_of_options():
    with pytest.raises(TypeError, match="seed: expected an integer"):
        sample(THREE, 2, seed=1.5)
    with pytest.raises(ValueError, match=r"dtype: expected torch\.float32"):
        sample(THREE, 2, dtype=torch.float16)


def test_raw_op_checks_its_arguments():
    op = torch.ops.colloc.importance_sample
    one = torch.ones(3, dtype=F64)
    for arguments, message in (
        ((one.float(), 1, None, "stratified", 0, F32), "probabilities: expected float64"),
        ((one[:0], 1, None, "stratified", 0, F32), "probabilities: expected at least one"),
        ((one, -1, None, "stratified", 0, F32), "n: expected an integer >= 0"),
        ((one, 1, one[:2], "stratified", 0, F32), "area: expected 3 numbers"),
        ((one, 1, None, "other", 0, F32), "scheme: expected one of"),
        ((one, 1, None, "stratified", 0, torch.int64), "dtype: expected"),
    ):
        with pytest.raises(RuntimeError, match=message):
            op(*arguments)


@ALL
def test_meta_and_opcheck(scheme):
    draw = sample(torch.empty(5, 1, device="meta"), 3, scheme=scheme, seed=1)
    assert draw.index.shape == (3,) and draw.weight.shape == (3, 1)
    op = torch.ops.colloc.importance_sample.default
    q, area = pool(20)
    for arguments in ((q, 5, None, scheme, 3, F32), (q, 0, area[:, None], scheme, -1, F64)):
        torch.library.opcheck(op, arguments)


def test_compiles_without_recompiling_for_every_seed():
    torch._dynamo.reset()
    q, area = pool(200)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter, dynamic=True)
    def compiled(q, seed):
        index, weight = sample(q, 16, area, "stratified", seed=seed)
        return index * 2, weight

    for seed in range(5, 9):
        index, weight = compiled(q, seed)
        expected = sample(q, 16, area, "stratified", seed=seed)
        assert torch.equal(index, expected.index * 2) and torch.equal(weight, expected.weight)
    assert counter.frame_count <= 2
    q[3] = float("nan")
    with pytest.raises(RuntimeError, match="probabilities: expected finite numbers >= 0, got 1"):
        compiled(q, 1)


@ALL
def test_numbers_at_the_end_of_the_range_are_refused(scheme):
    with pytest.raises(ValueError, match="probabilities: expected a largest one of 1e-290 or more"):
        sample(torch.full((100,), 5e-324, dtype=F64), 10, None, scheme, seed=0)
    for share in (1e-310, 1e295):
        area = torch.full((2,), share, dtype=F64)
        with pytest.raises(ValueError, match="area: expected a sum from 1e-290 to 1e290"):
            sample(torch.ones(2), 1, area, scheme, seed=0)
