"""What this machine has: a list of checks, each with what to do where it fails."""

import importlib.util
import os
import platform
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from lessons.errors import TutelageError
from lessons.places import cache_folder
from lessons.records import Message
from lessons.sandbox.confine import confinement
from loops import resources
from loops.exams.teacher import exempt
from loops.graders.base import AskingGrader
from loops.knobs import nearest
from loops.recipe import Recipe
from students.footprint import shape_of
from students.open import open_base
from teachers import servers
from teachers.base import HoldingTeacher, Sampling, Teacher
from teachers.capabilities import probe, remember
from teachers.openai import OpenAITeacher
from teachers.vllm import VLLMTeacher
from teachers.vllm_server import version_of

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
    own = [_python(), *_packages(), *_names(), _optional(), _processor(), _memory(), _disk()]
    return [*own, _vllm(), _confinement(), _orphans(), _cache()]


async def check_teacher(teacher: Teacher) -> list[CheckResult]:
    """Check the teacher of a recipe: what runs it, whether it answers, and what it can. A few short calls are made."""
    results: list[CheckResult] = []
    if isinstance(teacher, VLLMTeacher) and not teacher.base_url:
        found = version_of(teacher.executable)
        advice = "scripts/setup_vllm.sh makes an environment for it; write its executable into the recipe"
        results.append(CheckResult("vllm executable", found is not None, found or "does not run", advice))
        if found is None:
            return results
    try:
        if isinstance(teacher, OpenAITeacher):
            known = remember(teacher, await probe(teacher))
            listed = known.models is None or teacher.model in known.models
            told = "no list of models" if known.models is None else f"{len(known.models)} models"
            near = nearest(teacher.model, known.models or ())
            results.append(CheckResult("teacher model", listed, f"{teacher.model}, {told}", near))
            can = [name for name in ("n", "json_schema", "logprobs") if getattr(known, name)]
            results.append(CheckResult("teacher can", True, ", ".join(can) or "nothing beyond plain chats"))
        begun = time.perf_counter()
        reply = await teacher.ask([Message(role="user", content="Say hello.")], Sampling(max_tokens=64))
        told = f"{time.perf_counter() - begun:.1f} s, {reply.finish}: {' '.join(reply.text.split())[:60]!r}"
        results.append(CheckResult("teacher answers", True, told))
    except TutelageError as error:
        results.append(CheckResult("teacher answers", False, str(error), "see docs/teachers.md"))
    finally:
        await teacher.aclose()
        if isinstance(teacher, HoldingTeacher):
            teacher.close()
    prices = getattr(teacher, "prices", None)
    told = "unknown: give teacher.prices, or cap tokens" if prices is None else f"known{_of(prices.as_of)}"
    results.append(CheckResult("teacher prices", True, told))
    return results


async def check_recipe(recipe: Recipe) -> list[CheckResult]:
    """Check the teachers of a recipe: its own, and that of a grader that asks another; say which exam its own will sit.

    Raises:
        InputError: the recipe's task is wrong.
    """
    teacher, task = recipe.make_teacher(), recipe.make_task()
    results = [*await check_teacher(teacher), _exam(recipe, exempt(teacher, task)), *_student(recipe)]
    own = task.grader.teacher if isinstance(task.grader, AskingGrader) else None
    if own is not None:
        results += [found._replace(name=found.name.replace("teacher", "judge")) for found in await check_teacher(own)]
    return results


def reap() -> int:
    """End the servers that runs which are dead have left behind; return how many processes were ended."""
    return sum(servers.reap(orphan) for orphan in servers.orphans())


def checks_text(found: list[CheckResult]) -> str:
    """Return the checks as text for people."""
    lines: list[str] = []
    for check in found:
        advice = f"   -> {check.advice}" if check.advice and not check.ok else ""
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<22} {check.found}{advice}")
    return "\n".join(lines)


def _exam(recipe: Recipe, why_not: str) -> CheckResult:
    settings = recipe.preflight
    told = f"{settings.problems} train problems before round 1, refused where it is below {100 * settings.at_least:g} %"
    return CheckResult("teacher exam", True, f"none: {why_not}" if why_not else told if settings.problems else "off")


def _student(recipe: Recipe) -> list[CheckResult]:
    """Return what the student takes at most, with lessons as long as they may be; nothing where its files are not here.

    It fails only where lessons of one token would not fit either.
    """
    model = recipe.student.model
    if model != "tiny" and not Path(model).expanduser().is_dir():
        return []
    shape = shape_of(open_base(model))
    if shape is None:
        return []
    there = resources.room(Path())
    most, least = (resources.learn(recipe, shape, tokens) for tokens in (recipe.training.max_length, 1))
    found: list[CheckResult] = []
    for need, bound in ((resources.answer(recipe, shape, "exam"), None), (most, least)):
        side = ("GPU memory", need.gpu, there.gpu) if there.gpu is not None else ("memory", need.memory, there.memory)
        told = f"at most {resources.gigabytes(side[1])} of {resources.gigabytes(side[2] or 0)} {side[0]}"
        fits = resources.fits(bound or need, there)
        found.append(CheckResult(f"room to {'learn' if need.stage == 'learn' else 'answer'}", fits, told, need.advice))
    return found


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


def _vllm() -> CheckResult:
    """Look for a vLLM server's environment, without starting its command, which takes ten seconds."""
    own = Path(".venv-vllm/bin/vllm")
    found = str(own) if own.exists() else shutil.which("vllm")
    if found is None:
        return CheckResult("vllm", True, "none; scripts/setup_vllm.sh makes an environment for it")
    places = Path(found).resolve().parents[1].glob("lib/python*/site-packages/vllm*.dist-info")
    return CheckResult("vllm", True, f"{found} ({', '.join(sorted(p.stem for p in places)) or 'version unknown'})")


def _confinement() -> CheckResult:
    """Say whether the grader `code` can run here; no other part of a run needs it."""
    found = confinement()
    told = found.told if found.possible else f"none, so that the grader 'code' refuses to run: {found.told}"
    return CheckResult("confining code", True, told)


def _orphans() -> CheckResult:
    left = servers.orphans()
    told = "; ".join(
        f"{' '.join(o.record.command[:3])} since {o.record.started}, {o.memory / 1e9:.1f} GB" for o in left
    )
    return CheckResult("orphaned servers", not left, told or "none", "tutelage doctor --reap ends them")


def _cache() -> CheckResult:
    path = cache_folder() / "calls.sqlite"
    size = path.stat().st_size if path.is_file() else 0
    return CheckResult("shared replies", True, f"{size / 1e6:.1f} MB in {path}")


def _of(day: str) -> str:
    return f", of {day}" if day else ""
