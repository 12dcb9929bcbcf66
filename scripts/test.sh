#!/usr/bin/env bash
# Set up, then run the checks and the tests. Usage: scripts/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --dev
bin="$PWD/${TUTELAGE_VENV:-.venv}/bin"
export PATH="$bin:$PATH"
# Two test processes on two cores: without this, torch's threads spin and each is ten times slower.
export OMP_WAIT_POLICY=PASSIVE HF_HUB_OFFLINE=1
ruff check .
ruff format --check .
pyright
lint-imports
# In two processes; tests that need a server or a card have the machine for themselves.
workers=(-n "${TUTELAGE_TEST_WORKERS:-2}")
case " $* " in *" -m vllm"* | *" -m gpu"* | *" -n "*) workers=() ;; esac
exec python -m pytest ${workers[@]+"${workers[@]}"} "$@"
