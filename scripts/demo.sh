#!/usr/bin/env bash
# Set up, then run the demo: two rounds of a real 135M student on a laptop CPU. No key, no GPU, no model hub.
# Usage: scripts/demo.sh [RUN_FOLDER]. The same command again shows the finished run, or goes on with a stopped one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
exec "${TUTELAGE_VENV:-.venv}/bin/tutelage" run "${TUTELAGE_DEMO_RECIPE:-scripts/recipes/demo.yaml}" --into "${1:-runs/demo}"
