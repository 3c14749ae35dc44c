"""Pictures of samplers."""

from __future__ import annotations

import colloc as cc
import pytest
import torch

pytest.importorskip("matplotlib")
SQUARE = cc.geometry.Rectangle((0, 0), (1, 1))


def measure(x):
    return x[:, :1].square()


@pytest.mark.parametrize(
    "shape",
    [
        cc.geometry.Interval(0, 1),
        SQUARE,
        cc.geometry.Box((0, 0, 0), (1, 1, 1)),
        cc.geometry.TimeDomain(cc.geometry.Box((0, 0, 0), (1, 1, 1)), 0, 1),
        SQUARE.boundary["left"],
    ],
    ids=["1d", "2d", "3d", "4d", "part"],
)
@pytest.mark.parametrize("kind", ["importance", "halton", "points"])
def test_pictures_are_written(shape, kind, tmp_path):
    importance = cc.sampling.ImportanceSampler(shape, measure, 50, pool=300, seed=0)
    halton = cc.sampling.Halton(shape, 50)
    path = tmp_path / "p.png"
    if kind == "points":
        figure = cc.sampling.plot(halton(0), path)
    else:
        figure = (importance if kind == "importance" else halton).plot(path)
    assert path.stat().st_size > 3000
    shown = [c for axis in figure.axes for c in (*axis.collections, *axis.lines)]
    assert len(shown) >= (2 if kind == "importance" else 1)


def test_the_density_is_shown_as_it_is():
    s = cc.sampling.ImportanceSampler(SQUARE, measure, 50, pool=300, floor=0.5, seed=0)
    pool, points = s.plot().axes[0].collections
    expected = (s.probabilities * 300)[:, 0]
    torch.testing.assert_close(torch.tensor(pool.get_array().data), expected, rtol=1e-6, atol=0)
    assert len(points.get_offsets()) == 50


def test_other_axes_steps_and_titles():
    box = cc.geometry.Box((0, 0, 0), (1, 1, 1))
    s = cc.sampling.Halton(box, 50)
    figure = s.plot(step=3, axes=(2, 0), title="here")
    shown = torch.tensor(figure.axes[0].collections[0].get_offsets().data)
    torch.testing.assert_close(shown.float(), s(3).x[:, [2, 0]].float())
    assert figure.get_suptitle() == "here"
    for axes, text in (((0, 3), "axes: expected an integer <= 2"), ((1, 1), "two different")):
        with pytest.raises(ValueError, match=text):
            s.plot(axes=axes)
    with pytest.raises(TypeError, match="axes: expected two numbers"):
        s.plot(axes=(1, 2, 0))
    with pytest.raises(TypeError, match="sampler: expected"):
        cc.sampling.plot(3)
    with pytest.raises(TypeError, match="title: expected"):
        s.plot(title=3)


def test_a_picture_does_not_move_the_sampler():
    s = cc.sampling.ImportanceSampler(SQUARE, measure, 50, pool=300, refresh_every=10, seed=0)
    s(25)
    before = s(26).x
    s.plot()
    s.plot(step=29)
    with pytest.raises(ValueError, match="step: expected one from 20 to 29, got 3"):
        s.plot(step=3)
    assert torch.equal(s(26).x, before)
