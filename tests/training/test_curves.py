"""Curves of a training: a panel for the weights, and TensorBoard."""

from __future__ import annotations

import pytest
import torch
from colloc import training
from training.problems import trainer as make


def test_weights_have_a_panel_of_their_own(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    curves, weights = {"loss": [1.0, 0.1]}, {"walls": [1.0, 30.0]}
    training.plot_history(tmp_path / "one.png", [0, 1], curves)
    training.plot_history(
        tmp_path / "three.png", [0, 1], curves, errors={"u": [1.0, 0.5]}, weights=weights
    )
    one, three = (imread(tmp_path / f"{name}.png").shape for name in ("one", "three"))
    assert three[1] == pytest.approx(3 * one[1], rel=0.02)
    with pytest.raises(ValueError, match="walls"):
        training.plot_history(tmp_path / "x.png", [0, 1], curves, weights={"walls": [1.0]})
    assert not (tmp_path / "x.png").exists()


def test_tensorboard_has_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with training.TensorBoard(tmp_path / "new" / "board") as board:
        for step in (0, 100):
            losses = {"walls": torch.tensor(0.5, requires_grad=True), "interior": 2.0 + step}
            board.log(step, loss=losses, weight={"walls": 3.0})
        for wrong in ({"loss": 3.0}, {"loss": [("walls", 1.0)]}):
            with pytest.raises(TypeError, match="loss: expected a dictionary"):
                board.log(1, **wrong)
        with pytest.raises(TypeError, match="step: expected an integer"):
            board.log(0.5, loss={})
    found = EventAccumulator(str(tmp_path / "new" / "board")).Reload()
    assert sorted(found.Tags()["scalars"]) == ["loss/interior", "loss/walls", "weight/walls"]
    read = [(event.step, event.value) for event in found.Scalars("loss/interior")]
    assert read == [(0, 2.0), (100, 102.0)]


def test_points_as_vertices_and_as_a_picture(tmp_path):
    meshio = pytest.importorskip("meshio")
    pytest.importorskip("matplotlib")
    x, q = torch.rand(30, 2), torch.rand(30, 1)
    training.write_points(tmp_path / "x.vtu", x, {"q": q, "grad": torch.rand(30, 3)})
    mesh = meshio.read(tmp_path / "x.vtu")
    assert [(one.type, len(one.data)) for one in mesh.cells] == [("vertex", 30)]
    assert mesh.point_data["q"].tolist() == q[:, 0].double().tolist()
    assert mesh.point_data["grad"].shape == (30, 3)
    with pytest.raises(ValueError, match=r"fields\['q'\]"):
        training.write_points(tmp_path / "y.vtu", x, {"q": q[1:]})
    for dim in (1, 2, 3, 4):
        training.plot_points(tmp_path / f"{dim}.png", torch.rand(30, dim), q, label="q", log=True)
    with pytest.raises(ValueError, match="values: expected finite numbers"):
        training.plot_points(tmp_path / "y.png", x, q * float("nan"))
    assert {one.name for one in tmp_path.iterdir()} == {"x.vtu", *(f"{d}.png" for d in "1234")}


def test_weights_that_move_are_compared(tmp_path, monkeypatch):
    from colloc.training import curves

    seen = []
    finish = curves._finish
    monkeypatch.setattr(curves, "_finish", lambda *a, **k: (seen.append(a[2]), finish(*a, **k))[1])
    for name, rule in (("one", "ReLoBRaLo"), ("two", "Sum")):
        make(rule, steps=4, output=tmp_path / name, log_every=1).run()
    runs = [curves.read_run(tmp_path / name) for name in ("one", "two")]
    curves.compare_runs(tmp_path / "both.png", runs)
    assert {"weight: interior", "weight: walls"} <= set(seen)
    del seen[:]
    curves.compare_runs(tmp_path / "still.png", runs[1:])
    assert seen and not any(label.startswith("weight") for label in seen)
