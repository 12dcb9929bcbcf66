#!/usr/bin/env bash
# Get a Chromium for the tests that look at pages, once; where there is one already, nothing is done.
# Usage: scripts/setup_browser.sh
# Ways, in order: TUTELAGE_CHROMIUM or PATH has one; Playwright has one or can download its own; apt-get, as root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="$PWD/${TUTELAGE_VENV:-.venv}/bin/python"

say() { printf 'setup_browser: %s\n' "$*" >&2; }
starts() {
  "$python" - <<'PYTHON' 2>/dev/null
import sys
sys.path.insert(0, ".")
from tests.browsing import Browser, program
Browser(program()).close()
PYTHON
}

if ! "$python" -c 'import playwright' 2>/dev/null; then
  say "Playwright is not installed: run scripts/setup.sh --dev first"
  exit 2
fi
if starts; then exit 0; fi
say "Playwright's own Chromium (some 150 MB)"
if "$python" -m playwright install chromium && starts; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  say "Chromium from the system's packages"
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium
  if starts; then exit 0; fi
fi
say "no Chromium could be set up; set TUTELAGE_CHROMIUM to the path of one"
exit 1
