"""A teacher trained on what its student prefers: an adapter on its own weights, kept in the round's folder."""

from collections.abc import Sequence
from pathlib import Path

from lessons.errors import InputError
from lessons.ids import seed_of
from lessons.jsonl import write_jsonl
from lessons.records import Lesson
from loops.round import Round
from students.base import Training
from teachers.base import Teacher, TrainableTeacher


def trainable(round_: Round) -> TrainableTeacher:
    """Return the run's teacher.

    Raises:
        InputError: its weights cannot be trained here.
    """
    teacher = round_.teacher
    if not isinstance(teacher, TrainableTeacher) or getattr(teacher, "adapter", ""):
        name = teacher.name if teacher is not None else "an estimate's"
        raise InputError(
            f"method {round_.method!r} trains the teacher, and {name} cannot be trained here: use teacher.kind local "
            "without an adapter, or set method.align to false"
        )
    return teacher


def aligned(round_: Round, teacher: TrainableTeacher, pairs: Sequence[Lesson], training: Training) -> Teacher:
    """Return the teacher after training on pairs; they and its adapter are kept in the round's folder.

    Raises:
        InputError: there is nowhere to keep it (an estimate).
        StudentError: the pairs cannot be trained on.
    """
    from students.open import open_student

    if round_.folder is None:
        raise InputError(f"method {round_.method!r} trains the teacher, and nothing is kept here")
    round_.folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(round_.folder / "pairs.jsonl", pairs)
    round_.make_room("training")
    into: Path = round_.folder / "teacher"
    with round_.listener.bar("align the teacher", 0) as progress:
        student = open_student(teacher.model)
        seed = seed_of(round_.seed, "align")
        _, learned = student.learn(pairs, into, training, seed=seed, progress=progress)
    return teacher.with_adapter(into / learned.adapter)
