"""The student answers, the grader scores: examinations of the train problems, and exams."""

from collections.abc import Sequence
from random import Random

import msgspec

from lessons.errors import GradeError, RoundError
from lessons.graders.base import Grader
from lessons.ids import seed_of
from lessons.records import Attempt, Problem
from loops.tasks.base import Task, student_prompt
from students.base import Generation, Progress, Student

MOST_UNGRADED = 0.5
"""Share of attempts that a grader may be unable to tell before the stage stops: beyond it no figure means much."""


def examine(
    student: Student,
    problems: Sequence[Problem],
    task: Task,
    generation: Generation,
    *,
    samples: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Attempt]:
    """Let the student answer every problem, and grade the answers; in the order of the problems.

    Raises:
        RoundError: the grader cannot tell for over half of the answers.
    """
    prompts = [student_prompt(task.instruction, problem) for problem in problems]
    given = student.answer(prompts, generation, samples=samples, seed=seed, progress=progress)
    grader = task.grader
    attempts = [
        graded(
            grader, Attempt(problem=problem, student=student.digest, text=answer.text, sample=sample, cut=answer.cut)
        )
        for problem, answers in zip(problems, given, strict=True)
        for sample, answer in enumerate(answers)
    ]
    unsure = [attempt for attempt in attempts if not attempt.graded]
    if len(unsure) > MOST_UNGRADED * len(attempts):
        raise RoundError(
            f"the grader could not tell for {len(unsure)} of {len(attempts)} answers; the first: {unsure[0].note}"
        )
    return attempts


def graded(grader: Grader, attempt: Attempt) -> Attempt:
    """Return the attempt with its score; where the grader cannot tell, without one and with its reason."""
    try:
        grade = grader.grade(attempt.problem, attempt.text)
    except GradeError as error:
        return msgspec.structs.replace(attempt, score=None, note=f"not graded: {error}")
    return msgspec.structs.replace(attempt, score=grade.score, answer=grade.answer, note=grade.note)


def of_round(problems: Sequence[Problem], index: int, per_round: int, seed: int) -> list[Problem]:
    """Return the problems that round `index` (from 1) examines: the next `per_round`, each skill in its proportion.

    0 takes all of them every round. When all have been seen, it begins again.
    """
    if per_round <= 0 or per_round >= len(problems):
        return list(problems)
    dealt = _dealt(problems, seed)
    start = (index - 1) * per_round
    return [dealt[(start + offset) % len(dealt)] for offset in range(per_round)]


def _dealt(problems: Sequence[Problem], seed: int) -> list[Problem]:
    """Return the problems shuffled so that every stretch has the skills in about their overall proportion."""
    rng = Random(seed_of(seed, "deal"))
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.skills[0] if problem.skills else "", []).append(problem)
    placed: list[tuple[float, str, Problem]] = []
    for skill, group in groups.items():
        rng.shuffle(group)
        placed += [((position + 0.5) / len(group), skill, problem) for position, problem in enumerate(group)]
    return [problem for _, _, problem in sorted(placed, key=lambda place: place[:2])]
