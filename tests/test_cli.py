"""The commands info and evaluate: what they say and look at."""

from __future__ import annotations

from importlib import metadata

import colloc as cc
import numpy as np
import pytest
import torch
from colloc import cli, training

F64 = torch.float64


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    path = tmp_path_factory.mktemp("field") / "field.pt2"
    training.export(cc.nn.MLP(2, 3, 4, 1, dtype=F64), path, 2)
    return path


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("x,y\n0,0\n0.5,1\n")
    return path


def without(monkeypatch, *absent):
    version = metadata.version

    def found(name):
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return version(name) if name == "colloc" else "1.0"

    monkeypatch.setattr(metadata, "version", found)


def test_info_lists_absent_extras(monkeypatch, capsys):
    without(monkeypatch, "trimesh", "meshio", "onnx", "onnxruntime", "pytest", "ruff")
    assert cli.main(["info"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        "extras   not installed: meshio (pip install 'colloc[examples]'); onnx, onnxruntime "
        "(pip install 'colloc[export]'); trimesh (pip install 'colloc[mesh]')"
    )
    without(monkeypatch)
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert "extras   all installed: examples, export, mesh, tensorboard" in said


def test_extras_of_what_is_no_package_are_not_known(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert cli._extras_state().startswith("not known")


def test_evaluate_names_the_values(tmp_path, field, points):
    output = tmp_path / "values.csv"
    done = ["evaluate", str(field), "--points", str(points), "--output"]
    assert cli.main([*done, str(output), "--names", "u,v,p"]) == 0
    assert output.read_text().splitlines()[0] == "x,y,u,v,p"
    meshio = pytest.importorskip("meshio")
    assert cli.main([*done, str(tmp_path / "values.vtu"), "--names", "u,v,p"]) == 0
    found = meshio.read(tmp_path / "values.vtu").point_data
    assert set(found) == {"u", "v", "p"}
    wanted = np.loadtxt(output, delimiter=",", skiprows=1)
    np.testing.assert_allclose(found["p"].ravel(), wanted[:, 4], atol=1e-12)


@pytest.mark.parametrize(
    ("names", "output", "message"),
    [
        ("u,v", "u.csv", "names: expected 3, one for each value of the field, got 2"),
        ("u,v,u", "u.csv", "names: expected a list of different names"),
        ("u, v,p", "u.csv", "names: expected a list of different names"),
        ("u,,p", "u.csv", "names: expected a list of different names"),
        ("x,v,p", "u.csv", "names: expected others than the coordinates' ['x', 'y'], got ['x']"),
        ("u,v,p", "u.npy", "names: expected None for a .npy file"),
    ],
)
def test_names_that_do_not_fit(tmp_path, field, points, capsys, names, output, message):
    given = ["--points", str(points), "--output", str(tmp_path / output), "--names", names]
    assert cli.main(["evaluate", str(field), *given]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / output).exists()


def test_names_are_strings(tmp_path, field, points):
    for names in ("uvp", 3, [1, 2, 3]):
        with pytest.raises(TypeError, match="names: expected a list of different names"):
            training.evaluate_file(field, points, tmp_path / "u.csv", names=names)


def test_points_are_looked_for_first(tmp_path, capsys):
    (tmp_path / "no.pt2").write_text("not an archive")
    (tmp_path / "points.xls").write_text("")
    for points in ("none.csv", "points.xls"):
        given = ["--points", str(tmp_path / points), "--output", str(tmp_path / "u.csv")]
        assert cli.main(["evaluate", str(tmp_path / "no.pt2"), *given]) == 2
        assert f"points: expected a .csv or .npy file, got {tmp_path}" in capsys.readouterr().err


def test_samples_in_place_of_points(tmp_path):
    sample = cc.geometry.Rectangle((0, 0), (1, 1)).sample(8)
    net = cc.nn.MLP(2, 1, 4, 1)
    for call in (
        lambda: training.export(net, tmp_path / "u.pt2", sample),
        lambda: cc.jet(net, sample),
    ):
        with pytest.raises(TypeError, match=r"Give the coordinates alone: points\.x\."):
            call()
