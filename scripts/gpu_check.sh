#!/usr/bin/env bash
# One GPU, two models: does it hold on this machine, how fast is it, and how much memory does each phase take.
# Usage: scripts/gpu_check.sh [--student MODEL] [--teacher MODEL] [--json OUT] ...   (--help lists all)
# Without models it makes some of random weights. Without a GPU it refuses; --device cpu --small goes through the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${TUTELAGE_VENV:-.venv}/bin/python"
[ -x "$python" ] || { echo "gpu_check: no $python: run scripts/setup.sh first" >&2; exit 2; }
exec "$python" scripts/gpu_check.py "$@"
