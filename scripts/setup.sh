#!/usr/bin/env bash
# Make the project's own virtual environment (.venv), once. Usage: scripts/setup.sh [--dev]
# Called by demo.sh and test.sh. Set PYTHON to choose the interpreter (3.11 or newer), TUTELAGE_UNLOCKED=1 to take the
# packages in whatever versions fit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras="tasks"
[ "${1:-}" = "--dev" ] && extras="tasks,dev"
venv="${TUTELAGE_VENV:-.venv}"
stamp="$venv/.tutelage-$extras"
lock="requirements.lock"
[ "$extras" = "tasks,dev" ] && lock="requirements-dev.lock"
wanted="$(cat pyproject.toml scripts/setup.sh "$lock" | cksum)"
for done in "$stamp" "$venv/.tutelage-tasks,dev"; do  # an environment for development has all that a user's has
  if [ -f "$done" ] && [ "$(cat "$done")" = "$wanted" ]; then exit 0; fi
done

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=""
for candidate in "${PYTHON:-}" python3 python3.12 python3.11 python3.13; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && fits "$candidate"; then python="$candidate"; break; fi
done
if [ -z "$python" ]; then
  echo "setup: Python 3.11 or newer is needed; set PYTHON to its path" >&2
  exit 2
fi

say() { printf 'setup: %s\n' "$*" >&2; }
[ -x "$venv/bin/python" ] || { say "making $venv with $($python --version)"; "$python" -m venv "$venv"; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# The torch that fits the machine, first and alone: whatever else needs torch then takes the one that is there.
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    say "torch for CUDA (some gigabytes)"
    pip install -q 'torch>=2.11'
  elif [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; then
    say "torch"
    pip install -q 'torch>=2.11'
  else
    say "torch for CPU"
    # The CPU build, from wherever this machine's pip is set up to look; else from PyTorch's own list of CPU builds.
    pip install -q 'torch==2.13.0+cpu' 2>/dev/null \
      || PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu pip install -q 'torch==2.13.0+cpu'
  fi
fi
if [ -n "${TUTELAGE_UNLOCKED:-}" ]; then
  say "tutelage and what it needs, in whatever versions fit"
  pip install -q -e ".[$extras]"
else
  # Every file is held to its hash; torch and what came with it stand in no lock, see scripts/lock.sh.
  say "what tutelage needs, as $lock has it"
  pip install -q --require-hashes --no-deps -r "$lock"
  pip install -q --no-deps -e .
fi
"$venv/bin/python" -m compileall -q -j 2 "$venv/lib" >/dev/null 2>&1 || true
printf '%s' "$wanted" > "$stamp"
