#!/usr/bin/env bash
# check_sdist.sh PYTHON: builds the sdist, a wheel from it, and uses that wheel in an
# environment of its own, away from this source tree.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip install -q build
"$python" -m build --sdist --no-isolation --outdir "$work" . >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$python" -m pip wheel -q --no-build-isolation --no-deps --wheel-dir "$work" "$work"/colloc-*.tar.gz

# The new environment sees torch and numpy through a path, and no colloc but the wheel's: a
# folder added by a .pth file has its own .pth files (an editable colloc) ignored.
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install -q --no-deps --no-index "$work"/colloc-*.whl
site=$("$work/venv/bin/python" -c "import site; print(site.getsitepackages()[0])")
"$python" -c "import site; print(site.getsitepackages()[0])" >"$site/with_torch.pth"

cd "$work"
"$work/venv/bin/python" - <<'CHECK'
import pathlib
import sys

import torch

import colloc as cc

assert pathlib.Path(cc.__file__).is_relative_to(sys.prefix), cc.__file__
assert cc.ops.halton(3, 2, dtype=torch.float64)[1].tolist() == [0.5, 1 / 3]
x = torch.randn(5, 2, requires_grad=True)
cc.nn.MLP(2, 1, hidden_features=8, hidden_layers=2, adaptive=True)(x).sum().backward()
assert torch.isfinite(x.grad).all()
CHECK
"$work/venv/bin/colloc" info
echo "the sdist builds, installs and runs"
