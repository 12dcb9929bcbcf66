"""The rule of the demo's teacher for the prompt that rates lessons."""

from collections.abc import Callable, Mapping
from random import Random

from lessons.demo.marking import mark
from teachers.prompts import rating

Rule = Callable[[Mapping[str, str], bool, Random], str | None]
"""(fields of the prompt, whether to err, chance) -> the reply, or None where the program cannot tell."""

GOOD, FALSE_STEP, WRONG = 9, 4, 2
"""Ratings of a solution that is right, of one with a false calculation and the right answer, of a wrong one."""


def _rated(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Rate a solution of a demo question by its steps and its answer; the criteria are not read."""
    marked = mark(fields.get("task", ""), fields.get("answer", ""))
    if marked is None:
        return None
    value, reason = GOOD, "The steps are true, and so is the answer."
    if marked.false_step:
        value, reason = FALSE_STEP, f"The step {marked.false_step} is wrong, since {marked.correction}."
    if not marked.right:
        value, reason = WRONG, "The answer is wrong."
    if is_wrong:
        value, reason = (WRONG, "The answer is wrong.") if value == GOOD else (GOOD, "It is right.")
    return f"Reason: {reason}\nRating: {value}"


RULES: Mapping[str, Rule] = {rating.SYSTEM: _rated}
"""System text of a prompt -> the rule that answers it."""
