"""Rules of the demo's teacher for prompts of rewriting: improved attempts, corrections, plans, similar problems."""

from collections.abc import Callable, Mapping
from random import Random

from lessons.demo.form import Worked, misread
from lessons.demo.marking import mark
from lessons.demo.skills import SKILLS, generate, solve, understand
from teachers.prompts import correction, filled_steps, improvement, looking_back, plan, similar_problems

MOST = similar_problems.MOST
"""Similar problems in one reply, at most: what the prompt's parser reads."""

Rule = Callable[[Mapping[str, str], bool, Random], str | None]
"""(fields of the prompt, whether to err, chance) -> the reply, or None where the program cannot tell."""


def _worked(question: str, is_wrong: bool, rng: Random) -> tuple[str, str] | None:
    """Return steps and answer; wrong ones on request: a typical slip of the skill, or a number misread."""
    understood = understand(question)
    if understood is None:
        return None
    skill, facts = understood
    if not is_wrong:
        return skill.work(facts, False)
    return (misread(skill, facts, rng) if rng.random() < 0.5 else None) or skill.work(facts, True)


def _solved(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    worked = _worked(fields.get("question", ""), is_wrong, rng)
    return worked and f"{worked[0]}\nAnswer: {worked[1]}"


def _corrected(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    marked = mark(fields.get("question", ""), fields.get("attempt", ""))
    if marked is None:
        return None
    if is_wrong:
        return "The steps are fine, only the last line is not as it should be."
    if marked.false_step:
        return f"The step {marked.false_step} is wrong, since {marked.correction}."
    if marked.answer is None:
        return "There is no final answer. Work it out, and state it in a last line."
    return f"The answer {marked.answer[:60]} is wrong. Read the question again: it asks for {marked.worked.skill}."


def _planned(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    worked = solve(fields.get("question", ""))
    if worked is None:
        return None
    name = rng.choice([other for other in SKILLS if other != worked.skill]) if is_wrong else worked.skill
    return f"First see which numbers or words the question gives. Then use what it needs: {SKILLS[name].description}"


def _looked_back(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    worked = solve(fields.get("question", ""))
    if worked is None:
        return None
    other: Worked | None = None
    question = ""
    while other is None or other.facts == worked.facts:
        question = generate(worked.skill, rng)[0]
        other = solve(question)
    steps = _worked(question, is_wrong, rng)
    assert steps is not None
    return (
        f"Alternative reasoning: It rests on this: {SKILLS[worked.skill].description} So {worked.steps}\n"
        f"Follow-up reasoning: Another one of the kind: {question} {steps[0]}"
    )


_COUNTS = frozenset(str(count) for count in range(1, MOST + 1))


def _similar(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    worked = solve(fields.get("question", ""))
    count = fields.get("count", "")
    if worked is None or count not in _COUNTS:
        return None
    made: dict[str, similar_problems.Similar] = {}
    while len(made) < int(count):
        question = generate(worked.skill, rng)[0]
        steps = _worked(question, is_wrong, rng)
        assert steps is not None
        made[question] = similar_problems.Similar(question, *steps)
    return similar_problems.shown(list(made.values()))


RULES: Mapping[str, Rule] = {
    improvement.SYSTEM: _solved,
    filled_steps.SYSTEM: _solved,
    correction.SYSTEM: _corrected,
    plan.SYSTEM: _planned,
    looking_back.SYSTEM: _looked_back,
    similar_problems.SYSTEM: _similar,
}
"""System text of a prompt -> the rule that answers it."""
