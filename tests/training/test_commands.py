"""The commands plot, compare and evaluate."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from colloc import cli, training
from colloc.training import curves
from training import problems


def run_folder(path, rows):
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(step, loss=0.5, **more):
    found = {"step": step, "seconds": 0.1 * min(step, 99), "learning_rate": 1e-3, "loss": loss}
    return found | {"losses": {"a": loss}, "weights": {"a": 1.0}, "errors": {}} | more


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    path = tmp_path_factory.mktemp("field") / "field.pt2"
    net = problems.network(outputs=2)
    training.export(net, path, 2)
    return net, path


def test_plot_and_compare_a_trainers_folder(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    one = tmp_path / "one"
    errors = iter([0.5, 0.25, 0.75])
    trainer = problems.trainer(output=one, evaluate=lambda: {"l2": next(errors, 1.0)})
    trainer.run()
    assert cli.main(["plot", str(one), "--by", "seconds"]) == 0
    assert (one / "curves.png").stat().st_size > 10_000
    two = run_folder(tmp_path / "two", [row(1), row(2, 0.125)])
    picture = tmp_path / "both.png"
    assert cli.main(["compare", str(one), str(two), "--output", str(picture)]) == 0
    assert picture.stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert "last step" in lines[1]
    assert lines[2].split()[:2] == ["one", "12"]
    assert "0.25 (l2)" in lines[2]
    assert lines[3].split() == ["two", "2", "0.2", "0.125", "-", "-"]


@pytest.mark.parametrize(
    "rows",
    [
        [row(1)],
        [row(1), row(2, None), row(3)],
        [row(1, 0.0), row(2, -1.0), row(3, 2.0)],
        [row(1, 0.0), row(2, 0.0)],
        [row(1, 1e308), row(2, 0.1), row(3, -1e308)],
        [row(1, 1.7e308), row(2, 5e-324), row(10**400), row(4, 10**400)],
        [row(1, losses={f"t{k}": 10.0**-k for k in range(60)})],
    ],
    ids=["one row", "null", "negative", "zero", "huge", "beyond floats", "many terms"],
)
def test_odd_runs_are_drawn(tmp_path, rows, recwarn, capsys):
    pytest.importorskip("matplotlib")
    folder = run_folder(tmp_path / "_run$", rows)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # still being written
    assert cli.main(["plot", str(folder)]) == 0
    assert (folder / "curves.png").exists()
    said = [str(one.message) for one in recwarn] + [capsys.readouterr().err]
    assert not [one for one in said for bad in ("Glyph", "overflow", "layout") if bad in one], said
    assert training.read_run(folder).step[-1] == rows[-1]["step"]


def test_values_at_the_edge_of_floats_are_seen(tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    panel = figure.Figure().subplots()
    for values in ([1e308, 0.1, 1.0], [1e308, 0.1, -1e308], [5e-324, 1e308, 2.0]):
        panel.clear()
        curves._curve(panel, [1, 2, 3], values, "", curves._style(0))
        curves._finish(panel, "step", "loss", [values], legend=False)
        low, high = panel.get_ylim()
        assert low < min(panel.lines[0].get_ydata()) and max(panel.lines[0].get_ydata()) < high
        assert "(cut at 1e+200)" in panel.get_ylabel()
    panel.clear()
    curves._curve(panel, [1, 2], [2.0, 1e-3], "", curves._style(0))
    assert panel.lines[0].get_ydata().tolist() == [2.0, 1e-3]


def test_runs_of_different_terms_are_compared(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    runs = [
        run_folder(tmp_path / "one", [row(1), row(2, errors={"l2": 0.5})]),
        run_folder(tmp_path / "two", [row(1, losses={"b": 1.0, "c": None}, errors={"max": 2.0})]),
        run_folder(tmp_path / "three", [row(1, None, losses={}, weights=None, errors=[1])]),
    ]
    file = runs[0] / "metrics.jsonl"
    text = file.read_text()
    file.write_text(text[:40] + "\n" + text)  # of two writers, or a disk that was full
    picture = tmp_path / "both.png"
    assert cli.main(["compare", *map(str, runs), "--output", str(picture)]) == 0
    said = capsys.readouterr()
    assert "line 1 is no JSON and is left out" in said.err and said.err.count("\n") == 1
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[1][-3:] == ["0.5", "(l2)", "2"] and lines[2][-3:] == ["2", "(max)", "1"]
    assert "not finite" in said.out and picture.stat().st_size > 10_000


def test_errors_of_plot_are_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for folder, text in (("nowhere", "does not exist"), ("empty", "has none")):
        assert cli.main(["plot", str(tmp_path / folder)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("colloc plot: run: expected the folder of a run")
        assert text in said
        assert said.count("\n") == 1
    bare = run_folder(tmp_path / "bare", [{"step": 1}])
    assert cli.main(["plot", str(bare)]) == 2
    assert "nothing but null" in capsys.readouterr().err
    assert not (bare / "curves.png").exists()


def test_evaluate_reads_and_writes_every_kind(tmp_path, field):
    net, path = field
    x = torch.rand(50, 2, dtype=torch.float64)
    wanted = net(x).detach().numpy()
    np.save(tmp_path / "x.npy", x.numpy())
    np.savetxt(tmp_path / "named.csv", x, fmt="%.17g", delimiter=",", header="lon,lat", comments="")
    np.savetxt(tmp_path / "blank.csv", x, fmt="%.17g")
    for points, output in (("x.npy", "u.npy"), ("named.csv", "u.csv"), ("blank.csv", "u.vtu")):
        if output == "u.vtu":
            pytest.importorskip("meshio")
        done = ["evaluate", str(path), "--points", str(tmp_path / points), "--output"]
        assert cli.main([*done, str(tmp_path / output), "--chunk", "7"]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "u.npy"), wanted, rtol=0, atol=1e-12)
    head, *rest = (tmp_path / "u.csv").read_text().splitlines()
    assert head == "lon,lat,u0,u1"
    found = np.array([[float(cell) for cell in line.split(",")] for line in rest])
    np.testing.assert_allclose(found, np.hstack([x, wanted]), rtol=0, atol=1e-12)
    import meshio

    mesh = meshio.read(tmp_path / "u.vtu")
    np.testing.assert_allclose(mesh.points[:, :2], x, rtol=0, atol=1e-15)
    np.testing.assert_allclose(mesh.point_data["u1"], wanted[:, 1], rtol=0, atol=1e-12)


def test_evaluate_says_what_is_wrong(tmp_path, field, capsys):
    _, path = field
    texts = {
        "three.csv": ("0,0,0\n1,1,1\n", r"points (N, 2)"),
        "nan.csv": ("x,y\n0,0\n1,nan\n", "first in point 2"),
        "words.csv": ("0,0\n1,one\n", "rows of numbers"),
        "ragged.csv": ("0,0\n1\n", "rows of numbers"),
        "empty.csv": ("x,y\n", "at least one point"),
        "points.xls": ("", "a .csv or .npy file"),
    }
    for name, (text, _) in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.pt2").write_text("no archive")
    good = tmp_path / "good.csv"
    good.write_text("0,0\n")
    cases = [(path, tmp_path / name, "u.csv", text) for name, (_, text) in texts.items()]
    cases += [
        (path, tmp_path / "none.csv", "u.csv", "does not exist"),
        (tmp_path / "none.pt2", good, "u.csv", "does not exist"),
        (tmp_path / "bad.pt2", good, "u.csv", "bad.pt2"),
        (tmp_path, good, "u.csv", "A run holds weights"),
        (path, good, "u.xls", "output: expected a file that ends in"),
        (path, good, "no/folder/u.csv", "Make"),
    ]
    for file, points, output, text in cases:
        given = ["--points", str(points), "--output", str(tmp_path / output)]
        assert cli.main(["evaluate", str(file), *given]) == 2, (points, output)
        said = capsys.readouterr().err
        assert text in said, said
        assert not (tmp_path / output).exists()
