"""Ops ntk_trace and ntk_gram_block against gradients that are written out."""

from __future__ import annotations

import pytest
import torch
from colloc.ops import ntk_gram_block, ntk_trace
from reference.ntk import square

F32, F64 = torch.float32, torch.float64
SIZES = [(1, 1, 1, 1), (5, 4, 3, 7), (3, 1, 64, 1), (65, 6, 2, 33), (4, 13, 17, 16), (0, 4, 3, 2)]


def layer(points, size, inputs, outputs, dtype=F64):
    h = torch.randn(points, size, inputs, dtype=dtype)
    return h, torch.randn(points, size, outputs, dtype=dtype)


def close(found, expected, dtype=F64):
    tolerance = 1e-12 if dtype == F64 else 2e-5
    scale = expected.abs().max() if expected.numel() else 1.0
    assert found.shape == expected.shape
    assert expected.numel() == 0 or (found - expected).abs().max() <= tolerance * scale


def products(h1, z1, h2, z2):
    one = torch.einsum("nko,nki->noi", z1.double(), h1.double()).flatten(1)
    return one @ torch.einsum("nko,nki->noi", z2.double(), h2.double()).flatten(1).t()


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_equal_the_gradients(capability, dtype):
    for sizes in SIZES:
        h, zbar = layer(*sizes, dtype)
        found = ntk_trace(h, zbar)
        assert found.dtype == F64
        close(found, square(h, zbar), dtype)
        other = layer(3, sizes[1] + 1, *sizes[2:], dtype)
        found = ntk_gram_block(h, zbar, *other)
        assert found.dtype == dtype
        close(found.double(), products(h, zbar, *other), dtype)


def test_blocks_larger_than_a_tile():
    h, zbar = layer(300, 4, 5, 6)
    found = ntk_gram_block(h, zbar, h, zbar)
    close(found, products(h, zbar, h, zbar))
    close(found.diagonal(), ntk_trace(h, zbar))


def test_nothing_to_sum():
    for sizes in ((3, 0, 2, 2), (3, 2, 0, 2), (3, 2, 2, 0)):
        h, zbar = layer(*sizes)
        assert torch.equal(ntk_trace(h, zbar), torch.zeros(3, dtype=F64))
        assert torch.equal(ntk_gram_block(h, zbar, h, zbar), torch.zeros(3, 3, dtype=F64))


def test_strides_and_threads():
    h, zbar = layer(129, 4, 6, 5)
    expected, block = ntk_trace(h, zbar), ntk_gram_block(h, zbar, h, zbar)
    strided = [t.permute(1, 0, 2).contiguous().permute(1, 0, 2) for t in (h, zbar)]
    assert torch.equal(ntk_trace(*strided), expected)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(ntk_trace(h, zbar), expected)
            assert torch.equal(ntk_gram_block(*strided, h, zbar), block)
    finally:
        torch.set_num_threads(before)


def test_special_values():
    h, zbar = layer(4, 3, 2, 2)
    h[1, 0, 0] = torch.nan
    zbar[2, 1, 1] = torch.inf
    found = ntk_trace(h, zbar)
    assert torch.isfinite(found).tolist() == [True, False, False, True]
    huge = ntk_trace(h[:1].float() * 1e15, zbar[:1].float() * 1e15)
    assert torch.isfinite(huge).all() and huge > 1e55  # squares are kept in double


def test_opcheck_compile_and_transforms():
    h, zbar = layer(4, 3, 2, 5)
    h2, zbar2 = layer(3, 2, 2, 5)
    ops = torch.ops.colloc
    torch.library.opcheck(ops.ntk_trace.default, (h, zbar))
    torch.library.opcheck(ops.ntk_gram_block.default, (h, zbar, h2, zbar2))

    def both(h, zbar):
        return ntk_trace(h, zbar), ntk_gram_block(h, zbar, h2, zbar2)

    expected = both(h, zbar)
    for found in (torch.compile(both, fullgraph=True)(h, zbar),):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    stacked = torch.stack((h, 2 * h)), torch.stack((zbar, zbar))
    trace, block = torch.func.vmap(both)(*stacked)
    torch.testing.assert_close(trace[1], 4 * expected[0])
    torch.testing.assert_close(block[1], 2 * expected[1])
    slope = torch.func.jvp(lambda h: ntk_trace(h, zbar).sum(), (h,), (h,))[1]
    torch.testing.assert_close(slope, 2 * expected[0].sum())
    slope = torch.func.jvp(lambda h: ntk_gram_block(h, zbar, h2, zbar2).sum(), (h,), (h,))[1]
    torch.testing.assert_close(slope, expected[1].sum())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"h": 3.0}, TypeError, r"h: expected a float32 or float64 tensor \(N, K, in\)"),
        ({"h": torch.zeros(3, 2, 2, dtype=torch.int64)}, TypeError, "h: expected"),
        ({"h": torch.zeros(3, 2)}, ValueError, r"Give one component as \[:, None\]"),
        ({"zbar": torch.zeros(2, 2, 4)}, ValueError, r"zbar: expected a tensor \(3, 2, out\)"),
        ({"zbar": torch.zeros(3, 2, 4, dtype=F64)}, ValueError, "zbar: expected the dtype"),
        ({"h": torch.zeros(3, 2, 2, requires_grad=True)}, RuntimeError, "Detach it"),
    ],
)
def test_wrong_arguments(change, error, text):
    arguments = {"h": torch.zeros(3, 2, 2), "zbar": torch.zeros(3, 2, 4)} | change
    with pytest.raises(error, match=text):
        ntk_trace(**arguments)


def test_two_sets_of_one_layer():
    h, zbar = layer(3, 2, 4, 5, F32)
    with pytest.raises(ValueError, match="h2: expected the layer of the first points"):
        ntk_gram_block(h, zbar, h[:, :, :3], zbar)
    with pytest.raises(ValueError, match="zbar2: expected the layer of the first points"):
        ntk_gram_block(h, zbar, h, zbar[:, :, :3])
    with pytest.raises(ValueError, match="h2: expected the dtype"):
        ntk_gram_block(h, zbar, h.double(), zbar.double())
    with pytest.raises(RuntimeError, match="h2, zbar2: expected the layer"):
        torch.ops.colloc.ntk_gram_block(h, zbar, h[:, :, :3].contiguous(), zbar)
    with pytest.raises(RuntimeError, match="zbar: expected shape"):
        torch.ops.colloc.ntk_trace(h, zbar[:2].contiguous())
