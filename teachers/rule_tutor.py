"""A teacher for the demo that is a program, not a model: it works the demo's problems by rule, and errs on request.

It sees what any teacher sees, the messages and nothing else: it knows a prompt by its system text, reads the fields
out of their tags, and answers in the form that the prompt asks for.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from lessons.demo.form import Worked, misread
from lessons.demo.marking import Mark, mark
from lessons.demo.skills import SKILLS, catalog, generate, solve, understand
from lessons.errors import InputError
from lessons.ids import digest, seed_of
from lessons.records import Message
from lessons.skills import SkillCatalog
from teachers.base import Reply, Sampling, Usage
from teachers.coaching_rules import RULES as COACHING
from teachers.improving_rules import RULES as IMPROVING
from teachers.prices import FREE, Prices
from teachers.prompts import (
    critique,
    judge,
    missing_skills,
    new_problems,
    rationale,
    rubric,
    skill_clusters,
    skill_labels,
    skill_names,
    solution,
)
from teachers.prompts.reading import sections
from teachers.rating_rules import RULES as RATING
from teachers.rewriting_rules import RULES as REWRITING

__all__ = ["RuleTutor"]

RULES_VERSION = 2
"""Part of the name: a reply in a ledger is only good for the rules that made it. Raise it with every change of them."""
CHARACTERS_PER_TOKEN = 4
"""A common rule of thumb for English text; the program has no tokenizer."""
MOST_PROBLEMS = 20
"""New problems in one reply, at most: what the prompt's parser reads."""

REFUSAL = "I cannot help with this. I am a program that knows the problems of the demo by rule, and nothing else."


@dataclass(frozen=True, kw_only=True)
class RuleTutor:
    """Solves, criticises, labels and writes the demo's problems by rule. A program: what it shows is the machinery's
    worth with a teacher of known quality, not that of any model."""

    error_rate: float = 0.0
    """Share of the replies that are wrong, in [0, 1]: wrong steps and answer, verdict, or skill, as the prompt has it.
    Which ones is decided by a hash of the messages, this seed and the sampling's seed."""
    unfaithful: float = 0.0
    """Share of the solutions, in [0, 1], whose steps are wrong though the answer under them is right: what no check of
    the answer finds. Beside those of `error_rate`; the two sum to at most 1."""
    seed: int = 0
    """Changes which replies are wrong and which new problems are written."""
    prices: ClassVar[Prices] = FREE
    """A program costs nothing."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.error_rate <= 1.0:
            raise InputError(f"teacher.error_rate: must lie in [0, 1], got {self.error_rate}")
        if not 0.0 <= self.unfaithful <= 1.0 - self.error_rate:
            raise InputError(f"teacher.unfaithful: must lie in [0, 1 - error_rate], got {self.unfaithful}")

    @property
    def name(self) -> str:
        """What the ledger files its replies under."""
        unfaithful = f", unfaithful={self.unfaithful:g}" if self.unfaithful else ""
        return f"rule_tutor-{RULES_VERSION}(error_rate={self.error_rate:g}{unfaithful}, seed={self.seed})"

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat; the same messages and sampling give the same reply. Never raises."""
        rng = Random(seed_of("rule_tutor", self.seed, digest(list(messages)), sampling.seed))
        drawn = rng.random()
        is_wrong = drawn < self.error_rate
        system = next((turn["content"] for turn in messages if turn["role"] == "system"), "")
        user = next((turn["content"] for turn in messages if turn["role"] == "user"), "")
        rule = _RULES.get(system)
        if rule is _solved and self.error_rate <= drawn < self.error_rate + self.unfaithful:
            rule = _solved_unfaithfully
        text = (rule(sections(user), is_wrong, rng) if rule else None) or REFUSAL
        most = sampling.max_tokens * CHARACTERS_PER_TOKEN
        read = sum(len(turn["content"]) for turn in messages)
        return Reply(
            text=text[:most],
            finish="stop" if len(text) <= most else "length",
            usage=Usage(prompt=read // CHARACTERS_PER_TOKEN, completion=len(text[:most]) // CHARACTERS_PER_TOKEN),
            model=self.name,
            usd=0.0,
        )

    async def aclose(self) -> None:
        """Nothing to give back."""


Sections = Mapping[str, str]
Rule = Callable[[Sections, bool, Random], str | None]
"""(fields of the prompt, whether to err, chance) -> the reply, or None where the program cannot tell."""


def _solved(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    question = fields.get("question", "")
    if not is_wrong:
        worked = solve(question)
        return worked.text if worked else None
    failed = _failed(question, rng)
    return failed and f"{failed[0]}\nAnswer: {failed[1]}"


def _solved_unfaithfully(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    """Return steps that end wrong, and the right answer under them."""
    question = fields.get("question", "")
    worked, failed = solve(question), _failed(question, rng)
    return f"{failed[0]}\nAnswer: {worked.answer}" if worked and failed else None


def _failed(question: str, rng: Random) -> tuple[str, str] | None:
    """Return steps that end wrong: a typical slip of the skill, or a number misread."""
    understood = understand(question)
    if understood is None:
        return None
    skill, facts = understood
    misled = misread(skill, facts, rng) if rng.random() < 0.5 else None
    return misled or skill.work(facts, True)


def _criticised(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    question = fields.get("question", "")
    marked = mark(question, fields.get("attempt", ""))
    if marked is None:
        return None
    if not is_wrong:
        return _praise(marked.worked) if marked.right else _criticism(marked)
    failed = _failed(question, rng)
    assert failed is not None
    if marked.right:
        return f"The steps are wrong. It should be: {failed[0]} So the answer is {failed[1]}.\nConclusion: wrong"
    return f"The steps are fine, and so is the answer {marked.answer or failed[1]}.\nConclusion: right"


def _praise(worked: Worked) -> str:
    return f"{worked.steps} So {worked.answer} is the right answer.\nConclusion: right"


def _criticism(marked: Mark) -> str:
    return (
        f"{_first_fault(marked)} Right is: {marked.worked.steps} So the answer is {marked.worked.answer}.\n"
        "Conclusion: wrong"
    )


def _first_fault(marked: Mark) -> str:
    if marked.false_step:
        return f"The step {marked.false_step} is wrong, since {marked.correction}."
    if marked.answer is None:
        return "There is no final answer."
    return f"The answer {marked.answer[:60]} is wrong."


def _diagnosed(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    marked = mark(fields.get("question", ""), fields.get("attempt", ""))
    if marked is None:
        return None
    listed = _listed(fields)
    named = [name for name in (listed.match(skill) for skill in marked.lacking) if name]
    if not marked.right and not named:
        return None
    others = [name for name in listed.names if name not in named]
    error = marked.error or "none"
    if not is_wrong:
        verdict, reason = ("right", "The answer is right.") if marked.right else ("wrong", _first_fault(marked))
    elif marked.right:
        verdict, reason, named = "wrong", "The answer is wrong.", [rng.choice(others)] if others else []
        error = rng.choice(list(missing_skills.ERRORS))
    elif others and rng.random() < 0.5:
        verdict, reason, named = "wrong", "The answer is wrong.", [rng.choice(others)]
        error = rng.choice([kind for kind in missing_skills.ERRORS if kind != error])
    else:
        verdict, reason, named, error = "right", "The answer is right.", [], "none"
    return f"Verdict: {verdict}\nSkills: {', '.join(named) or 'none'}\nError: {error}\nReason: {reason}"


def _listed(fields: Sections) -> SkillCatalog:
    """Return the closed list as the prompt shows it: one `- name: description` a line."""
    lines = (line.removeprefix("- ") for line in fields.get("skills", "").splitlines())
    return SkillCatalog.of_names(line.partition(":")[0].strip() for line in lines if line.strip())


def _named(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    worked = solve(fields.get("question", ""))
    if worked is None:
        return None
    skill = _another(worked.skill, rng) if is_wrong else worked.skill
    return f"Skills: {rng.choice(SKILLS[skill].fine)}"


def _another(skill: str, rng: Random) -> str:
    return rng.choice([name for name in SKILLS if name != skill])


def _clustered(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    owners = {fine: skill.name for skill in SKILLS.values() for fine in (skill.name, *skill.fine)}
    names = (line.strip().casefold() for line in fields.get("names", "").splitlines())
    merged = dict.fromkeys(owners[name] for name in names if name in owners)
    if not merged:
        return None
    told = {skill: _another(skill, rng) if is_wrong else skill for skill in merged}  # wrong: another's description
    return "\n".join(f"- {skill}: {SKILLS[described].description}" for skill, described in told.items())


def _labelled(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    worked = solve(fields.get("question", ""))
    listed = _listed(fields)
    name = listed.match(worked.skill) if worked else None
    if worked is None or name is None:
        return None
    if is_wrong:
        name = rng.choice([other for other in listed.names if other != name] or ["none"])
    return f"Skills: {name}\nReason: The problem is of the kind '{name}'."


def _judged(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    """Judge by the question's own solution: what the reference or the criteria say is not read."""
    marked = mark(fields.get("question", ""), fields.get("attempt", ""))
    if marked is None:
        return None
    reason = "The answer is right." if marked.right else _first_fault(marked)
    return f"Reason: {reason}\nVerdict: {'right' if marked.right != is_wrong else 'wrong'}"


_ASKS_STEPS = re.compile(r"\b(?:steps?|calculations?|working)\b", re.IGNORECASE)
_ASKS_ANSWER = re.compile(r"\b(?:answer|result|right|correct)\b", re.IGNORECASE)


def _checked(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    """Check criteria that speak of the steps or of the answer; of others it cannot tell."""
    marked = mark(fields.get("question", ""), fields.get("attempt", ""))
    if marked is None:
        return None
    lines: list[str] = []
    for number, criterion in enumerate(fields.get("criteria", "").splitlines(), start=1):
        met = not marked.false_step if _ASKS_STEPS.search(criterion) else marked.right
        known = _ASKS_STEPS.search(criterion) or _ASKS_ANSWER.search(criterion)
        lines.append(f"{number}: {('yes' if met != is_wrong else 'no') if known else 'cannot tell'}")
    return "\n".join(lines) or None


_COUNTS = frozenset(str(count) for count in range(1, MOST_PROBLEMS + 1))


def _wrote(fields: Sections, is_wrong: bool, rng: Random) -> str | None:
    skill = catalog().match(fields.get("skill", "")) or _skill_of_examples(fields.get("examples", ""))
    count = fields.get("count", "")
    if skill is None or count not in _COUNTS:
        return None
    skill = _another(skill, rng) if is_wrong else skill
    questions: dict[str, None] = {}
    while len(questions) < int(count):
        questions[generate(skill, rng)[0]] = None
    return "\n".join(f"Question: {question}" for question in questions)


def _skill_of_examples(examples: str) -> str | None:
    """Return the skill that most of the examples need, or None where none of them is known."""
    lines = (line.strip().lstrip("0123456789").removeprefix(".").strip() for line in examples.splitlines())
    found = Counter(worked.skill for worked in map(solve, lines) if worked)
    return found.most_common(1)[0][0] if found else None


_RULES: Mapping[str, Rule] = {
    rationale.SYSTEM: _solved,
    solution.SYSTEM: _solved,
    critique.SYSTEM: _criticised,
    missing_skills.SYSTEM: _diagnosed,
    missing_skills.PRIVILEGED_SYSTEM: _diagnosed,
    skill_names.SYSTEM: _named,
    skill_clusters.SYSTEM: _clustered,
    skill_labels.SYSTEM: _labelled,
    new_problems.SYSTEM: _wrote,
    judge.SYSTEM_BY_REFERENCE: _judged,
    judge.SYSTEM_BY_CRITERIA: _judged,
    rubric.SYSTEM: _checked,
    **IMPROVING,
    **REWRITING,
    **RATING,
    **COACHING,
}
"""System text of a prompt -> the rule that answers it."""
