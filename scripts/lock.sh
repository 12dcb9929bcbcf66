#!/usr/bin/env bash
# Write requirements.lock (what a user's environment holds) and requirements-dev.lock (that, and what tests need): every
# package with its version and the hashes of its files. Usage: scripts/lock.sh [--upgrade]
# torch is left out: which build fits depends on the machine (CPU, CUDA, ROCm), and each comes from an index of its own;
# scripts/setup.sh installs it first and alone. Needs uv (pip install uv).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "lock: uv is needed: pip install uv" >&2; exit 2; }
without="$(mktemp)"
trap 'rm -f "$without"' EXIT
echo torch > "$without"
compile() {
  uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --excludes "$without" "$@" pyproject.toml
}
compile "$@" --extra tasks --output-file requirements.lock
compile "$@" --extra tasks --extra dev --constraint requirements.lock --output-file requirements-dev.lock
echo "lock: $(grep -c '^[a-z]' requirements.lock) packages, $(grep -c '^[a-z]' requirements-dev.lock) with those for tests"
