"""The job folder: all that a process needs to train, and what it leaves. No code is in it, and nothing is unpickled."""

import dataclasses
import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lessons.errors import StudentError
from lessons.jsonl import read_jsonl, write_jsonl, write_whole
from lessons.records import Lesson
from students.base import Learned, Training
from students.models import Base, FolderBase

NOTE, LESSONS, RESULT = "job.json", "lessons.jsonl", "result.json"


class ObjectiveNote(msgspec.Struct, frozen=True):
    """An objective: a class that can be imported, and its knobs."""

    of: str
    """`package.module:Name`."""
    knobs: dict[str, Any]


class BaseNote(msgspec.Struct, frozen=True):
    """A base model: where it is, or what the tiny one is made from."""

    fingerprint: str
    name: str = ""
    folder: str = ""
    seed: int = 0
    template: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`job.json`."""

    base: BaseNote
    adapter: str | None
    """Folder of what the student has learned so far."""
    into: str
    """Where the next student's weights go."""
    training: dict[str, Any]
    objective: ObjectiveNote
    seed: int
    line: str
    """Path of the socket."""
    tracked: bool
    """Whether the figures of each step are asked for."""
    graded: bool
    """Whether the run has a grader that answers can be sent to."""
    checkpoints: str
    """Folder of the checkpoints."""
    id: str
    """Of the training; see `students.checkpoints.training_id`."""


def objective_note(objective: Any) -> ObjectiveNote | None:
    """Return what an objective is made from; None where no other process could make it."""
    kind: type[Any] = type(objective)
    if not dataclasses.is_dataclass(kind) or kind.__module__ == "__main__":
        return None
    knobs = {field.name: getattr(objective, field.name) for field in dataclasses.fields(kind)}
    try:
        note = ObjectiveNote(f"{kind.__module__}:{kind.__qualname__}", msgspec.to_builtins(knobs))
        return note if made(note) == objective else None
    except (TypeError, ImportError, AttributeError, msgspec.ValidationError):
        return None


def made(note: ObjectiveNote) -> Any:
    """Make an objective."""
    module, _, name = note.of.partition(":")
    return msgspec.convert(note.knobs, getattr(importlib.import_module(module), name))


def base_note(base: Base) -> BaseNote | None:
    """Return where a base model is; None where no other process could open it."""
    from students.tiny import TinyBase

    if isinstance(base, TinyBase):
        return BaseNote(base.fingerprint, seed=base.seed, template=base.template)
    if isinstance(base, FolderBase):
        return BaseNote(base.fingerprint, name=base.name, folder=str(base.folder.absolute()))
    return None


def opened(note: BaseNote) -> Base:
    """Open a base model.

    Raises:
        StudentError: it is not what it was when the job was written.
    """
    from students.tiny import TinyBase

    base = FolderBase(Path(note.folder), note.name) if note.folder else TinyBase(note.seed, note.template)
    if base.fingerprint != note.fingerprint:
        raise StudentError(f"{note.folder}: the model has changed since the training was begun")
    return base


def plain(training: Training) -> dict[str, Any]:
    """Return the settings of a training without its objective."""
    told: dict[str, Any] = msgspec.structs.asdict(training)
    del told["objective"]
    return told


def training_of(job: Job) -> Training:
    """Return the settings of a job, with its objective."""
    return Training(**job.training, objective=made(job.objective))


def write_job(folder: Path, job: Job, lessons: Sequence[Lesson]) -> None:
    """Write a job folder anew, for this user's eyes only."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    write_jsonl(folder / LESSONS, lessons)
    write_whole(folder / NOTE, msgspec.json.encode(job))


def read_job(folder: Path) -> tuple[Job, list[Lesson]]:
    """Return a job and its lessons."""
    job = msgspec.json.decode((folder / NOTE).read_bytes(), type=Job)
    return job, list(read_jsonl(folder / LESSONS, Lesson))


def write_result(folder: Path, learned: Learned) -> None:
    """Write what a training has come to, whole; the weights it names are there by then."""
    write_whole(folder / RESULT, msgspec.json.encode(learned))


def read_result(folder: Path) -> Learned | None:
    """Return what a training has come to; None where it has not."""
    path = folder / RESULT
    return msgspec.json.decode(path.read_bytes(), type=Learned) if path.is_file() else None
