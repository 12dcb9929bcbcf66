"""Answers that are compared by their spelling."""

from dataclasses import dataclass

from lessons.answers import final_answer, first_sentence, last_line, spelled_plainly
from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.numbers import NO_ANSWER
from lessons.records import Problem

__all__ = ["ExactGrader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactGrader:
    """Compares the final answer with the reference, character by character but for the marks that mean nothing.

    The final answer stands behind the last marker ("Answer: X", "#### X", "\\boxed{X}", "the answer is X"), else it is
    the text's last line. A whole line or its first sentence may match.
    """

    case: bool = False
    """Whether upper and lower case differ."""
    punctuation: bool = False
    """Whether quotes and punctuation at the edges of the answer count."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0.

        Raises:
            GradeError: the problem has no reference answer.
        """
        if problem.answer is None:
            raise GradeError(f"problem {problem.id} has no reference answer")
        reference = self._plain(problem.answer)
        if not reference:
            raise GradeError(f"the reference answer of problem {problem.id} is empty")
        answer = final_answer(text) or last_line(text)
        if answer is None or not self._plain(answer):
            return Grade(0.0, None, NO_ANSWER)
        for reading in (answer, first_sentence(answer)):
            if self._plain(reading) == reference:
                return Grade(1.0, reading)
        return Grade(0.0, answer)

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none."""
        answer = final_answer(text) or last_line(text)
        return answer if answer and self._plain(answer) else None

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are spelled alike.

        Raises:
            GradeError: one of them is empty.
        """
        plain = self._plain(one), self._plain(other)
        if not all(plain):
            raise GradeError("an empty answer cannot be compared")
        return plain[0] == plain[1]

    def _plain(self, answer: str) -> str:
        return spelled_plainly(answer, case=self.case, punctuation=self.punctuation)
