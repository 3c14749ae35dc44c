"""Op importance_probabilities: values, extreme numbers, layouts, errors, transformations."""

from __future__ import annotations

import warnings

import colloc as cc
import pytest
import torch
from reference import importance as reference

F32, F64 = torch.float32, torch.float64
DTYPES = pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
probabilities = cc.ops.importance_probabilities


def pool(size, columns, dtype):
    generator = torch.Generator().manual_seed(size)
    rows = torch.randn(size, columns, generator=generator, dtype=F64)
    area = 0.01 + torch.rand(size, generator=generator, dtype=F64)
    if size > 2:
        rows[:: max(size // 7, 3)] = 0
        area[1 :: max(size // 5, 3)] = 0
    return rows.to(dtype), area.to(dtype)


@DTYPES
@pytest.mark.parametrize("size", [1, 2, 7, 513, 9001])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 7])
def test_formula(size, columns, dtype, capability):
    rows, area = pool(size, columns, dtype)
    for options in (
        {"floor": 0.25},
        {"relative_floor": 1e-3},
        {"floor": 1e-3, "power": 2.0},
        {"power": 0.5, "relative_floor": 1.0},
        {"power": 1.7, "relative_floor": 0.5},
        {"power": 0.0},
    ):
        for share in (None, area):
            q = probabilities(rows, share, norm=True, **options)
            expected = reference.probabilities(rows, share, norm=True, **options)
            assert q.shape == (size, 1) and q.dtype == F64
            torch.testing.assert_close(q[:, 0], expected, rtol=1e-13, atol=1e-300)
            plain = rows[:, 0].abs()
            for measure in (plain, plain[:, None]):
                q = probabilities(measure, share, **options)
                assert q.shape == measure.shape
                expected = reference.probabilities(plain, share, **options)
                torch.testing.assert_close(q.reshape(-1), expected, rtol=1e-13, atol=1e-300)


def test_sum_is_one_at_ten_million_points():
    size = 10_000_000
    measure = torch.rand(size).pow_(8)
    q = probabilities(measure, torch.rand(size), relative_floor=1e-3)
    assert abs(q.sum().item() - 1) < 1e-12
    assert abs(q.flip(0).cumsum(0)[-1].item() - 1) < 1e-10


def test_threads_do_not_matter():
    rows, area = pool(300_001, 4, F32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = probabilities(rows, area, norm=True, relative_floor=1e-3)
        torch.set_num_threads(2)
        assert torch.equal(one, probabilities(rows, area, norm=True, relative_floor=1e-3))
    finally:
        torch.set_num_threads(before)


@DTYPES
def test_area_of_either_shape_and_dtype(dtype):
    rows, area = pool(100, 3, dtype)
    expected = reference.probabilities(rows, area, norm=True, floor=0.1)
    for share in (area, area[:, None], area.repeat_interleave(2)[::2]):
        q = probabilities(rows, share, 0.1, norm=True)
        torch.testing.assert_close(q[:, 0], expected, rtol=1e-13, atol=0)
    other = F64 if dtype == F32 else F32
    expected = reference.probabilities(rows, area.to(other), norm=True, floor=0.1)
    q = probabilities(rows, area.to(other), 0.1, norm=True)
    torch.testing.assert_close(q[:, 0], expected, rtol=1e-13, atol=0)


@DTYPES
def test_strided_rows(dtype):
    wide = torch.randn(700, 6, 5, dtype=dtype)
    for rows in (
        wide[:, 1:4, 2],  # components of a jet
        wide[:, 2, 1:4],
        wide[:, :, 0].t().contiguous().t(),
        wide[::3, 0],
        wide[:1, 0].expand(9, 5),
    ):
        q = probabilities(rows, norm=True, relative_floor=0.1)
        expected = reference.probabilities(rows, norm=True, relative_floor=0.1)
        torch.testing.assert_close(q[:, 0], expected, rtol=1e-13, atol=0)
    wide = wide.abs()
    column = wide[:, 0, 3]
    assert column.stride(0) == 30
    q = probabilities(wide[:, 0, 3:4])
    torch.testing.assert_close(q[:, 0], reference.probabilities(column), rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 7.3])
def test_extreme_numbers_are_scale_free(size, power, capability):
    rows = torch.tensor([[1.0, -0.5], [0.25, 0.0], [0.0, 0.0], [0.5, 0.7]], dtype=F64)
    area = torch.tensor([1.0, 2.0, 1.0, 0.5], dtype=F64)
    options = {"norm": True, "power": power, "relative_floor": 0.01}
    expected = reference.probabilities(rows, area, **options)
    q = probabilities(rows * size, area, **options)
    torch.testing.assert_close(q[:, 0], expected, rtol=3e-12, atol=0)
    for unit in (1e-300, 1e300):
        q = probabilities(rows * size, area * unit, **options)
        torch.testing.assert_close(q[:, 0], expected, rtol=3e-12, atol=0)
    plain = probabilities(rows[:, 0].abs() * size, area, power=power)
    torch.testing.assert_close(
        plain, reference.probabilities(rows[:, 0].abs(), area, power=power), rtol=3e-12, atol=0
    )


@pytest.mark.parametrize("size", [1e-38, 1e30, 3e38])
def test_extreme_numbers_in_float32(size, capability):
    rows = torch.tensor([[1.0, -0.5], [0.25, 0.0], [0.5, 0.7]], dtype=F32)
    for power in (1.0, 3.0, 20.0):
        q = probabilities(rows * size, norm=True, power=power)
        expected = reference.probabilities((rows * size).double() / size, norm=True, power=power)
        torch.testing.assert_close(q[:, 0], expected, rtol=1e-11, atol=0)


def test_a_fixed_floor_counts_in_extreme_units():
    measure = torch.tensor([1.0, 3.0], dtype=F64)
    for size, power in ((1e200, 2.0), (1e-200, 2.0), (1e-280, 1.0)):
        # floor = largest^power / 9, so that the two are (1/9 + 1/9) : (1 + 1/9)
        floor = 1e300 if (size, power) == (1e200, 2.0) else size**power
        q = probabilities(measure * size, floor=floor, power=power)
        if floor in (0.0, 1e300):  # far below, or no floor at all
            expected = reference.probabilities(measure, power=power)
        else:
            expected = reference.probabilities(measure, floor=1.0, power=power)
        torch.testing.assert_close(q, expected, rtol=1e-12, atol=0)
    q = probabilities(measure * 1e-200, floor=1e300, power=2.0)
    assert torch.equal(q, torch.full((2,), 0.5, dtype=F64))


def test_a_tiny_probability_beside_a_large_one():
    q = probabilities(torch.tensor([1.0, 1e-300], dtype=F64))
    assert q.tolist() == [1.0, 1e-300]


def test_floor_bounds_the_weights():
    measure, area = torch.rand(1000, dtype=F64) ** 20, torch.rand(1000, dtype=F64) + 0.1
    q = probabilities(measure, area, relative_floor=1e-3)
    ratio = area / area.sum() / q
    assert ratio.max() <= 1 + 1 / 1e-3
    assert ratio.max() > 500


def test_huge_relative_floor_is_the_area():
    measure, area = torch.rand(50, dtype=F64), torch.rand(50, dtype=F64)
    q = probabilities(measure, area, relative_floor=1e308)
    torch.testing.assert_close(q, area / area.sum(), rtol=1e-14, atol=0)


@DTYPES
def test_zeros_give_the_area_and_a_warning(dtype):
    area = torch.tensor([1.0, 0.0, 3.0], dtype=dtype)
    for measure in (torch.zeros(3, dtype=dtype), torch.tensor([0, 2, 0], dtype=dtype)):
        with pytest.warns(UserWarning, match="all measures are 0") as caught:
            q = probabilities(measure, area)
        assert len(caught) == 1 and q.tolist() == [0.25, 0, 0.75]
    with pytest.warns(UserWarning, match="all measures are 0"):
        assert probabilities(torch.zeros(4, 2, dtype=dtype), norm=True).tolist() == [[0.25]] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probabilities(torch.zeros(3, dtype=dtype), area, 1e-300).tolist() == [0.25, 0, 0.75]
        assert probabilities(torch.zeros(2, dtype=dtype), power=0.0).tolist() == [0.5, 0.5]


def test_result_is_a_constant():
    rows = torch.randn(5, 2, requires_grad=True)
    area = torch.rand(5, requires_grad=True)
    assert not probabilities(rows, area, norm=True).requires_grad


@DTYPES
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), -1.0])
@pytest.mark.parametrize("at", [0, 4097, 9999])
def test_bad_entries_are_counted(dtype, bad, at, capability):
    measure, area = torch.rand(10_000, dtype=dtype), torch.rand(10_000, dtype=dtype)
    broken = measure.clone()
    broken[at] = broken[9999] = bad
    count = 1 if at == 9999 else 2
    text = f"got {count} of 10000 that are not, the first at index {at}."
    with pytest.raises(ValueError, match="measure: expected finite numbers >= 0") as info:
        probabilities(broken, area)
    assert text in str(info.value) and "\n" not in str(info.value)
    with pytest.raises(ValueError, match="area: expected finite numbers >= 0") as info:
        probabilities(measure, broken)
    assert text in str(info.value)
    rows = torch.stack([measure, broken, measure], 1)
    if bad == -1.0:
        assert probabilities(rows, norm=True).min() > 0
        return
    with pytest.raises(ValueError, match="measure: expected rows of finite numbers") as info:
        probabilities(rows, norm=True)
    assert text in str(info.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"measure": [1.0]}, TypeError, "measure: expected a float32 or float64 tensor"),
        ({"measure": torch.ones(3, dtype=torch.int64)}, TypeError, "measure: expected a float32"),
        ({"measure": torch.ones(3).half()}, TypeError, "measure: expected a float32"),
        ({"measure": torch.ones(())}, ValueError, "measure: expected a float32"),
        ({"measure": torch.ones(3, 2)}, ValueError, "Pass norm=True"),
        ({"measure": torch.ones(3), "norm": True}, ValueError, "measure[:, None]"),
        ({"measure": torch.ones(3, 0), "norm": True}, ValueError, "measure: expected"),
        ({"measure": torch.ones(0)}, ValueError, "measure: expected at least one point"),
        ({"measure": torch.ones(0, 2), "norm": True}, ValueError, "at least one point"),
        ({"measure": torch.ones(3), "area": 1.0}, TypeError, "area: expected None or"),
        ({"measure": torch.ones(3), "area": torch.ones(2)}, ValueError, "area: expected 3 shares"),
        ({"measure": torch.ones(3), "area": torch.ones(1)}, ValueError, "area: expected 3 shares"),
        ({"measure": torch.ones(3), "area": torch.ones(1, 3)}, ValueError, "area: expected None"),
        ({"measure": torch.ones(3), "area": torch.zeros(3)}, ValueError, "area: expected a sum"),
        ({"measure": torch.ones(3), "floor": -1.0}, ValueError, "floor: expected a number >= 0"),
        ({"measure": torch.ones(3), "floor": float("nan")}, ValueError, "floor: expected"),
        ({"measure": torch.ones(3), "power": -1.0}, ValueError, "power: expected a number >= 0"),
        ({"measure": torch.ones(3), "power": 101.0}, ValueError, "power: expected a number from"),
        ({"measure": torch.ones(3), "power": "2"}, TypeError, "power: expected a number"),
        ({"measure": torch.ones(3), "relative_floor": -1}, ValueError, "relative_floor: expected"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error) as info:
        probabilities(**arguments)
    assert message in str(info.value)


def test_raw_op_checks_its_arguments():
    op = torch.ops.colloc.importance_probabilities
    one = torch.ones(3)
    for arguments, message in (
        ((one.long(), None, False, 1.0, 0.0, 0.0), "measure: expected float32"),
        ((one[:0], None, False, 1.0, 0.0, 0.0), "measure: expected at least one point"),
        ((torch.ones(()), None, False, 1.0, 0.0, 0.0), "measure: expected shape"),
        ((one, None, True, 1.0, 0.0, 0.0), "measure: expected rows"),
        ((one, one[:2], False, 1.0, 0.0, 0.0), "area: expected 3 numbers"),
        ((one, None, False, -1.0, 0.0, 0.0), "power: expected"),
        ((one, None, False, float("nan"), 0.0, 0.0), "power: expected"),
        ((one, None, False, 1.0, -1.0, 0.0), "floor: expected"),
        ((one, None, False, 1.0, 0.0, float("inf")), "relative_floor: expected"),
    ):
        with pytest.raises(RuntimeError, match=message):
            op(*arguments)


def test_meta_and_opcheck():
    q = probabilities(torch.empty(5, 2, device="meta"), norm=True)
    assert q.shape == (5, 1) and q.dtype == F64 and q.device.type == "meta"
    op = torch.ops.colloc.importance_probabilities.default
    for measure, area, norm in (
        (torch.rand(5), None, False),
        (torch.randn(5, 3, dtype=F64), torch.rand(5, 1), True),
    ):
        torch.library.opcheck(op, (measure, area, norm, 1.5, 0.1, 0.1))


def test_compiles():
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(rows, area):
        return probabilities(rows, area, norm=True, relative_floor=1e-3) * 2

    rows, area = pool(50, 2, F32)
    expected = probabilities(rows, area, norm=True, relative_floor=1e-3) * 2
    assert torch.equal(compiled(rows, area), expected)
    rows[3] = float("nan")
    with pytest.raises(RuntimeError, match="measure: expected rows of finite numbers, got 1 of 50"):
        compiled(rows, area)


@pytest.mark.parametrize("options", [{}, {"norm": True}, {"power": 0.5}, {"power": 2.0}])
def test_huge_measures_without_area_do_not_matter(options):
    measure = torch.tensor([[1e300], [1e-300], [2e-300]], dtype=torch.float64)
    area = torch.tensor([0.0, 1, 1])
    q = cc.ops.importance_probabilities(measure, area, **options)[:, 0]
    ratio = 2 ** options.get("power", 1.0)
    expected = torch.tensor([0, 1 / (1 + ratio), ratio / (1 + ratio)], dtype=torch.float64)
    torch.testing.assert_close(q, expected)
