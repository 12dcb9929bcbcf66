"""What tests of methods share: a round around a scripted teacher and student, and graders to see through."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.records import Attempt, Lesson, Message, Problem
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context
from loops.round import Round
from students.base import Answer, Generation, Student
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.scripted import ScriptedTeacher

Chat = Sequence[Message]
Say = Callable[[Chat, int], str]
"""(chat, number of the sample) -> what the student says."""


class Numbers:
    """A grader whose rule the tests can see: what follows the last `Answer:`."""

    def read(self, text: str) -> str | None:
        return text.rpartition("Answer:")[2].strip() or None if "Answer:" in text else None

    def same(self, one: str, other: str) -> bool:
        return one == other

    def grade(self, problem: Problem, text: str) -> Grade:
        if problem.answer is None:
            raise GradeError("the problem has no reference answer")
        answer = self.read(text)
        return Grade(float(answer == problem.answer), answer)


class Lengths:
    """A grader by which a student that babbles is sometimes right: the answer is the length of the text, modulo 3."""

    comparable = True

    def read(self, text: str) -> str | None:
        return str(len(text.strip()) % 3) if text.strip() else None

    def same(self, one: str, other: str) -> bool:
        return one == other

    def grade(self, problem: Problem, text: str) -> Grade:
        answer = self.read(text)
        return Grade(float(answer is not None and answer == problem.answer), answer)


@dataclass(frozen=True)
class PlainTask:
    instruction: str = "Think."
    grader: Any = field(default_factory=Numbers)

    def reference(self, problem: Problem) -> str:
        return f"{problem.solution}\nAnswer: {problem.answer}" if problem.solution else f"Answer: {problem.answer}"


@dataclass
class ScriptedStudent:
    """Says what it is told to, and keeps what it was asked."""

    say: Say
    name: str = "scripted"
    digest: str = "scripted-student"
    asked: list[tuple[list[Chat], Generation, int, int]] = field(default_factory=list)
    """(chats, generation, samples, seed) of each call."""

    def answer(self, prompts: Sequence[Chat], generation: Generation, *, samples=1, seed=0, progress=None) -> Any:
        self.asked.append((list(prompts), generation, samples, seed))
        return [[Answer(self.say(chat, sample)) for sample in range(samples)] for chat in prompts]


def problem(name: str, answer: str | None = "1", solution: str | None = "", **more: Any) -> Problem:
    """A problem with a solution of its own unless told otherwise."""
    return Problem(
        question=f"What is {name}?", answer=answer, skills=("adding",),
        solution=f"{name} comes first." if solution == "" else solution, **more,
    )  # fmt: skip


def attempt(of: Problem, text: str | None = None, score: float | None = 0.0) -> Attempt:
    """An attempt; a failed one misses `ordering`."""
    missing = ("ordering",) if score is not None and score < 1 else ()
    said = text if text is not None else f"the student's words on {of.question}"
    return Attempt(problem=of, student="s", text=said, score=score, missing=missing)


def teach(
    method: Any,
    attempts: Sequence[Attempt],
    folder: Path,
    *,
    say: Say | None = None,
    reply: Callable[[Chat, Sampling], str | Reply] | None = None,
    index: int = 1,
    seed: int = 0,
    **more: Any,
) -> tuple[list[Lesson], Round, ScriptedTeacher, ScriptedStudent]:
    """Let a method teach one round; return its candidates, the round, and who was asked."""
    teacher = ScriptedTeacher(replies=reply or (lambda m, s: "unused"))
    student = ScriptedStudent(say or (lambda chat, sample: "unused"))
    folder.mkdir(exist_ok=True)
    problems = list({a.problem.id: a.problem for a in attempts}.values())

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(folder / "calls.sqlite") as ledger:
            given: dict[str, Any] = {"problems": problems, "pool": problems, **more}
            round_ = Round(
                index=index,
                task=cast(Any, PlainTask()),
                caller=Caller(teacher, ledger),
                student=cast(Student, student),
                method="the_method",
                attempts=attempts,
                catalog=SkillCatalog.of_names(("adding", "ordering")),
                profile=SkillProfile.of(attempts, ("adding", "ordering")),
                context=Context(grader=cast(Any, Numbers()), held_out=frozenset({"what is the exam's?"})),
                rng=Random(0),
                seed=seed,
                **given,
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, teacher, student


def last(chat: Chat) -> str:
    """What was said last."""
    return chat[-1]["content"]


def texts(lessons: Sequence[Lesson]) -> list[str]:
    """The completions."""
    return [lesson.completion for lesson in lessons]


def own_prompt(of: Problem) -> tuple[Message, ...]:
    """The chat that the student is examined with."""
    return ({"role": "system", "content": "Think."}, {"role": "user", "content": of.question})
