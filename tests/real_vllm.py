"""What tests against a real vLLM server need: its command, and a model to serve; where one cannot be had, they skip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def vllm_command() -> str:
    """Return the command `vllm`: that of TUTELAGE_VLLM, or of the environment that scripts/setup_vllm.sh makes."""
    command = shutil.which(os.environ.get("TUTELAGE_VLLM") or str(ROOT / ".venv-vllm" / "bin" / "vllm"))
    if command is None:
        pytest.skip("no vLLM: scripts/setup_vllm.sh makes an environment with one")
    return command


def teacher_model() -> str:
    """Return the folder of a model that can teach: TUTELAGE_TEACHER_MODEL, or what scripts/get_teacher.py gets."""
    if model := os.environ.get("TUTELAGE_TEACHER_MODEL"):
        return model
    script = str(ROOT / "scripts" / "get_teacher.py")
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no model can be had: {made.stderr.strip()}")
    return made.stdout.strip()
