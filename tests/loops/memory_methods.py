"""What the tests of methods with a memory share: a round by hand, and a run through the whole loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from lessons.graders.base import Grade
from lessons.records import Attempt, Lesson, Message, Problem
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context
from loops.round import Round
from students.base import Answer, Generation, Progress, Student
from students.memory import question_of
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.base import Prompt
from teachers.prompts.reading import sections
from teachers.scripted import ScriptedTeacher

Says = Callable[[dict[str, str]], str]
"""Fields of a prompt -> the reply."""


class Numbers:
    """A grader whose rule the tests can see: what follows `Answer:`."""

    def read(self, text: str) -> str | None:
        return text.rpartition("Answer:")[2].strip() or None if "Answer:" in text else None

    def same(self, one: str, other: str) -> bool:
        return one == other

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(score=float(self.read(text) == problem.answer), answer=self.read(text))


@dataclass(frozen=True)
class PlainTask:
    instruction: str = "Think."
    grader: Any = field(default_factory=Numbers)

    def reference(self, problem: Problem) -> str:
        return f"{problem.solution}\nAnswer: {problem.answer}"


@dataclass
class RuleStudent:
    """A student of bare weights that answers by rule, and keeps the chats that it was asked."""

    rule: Callable[[Sequence[Message]], str]
    digest: str = "by-rule"
    name: str = "by rule"
    chats: list[tuple[Message, ...]] = field(default_factory=list)

    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:
        self.chats += [tuple(prompt) for prompt in prompts]
        return [[Answer(self.rule(prompt)) for _ in range(samples)] for prompt in prompts]


def problem(question: str, answer: str, *skills: str, solution: str = "So it is.") -> Problem:
    return Problem(question=question, answer=answer, skills=skills, solution=solution)


def attempt(of: Problem, text: str, *missing: str) -> Attempt:
    """An attempt that is right where nothing is missing."""
    return Attempt(problem=of, student="s", text=text, score=0.0 if missing else 1.0, missing=missing)


def teach(
    method: Any,
    says: Mapping[Prompt[Any] | str, Says],
    attempts: Sequence[Attempt],
    folder: Path,
    *,
    student: Student | None = None,
    problems: Sequence[Problem] = (),
    **more: Any,
) -> tuple[list[Lesson], Round, list[tuple[str, dict[str, str]]]]:
    """Run a method over a round by hand; returns its lessons, the round, and (system text, fields) of each call."""
    rules = {key if isinstance(key, str) else key.system: rule for key, rule in says.items()}
    asked: list[tuple[str, dict[str, str]]] = []

    def reply(messages: Sequence[Message], sampling: Sampling) -> str | Reply:
        system, fields = messages[0]["content"], sections(question_of(messages))
        asked.append((system, fields))
        return rules[system](fields)

    every = list(problems) or list({a.problem.id: a.problem for a in attempts}.values())
    folder.mkdir(exist_ok=True)
    skills = sorted({skill for one in every for skill in one.skills})

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(folder / "calls.sqlite") as ledger:
            round_ = Round(
                task=cast(Any, PlainTask()),
                caller=Caller(ScriptedTeacher(replies=reply), ledger),
                student=cast(Student, student),
                method="the_method",
                problems=every,
                pool=every,
                attempts=attempts,
                catalog=SkillCatalog.of_names(skills),
                profile=SkillProfile.of(attempts, skills),
                rng=Random(0),
                **{"index": 1, "context": Context(grader=cast(Any, Numbers())), **more},
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, asked


def recipe(method: Any, **more: Any) -> dict[str, Any]:
    """A small run of the demo with the tiny student."""
    return {
        "task": {"id": "skills_demo", "train": 3, "held_out": 2},
        "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 4}},
        "teacher": {"kind": "rule_tutor"},
        "method": method,
        "select": {"id": "uniform", "budget": 16},
        "train": {"epochs": 1},
        "diagnose": {"by": "needed", "form": "skill"},
        "examine": {"per_round": 12, "noise": False},
        "gate": {"rule": "always"},
        "rounds": 2,
        **more,
    }
