"""Trained fields as files that are used without this package."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import check_choice, coordinates_fix, describe, fail, fail_type
from colloc.training._extras import require
from colloc.training._module_source import MARK, module_source
from colloc.training.atomic import atomic_path
from colloc.training.plain import checked, difference, plain

FORMATS = {".pt2": "exported", ".onnx": "onnx", ".py": "torch"}
#: From points (N, d) to values (N, m).
Evaluate = Callable[[Tensor], Tensor]


def export(
    field: nn.Module,
    path: str | os.PathLike[str],
    example: Tensor | int,
    *,
    format: str | None = None,
) -> Path:
    """Write a field as a file that knows nothing of this package, atomically; its path.

    ============ ======= ==================================================================
    format       suffix  what reads it
    ============ ======= ==================================================================
    "exported"   .pt2    ``torch.export.load(path).module()``, also from C++ (AOTInductor)
    "onnx"       .onnx   ONNX Runtime and its like; input ``x`` (points, d), output ``u``
    "torch"      .py     Python: ``from file import Field``, an ``nn.Module`` whose weights are
                         in the file; ``torch.autograd`` differentiates it by the points
    ============ ======= ==================================================================

    The graph is that of :func:`colloc.training.plain`: torch's own operations, slopes and
    normalised weights multiplied out, boundary conditions and their data inside. It takes any
    number of points, and is read back and compared with the field at several (1e-12 of the
    largest value in float64, 1e-5 in float32) before the file gets its name.

    Example::

        cc.training.export(field, "field.onnx", square.sample(64).x)

    Args:
        field, example: as for :func:`colloc.training.plain`, whose result will do as well (for
            several files, traced once). The example's dtype is the file's.
        path: the file; its suffix chooses the format. An older one is replaced, but for Python
            files that were not written here.
        format: "exported", "onnx" or "torch", whatever the suffix.

    Raises:
        ValueError, TypeError: an argument of another kind, an operation that ONNX files are not
            written with.
        RuntimeError: a field that cannot be traced, or values that differ after reading back.
        ImportError: onnx is not installed. (Without onnxruntime an ONNX file is not compared.)
        OSError: the folder is missing or not writable.
    """
    path = Path(path)
    if format is None:
        if path.suffix not in FORMATS:
            fail("path", f"a file that ends in {', '.join(FORMATS)}, or a format", str(path))
        format = FORMATS[path.suffix]
    check_choice("format", format, tuple(FORMATS.values()))
    if format == "torch" and path.is_file() and MARK not in path.read_text("utf-8", "replace"):
        fail("path", "a new file, or one that was exported", f"{path}, other source code")
    fix = coordinates_fix(example)
    if fix:
        fail_type("example", "points (N, d), or the number d of inputs", describe(example), fix)
    onnx: Any = require("onnx", "an ONNX file", "export") if format == "onnx" else None
    field, x = checked(field, example)
    graph = plain(field, x)
    with atomic_path(path) as aside:
        if format == "torch":
            aside.write_text(module_source(graph, x), encoding="utf-8")
        elif format == "exported":
            points = torch.export.Dim("points")
            several = x if len(x) > 1 else x.expand(2, -1).clone()
            program = torch.export.export(graph, (several,), dynamic_shapes=({0: points},))
            torch.export.save(program, str(aside))
        else:
            from colloc.training._onnx_model import model_of

            onnx.save(model_of(graph, onnx), str(aside))
            try:
                require("onnxruntime", "comparing", "export")
            except ImportError:
                return path
        problem = difference(_READERS[format](aside).evaluate, field, x)
        if problem:
            raise RuntimeError(
                f"format: expected a file with the values of the field, got {problem}, as "
                f"{format}. Use another format."
            )
    return path


class Exported:
    """A field from a file.

    Args:
        evaluate: from points (N, d) to values (N, m), on the CPU.
        inputs: d.
        dtype: of the points.
    """

    def __init__(self, evaluate: Evaluate, inputs: int, dtype: torch.dtype) -> None:
        self.evaluate, self.inputs, self.dtype = evaluate, inputs, dtype


def load_exported(path: str | os.PathLike[str]) -> Exported:
    """A field from a ``.pt2`` or ``.onnx`` file with one input (N, d) and one output (N, m).

    Files of format "torch" are not read here: they are programs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, a damaged file, more inputs than one.
        ImportError: onnxruntime is not installed.
    """
    path = Path(path)
    if path.is_dir():
        fix = "A run holds weights, not the network: export it with colloc.training.export."
        fail("file", "an exported field (.pt2, .onnx)", f"the folder {path}", fix)
    if not path.is_file():
        raise FileNotFoundError(f"file: expected an exported field (.pt2, .onnx), got {path}, "
                                "which does not exist.")  # fmt: skip
    reader = _READERS.get(FORMATS.get(path.suffix, ""))
    if reader is None or path.suffix == ".py":
        fail("file", "an exported field (.pt2, .onnx)", str(path))
    if path.suffix == ".onnx":
        require("onnxruntime", "evaluating ONNX files", "export")
    try:
        return reader(path)
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        fail("file", "an exported field with one input (N, d)", f"{path}: {first}")


def _read_program(path: Path) -> Exported:
    program = torch.export.load(str(path))
    names = program.graph_signature.user_inputs
    found = [node.meta["val"] for node in program.graph.nodes if node.name in names]
    if len(found) != 1 or found[0].ndim != 2:
        fail("file", "a program with one input (N, d)", f"{len(found)} inputs")
    return Exported(program.module(), int(found[0].shape[1]), found[0].dtype)


def _read_onnx(path: Path) -> Exported:
    runtime = require("onnxruntime", "evaluating ONNX files", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised all the same
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()
    kinds = {"tensor(float)": torch.float32, "tensor(double)": torch.float64}
    if len(given) != 1 or len(given[0].shape) != 2 or given[0].type not in kinds:
        fail("file", "a model with one floating input (N, d)", str([one.shape for one in given]))

    def evaluate(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {given[0].name: x.cpu().numpy()})[0]).to(x.device)

    return Exported(evaluate, int(given[0].shape[1]), kinds[given[0].type])


def _read_module(path: Path) -> Exported:
    found = runpy.run_path(str(path))
    return Exported(found["Field"](), found["INPUTS"], found["DTYPE"])


_READERS: dict[str, Callable[[Path], Exported]] = {
    "exported": _read_program,
    "onnx": _read_onnx,
    "torch": _read_module,
}
