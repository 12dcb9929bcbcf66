"""Mathematical answers: numbers, times, words, sets and lists by their own rules, everything else by math-verify."""

import re
from dataclasses import dataclass
from fractions import Fraction

from lessons.answers import final_answer, first_sentence, fold, hedges, last_line
from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.graders.math_kinds import Parsed, is_prose, parsed, same_time, times, wrapped_out
from lessons.graders.math_pool import shared_pool
from lessons.numbers import NO_ANSWER, SEVERAL, mentions, read_final_number, written
from lessons.records import Problem

__all__ = ["MathGrader"]

_JOINT = re.compile(r"(?:(?:,|(?<!\s))\s*)?\b(?:or|and)\b\s*", re.IGNORECASE)
_FORMULA = re.compile(r"\$([^$]{1,500})\$")
_LONE = re.compile(r"[.\s]*\d+[.\s]*")
"""One number, with nothing before or behind it but dots."""
_UNDECODED = re.compile(r"[\ufffd\s]+")


class _UnreadableAnswer(Exception):  # noqa: N818 - a verdict on its way, not an error
    """math-verify cannot read the student's side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MathGrader:
    """Compares a mathematical answer with the reference, by the rules of the reference's kind.

    Integers, decimals and fractions are compared as exact numbers; times (7:05), words, lists and sets by rules of
    their own, since math-verify takes 7:05 for 7:30, "12 or 15" for 12 and "hello" for a product of letters. Only
    formulas go to math-verify, in a process of its own that is ended when its time is up.
    """

    tolerance: float = 1e-6
    """Largest difference between numbers that still counts as equal, absolute, 0 or more."""
    seconds: float = 10.0
    """Wall time of one comparison by math-verify; past it, the grade is unknown (never 0)."""
    workers: int = 1
    """Processes for math-verify, at most; more where several threads grade at once. About 100 MB each."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf") or self.seconds <= 0 or self.workers < 1:
            raise ValueError("tolerance must be 0 or more, seconds above 0, workers 1 or more")

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0.

        Raises:
            GradeError: no reference answer, one that cannot be read, or math-verify failed or ran out of time.
        """
        if problem.answer is None or not fold(problem.answer).strip():
            raise GradeError(f"problem {problem.id} has no reference answer")
        reference = parsed(problem.answer)
        answer = final_answer(text)
        if answer is None and reference.kind == "number":
            return self._graded_number(reference, text, "")
        answer = answer or _last_formula(text)
        if answer is None:
            return Grade(0.0, None, NO_ANSWER)
        match reference.kind:
            case "number":
                return self._graded_number(reference, text, answer)
            case "time":
                return _graded_time(reference, answer)
            case "list":
                joined = answer if is_prose(_JOINT.sub(" ", answer)) else _JOINT.sub(", ", answer)
                return self._graded(reference, joined)
            case _:
                return self._graded(reference, answer)

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none or several."""
        answer = final_answer(text) or _last_formula(text)
        return None if answer is None or (parsed(answer).kind != "list" and hedges(answer)) else wrapped_out(answer)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same.

        Raises:
            GradeError: one is empty or cannot be read, or math-verify failed or ran out of time.
        """
        if not (one.strip() and other.strip()):
            raise GradeError("an empty answer cannot be compared")
        if any(parsed(side).kind != "list" and hedges(side) for side in (one, other)):
            raise GradeError(f"several answers where one is compared: {one[:60]!r}, {other[:60]!r}")
        try:
            return self._equal(parsed(one), parsed(other))
        except _UnreadableAnswer as error:
            raise GradeError(f"{other[:60]!r} cannot be read as mathematics") from error

    def _graded_number(self, reference: Parsed, text: str, answer: str) -> Grade:
        if answer and not is_prose(answer):
            one = parsed(answer)
            # A formula such as 2^2 or 5x; a bare "12 15" is none.
            if one.kind == "number" or (one.kind == "expression" and not re.fullmatch(r"[\d\s.:]+", one.text)):
                return self._graded(reference, answer)
        reading = read_final_number(text)
        if reading.value is None:
            words = None if reading.note == NO_ANSWER else reading.text[:80].strip() or None
            return Grade(0.0, words, reading.note)
        assert reference.number is not None
        return Grade(float(self._close(reference.number, reading.value)), written(reading.value))

    def _graded(self, reference: Parsed, answer: str) -> Grade:
        if reference.kind != "word" and hedges(answer):
            return Grade(0.0, answer[:80], SEVERAL)
        for reading in dict.fromkeys((answer, first_sentence(answer))):
            shown = wrapped_out(reading)
            try:
                if shown and self._equal(reference, parsed(reading)):
                    return Grade(1.0, shown)
            except _UnreadableAnswer:
                continue
        return Grade(0.0, answer, SEVERAL if hedges(answer) else "")

    def _equal(self, one: Parsed, other: Parsed) -> bool:
        match one, other:
            case Parsed(number=Fraction() as a), Parsed(number=Fraction() as b):
                return self._close(a, b)
            case Parsed(time=tuple() as a), Parsed(time=tuple() as b):
                return same_time(a, b)
            case Parsed(kind="word"), Parsed(kind="word"):
                return one.text == other.text
            case Parsed(kind="list"), Parsed(kind="list"):
                return self._equal_lists(one, other)
            case (Parsed(kind="word" | "time"), _) | (_, Parsed(kind="word" | "time")):
                return False
            case _:
                return self._verified(one, other)

    def _equal_lists(self, one: Parsed, other: Parsed) -> bool:
        kinds = {one.brackets, other.brackets} - {""}
        if len(kinds) > 1:
            return False
        if kinds and kinds != {"{}"}:
            return len(one.items) == len(other.items) and all(map(self._equal, one.items, other.items))
        return self._covers(one, other) and self._covers(other, one)

    def _covers(self, one: Parsed, other: Parsed) -> bool:
        """Whether every item of one stands in the other."""
        return all(any(self._equal(item, candidate) for candidate in other.items) for item in one.items)

    def _verified(self, one: Parsed, other: Parsed) -> bool:
        if one.text == other.text:
            return True
        if is_prose(other.text) or (one.kind == "number" and len(mentions(other.text)) == 0 and other.text.isalpha()):
            raise _UnreadableAnswer
        # What an untaught student writes by the thousand is not worth a process.
        if _UNDECODED.fullmatch(other.text):
            raise _UnreadableAnswer
        if len({item.number for item in one.items} - {None}) > 1 and _LONE.fullmatch(other.text):
            return False
        match shared_pool(self.workers).compare(one.text, other.text, self.seconds):
            case "equal":
                return True
            case "different":
                return False
            case "unreadable answer":
                raise _UnreadableAnswer
            case "unreadable reference":
                raise GradeError(f"the reference answer {one.text[:60]!r} cannot be read as mathematics")

    def _close(self, one: Fraction, other: Fraction) -> bool:
        return one == other or abs(one - other) <= Fraction(self.tolerance)


def _graded_time(reference: Parsed, answer: str) -> Grade:
    found = times(fold(answer))
    if len(found) > 1:
        return Grade(0.0, answer, SEVERAL)
    right = reference.time is not None and any(same_time(reference.time, time) for time in found)
    return Grade(float(right), answer, "" if found else "not a time")


def _last_formula(text: str) -> str | None:
    """Return the last formula of the last line of a text without markers, or the line."""
    line = last_line(text)
    formulas = _FORMULA.findall(line) if line else []
    return formulas[-1] if len(formulas) == 1 else line
