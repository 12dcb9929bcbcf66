"""Mistake tuning: right and wrong solutions side by side, each under a mark that tells them apart (CoTErrorSet)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lessons.errors import GradeError
from lessons.records import Attempt, Lesson
from loops.methods.base import together
from loops.rolling import Of, aimed, gold, noted, one_each
from loops.round import Round
from teachers.prompts.rationale import RATIONALE

__all__ = ["MistakeTuning"]

Wrong = tuple[str, tuple[str, ...]]
"""A wrong solution, and the calls that paid for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakeTuning:
    """Two rows for each question: the reference solution, and a wrong solution whose prompt ends in a mark.

    Both are trained with the ordinary loss; the mark is what tells them apart, so the right one must stand in the
    prompt at the exam. Here the unmarked prompt, which is the exam's own, is the mark of what is right, and only wrong
    rows carry one: nothing has to be added to the exam, to exports or to later rounds. The paper marks both
    (recalled); `correct_mark` does so for a student that you ask with that mark. The mark stands in the prompt and not
    at the head of the completion, where the student would have to write it itself and might choose the wrong one.
    Leave the filter `verified` out: it drops what is wrong on purpose.
    """

    paper: ClassVar[str] = "Can LLMs Learn from Previous Mistakes? (ACL 2024)"
    teacher: ClassVar[str] = "nothing; solutions to be wrong in (wrong: teacher)"
    student: ClassVar[str] = "nothing: its answers of this round's examination are the mistakes"
    cost: ClassVar[str] = "none; `tries` calls for up to 2 lessons (wrong: teacher)"
    unverifiable: ClassVar[str] = "it teaches wrong rationales as such"
    wrong: Literal["student", "teacher"] = "student"
    """Whose mistakes: the student's failed answers, or wrong solutions of the teacher, as in the paper's data, whose
    mistakes are those of a strong model."""
    tries: int = 1
    """Solutions that the teacher is asked for on each problem, of which the first wrong one is taken. Our own."""
    incorrect_mark: str = "[INCORRECT RATIONALE]"
    """Stands under the question in the prompt of a wrong row; the paper's words (recalled)."""
    correct_mark: str = ""
    """Stands under the question in the prompt of a right row; the paper's is [CORRECT RATIONALE] (recalled). Empty:
    the exam's own prompt."""
    of: Of = "missed"
    """`missed`: questions that call for lessons, so that each has both rows, as in the paper; `all`: the reference
    solutions of the others, too."""

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError("tries must be at least 1")
        if self.incorrect_mark.strip() == self.correct_mark.strip():
            raise ValueError("incorrect_mark and correct_mark must differ: without them right and wrong look alike")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Make the two rows of each question, the right one first."""
        asked = one_each(round, self.of)
        wrong = self._own(round) if self.wrong == "student" else await self._of_teacher(round, asked)
        lessons: list[Lesson] = []
        for attempt in asked:
            right = gold(round, attempt.problem)
            if right is None:
                round.counts["problems without a reference"] += 1
                continue
            rows: list[tuple[str, str, tuple[str, ...]]] = [(right, self.correct_mark, ())]
            if (found := wrong.get(attempt.problem.id)) is not None:
                rows.append((found[0], self.incorrect_mark, found[1]))
            else:
                round.counts["questions without a wrong solution"] += 1
            lessons += [
                round.lesson(
                    attempt.problem, text, attempt=attempt, skill=aimed(attempt), calls=calls,
                    prompt=noted(round.prompt(attempt.problem), mark),
                )
                for text, mark, calls in rows
            ]  # fmt: skip
        return lessons

    def _own(self, round_: Round) -> dict[str, Wrong]:
        found: dict[str, Wrong] = {}
        for attempt in round_.attempts:
            if attempt.failed and attempt.text.strip():
                found.setdefault(attempt.problem.id, (attempt.text.strip(), ()))
        return found

    async def _of_teacher(self, round_: Round, asked: Sequence[Attempt]) -> dict[str, Wrong]:
        told = await together(round_.ask(RATIONALE, self.tries, question=a.problem.question) for a in asked)
        said = [(a.problem, reply) for a, replies in zip(asked, told, strict=True) for reply in replies]
        verdicts = await round_.verdicts([(problem, reply.value) for problem, reply in said])
        found: dict[str, Wrong] = {}
        for (problem, reply), verdict in zip(said, verdicts, strict=True):
            if not isinstance(verdict, GradeError) and verdict.score < 1.0:
                found.setdefault(problem.id, (reply.value, (reply.call,)))
        return found
