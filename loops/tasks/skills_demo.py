"""The demo's task: small procedural skills, made by rule, that a 135M student can learn on a laptop's processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from lessons.demo import skills as demo
from lessons.errors import InputError
from lessons.graders.base import Grader
from lessons.graders.math import MathGrader
from lessons.ids import seed_of
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.plugins import nearest
from loops.tasks.base import Split

__all__ = ["SkillsDemo"]

DEFAULT_SKILLS = (
    "carrying",
    "borrowing",
    "second smallest",
    "percentages",
    "units",
    "two steps",
    "clock",
    "first letters",
)
INSTRUCTION = "Solve the problem. Think in one short line, then end with 'Answer: X'."
FRUITLESS = 2000
"""Questions drawn in a row that were all seen before, until a skill counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillsDemo:
    """Problems of procedural skills, made afresh from a seed; every answer and every solution is known."""

    skills: tuple[str, ...] = DEFAULT_SKILLS
    """Names of the demo's skills; the default are eight that an untrained SmolLM2-135M mostly fails."""
    train: int = 24
    """Train problems for each skill, at least 1."""
    held_out: int = 30
    """Held-out problems for each skill, at least 1; fewer than 30 are too noisy to tell skills apart."""
    gate: int = 0
    """Problems for each skill that decide whether a round's student is kept; 0: the held-out problems decide."""
    final: int = 0
    """Problems for each skill that are examined once, when the run is over, so that nothing was chosen on them; 0: no
    final exam."""
    warm_up: int = 0
    """Problems for each warmed-up skill that the student is taught before round 1. A handful teaches the form of an
    answer, which SmolLM2-135M does not take from the instruction alone; many make it know a skill from the start."""
    warm_up_skills: tuple[str, ...] = ()
    """The skills that are warmed up; none named: all of the task's."""

    def __post_init__(self) -> None:
        if not self.skills:
            raise InputError(f"task.skills: name at least one skill; known: {', '.join(sorted(demo.SKILLS))}")
        for name in self.skills:
            if name not in demo.SKILLS:
                raise InputError(f"task.skills: there is no skill {name!r}; {nearest(name, demo.SKILLS)}")
        for name in self.warm_up_skills:
            if name not in self.skills:
                raise InputError(
                    f"task.warm_up_skills: {name!r} is no skill of task.skills; {nearest(name, self.skills)}"
                )
        if len(set(self.skills)) < len(self.skills):
            raise InputError("task.skills: a skill is named twice")
        if min(self.train, self.held_out) < 1 or min(self.gate, self.warm_up, self.final) < 0:
            raise InputError("task: train and held_out must be at least 1, gate, warm_up and final at least 0")

    @property
    def grader(self) -> Grader:
        """Typed by the reference's kind. Without an "Answer:" it reads the last number or line, so that an untrained
        student is not failed for a form that it was never taught."""
        return MathGrader()

    @property
    def instruction(self) -> str:
        """The system message that the student gets with every problem."""
        return INSTRUCTION

    def split(self, seed: int) -> Split:
        """Return the problems, the skills in turn. No two problems of a skill have the same numbers and words.

        Raises:
            InputError: a skill has not so many different problems.
        """
        # The exam first, and the final exam last, so that the others stay the same whatever else is asked for.
        names = ("held_out", "gate", "train", "warm_up", "final")
        parts: dict[str, list[list[Problem]]] = {name: [] for name in names}
        for skill in self.skills:
            seen: set[tuple[str, ...]] = set()
            for part, of_skills in parts.items():
                if part != "warm_up" or skill in (self.warm_up_skills or self.skills):
                    of_skills.append(self._draw(skill, part, getattr(self, part), seed, seen))
        return Split(**{part: tuple(chain(*zip(*columns, strict=True))) for part, columns in parts.items()})

    def _draw(self, skill: str, part: str, count: int, seed: int, seen: set[tuple[str, ...]]) -> list[Problem]:
        rng = Random(seed_of("skills_demo", seed, part, skill))
        problems: list[Problem] = []
        fruitless = 0
        while len(problems) < count:
            question, answer = demo.generate(skill, rng)
            worked = demo.solve(question)
            assert worked is not None
            if worked.facts in seen:
                fruitless += 1
                if fruitless == FRUITLESS:
                    raise InputError(
                        f"task: the skill {skill!r} has only about {len(seen)} different problems; ask for fewer "
                        "(train, held_out, gate, final) or leave it out"
                    )
                continue
            fruitless = 0
            seen.add(worked.facts)
            source = f"skills_demo, seed {seed}, {part} {len(problems) + 1} of {skill}"
            problems.append(
                Problem(question=question, answer=answer, skills=(skill,), solution=worked.text, source=source)
            )
        return problems

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the closed list: the skills of this task, whatever the problems."""
        return demo.catalog(*self.skills)

    def reference(self, problem: Problem) -> str:
        """Return the rationale and the answer. A problem that the demo does not know has its own solution or answer.

        Raises:
            InputError: the problem has neither.
        """
        worked = demo.solve(problem.question)
        if worked is not None:
            return worked.text
        if problem.solution:
            return problem.solution
        if problem.answer is None:
            raise InputError(f"problem {problem.id}: neither the demo's nor with a solution or an answer of its own")
        return f"Answer: {problem.answer}"
