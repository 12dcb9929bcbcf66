"""No training: for methods whose student learns by its memory alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import Bench, Desk
from students.preflight import Checked

__all__ = ["Untrained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrained:
    """The next student has this one's weights, whatever the lessons say; only its memory may be another."""

    paper: ClassVar[str] = "our own: the weights stay, as methods that write a memory have it"
    trains: ClassVar[bool] = False

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Nothing is trained, so nothing can be trained wrong."""
        return Checked(rows=(), weights=())

    def trainer(self, bench: Bench) -> Any:
        """There is none."""
        raise StudentError("objective none trains nothing")
