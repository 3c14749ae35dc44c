#!/usr/bin/env bash
# install_torch.sh PYTHON RELEASE: torch into that environment, unless it has one that will do:
# the CUDA build where an NVIDIA GPU is seen, else the CPU build, which is 20 times smaller.
set -euo pipefail
python=$1
release=$2
if "$python" - <<'CHECK' 2>/dev/null
import sys, torch
sys.exit(tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) < (2, 11))
CHECK
then
  exit 0
fi
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "An NVIDIA GPU is here: installing torch $release with CUDA (several GB)"
  exec "$python" -m pip install -q "torch==$release"
fi
echo "No NVIDIA GPU is seen: installing torch $release for the CPU"
# A CPU wheel that pip's own settings lead to; otherwise uv, which knows where torch's
# developers publish theirs.
if "$python" -m pip install -q "torch==$release+cpu" 2>/dev/null; then
  exit 0
fi
"$python" -m pip install -q uv
if "$python" -m uv pip install -q --python "$python" --torch-backend cpu "torch==$release"; then
  exit 0
fi
echo "No CPU build of torch $release could be had; installing the registry's build (several GB)"
exec "$python" -m pip install -q "torch==$release"
