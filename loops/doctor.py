"""What this machine has: a list of checks, each with what to do where it fails."""

import importlib.util
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from lessons.places import cache_folder

NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "openai", "aiohttp")
"""Packages without which no run works."""

OPTIONAL = {"reasoning_gym": "tasks", "ray": "ray", "trackio": "tracking"}
"""Import name -> the extra that brings it."""

LEAST_MEMORY = 7e9
"""Bytes of memory that the demo needs: its measured peak is below 7 GB."""

LEAST_DISK = 3e9
"""Bytes of disk: the student (0.54 GB), its wheel, a run's adapters."""


class CheckResult(NamedTuple):
    """One check."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def checks() -> list[CheckResult]:
    """Check this machine; imports nothing heavy but torch's own version."""
    return [_python(), *_packages(), *_names(), _optional(), _processor(), _memory(), _disk()]


def checks_text(found: list[CheckResult]) -> str:
    """Return the checks as text for people."""
    lines: list[str] = []
    for check in found:
        advice = f"   -> {check.advice}" if check.advice and not check.ok else ""
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<22} {check.found}{advice}")
    return "\n".join(lines)


def _python() -> CheckResult:
    ok = sys.version_info >= (3, 11)
    return CheckResult("python", ok, platform.python_version(), "Python 3.11 or newer is needed")


def _packages() -> list[CheckResult]:
    results: list[CheckResult] = []
    for name in NEEDED:
        try:
            results.append(CheckResult(name, True, version(name)))
        except PackageNotFoundError:
            results.append(CheckResult(name, False, "not installed", f"pip install {name}"))
    return results


def _names() -> list[CheckResult]:
    """Our import names are common words: check that they are ours."""
    ours = Path(__file__).resolve().parent.parent
    results: list[CheckResult] = []
    for name in ("lessons", "teachers", "students", "loops"):
        spec = importlib.util.find_spec(name)
        where = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        advice = f"another package of this name comes first on the Python path; ours is in {ours}"
        results.append(CheckResult(f"import {name}", where == ours, str(where or "not found"), advice))
    return results


def _optional() -> CheckResult:
    missing = sorted({extra for name, extra in OPTIONAL.items() if importlib.util.find_spec(name) is None})
    found = f"without: {', '.join(missing)} (pip install 'tutelage[NAME]')" if missing else "all there"
    return CheckResult("extras", True, found)


def _processor() -> CheckResult:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    gpu = shutil.which("nvidia-smi") is not None
    return CheckResult("processor", True, f"{cores} cores, {'a CUDA driver' if gpu else 'no GPU'}")


def _memory() -> CheckResult:
    import psutil

    free = psutil.virtual_memory().available
    return CheckResult("memory", free >= LEAST_MEMORY, f"{free / 1e9:.1f} GB free", "the demo needs 7 GB; close others")


def _disk() -> CheckResult:
    cache = cache_folder()
    place = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(place).free
    return CheckResult("disk", free >= LEAST_DISK, f"{free / 1e9:.1f} GB free for {cache}", "set TUTELAGE_CACHE")
