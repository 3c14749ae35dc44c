"""Exported fields: the values of the field, without this package."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import colloc as cc
import pytest
import torch
from colloc import training
from colloc.ops._registration import formula_needed, plain_formulas
from torch import nn

F64, F32 = torch.float64, torch.float32
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))
ROD = cc.geometry.TimeDomain(cc.geometry.Interval(0, 1), 0, 1)
#: Loads a file of each format where colloc cannot be imported, and prints how far values are off.
ALONE = """
import sys
sys.modules["colloc"] = None
import runpy, torch
path, names = sys.argv[1], sys.argv[2:]
x, wanted, slopes = torch.load(f"{path}/points.pt", weights_only=True)
def check(evaluate):
    return max(float((evaluate(x[:n]) - wanted[:n]).abs().max()) for n in (len(x), 1, 2))
for name in names:
    if name.endswith(".pt2"):
        found = torch.export.load(f"{path}/{name}").module()
    elif name.endswith(".py"):
        found = runpy.run_path(f"{path}/{name}")["Field"]()
        at = x[5:30].clone().requires_grad_()
        slope = torch.autograd.grad(found(at).sum(), at)[0]
        assert (slope - slopes[5:30]).abs().max() < 1e-10
    else:
        import onnxruntime
        session = onnxruntime.InferenceSession(f"{path}/{name}")
        found = lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    print(check(found))
"""


def rod(dtype=F64, **options):
    """Exact values at the walls and at the beginning; slopes and normalised weights inside."""
    torch.manual_seed(0)
    net = cc.nn.MLP(2, 1, 8, 2, "gelu", "neuron", weight_norm=True, slope=1.5, dtype=dtype)
    conditions = [
        cc.boundary.Dirichlet(ROD.initial, lambda x: torch.sin(torch.pi * x[:, :1])),
        cc.boundary.Dirichlet(ROD.lateral, 0.0),
    ]
    return cc.boundary.Ansatz(net, conditions, **options)


def points(dtype=F64):
    return torch.cat([ROD.sample(40, dtype=dtype).x, ROD.boundary.sample(30, dtype=dtype).x])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    names = ["field.pt2", "field.py"]
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        names.append("field.onnx")
    except ImportError:
        pass
    field = rod()
    graph = training.plain(field, points())
    for name in names:
        training.export(graph, folder / name, points())
    assert field.training  # as it was
    return folder, names, field


def test_files_need_nothing_of_the_package(files):
    folder, names, field = files
    x = points()
    u = cc.jet(field, x, order=1)
    torch.save((x, u.value.detach(), u.grad[:, 0].detach()), folder / "points.pt")
    (folder / "alone.py").write_text(textwrap.dedent(ALONE))
    done = subprocess.run(
        [sys.executable, str(folder / "alone.py"), str(folder), *names],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    off = [float(line) for line in done.stdout.split()]
    assert len(off) == len(names)
    assert max(off) < 1e-12
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]


def test_files_are_evaluated_at_any_number_of_points(files):
    folder, names, field = files
    for name in names:
        if name.endswith(".py"):
            continue
        found = training.load_exported(folder / name)
        assert (found.inputs, found.dtype) == (2, F64)
        for n in (1, 70, 501):
            x = points()[torch.arange(n) % 70]
            torch.testing.assert_close(found.evaluate(x), field(x).detach(), rtol=0, atol=1e-12)


def test_normal_derivatives_are_inside():
    walls = SQUARE.boundary
    net = cc.nn.MLP(2, 1, 6, 1, "tanh", dtype=F64)
    field = cc.boundary.Ansatz(net, [cc.boundary.Robin(walls["right"], 2.0, 1.0)])
    x = torch.cat([SQUARE.sample(40, dtype=F64).x, walls.sample(40, dtype=F64).x])
    graph = training.plain(field, x)
    assert not [n for n in graph.graph.nodes if "colloc" in str(n.target)]
    for some in (x, x[:1], x.flip(0)):
        torch.testing.assert_close(graph(some), field(some).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, "laplacian", 2, "grad_laplacian", 3])
@pytest.mark.parametrize("shape", [SQUARE, SQUARE - cc.geometry.Disk((0, 0), 0.5)])
def test_plain_formulas_have_the_kernels_derivatives(shape, order):
    walls = shape.boundary
    x = torch.cat([shape.sample(100, dtype=F64).x, walls.sample(40, dtype=F64).x, -torch.eye(2)])
    corners = torch.tensor([[-1, -1], [1, 1], [-1, 0], [1 - 1e-9, 0.3], [1e-7 - 1, 1 - 1e-6]])
    x = torch.cat([x, corners, 3 * x[:20]])
    groups = [walls["left"], [walls["right"], walls["top"]]]

    def found():
        return [
            *(cc.boundary.distance(walls, x, m, order).components for m in (1, 2, 5)),
            *(cc.boundary.transfinite(groups, x, mu, order).components for mu in (1, 2, [3, 2])),
        ]

    kernels = found()
    with plain_formulas():
        formulas = found()
    for one, other in zip(kernels, formulas, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert not formula_needed(torch.device("cpu"))


@pytest.mark.parametrize("kind", cc.ops.ACTIVATIONS)
def test_onnx_has_every_activation(kind, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    for dtype in (F64, F32):
        net = cc.nn.MLP(3, 2, 5, 1, kind, adaptive="layer", dtype=dtype)
        training.export(net, tmp_path / "net.onnx", 4 * torch.randn(20, 3, dtype=dtype))


class Numbered(nn.Module):
    """Knows how many points there are."""

    def forward(self, x):
        return x[:, :1] * float(len(x))


class Deciding(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Special(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_what_cannot_be_exported_is_said(tmp_path):
    example = torch.ones(7, 2, dtype=F64)
    for field, error, text in (
        (lambda x: x, TypeError, "field: expected an nn.Module"),
        (Deciding(), RuntimeError, "cannot be traced.*torch.where"),
        (Random(), ValueError, "same values at every call"),
        (Numbered(), (ValueError, RuntimeError), "field: "),
    ):
        with pytest.raises(error, match=text):
            training.export(field, tmp_path / "x.pt2", example)
    with pytest.raises(ValueError, match="example: expected points for a field without parameters"):
        training.plain(Special(), 2)
    with pytest.raises(ValueError, match=r"path: expected a file that ends in .pt2"):
        training.export(Special(), tmp_path / "x.h5", example)
    assert not list(tmp_path.iterdir())
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=r"special_bessel_j0.*\.pt2 or \.py file"):
        training.export(Special(), tmp_path / "x.onnx", example)
    assert not list(tmp_path.iterdir())


def test_source_code_of_others_is_not_written_over(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("import torch\n")
    with pytest.raises(ValueError, match="path: expected a new file, or one that was exported"):
        cc.training.export(rod(), path, points())
    assert path.read_text() == "import torch\n"
    path.unlink()
    for _ in range(2):
        assert cc.training.export(rod(), path, points()) == path
