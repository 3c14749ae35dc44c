"""Results of a training: atomic files, checkpoints, metrics, pictures, VTK, progress, Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
import torch
from colloc import training

AXES = (torch.linspace(0, 1, 5), torch.linspace(-1, 1, 4))
FIELD = torch.outer(AXES[0], AXES[1])


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_atomic_path_replaces_whole_files(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with training.atomic_path(target) as aside:
        assert aside.suffix == ".txt" and aside.parent == tmp_path
        aside.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and names(tmp_path) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_after_an_error(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), training.atomic_path(target) as aside:
        aside.write_text("half")
        raise error
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_atomic_path_names_a_missing_folder(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"Make .*missing first"),
        training.atomic_path(tmp_path / "missing" / "a.txt"),
    ):
        pass


def test_output_folder(tmp_path):
    assert training.output_folder(tmp_path / "a" / "b").is_dir()
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="output: expected a folder, got"):
            training.output_folder(path)
    with pytest.raises(OSError, match="output: expected a folder that can be made, got /proc"):
        training.output_folder("/proc/results")
    with pytest.raises(OSError, match=r"output: expected a disk with .* MB free"):
        training.output_folder(tmp_path, space=10**20)
    assert names(tmp_path) == ["a", "file"]


def test_checkpoint_round_trip_and_atomicity(tmp_path):
    net = torch.nn.Linear(2, 3)
    state = {"net": net.state_dict(), "step": 7, "names": ["a"], "config": {"x": 1.5}}
    path = tmp_path / "c.pt"
    training.save_checkpoint(path, state)
    loaded = training.load_checkpoint(path)
    assert loaded["step"] == 7 and loaded["names"] == ["a"] and loaded["config"] == {"x": 1.5}
    assert torch.equal(loaded["net"]["weight"], net.weight)
    assert names(tmp_path) == ["c.pt"]
    with pytest.raises(TypeError, match="state: expected tensors"):
        training.save_checkpoint(path, {"net": net})  # a module, not its state
    with pytest.raises(TypeError, match="state: expected a dict, got int"):
        training.save_checkpoint(path, 3)
    assert training.load_checkpoint(path)["step"] == 7 and names(tmp_path) == ["c.pt"]


def test_a_full_disk_is_an_oserror_and_leaves_nothing(tmp_path):
    # A limit on the size of files stands for the full disk; Python ignores its signal.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "c.pt"
    training.save_checkpoint(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError):
            training.save_checkpoint(path, {"weights": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert training.load_checkpoint(path) == {"step": 1} and names(tmp_path) == ["c.pt"]


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_damaged_checkpoints_are_recognised(tmp_path, cut):
    path = tmp_path / "c.pt"
    training.save_checkpoint(path, {"weights": torch.randn(100)})
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"path: expected a checkpoint.*damaged"):
        training.load_checkpoint(path)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there"):
        training.load_checkpoint(tmp_path / "none.pt")


def test_a_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"call": os.system}, path)
    with pytest.raises(ValueError, match="path: expected a checkpoint"):
        training.load_checkpoint(path)


def test_metrics():
    exact = torch.tensor([[1.0], [2.0], [2.0]])
    found = torch.tensor([[1.0], [2.0], [5.0]])
    assert training.relative_l2(found, exact) == 1.0
    assert training.max_error(found, exact) == 3.0
    variance = np.var([1, 2, 2], ddof=1)
    assert math.isclose(training.nrmse(found, exact), math.sqrt(3.0 / variance))
    assert training.relative_l2(exact, exact) == 0
    with pytest.raises(ValueError, match="prediction: expected the shape of exact"):
        training.relative_l2(found[:, 0], exact)
    with pytest.raises(ValueError, match="not 0 everywhere"):
        training.relative_l2(found, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="not constant"):
        training.nrmse(found, torch.ones(3, 1))
    with pytest.raises(ValueError, match="at least one entry"):
        training.max_error(torch.ones(0), torch.ones(0))
    with pytest.raises(TypeError, match="exact: expected a floating tensor"):
        training.max_error(found, [1])
    assert math.isnan(training.relative_l2(found * math.nan, exact))


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_vtk_holds_the_fields(tmp_path, suffix):
    meshio = pytest.importorskip("meshio")
    path = tmp_path / f"s{suffix}"
    training.write_grid(path, AXES, {"u": FIELD, "v": 2 * FIELD})
    mesh = meshio.read(path)
    assert mesh.points.shape == (20, 3) and mesh.cells_dict["quad"].shape == (12, 4)
    x, y = mesh.points[:, 0], mesh.points[:, 1]
    np.testing.assert_allclose(mesh.point_data["u"], x * y, atol=1e-7)
    np.testing.assert_allclose(mesh.point_data["v"], 2 * x * y, atol=1e-7)
    corners = mesh.points[mesh.cells_dict["quad"]][..., :2]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    areas = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]  # positive: corners counter-clockwise
    np.testing.assert_allclose(areas, 2 / 12, rtol=1e-5)
    assert names(tmp_path) == [path.name]


def test_vtk_refuses_fields_of_another_shape(tmp_path):
    pytest.importorskip("meshio")
    with pytest.raises(ValueError, match=r"fields\['u'\]: expected a tensor of shape \(5, 4\)"):
        training.write_grid(tmp_path / "s.vtu", AXES, {"u": FIELD.T})
    assert names(tmp_path) == []


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    training.plot_solution(tmp_path / "s.png", AXES, FIELD, FIELD + 0.1, title="t")
    training.plot_history(
        tmp_path / "l.png", [1, 2, 3], {"a": [3.0, 2.0, 1.0]}, errors={"e": [1.0, 0.1, 0.0]}
    )
    for name in ("s.png", "l.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert names(tmp_path) == ["l.png", "s.png"]
    with pytest.raises(ValueError, match="exact: expected a tensor of shape"):
        training.plot_solution(tmp_path / "s.png", AXES, FIELD.T, FIELD)
    with pytest.raises(ValueError, match="expected 2 values, one a step"):
        training.plot_history(tmp_path / "l.png", [1, 2], {"a": [1.0]})


def test_missing_packages_are_named(monkeypatch):
    wanted = r"no_such_package: pip install no_such_package, or .*colloc\[examples\]"
    with pytest.raises(ImportError, match=wanted):
        training.require("no_such_package", "drawing")


def test_progress_lines_outside_a_terminal():
    stream = io.StringIO()
    with training.Progress(stream, every=0.0) as progress:
        progress.update(0.25, 10, loss=0.5, error=0.125)
        progress.update(0.5, 20, loss=0.25)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith(" 25%  step 10, loss 0.5, error 0.125")
    assert "loss 0.25, error 0.125" in lines[1]  # a value stays until it is replaced
    assert "steps/s" in lines[1] and "left" in lines[1]


@pytest.mark.parametrize("rows,columns", [(0, 0), (0, 100), (24, 100)])
def test_progress_bar_in_a_terminal(rows, columns):
    # Real terminals; some do not know their size (0) and must show the bar all the same.
    pytest.importorskip("tqdm")
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    shown = b""
    try:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        with os.fdopen(theirs, "w") as stream, training.Progress(stream) as progress:
            progress.update(1.0, 20, loss=0.25)
        # One read gives what has come so far; the end is an error or nothing (EIO on Linux).
        with contextlib.suppress(OSError):
            while more := os.read(ours, 100_000):
                shown += more
    finally:
        os.close(ours)
    assert b"100%" in shown and b"loss 0.25" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_a_request_first(number):
    before = signal.getsignal(number)
    with training.Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        assert signal.getsignal(number) == before  # a second one acts as usual
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("signed", [True, False])
def test_a_wrong_bit_in_a_checkpoint_is_noticed(tmp_path, signed):
    path, state = tmp_path / "a.pt", {"w": torch.arange(64.0), "step": 3}
    if signed:
        training.save_checkpoint(path, state)
    else:
        torch.save(state, path)
    assert torch.equal(torch.load(path, weights_only=True)["w"], state["w"])
    assert torch.equal(training.load_checkpoint(path)["w"], state["w"])
    whole = path.read_bytes()
    for at in range(0, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            found = training.load_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:  # padding and dates, which only the checksum of the whole file covers
            assert not signed and torch.equal(found["w"], state["w"])


def test_training_is_an_attribute_of_the_package():
    code = (
        "import sys, colloc; late = {'matplotlib', 'colloc.training', 'torch._dynamo', 'sympy'}; "
        "assert not late & set(sys.modules), 'import colloc would take seconds'; "
        "assert 'training' in dir(colloc); colloc.training.Progress; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
