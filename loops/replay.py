"""Rows that keep what a student masters: its own right answers of this round, evenly over skills."""

from collections.abc import Sequence
from random import Random

from lessons.records import Attempt, Lesson, Provenance
from lessons.skills import SkillProfile
from loops.tasks.base import student_prompt

MASTERED = 0.5
"""Accuracy from which earlier lessons on a skill may be replayed. Our choice; its own right answers need no bound."""


def replayed(
    count: int,
    *,
    attempts: Sequence[Attempt],
    earlier: Sequence[Lesson],
    profile: SkillProfile,
    instruction: str,
    index: int,
    rng: Random,
) -> list[Lesson]:
    """Return up to `count` rows: right attempts in turn over the skills, then earlier lessons on mastered skills."""
    own: dict[str, list[Lesson]] = {}
    for attempt in attempts:
        if attempt.right and attempt.text.strip():
            skill = attempt.problem.skills[0] if attempt.problem.skills else ""
            own.setdefault(skill, []).append(_own(attempt, instruction, index))
    rows = _in_turn(own, count, rng)
    mastered = set(profile.mastered(MASTERED))
    rest = [lesson for lesson in earlier if lesson.provenance.skill in mastered]
    missing = min(count - len(rows), len(rest))
    return rows + (rng.sample(rest, missing) if missing > 0 else [])


def _own(attempt: Attempt, instruction: str, index: int) -> Lesson:
    skill = attempt.problem.skills[0] if attempt.problem.skills else None
    return Lesson(
        prompt=student_prompt(instruction, attempt.problem),
        completion=attempt.text.strip(),
        problem=attempt.problem,
        provenance=Provenance(method="replay", round=index, seed=attempt.problem.id, attempt=attempt.id, skill=skill),
    )


def _in_turn(groups: dict[str, list[Lesson]], count: int, rng: Random) -> list[Lesson]:
    """Take one of each skill in turn, skills by name, rows in random order, until there are `count` or none is left."""
    queues: list[list[Lesson]] = []
    for _, rows in sorted(groups.items()):
        queue = list(rows)
        rng.shuffle(queue)
        queues.append(queue)
    taken: list[Lesson] = []
    while len(taken) < count and any(queues):
        for queue in queues:
            if queue and len(taken) < count:
                taken.append(queue.pop())
    return taken
