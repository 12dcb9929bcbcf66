#!/usr/bin/env bash
# Look for known vulnerabilities in the locked packages (and in the torch that is installed here), in the OSV database.
# Usage: scripts/audit.sh [PIP-AUDIT ARGUMENTS]. Exit codes: 0 none is known, 1 some are (each is listed), 3 nobody could
# be asked, so that nothing is known.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${TUTELAGE_VENV:-.venv}/bin/python"
[ -x "$python" ] || python=python3
audit=("$python" -m pip_audit)
"$python" -c 'import pip_audit' 2>/dev/null || audit=(pip-audit)
if ! command -v "${audit[0]}" >/dev/null || ! "${audit[@]}" --version >/dev/null 2>&1; then
  echo "audit: nothing was looked up: pip-audit is needed (pip install pip-audit)" >&2
  exit 3
fi
service="${TUTELAGE_AUDIT_SERVICE:-osv}"
said="$(mktemp)"
locked="$(mktemp --suffix .txt)"
trap 'rm -f "$said" "$locked"' EXIT
cp requirements-dev.lock "$locked"
torch="$("$python" -c 'from importlib.metadata import version; print(version("torch").partition("+")[0])' 2>/dev/null)"
pinned=(--disable-pip --require-hashes)
if [ -n "$torch" ]; then
  # torch stands in no lock, so it comes without a hash: versions are all that is looked up here.
  sed -E 's/ \\$//; /^ +--hash/d' requirements-dev.lock > "$locked"
  echo "torch==$torch" >> "$locked"
  pinned=(--disable-pip --no-deps)
fi
"${audit[@]}" "${pinned[@]}" --progress-spinner off --vulnerability-service "$service" --requirement "$locked" "$@" > "$said" 2>&1
code=$?
if [ "$code" -ne 0 ] && ! grep -qE 'Found [0-9]+ known' "$said"; then
  tail -n 1 "$said" | cut -c1-300 >&2
  echo "audit: nothing was looked up: the vulnerability service ($service) could not be reached or did not answer" >&2
  exit 3
fi
cat "$said"
exit "$code"
