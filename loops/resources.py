"""Memory and disk that a stage will need, held against what there is before it begins.

What is needed is an estimate (see `students.footprint`): a stage is refused only where it cannot fit even if the
estimate is too high by the factor that was measured at most; where it is near, that is said.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from lessons.timing import inside
from loops.engines.transformers import Transformers
from loops.recipe import Recipe
from students.footprint import CUDA_CONTEXT, IMPORTS, WITHIN, Shape, answering, learning, saved, shape_of, total
from students.memory import bare

if TYPE_CHECKING:
    from loops.work import Work

NEAR = 0.8
"""Share of what there is from which a need is said. Our choice."""
SPARE = 50_000_000
"""Bytes of disk that are to stay free: markers, metrics, the ledger's log."""
TAUGHT = 30_000
"""Bytes that teaching on one attempt leaves: its calls and candidates; measured with stat_syn in the demo."""
_ANSWERS = ("examine", "exam", "noise", "final")
_CHARACTERS = 3
"""Characters of a token, at least, of tokenizers with more tokens than bytes."""
_TEMPLATE = 48
"""Tokens that a chat template puts around a lesson."""


class Room(NamedTuple):
    """What a run may take, in bytes."""

    memory: int
    """What this process holds, and what it can still get."""
    disk: int
    gpu: int | None = None
    """The same of the GPU; None where there is none."""


class Need(NamedTuple):
    """What a stage takes at its peak, in bytes."""

    stage: str
    memory: int = 0
    disk: int = 0
    gpu: int = 0
    parts: str = ""
    """What the memory is for, for people."""
    advice: str = ""
    """What to set where it does not fit."""


def ready(work: "Work", index: int, stage: str) -> None:
    """Say it where a stage is near what there is, and refuse it where it cannot fit.

    Raises:
        InputError: it cannot fit; says what is needed, what there is, and what to set.
    """
    need = need_of(work, index, stage)
    if need is None:
        return
    found = room(work.folder.path)
    refuse(need, found)
    if said := near(need, found):
        work.listener.line(f"  {said}")


def refuse(need: Need, found: Room) -> None:
    """Refuse what cannot fit.

    Raises:
        InputError: it needs more than there is, by more than an estimate may be wrong.
    """
    for name, needed, there in _lacking(need, found):
        raise InputError(f"{need.stage} cannot begin: {_told(need, name, needed, there)}; {_advice(need, name)}")


def fits(need: Need, found: Room) -> bool:
    """Whether a need would not be refused."""
    return not any(_lacking(need, found))


def near(need: Need, found: Room) -> str:
    """Return what is to be said where a need comes near what there is, or above it; "" where there is plenty."""
    for name, needed, there in _sides(need, found):
        if needed > NEAR * there:
            return f"warning: {_told(need, name, needed, there)}; if it fails, {_advice(need, name)}"
    return ""


def need_of(work: "Work", index: int, stage: str) -> Need | None:
    """Return what a stage that is about to begin takes; None where it takes little, or nobody can tell."""
    folder = work.folder.round(index)
    if stage == "teach":
        marker = work.folder.marker(index, "diagnose")
        missed = marker.counts.get("diagnose/missed", marker.counts.get("diagnose/failures", 0)) if marker else 0
        return Need("teach", disk=missed * TAUGHT + SPARE)
    if stage in ("filter", "select"):
        name, times = ("candidates.jsonl", 3) if stage == "filter" else ("kept.jsonl", 2)
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        return Need(stage, disk=times * size + SPARE)  # what goes from filter to filter lies in files, beside the ends
    if stage == "learn" or (stage in _ANSWERS and isinstance(work.recipe.student.engine, Transformers)):
        shape = shape_of(getattr(bare(work.base), "base", None))
        if shape is None:
            return None
        recipe = work.recipe
        return learn(recipe, shape, _longest(folder, shape)) if stage == "learn" else answer(recipe, shape, stage)
    return None


def learn(recipe: Recipe, shape: Shape, longest: int) -> Need:
    """Return what a round's training takes, with lessons of at most so many tokens."""
    training = recipe.training
    if not training.objective.trains:
        return Need("learn", disk=saved(shape, training.rank) + SPARE)
    longest = max(1, min(longest, training.max_length))
    gpu, bfloat16 = _computes(training.precision)
    parts = learning(shape, training, longest=longest, bfloat16=bfloat16, gpu=gpu)
    told = ", ".join(f"{part.name} {gigabytes(part.bytes)}" for part in parts if part.bytes >= 1e8)
    return _placed(
        "learn", shape, total(parts), gpu=gpu, disk=saved(shape, training.rank) + SPARE, told=told,
        advice="lower train.micro_batch_size or train.max_length, or train fewer weights (student.adapter.rank)",
    )  # fmt: skip


def answer(recipe: Recipe, shape: Shape, stage: str) -> Need:
    """Return what the student's answering takes."""
    how = recipe.student.answer
    gpu, bfloat16 = _computes("float32" if recipe.student.model == "tiny" else "auto")
    parts = answering(shape, batch_tokens=how.batch_tokens, bfloat16=bfloat16, adapted=bool(recipe.training.rank))
    told = ", ".join(f"{part.name} {gigabytes(part.bytes)}" for part in parts if part.bytes >= 1e8)
    advice = "lower student.answer.batch_tokens"
    return _placed(stage, shape, total(parts), gpu=gpu, disk=SPARE, told=told, advice=advice)


def room(folder: Path) -> Room:
    """Return what this process may take now: of memory, of the disk that a folder is on, of the GPU."""
    held = psutil.Process().memory_info().rss
    free = min([psutil.virtual_memory().available, *group_free()])
    return Room(memory=held + free, disk=shutil.disk_usage(folder).free, gpu=gpu_room())


def group_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yield the bytes that each control group of this process has left, of those that set a limit (a container)."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:  # version 2, one hierarchy
            base, most, now, given_back = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, most, now = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            given_back = "total_inactive_file"
        else:
            continue
        folder = base / place.strip("/")
        for group in (folder, *(parent for parent in folder.parents if parent.is_relative_to(base))):
            try:
                limit, used = int((group / most).read_text()), int((group / now).read_text())
                stat = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                continue  # "max", or a group that is not to be seen from within
            yield max(0, limit - used + int(stat.get(given_back, 0)))


def gpu_room() -> int | None:
    """Return the bytes of the first GPU that this process holds or can get; None without one, or before torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    return int(free) + int(torch.cuda.memory_reserved())


def gigabytes(size: float) -> str:
    """Return bytes as people read them: "5.1 GB", "40 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _placed(stage: str, shape: Shape, taken: int, *, gpu: bool, disk: int, told: str, advice: str) -> Need:
    """Put what a model takes where it computes; on a GPU, its weights still pass through memory."""
    if gpu:
        return Need(stage, IMPORTS + 4 * shape.parameters, disk, CUDA_CONTEXT + taken, told, advice)
    return Need(stage, IMPORTS + taken, disk, 0, told, advice)


def _computes(precision: Any) -> tuple[bool, bool]:
    """Return whether models compute on a GPU here, and whether in bfloat16."""
    with inside("load"):
        import torch

        from students.runtime import device, dtype_of

    where = device()
    return where.type == "cuda", dtype_of(precision, where) == torch.bfloat16


def _longest(folder: Path, shape: Shape) -> int:
    """Return about how many tokens a round's longest lesson has; 0 where none is written yet."""
    path = folder / "lessons.jsonl"
    characters = max(map(_size, read_jsonl(path, Lesson)), default=0) if path.is_file() else 0
    return characters // (_CHARACTERS if shape.vocabulary > 1000 else 1) + _TEMPLATE if characters else 0


def _size(lesson: Lesson) -> int:
    return sum(len(turn["content"]) for turn in lesson.prompt) + max(len(lesson.completion), len(lesson.rejected or ""))


def _sides(need: Need, found: Room) -> Iterator[tuple[str, int, int]]:
    yield "memory", need.memory, found.memory
    yield "disk", need.disk, found.disk
    if found.gpu is not None:
        yield "GPU memory", need.gpu, found.gpu


def _lacking(need: Need, found: Room) -> Iterator[tuple[str, int, int]]:
    for name, needed, there in _sides(need, found):
        if (needed if name == "disk" else needed / WITHIN) > there:
            yield name, needed, there


def _told(need: Need, name: str, needed: int, there: int) -> str:
    parts = f" ({need.parts})" if need.parts and name != "disk" else ""
    return f"{need.stage} needs about {gigabytes(needed)} of {name}{parts}, and there is {gigabytes(there)}"


def _advice(need: Need, name: str) -> str:
    if name == "disk":
        return "make room on the disk of the run folder, and go on with tutelage resume"
    return f"{need.advice}, or end other programs" if need.advice else "end other programs"
