"""Who may import whom: left may use what stands to its right, never the other way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "colloc"

LAYERS = (
    ("training",),
    ("balancing",),
    ("ntk",),
    ("pde", "boundary", "sampling"),
    ("geometry", "nn"),
    ("jets",),
    ("ops",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
#: Files at the top of the package that everything may use.
COMMON = {"_C", "_checks", "_figure", "_graph", "_load"}


def imported_parts(path: Path, source: str) -> set[str]:
    """The first name below ``colloc`` of everything that a file imports from the package."""
    inside = ["colloc", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            modules = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "colloc":
                found.add(parts[1] if len(parts) > 1 else "colloc")
    return found


def violations(path: Path, source: str) -> list[str]:
    folder = path.relative_to(PACKAGE).parts[0]
    wrong = []
    for part in imported_parts(path, source):
        if part in COMMON or part == folder:
            continue
        if part not in LEVEL or LEVEL[part] <= LEVEL[folder]:
            wrong.append(f"{path.relative_to(ROOT)} imports {part}")
    return wrong


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_python_layers(path):
    assert path.relative_to(PACKAGE).parts[0] in LEVEL, "a folder without a place in the layers"
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["from colloc import nn", "import colloc.nn", "from ..nn import MLP", "import colloc"],
)
def test_the_rule_sees_every_form_of_import(source):
    assert violations(PACKAGE / "ops" / "halton.py", source)


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def sources(*folders: str) -> list[Path]:
    csrc = ROOT / "csrc"
    return sorted(p for f in folders for p in (csrc / f).rglob("*") if p.suffix != "")


@pytest.mark.parametrize("path", sources("math"), ids=lambda p: p.name)
def test_mathematics_uses_nothing_but_itself(path):
    for header in includes(path):
        assert "/" not in header or header.startswith("math/"), header


@pytest.mark.parametrize("path", sources("cpu/kernels"), ids=lambda p: p.name)
def test_kernels_include_no_torch(path):
    # One object per instruction set: an inline function of a larger header, compiled with
    # AVX-512 here, could be the copy that the linker keeps for everyone.
    for header in includes(path):
        assert header.startswith(("math/", "cpu/kernels/", "common/")) or header in {
            "cmath",
            "cstdint",
        }, header


@pytest.mark.parametrize("side,other", [("cpu", "cuda"), ("cuda", "cpu"), ("common", "cpu")])
def test_cpu_and_cuda_do_not_know_each_other(side, other):
    for path in sources(side):
        assert not [h for h in includes(path) if h.startswith(f"{other}/")], path


#: What is faster tile by tile on a CPU; on a GPU it is made of other ops and torch's products.
CPU_ALONE = {
    "blas",
    "mlp_jet",
    "mlp_jet_arguments",
    "mlp_jet_squares",
    "mlp_jet_tiles",
    "pool",
}
#: Parts of op mlp_jet, and what ops share.
PARTS = CPU_ALONE - {"mlp_jet"}


def test_every_cpu_op_has_its_cuda_file():
    for path in sorted((ROOT / "csrc" / "cpu").glob("*.cpp")):
        if path.stem not in CPU_ALONE:
            assert (ROOT / "csrc" / "cuda" / f"{path.stem}.cu").is_file()
        if path.stem not in PARTS:
            assert (ROOT / "python" / "colloc" / "ops" / f"{path.stem}.py").is_file()
