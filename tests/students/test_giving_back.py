"""A model that nothing holds any more is let go of, also after collections pass over what was imported."""

import gc
import weakref
from pathlib import Path

from lessons.records import Lesson
from students.base import Generation, Training
from students.hf import HFStudent
from students.runtime import give_back, settle
from students.tiny import tiny


class Knot:
    """Holds itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.own = self


def test_what_is_made_later_is_still_collected() -> None:
    settle()
    frozen = gc.get_freeze_count()
    settle()
    assert gc.get_freeze_count() == frozen > 100_000  # once in a process
    knot = weakref.ref(Knot())
    give_back()
    assert knot() is None


def test_models_of_several_rounds_are_let_go_of(lessons: list[Lesson], one_step: Training, tmp_path: Path) -> None:
    student: HFStudent = tiny()
    seen: list[weakref.ref[object]] = []
    for round_ in range(3):
        student.answer([lessons[0].prompt], Generation(max_tokens=2))
        assert student._loaded is not None
        seen.append(weakref.ref(student._loaded[1]))
        student, _ = student.learn(lessons, tmp_path / str(round_), one_step)
    student.close()
    assert [model() for model in seen] == [None, None, None]
