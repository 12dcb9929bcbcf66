"""Answers that are one number, compared exactly."""

from dataclasses import dataclass
from fractions import Fraction

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.numbers import NO_ANSWER, read_final_number, read_number, written
from lessons.records import Problem

__all__ = ["NumericGrader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericGrader:
    """Reads the number that a text ends in and compares it with the reference as exact fractions.

    The number stands behind the last marker that has one ("Answer: X", "#### X", "A: X", "\\boxed{X}", "the answer is
    X"), else it is the text's last number. Thousands separators, currencies, units and "%" do not count; fractions,
    mixed numbers, decimals, powers of ten and "2 million" are read. Two different numbers in one answer are wrong.
    """

    tolerance: float = 1e-6
    """Largest difference that still counts as equal, absolute, 0 or more; 0.333333 is 1/3. Unlike integers never are
    equal below 1."""
    last_number: bool = True
    """Take the last number of a text that has no marker; without it, such a text has no final answer."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf"):
            raise ValueError(f"tolerance must be 0 or more, got {self.tolerance}")

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0.

        Raises:
            GradeError: the problem has no reference answer, or it is not one number.
        """
        if problem.answer is None:
            raise GradeError(f"problem {problem.id} has no reference answer")
        reference = self._value(problem.answer, f"reference answer of problem {problem.id}")
        reading = read_final_number(text, last=self.last_number)
        if reading.value is None:
            words = None if reading.note == NO_ANSWER else reading.text[:80].strip() or None
            return Grade(0.0, words, reading.note)
        return Grade(float(self._close(reading.value, reference)), written(reading.value))

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none or several."""
        value = read_final_number(text, last=self.last_number).value
        return None if value is None else written(value)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same number.

        Raises:
            GradeError: one of them is not one number.
        """
        return self._close(self._value(one, "answer"), self._value(other, "answer"))

    def _value(self, answer: str, what: str) -> Fraction:
        reading = read_number(answer)
        if reading.value is None:
            reading = read_final_number(answer)
        if reading.value is None:
            raise GradeError(f"{what} {answer[:60]!r} cannot be read as a number: {reading.note}")
        return reading.value

    def _close(self, one: Fraction, other: Fraction) -> bool:
        return one == other or abs(one - other) <= Fraction(self.tolerance)
