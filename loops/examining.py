"""The student answers, the grader scores: examinations of the train problems, and exams."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from lessons.errors import RoundError
from lessons.ids import seed_of
from lessons.records import Attempt, Problem
from loops.environments.base import EpisodicTask
from loops.episodes import play
from loops.graders.base import ScoringGrader
from loops.grading import by_scores, verdicts_of, with_verdict
from loops.tasks.base import student_prompt
from loops.work import Work
from students.base import Generation, Student

MOST_UNGRADED = 0.5
"""Share of attempts that a grader may be unable to tell before the stage stops: beyond it no figure means much."""


def sit(
    work: Work,
    title: str,
    student: Student,
    problems: Sequence[Problem],
    counts: Counter[str],
    *,
    seed: int,
    samples: int = 1,
    generation: Generation | None = None,
) -> list[Attempt]:  # [problem][sample], flat
    """Let the student answer every problem, and grade the answers; in the order of the problems.

    Where the grader chooses by the student's probabilities, no answer is written, and there is one attempt a problem.
    Where the task's problems are episodes, the student acts over several turns, and the environment scores.

    Args:
        work: whose task, grader and teacher are used.
        title: what the bar is called.
        student: who answers.
        problems: what is asked.
        counts: gets what a grader that asks a teacher asked and lost (judge/asked, lost/refused, tokens).
        seed: of the answers that are drawn.
        samples: answers to each problem.
        generation: how they are drawn; None: as the recipe says.

    Raises:
        RoundError: the grader cannot tell for over half of the answers.
        BudgetError: the grader asks a teacher, and a cap was reached.
    """
    grader = work.grader
    work.make_room("scoring" if isinstance(grader, ScoringGrader) else "student")
    with work.listener.bar(title, len(problems)) as progress:
        if isinstance(work.task, EpisodicTask):
            episodes = play(
                work.task.environment, student, problems, generation or work.recipe.student.answer,
                instruction=work.task.instruction, samples=samples, seed=seed, progress=progress,
            )  # fmt: skip
            return [attempt for of_problem in episodes for attempt in of_problem]
        if isinstance(grader, ScoringGrader):
            attempts = by_scores(grader, student, problems, work.task.instruction, progress)
        else:
            prompts = [student_prompt(work.task.instruction, problem) for problem in problems]
            how = generation or work.recipe.student.answer
            given = student.answer(prompts, how, samples=samples, seed=seed, progress=progress)
            attempts = [
                Attempt(problem=problem, student=student.digest, text=answer.text, sample=sample, cut=answer.cut)
                for problem, answers in zip(problems, given, strict=True)
                for sample, answer in enumerate(answers)
            ]
    if not isinstance(grader, ScoringGrader):
        asked = [(attempt.problem, attempt.text) for attempt in attempts]
        verdicts = verdicts_of(grader, asked, work.judging(f"judge {title}", counts))
        attempts = [with_verdict(attempt, verdict) for attempt, verdict in zip(attempts, verdicts, strict=True)]
    unsure = [attempt for attempt in attempts if not attempt.graded]
    if len(unsure) > MOST_UNGRADED * len(attempts):
        raise RoundError(
            f"the grader could not tell for {len(unsure)} of {len(attempts)} answers; the first: {unsure[0].note}"
        )
    return attempts


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
