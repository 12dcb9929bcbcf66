"""What the demo's program says to prompts that improve: rubrics, revisions, principles, types, reflections."""

import json
import re
from collections.abc import Callable, Mapping
from random import Random

from lessons.demo.form import misread
from lessons.demo.marking import mark
from lessons.demo.skills import SKILLS, generate, solve, understand
from teachers.prompts import (
    merged_principles,
    principles,
    problem_instructions,
    reflected_answer,
    reflected_problem,
    revision,
    styled_answer,
    task_rubrics,
    task_type,
    typed_problems,
)

Rule = Callable[[Mapping[str, str], bool, Random], str | None]
"""(fields of the prompt, whether to err, chance) -> the reply, or None where the program cannot tell."""

_NUMBERED = re.compile(r"(\d{1,4})\. (.+)")
INSTRUCTIONS = (
    "Read the question twice and note each number in it. Work out one thing at a time, write each calculation down, "
    "and check it by going back. State the final answer alone in the last line, behind 'Answer:'."
)
MOST_PROBLEMS = 20
"""New problems in one reply, at most: what the prompt's parser reads."""


def _numbered(text: str) -> dict[int, str]:
    return {int(found[1]): found[2].strip() for found in map(_NUMBERED.fullmatch, text.splitlines()) if found}


def _solution(question: str, is_wrong: bool, rng: Random) -> str | None:
    understood = understand(question)
    if understood is None:
        return None
    skill, facts = understood
    if not is_wrong:
        return skill.solve(facts).text
    steps, answer = misread(skill, facts, rng) or skill.work(facts, True)
    return f"{steps}\nAnswer: {answer}"


def _grouped(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    groups: dict[str, list[int]] = {}
    for number, question in _numbered(fields.get("questions", "")).items():
        if (worked := solve(question)) is not None:
            groups.setdefault(worked.skill, []).append(number)
    if not groups:
        return None
    described = list(groups)
    if is_wrong:
        rng.shuffle(described)  # another kind's criteria
    form = "The last line states the final answer behind 'Answer:'."
    return json.dumps(
        {
            "groups": [
                {"name": name, "questions": numbers, "criteria": [SKILLS[of].description, form]}
                for (name, numbers), of in zip(groups.items(), described, strict=True)
            ]
        }
    )


def _revised(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Give a right draft back as it is, and put the solution in the place of any other."""
    question, attempt = fields.get("question", ""), fields.get("attempt", "")
    marked = mark(question, attempt)
    if marked is None:
        return None
    return attempt if marked.right and not marked.false_step and not is_wrong else _solution(question, is_wrong, rng)


def _instructed(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    if is_wrong:
        return "Guess the answer and write it down."
    kept = " ".join(fields.get("principles", "").split())
    return f"{INSTRUCTIONS} {kept}".strip()[: problem_instructions.LONGEST]


def _violated(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    marked = mark(fields.get("question", ""), fields.get("attempt", ""))
    if marked is None:
        return None
    lacking = marked.lacking or (marked.worked.skill,)
    told = [SKILLS[rng.choice(sorted(SKILLS)) if is_wrong else skill].description for skill in lacking]
    known = {text: number for number, text in _numbered(fields.get("principles", "")).items()}
    return json.dumps(
        {
            "reason": f"Right would be: {marked.worked.steps}",
            "violated": [known[text] for text in told if text in known],
            "new": [text for text in told if text not in known],
        }
    )


def _merged(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Merge what differs in case alone; erring, all into the first."""
    same: dict[str, list[tuple[int, str]]] = {}
    for number, text in _numbered(fields.get("principles", "")).items():
        same.setdefault("" if is_wrong else text.casefold(), []).append((number, text))
    merged = [{"principle": rows[0][1], "stands_for": [number for number, _ in rows]} for rows in same.values()]
    return json.dumps({"principles": merged}) if merged else None


def _typed(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Name the question's skill where the list has it, else mathematics."""
    worked = solve(fields.get("question", ""))
    listed = [line.removeprefix("- ").strip() for line in fields.get("types", "").splitlines() if line.strip()]
    if worked is None or not listed:
        return None
    wanted = (worked.skill, "math", "mathematics")
    name = next((one for one in listed if one.casefold() in wanted), listed[0])
    return f"Type: {rng.choice([one for one in listed if one != name] or [name]) if is_wrong else name}"


def _wrote(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Write problems of the examples' skills, in turn."""
    worked = [solve(line.removeprefix("- ").strip()) for line in fields.get("examples", "").splitlines()]
    skills = list(dict.fromkeys(one.skill for one in worked if one))
    count = fields.get("count", "")
    if not skills or not (count.isascii() and count.isdecimal()) or not 1 <= int(count[:4]) <= MOST_PROBLEMS:
        return None
    if is_wrong:
        skills = [rng.choice([name for name in SKILLS if name not in skills])]
    written: dict[str, None] = {}
    while len(written) < int(count):
        written[generate(skills[len(written) % len(skills)], rng)[0]] = None
    return "\n".join(f"Question: {question}" for question in written)


def _answered(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    return _solution(fields.get("question", ""), is_wrong, rng)


def _reflected_problem(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Write another problem of the skill, and its answer."""
    worked = solve(fields.get("question", ""))
    if worked is None:
        return None
    question = generate(worked.skill, rng)[0]
    answer = _solution(question, is_wrong, rng)
    return json.dumps({"judgement": "Other numbers show more.", "question": question, "answer": answer})


def _reflected_answer(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    answer = _solution(fields.get("question", ""), is_wrong, rng)
    return json.dumps({"judgement": "The steps should be written out.", "answer": answer}) if answer else None


RULES: Mapping[str, Rule] = {
    task_rubrics.SYSTEM: _grouped,
    revision.SYSTEM: _revised,
    problem_instructions.SYSTEM: _instructed,
    principles.SYSTEM: _violated,
    merged_principles.SYSTEM: _merged,
    task_type.SYSTEM: _typed,
    typed_problems.SYSTEM: _wrote,
    styled_answer.SYSTEM: _answered,
    reflected_problem.SYSTEM: _reflected_problem,
    reflected_answer.SYSTEM: _reflected_answer,
}
"""System text of a prompt -> the rule that answers it."""
