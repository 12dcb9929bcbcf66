"""How an exam is summed up, and whether a round's student is kept."""

from collections.abc import Sequence

import msgspec

from lessons.records import Attempt
from lessons.skills import SkillProfile
from lessons.statistics import holm, mcnemar, paired_difference, wilson
from loops.records import Change, ExamMetrics, SkillExam


def compare(before: Sequence[Attempt], after: Sequence[Attempt], skill: str | None = None) -> Change:
    """Compare two students on the same problems (of one skill): pairs that both exams graded count."""
    was = {(attempt.problem.id, attempt.sample): attempt for attempt in before if attempt.graded}
    gained = lost = n = 0
    for attempt in after:
        earlier = was.get((attempt.problem.id, attempt.sample))
        if earlier is None or not attempt.graded or (skill is not None and skill not in attempt.problem.skills):
            continue
        n += 1
        gained += attempt.right and not earlier.right
        lost += earlier.right and not attempt.right
    low, high = paired_difference(gained, lost, n)
    difference = (gained - lost) / n if n else 0.0
    return Change(n=n, gained=gained, lost=lost, difference=difference, low=low, high=high, p=mcnemar(gained, lost))


def sum_up(
    index: int,
    student: str,
    attempts: Sequence[Attempt],
    *,
    skills: Sequence[str],
    before: Sequence[Attempt] | None = None,
    start: Sequence[Attempt] | None = None,
) -> ExamMetrics:
    """Return an exam's figures: overall and per skill, each with its interval and its paired change.

    `before` is the exam of the student that the round started with, `start` that of round 0. The skills' p-values
    are Holm-corrected over all skills.
    """
    graded = [attempt for attempt in attempts if attempt.graded]
    right = sum(attempt.right for attempt in graded)
    low, high = wilson(right, len(graded))
    profile = SkillProfile.of(attempts, skills)
    changes: dict[str, Change] = {}
    if before is not None:
        changes = {skill: compare(before, attempts, skill) for skill in profile.rows}
        adjusted = holm({skill: change.p for skill, change in changes.items()})
        changes = {skill: _with_p(change, adjusted[skill]) for skill, change in changes.items()}
    return ExamMetrics(
        round=index,
        student=student,
        n=len(graded),
        right=right,
        ungraded=len(attempts) - len(graded),
        accuracy=right / len(graded) if graded else 0.0,
        low=low,
        high=high,
        skills={
            skill: SkillExam(row=row, low=row.interval.low, high=row.interval.high, change=changes.get(skill))
            for skill, row in profile.rows.items()
        },
        change=compare(before, attempts) if before is not None else None,
        since_start=compare(start, attempts) if start is not None else None,
    )


def judge(change: Change, *, rule: str, alpha: float) -> tuple[bool, str]:
    """Return whether the new student replaces the old one, and why, as a sentence for people."""
    told = f"{change.gained} gained, {change.lost} lost of {change.n}, p {change.p:.2g}"
    if rule == "always":
        return True, f"promoted: every round is (gate.rule always); {told}"
    if change.gained <= change.lost:
        return False, f"kept the student before: the new one is no better ({told})"
    if rule == "better":
        return True, f"promoted: more right answers ({told})"
    if change.p <= alpha:
        return True, f"promoted: better beyond chance ({told})"
    return False, f"kept the student before: the gain may be chance ({told}, asked for p <= {alpha:g})"


def _with_p(change: Change, p: float) -> Change:
    return msgspec.structs.replace(change, p=p)
