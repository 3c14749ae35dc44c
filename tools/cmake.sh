#!/usr/bin/env bash
# cmake.sh PYTHON ARGUMENTS...: cmake from the PATH or from that Python's packages, quiet
# unless it fails, configured for that Python, with ninja where there is one.
set -euo pipefail
python=$1
shift
folder=$(dirname "$(command -v "$python")")
export PATH="$folder:$PATH"
if ! command -v cmake >/dev/null; then
  echo "cmake not found: install it (pip install cmake ninja)" >&2
  exit 1
fi
if [ "$1" = "-S" ]; then
  set -- "$@" "-DPython_EXECUTABLE=$(command -v "$python")"
  command -v ninja >/dev/null && set -- -G Ninja "$@"
elif [ "$1" = "--build" ]; then
  set -- "$@" --parallel "$(nproc)"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake "$@" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
