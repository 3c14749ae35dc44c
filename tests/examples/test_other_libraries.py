"""docs/other_libraries.md: its blocks run as they stand, and what they name exists."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import colloc as cc
import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "other_libraries.md").read_text()
#: Of each block: what it needs, and what its result must be below.
BLOCKS = dict(zip(
    ("torch", "deepxde", "pina", "lightning"),
    re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL),
    strict=True,
))  # fmt: skip
CHECKS = {
    "torch": "assert abs(result - 0.0737) < 0.01, result",
    "deepxde": "assert result < 0.5, result",
    "pina": "assert result < 1e3, result",
    "lightning": "assert result < 0.05, result",
}


@pytest.mark.parametrize("library", BLOCKS)
def test_block(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    environment = {**os.environ, "DDE_BACKEND": "pytorch", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", f"{BLOCKS[library]}\n{CHECKS[library]}"],
        capture_output=True, text=True, timeout=600, env=environment, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]


PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_name_exists(page):
    names = set(re.findall(r"\bcc((?:\.[A-Za-z_]\w*)+)", (ROOT / page).read_text()))
    for name in sorted(names):
        found = cc
        for part in name[1:].split("."):
            assert hasattr(found, part), f"{page}: cc{name}"
            found = getattr(found, part)
