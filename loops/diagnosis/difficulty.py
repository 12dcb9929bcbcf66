"""Which attempts call for lessons by the rewards of their steps, without any reference answer (STAT, step 1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lessons.errors import InputError
from lessons.jsonl import read_jsonl, write_jsonl
from lessons.records import Attempt, Record
from loops.scorers.base import Solution, is_difficult, steps_of
from loops.settings import DifficultSettings
from students.base import Progress

FILE = "rewards.jsonl"
"""In a round's folder: what the scorer said, kept so that a diagnosis that was stopped does not score again."""


class StepRewards(Record, frozen=True, kw_only=True):
    """One line of `rewards.jsonl`."""

    attempt: str
    """Id of the attempt."""
    rewards: tuple[float, ...] = ()
    """In [0, 1], first step to last; empty where the scorer could not tell."""


async def rewards_of(
    attempts: Sequence[Attempt], settings: DifficultSettings, folder: Path, progress: Progress | None = None
) -> dict[str, tuple[float, ...]]:
    """Return id of an attempt -> rewards of its steps; from the round's file where that holds them all.

    An attempt without words has no steps, and an empty tuple.

    Raises:
        InputError: the scorer gave another number of rewards than there are steps, or one outside of [0, 1].
        TutelageError: the scorer can score nothing.
    """
    path = folder / FILE
    if path.is_file():
        known = {row.attempt: row.rewards for row in read_jsonl(path, StepRewards)}
        if all(attempt.id in known for attempt in attempts):
            return known
    steps = {attempt.id: steps_of(attempt.text, settings.steps) for attempt in attempts}
    questions = {attempt.id: attempt.problem.question for attempt in attempts}
    asked = [name for name, pieces in steps.items() if pieces]
    try:
        given = await settings.scorer.score(
            [Solution(questions[name], steps[name]) for name in asked], progress=progress
        )
    finally:
        settings.scorer.close()
    if len(given) != len(asked):
        raise InputError(f"diagnose.difficult.scorer: gave rewards for {len(given)} of {len(asked)} solutions")
    found = dict.fromkeys(steps, tuple[float, ...]())
    for name, rewards in zip(asked, given, strict=True):
        found[name] = _checked(rewards, len(steps[name]))
    write_jsonl(path, [StepRewards(attempt=name, rewards=rewards) for name, rewards in found.items()])
    return found


def _checked(rewards: Sequence[float], steps: int) -> tuple[float, ...]:
    if rewards and len(rewards) != steps:
        raise InputError(f"diagnose.difficult.scorer: gave {len(rewards)} rewards for a solution of {steps} steps")
    for reward in rewards:
        if not 0 <= reward <= 1:  # true for what is not a number too
            raise InputError(f"diagnose.difficult.scorer: a reward must lie in [0, 1], got {reward}")
    return tuple(rewards)


def with_rewards(
    attempts: Sequence[Attempt], rewards: Mapping[str, tuple[float, ...]], settings: DifficultSettings
) -> list[Attempt]:
    """Return the attempts with their rewards, and whether those call for lessons: the grader decides where none are."""
    return [
        msgspec.structs.replace(
            attempt,
            rewards=rewards[attempt.id],
            difficult=is_difficult(rewards[attempt.id], last=settings.tau1, any_=settings.tau2),
        )
        for attempt in attempts
    ]


def counted(attempts: Sequence[Attempt]) -> Counter[str]:
    """Return what the rewards said, beside the grader, as a stage counts it."""
    told = [attempt for attempt in attempts if attempt.difficult is not None]
    return Counter(
        {
            "rewards/scored": len(told),
            "rewards/not scored": len(attempts) - len(told),
            "rewards/difficult": sum(attempt.missed for attempt in told),
            "rewards/difficult, grader right": sum(attempt.missed and attempt.right for attempt in told),
            "rewards/easy, grader wrong": sum(not attempt.missed and attempt.failed for attempt in told),
        }
    )
