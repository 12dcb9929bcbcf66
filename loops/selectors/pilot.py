"""A student trained on all candidates of a round, only to see what it learns of each. Trained once, whoever asks."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lessons.errors import InputError, TutelageError
from lessons.ids import content_id
from lessons.records import FolderName, Lesson, Record
from loops.plugins import values_of
from loops.selectors.base import Choice
from loops.store import read_record, write_record
from students.base import Student, Training


class PilotNote(Record, frozen=True, kw_only=True):
    """`pilot.json` of a pilot's folder: written last, so that what it names is whole."""

    adapter: FolderName
    """Name of the folder of its weights."""
    digest: str
    """Of the student."""


def origin_of(choice: Choice) -> Student:
    """Return the student that the round's training starts from: the base, or the one that is taught.

    Raises:
        InputError: there is no student here.
    """
    if choice.training is None or choice.student is None:
        raise InputError("select: a pilot is trained on the candidates, and there is no student here")
    return choice.asked("select: a pilot").student("base") if choice.training.start == "base" else choice.student


def pilot(candidates: Sequence[Lesson], choice: Choice, epochs: float = 0.0) -> Student:
    """Return the student after plain supervised training on the candidates, as the round's training is set.

    It is kept in the choice's folder under a name made of everything that it depends on; a stage that begins again
    takes it from there. The lessons are trained in the order of their ids, so that it does not depend on theirs.

    Args:
        candidates: what it learns, each once; one that is not desirable is left out.
        choice: of the round.
        epochs: passes; 0 as the round's training.

    Raises:
        InputError: there is no student, or nowhere to keep it.
        StudentError: the lessons would train silently wrong.
    """
    origin = origin_of(choice)
    assert choice.training is not None
    if choice.folder is None:
        raise InputError("select: a pilot's weights are kept with the round, and there is no folder here")
    training = msgspec.structs.replace(
        choice.training, objective=Training().objective, epochs=epochs or choice.training.epochs
    )
    wanted = {lesson.id: lesson for lesson in candidates if lesson.desirable}
    lessons = [wanted[name] for name in sorted(wanted)]
    name = content_id(
        "pilot", origin=origin.digest, lessons=[lesson.id for lesson in lessons], seed=choice.seed,
        weights=[lesson.weight for lesson in lessons], training=values_of(training),
    )  # fmt: skip
    folder = choice.folder / f"pilot-{name}"
    return _kept(origin, folder) or _trained(origin, lessons, folder, training, choice.seed)


def _kept(origin: Student, folder: Path) -> Student | None:
    note = read_record(folder / "pilot.json", PilotNote)
    if note is None:
        return None
    try:
        found = origin.with_adapter(folder / note.adapter)
    except TutelageError:  # damaged weights are trained again
        return None
    return found if found.digest == note.digest else None


def _trained(origin: Student, lessons: Sequence[Lesson], folder: Path, training: Training, seed: int) -> Student:
    folder.mkdir(parents=True, exist_ok=True)
    student, learned = origin.learn(lessons, folder, training, seed=seed)
    write_record(folder / "pilot.json", PilotNote(adapter=learned.adapter, digest=student.digest))
    return student
