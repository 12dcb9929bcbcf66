"""Drop a candidate that is there already: in this round, in an earlier one, or as a question of the exam."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.ids import short_hash
from lessons.records import Lesson
from loops.filters.base import Context, Drop, every, normal

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
        return every(lessons, self.verdicts(lessons, context))

    def verdicts(self, lessons: Sequence[Lesson], context: Context) -> Iterator[Drop | None]:
        """Judge the candidates in order; of each text a hash is held."""
        seen: set[int] = set()
        of_question: dict[int, int] = {}
        for lesson in lessons:
            question = normal("\n".join(message["content"] for message in lesson.prompt))
            key = short_hash(question, normal(lesson.completion))
            if self.earlier and lesson.id in context.trained:
                yield Drop("trained in an earlier round")
            elif key in seen:
                yield Drop("same as an earlier candidate")
            elif self.per_question and of_question.get(short_hash(question), 0) >= self.per_question:
                yield Drop("enough on this question")
            else:
                if self.per_question:
                    asked = short_hash(question)
                    of_question[asked] = of_question.get(asked, 0) + 1
                yield None
            seen.add(key)
