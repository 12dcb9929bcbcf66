"""How hard a lesson is for the student: by how probable it finds the words, or by how it did on the problem."""

import math
from collections.abc import Sequence
from typing import Literal

from lessons.records import Attempt, Lesson
from lessons.skills import SkillProfile
from loops.selectors.base import Choice, texts_of

By = Literal["loss", "success"]
"""What hardness goes by: the mean loss of a token, or how often attempts at the problem went wrong."""

MEDIUM = 0.5
"""Hardness by success of a lesson that nothing is known about."""


def hardness(lessons: Sequence[Lesson], choice: Choice, by: By, who: str) -> list[float]:  # [lesson]
    """Return how hard each lesson is, larger for harder.

    "loss": mean negative log-likelihood of the completion's tokens after the prompt, in nats, at least 0, by the
    student that is taught. "success": see `by_success`. `who` asks, for the error.

    Raises:
        InputError: there is no student to score the texts.
    """
    if by == "loss":
        return [score.loss for score in choice.asked(who).of(texts_of(lessons))]
    return by_success(lessons, choice.attempts, choice.profile)


def by_success(lessons: Sequence[Lesson], attempts: Sequence[Attempt], profile: SkillProfile) -> list[float]:
    """Return 1 - the mean score of this round's attempts at what each lesson is about, in [0, 1].

    What a lesson is about: its problem; else the problem that this was written from. Where neither was examined: the
    skill that it aims at, by 1 - its accuracy in the profile; else `MEDIUM`.
    """
    scores: dict[str, list[float]] = {}
    for attempt in attempts:
        if attempt.score is not None:
            scores.setdefault(attempt.problem.id, []).append(attempt.score)
    missed = {problem: 1 - math.fsum(found) / len(found) for problem, found in scores.items()}
    return [_of_lesson(lesson, missed, profile) for lesson in lessons]


def _of_lesson(lesson: Lesson, missed: dict[str, float], profile: SkillProfile) -> float:
    for name in (lesson.problem.id, lesson.problem.parent, lesson.provenance.seed):
        if name is not None and name in missed:
            return missed[name]
    row = profile.rows.get(lesson.provenance.skill or "")
    return MEDIUM if row is None or row.accuracy is None else 1 - row.accuracy
