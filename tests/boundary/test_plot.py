"""Pictures of boundaries and their distance functions."""

from __future__ import annotations

import sys

import colloc as cc
import numpy as np
import pytest
import torch
from colloc.boundary import Arc, Line, Segment
from colloc.boundary.plot import plot
from colloc.geometry import Box, Channel, Disk, Rectangle

pytest.importorskip("matplotlib")

RING = (Channel((-6.732, -1), (6.732, 1)) | Disk((0, 0), 2)) - Disk((0, 0), 1)


def test_annular_ring():
    figure = plot(RING.boundary, resolution=60)
    pieces, phi, slope, *bars = figure.axes
    assert len(bars) == 2
    assert [panel.get_title() for panel in figure.axes[:3]] == [
        "pieces and inner normals",
        "phi",
        "|grad phi|",
    ]
    for panel in (pieces, phi, slope):
        assert panel.get_aspect() == 1
        assert panel.get_xlabel() == "x" and panel.get_ylabel() == "y"
        assert panel.get_xlim()[0] < -6.732 and panel.get_xlim()[1] > 6.732
        assert panel.get_ylim()[0] < -2 and panel.get_ylim()[1] > 2
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert sorted(named) == sorted(set(RING.boundary.piece_names))
    assert figure.get_suptitle() == "distance function of 9 pieces, m = 2"


def test_arrows_point_inwards():
    figure = plot(RING.boundary, resolution=20)
    arrows = [c for c in figure.axes[0].collections if hasattr(c, "U")]
    assert len(arrows) == len(RING.boundary.pieces)
    for quiver in arrows:
        tips = np.asarray(quiver.XY) + 0.1 * np.stack((quiver.U, quiver.V), 1)
        assert bool(RING.inside(torch.as_tensor(tips)).all())


def test_slopes_shown_are_those_of_phi():
    """The third panel's colours are |grad phi|: 1 on the boundary."""
    figure = plot(Rectangle((0, 0), (1, 1)).boundary, resolution=101)
    mesh = figure.axes[2].collections[0]
    found = np.asarray(mesh.get_array()).ravel()
    x, y = np.asarray(mesh.get_coordinates()).reshape(-1, 2).T
    near = (abs(x) < 0.006) & (abs(y - 0.5) < 0.3)
    assert near.any() and np.all(abs(found[near] - 1) < 0.01)
    middle = (abs(x - 0.5) < 0.006) & (abs(y - 0.5) < 0.006)
    assert found[middle].max() < 0.1


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (RING.boundary["outlet"], ["outlet"]),
        (RING.boundary["walls"], ["bottom", "top"]),
        (Segment((0, 0), (1, 0)), ["segment"]),
        ([Line((0, 0), (1, 1)), Arc((0, 0), 1, 0, 2)], ["line", "arc"]),
        ([RING.boundary["inlet"], Segment((0, 0), (1, 0))], ["inlet", "segment"]),
        (Disk((0, 0), 1).boundary, ["circle"]),
    ],
)
def test_parts_and_pieces(part, names):
    figure = plot(part, m=3, resolution=16, title="here")
    found = [text.get_text() for text in figure.legends[0].get_texts()]
    assert found == names and figure.get_suptitle() == "here"


def test_writes_without_a_window(tmp_path, monkeypatch):
    """pyplot is not even imported, and the backend stays what it was."""
    import matplotlib

    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    before = dict.__getitem__(matplotlib.rcParams, "backend")
    path = tmp_path / "disk.png"
    plot(Disk((0, 0), 1).boundary, path, resolution=16)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules
    assert dict.__getitem__(matplotlib.rcParams, "backend") is before


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"pip install matplotlib, .*in a checkout '\.\[examples\]'"
    ):
        plot(RING.boundary, resolution=16)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot(RING), TypeError, "Give its .boundary"),
        (lambda: plot(Box((0, 0, 0), (1, 1, 1)).boundary), TypeError, "plot: expected"),
        (lambda: plot([]), ValueError, "part"),
        (lambda: plot(RING.boundary, m=0), ValueError, "m: expected"),
        (lambda: plot(RING.boundary, resolution=3), ValueError, "resolution"),
        (lambda: plot(RING.boundary, title=3), TypeError, "title"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_plot_of_a_boundary(tmp_path):
    walls = cc.geometry.Rectangle((0, 0), (2, 1)).boundary
    figure = walls["left", "top"].plot(tmp_path / "part.png", m=1, resolution=32, title="two walls")
    assert (tmp_path / "part.png").stat().st_size > 1000
    assert figure.get_suptitle() == "two walls"
    assert [a.get_title() for a in walls.plot(resolution=32).axes] == [
        a.get_title() for a in cc.boundary.plot(walls, resolution=32).axes
    ]
    with pytest.raises(TypeError, match=r"plot: expected a boundary of the plane"):
        cc.geometry.Box((0, 0, 0), (1, 1, 1)).boundary.plot()
    box = cc.geometry.Box((0, 0, 0), (1, 1, 1)).boundary
    assert getattr(box[box.names[0]], "pieces", None) is None


@pytest.mark.parametrize("shape", [Box((0, 0, 0), (1, 1, 1)), cc.geometry.Interval(0, 1)])
def test_boundaries_of_other_dimensions_are_told_apart(shape):
    for part in (shape.boundary, shape.boundary.part(0)):
        with pytest.raises(TypeError, match=r"plot: expected .* of the plane.*sampling\.plot"):
            part.plot()
        with pytest.raises(TypeError, match=r"pieces: expected .* of the plane.*solid_distance"):
            cc.boundary.distance(part, torch.rand(3, 2))
