"""A small world in text: find a room of a house; where its door is locked, find the key first."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lessons.demo import house as world
from lessons.demo.house_grader import HouseGrader, house_of
from lessons.demo.house_search import knowing
from lessons.errors import GradeError, InputError
from lessons.graders.base import Grader
from lessons.ids import seed_of
from lessons.records import Problem
from lessons.skills import Skill, SkillCatalog
from lessons.steps import said
from loops.environments.base import shown
from loops.environments.house import HouseEnvironment
from loops.plugins import nearest
from loops.tasks.base import Split

__all__ = ["HouseTask"]

INSTRUCTION = "Get to the goal. Say why in a few words, then 'Action: X', X being one of the actions."
KINDS = {
    "find the room": "Get to a room through doors that are open, when only the doors of this room are seen",
    "find the key": "See that the goal's door is locked, look for the key in closed containers, and go back with it",
}
"""Skill -> its description."""
FRUITLESS = 2000
"""Houses drawn in a row whose first sight was seen before, until a kind counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseTask:
    """Episodes in houses drawn by chance; the student acts turn by turn and sees the room that it is in."""

    kinds: tuple[str, ...] = ("find the room", "find the key")
    """What is asked: `find the room` has all doors open, `find the key` has the goal's door locked."""
    rooms: int = 4
    """Rooms of a house, 2 to 12: with more of them more is to be searched."""
    containers: int = 2
    """Containers of a house, 1 to 10; one of them holds the key where a door is locked."""
    steps: int = 10
    """Actions of an episode, at most. A house of 4 rooms takes up to 9 by its shortest way."""
    train: int = 24
    """Train problems of each kind, at least 1."""
    held_out: int = 30
    """Held-out problems of each kind, at least 1."""
    gate: int = 0
    """Problems of each kind that decide whether a round's student is kept; 0: the held-out problems decide."""
    final: int = 0
    """Problems of each kind that are examined once, when the run is over; 0: no final exam."""
    warm_up: int = 0
    """Single moments of each kind that the student is shown the best action for before round 1: the form of an answer,
    which a small model does not take from the instruction alone."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(f"task.kinds: there is no kind {kind!r}; {nearest(kind, KINDS)}")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError("task.kinds: name each kind once, and at least one")
        if not 2 <= self.rooms <= len(world.ROOMS):
            raise InputError(f"task.rooms: must be 2 to {len(world.ROOMS)}, got {self.rooms}")
        if not 1 <= self.containers <= len(world.CONTAINERS):
            raise InputError(f"task.containers: must be 1 to {len(world.CONTAINERS)}, got {self.containers}")
        if self.steps < 1:
            raise InputError(f"task.steps: must be at least 1, got {self.steps}")
        if min(self.train, self.held_out) < 1 or min(self.gate, self.warm_up, self.final) < 0:
            raise InputError("task: train and held_out must be at least 1, gate, warm_up and final at least 0")

    @property
    def environment(self) -> HouseEnvironment:
        """What plays the houses."""
        return HouseEnvironment(steps=self.steps)

    @property
    def grader(self) -> Grader:
        """Takes the actions that a text names. Attempts are scored by the environment itself."""
        return HouseGrader()

    @property
    def instruction(self) -> str:
        """The system message that the student gets with every problem."""
        return INSTRUCTION

    def split(self, seed: int) -> Split:
        """Return the problems, the kinds in turn. No two problems begin with the same sight.

        Raises:
            InputError: there are not so many different houses, or none that can be done in so many steps.
        """
        used: set[str] = set()
        parts: dict[str, tuple[Problem, ...]] = {}
        for part in ("held_out", "gate", "train", "warm_up", "final"):
            columns = [self._draw(kind, part, getattr(self, part), seed, used) for kind in self.kinds]
            parts[part] = tuple(problem for row in zip(*columns, strict=True) for problem in row)
        return Split(**parts)

    def _draw(self, kind: str, part: str, count: int, seed: int, used: set[str]) -> list[Problem]:
        rng = Random(seed_of("house", seed, part, kind))
        problems: list[Problem] = []
        fruitless = 0
        while len(problems) < count:
            house = world.built(rng, rooms=self.rooms, containers=self.containers, locked=kind == "find the key")
            steps = world.way(house, world.beginning(house)) or ()
            at = rng.randrange(len(steps)) if part == "warm_up" else 0
            problem = Problem(
                question=world.seen(house, world.beginning(house)),
                answer="; ".join(steps),
                skills=(kind,),
                source=f"house, seed {seed}, {part} {len(problems) + 1} of {kind}",
                data={"house": house.plain()},
            )
            problem = self._begun(problem, steps[:at], moment=part == "warm_up")
            if len(steps) > self.steps or problem.question in used:
                fruitless += 1
                if fruitless == FRUITLESS:
                    raise InputError(
                        f"task: {kind!r} has too few houses that begin differently and take at most {self.steps} "
                        "steps; ask for fewer problems, more rooms or more steps"
                    )
                continue
            fruitless = 0
            used.add(problem.question)
            problems.append(problem)
        return problems

    def _begun(self, problem: Problem, taken: Sequence[str], *, moment: bool) -> Problem:
        if moment:
            return self.environment.next(problem, taken)
        question = shown(self.environment.reset(problem).seen)
        return Problem(
            question=question, answer=problem.answer, skills=problem.skills, source=problem.source, data=problem.data
        )

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the closed list: the kinds of this task."""
        return SkillCatalog(skills=tuple(Skill(name=kind, description=KINDS[kind]) for kind in self.kinds))

    def reference(self, problem: Problem) -> str:
        """Return the first turn of a shortest way, as a student says it.

        Raises:
            InputError: the problem is none of the house's, or is done already.
        """
        try:
            house, taken = house_of(problem)
        except GradeError as error:
            raise InputError(f"the task `house` has no reference for this: {error}") from error
        step = knowing(house, taken)
        if step is None:
            raise InputError(f"problem {problem.id}: it begins at the goal, so there is nothing to be done")
        return said(*step)
