"""The demo's task: small procedural skills, made by rule, that a 135M student can learn on a laptop's processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
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
    warm_up: int | dict[str, int] = 0
    """Problems for each warmed-up skill that the student is taught before round 1. A handful teaches the form of an
    answer, which SmolLM2-135M does not take from the instruction alone; many make it know a skill from the start.
    A mapping says it skill by skill: a student that masters some, half-knows others and lacks the rest."""
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
        if isinstance(self.warm_up, dict):
            if self.warm_up_skills:
                raise InputError("task.warm_up_skills: leave it out, task.warm_up names the skills already")
            for name in self.warm_up:
                if name not in self.skills:
                    raise InputError(f"task.warm_up: {name!r} is no skill of task.skills; {nearest(name, self.skills)}")
        warmed = self.warm_up.values() if isinstance(self.warm_up, dict) else (self.warm_up,)
        if min(self.train, self.held_out) < 1 or min(self.gate, self.final, *warmed) < 0:
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
                of_skills.append(self._draw(skill, part, self._count(part, skill), seed, seen))
        return Split(**{part: tuple(_in_turn(of_skills)) for part, of_skills in parts.items()})

    def _count(self, part: str, skill: str) -> int:
        count: int | dict[str, int] = getattr(self, part)
        if isinstance(count, dict):
            return count.get(skill, 0)
        return count if part != "warm_up" or skill in (self.warm_up_skills or self.skills) else 0

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


def _in_turn(of_skills: Sequence[Sequence[Problem]]) -> list[Problem]:
    """Take one problem of each skill in turn, as long as it has any."""
    return [problem for problem in chain(*zip_longest(*of_skills)) if problem is not None]
