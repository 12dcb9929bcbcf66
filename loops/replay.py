"""Rows that keep what a student masters: its own right answers of this round, evenly over skills or by shares."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from random import Random

from lessons.records import Attempt, Lesson, Message, Provenance
from lessons.skills import SkillProfile
from loops.selectors.base import allocate
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
    shares: Mapping[str, float] | None = None,
    besides: Collection[str] = (),
) -> list[Lesson]:
    """Return up to `count` rows: right attempts in turn over the skills, then earlier lessons on mastered skills.

    shares: each skill's part of the right attempts; None or empty: every skill alike. besides: ids of lessons that are
    trained anyway; neither they nor two equal answers to one problem are rows.
    """
    own: dict[str, list[Lesson]] = {}
    taken: set[str] = set()
    for attempt in attempts:
        if attempt.right and attempt.text.strip():
            skill = attempt.problem.skills[0] if attempt.problem.skills else ""
            for lesson in _own(attempt, instruction, index):
                if lesson.id not in besides and lesson.id not in taken:
                    taken.add(lesson.id)
                    own.setdefault(skill, []).append(lesson)
    quotas = allocate({skill: len(rows) for skill, rows in own.items()}, shares, count) if shares else None
    rows = _in_turn(own, count, rng, quotas)
    mastered = set(profile.mastered(MASTERED))
    if len(rows) >= count:
        return rows
    rest = [
        place
        for place, lesson in enumerate(earlier)
        if lesson.provenance.skill in mastered and lesson.id not in besides and lesson.id not in taken
    ]
    return rows + [earlier[place] for place in rng.sample(rest, min(count - len(rows), len(rest)))]


def _own(attempt: Attempt, instruction: str, index: int) -> Iterator[Lesson]:
    """Yield a row for each turn that the student answered: one, but for an attempt of several turns."""
    problem = attempt.problem
    skill = problem.skills[0] if problem.skills else None
    chat = (*student_prompt(instruction, problem), *attempt.turns, Message(role="assistant", content=attempt.text))
    for place, turn in enumerate(chat):
        if turn["role"] == "assistant" and turn["content"].strip():
            yield Lesson(
                prompt=chat[:place],
                completion=turn["content"].strip(),
                problem=problem,
                provenance=Provenance(method="replay", round=index, seed=problem.id, attempt=attempt.id, skill=skill),
            )


def _in_turn(
    groups: dict[str, list[Lesson]], count: int, rng: Random, quotas: Mapping[str, int] | None
) -> list[Lesson]:
    """Take one of each skill in turn, skills by name, rows in random order, until there are `count` or none is left."""
    queues: list[list[Lesson]] = []
    for skill, rows in sorted(groups.items()):
        queue = list(rows)
        rng.shuffle(queue)
        queues.append(queue if quotas is None else queue[: quotas[skill]])
    taken: list[Lesson] = []
    while len(taken) < count and any(queues):
        for queue in queues:
            if queue and len(taken) < count:
                taken.append(queue.pop())
    return taken
