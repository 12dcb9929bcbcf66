"""How an attempt failed, where a program can tell: cut off, given up, or without a final answer that can be read."""

import re
from collections.abc import Mapping

from lessons.answers import final_answer, fold
from lessons.numbers import NO_ANSWER, mentions, read_number
from lessons.records import FORM_ERRORS, Attempt, ErrorKind

LONGEST_REFUSAL = 200
"""Characters of a text that can be nothing but a refusal: a longer one tries something. Our own bound."""

_REFUSAL = re.compile(
    r"""
      (?:sorry[,.!]?\s+(?:but\s+)?)?
      (?: i\s+(?:really\s+)?(?:do\s+not|don'?t|cannot|can\s?not|can'?t)\s+
            (?:know|answer|solve|help|do\s+(?:this|that|it)|figure|work|determine)\b
        | i(?:\s+am|'?m)\s+(?:not\s+(?:sure|able)|unable|sorry)\b
        | i\s+have\s+no\s+(?:idea|clue)\b
        | (?:no\s+idea|idk|unknown|sorry|i\s+give\s+up|as\s+an\s+ai\b.*)\W*$ )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_RIGHT_SIDE = re.compile(r"[\s$€£¥*]{0,4}")


def told_by_program(attempt: Attempt) -> ErrorKind | None:
    """Return how an attempt failed, by the first rule that fits; None for a right one, and where it takes a reader.

    - `truncated`: it had as many tokens as it may have, and before that it stated no final answer on a line that it
      ended. A choice that the grader reads is stated, and so is an answer of several lines (a program) that stands
      whole on ended lines: then the rest is chatter.
    - `gave up`: no words at all, or in at most `LONGEST_REFUSAL` characters without a digit nothing but a refusal
      ("I don't know", "I cannot solve this"), the refusal as its final answer included.
    - `format`: there are words and the grader's note is `NO_ANSWER`; or nothing is marked as the final answer
      ("Answer: X", "#### X", a box, "the answer is X"), the grader read something else, and the text's last equation
      ends in the reference answer.
    """
    if attempt.right:
        return None
    if attempt.cut and not _is_stated(attempt):
        return "truncated"
    if _is_refusal(attempt.text):
        return "gave up"
    if attempt.answer is None and attempt.note == NO_ANSWER:
        return "format"
    return "format" if attempt.failed and _is_worked_out(attempt) else None


def is_of_form(kind: ErrorKind | None) -> bool:
    """Whether a kind of failure says nothing about a skill."""
    return kind in FORM_ERRORS


def advice(kinds: Mapping[str, int], max_tokens: int) -> str:
    """Return what to do about failures of form, by the kind that leads.

    kinds: kind -> failures. max_tokens: of the student's answers.
    """
    leading = max(sorted(FORM_ERRORS), key=lambda kind: kinds.get(kind, 0))
    if leading == "truncated":
        return f"raise student.answer.max_tokens (now {max_tokens:,}), or ask for shorter answers"
    return "teach the form first (the task's warm-up), or ask for it in the task's instruction"


def _is_stated(attempt: Attempt) -> bool:
    ended, _, _ = attempt.text.rpartition("\n")  # the last line may break off within the answer
    read = attempt.answer or ""
    if (attempt.problem.choices and read) or ("\n" in read and read in ended):
        return True
    return final_answer(ended) is not None


def _is_refusal(text: str) -> bool:
    stripped = text.strip()
    if not any(sign.isalnum() for sign in stripped):
        return True
    if len(stripped) > LONGEST_REFUSAL or any(sign.isdigit() for sign in stripped):
        return False
    said = (stripped, final_answer(stripped) or "")
    return any(_REFUSAL.match(" ".join(words.replace("’", "'").split())) for words in said)


def _is_worked_out(attempt: Attempt) -> bool:
    """Whether the last equation of a text without any marked answer ends in the reference answer."""
    if attempt.problem.answer is None or final_answer(attempt.text) is not None:
        return False
    _, equals, side = fold(attempt.text).rpartition("=")
    found = mentions(side) if equals else []
    if not found or found[0].value is None or not _RIGHT_SIDE.fullmatch(side[: found[0].start]):
        return False
    return read_number(attempt.problem.answer).value == found[0].value
