"""Drop a candidate that is there already: in this round, in an earlier one, or as a question of the exam."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.filters.base import Context, Drop, normal

__all__ = ["Duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Keeps the first of each prompt and completion; case and white space do not count."""

    paper: ClassVar[str] = "our own: exact duplicates"
    per_question: int = 0
    """Lessons at most on one question, first come; 0 sets no bound."""
    earlier: bool = False
    """Drop lessons that an earlier round has trained, too. Without it, what is failed again is taught again."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge the candidates in order."""
        seen: set[tuple[str, str]] = set()
        of_question: dict[str, int] = {}
        verdicts: list[Lesson | Drop] = []
        for lesson in lessons:
            question = normal("\n".join(message["content"] for message in lesson.prompt))
            key = (question, normal(lesson.completion))
            if self.earlier and lesson.id in context.trained:
                verdicts.append(Drop("trained in an earlier round"))
            elif key in seen:
                verdicts.append(Drop("same as an earlier candidate"))
            elif self.per_question and of_question.get(question, 0) >= self.per_question:
                verdicts.append(Drop("enough on this question"))
            else:
                of_question[question] = of_question.get(question, 0) + 1
                verdicts.append(lesson)
            seen.add(key)
        return verdicts
