"""How an exam is summed up, and whether a round's student is kept."""

from collections.abc import Sequence
from statistics import fmean

import msgspec

from lessons.bootstrap import paired
from lessons.records import Attempt
from lessons.sampling import correlation, design_effect, passes
from lessons.skills import SkillProfile
from lessons.statistics import holm, mcnemar, paired_difference, wilson
from loops.records import Change, ExamMetrics, SkillExam


def compare(before: Sequence[Attempt], after: Sequence[Attempt], skill: str | None = None) -> Change:
    """Compare two students on the same problems (of one skill): problems that both exams graded count.

    With scores of 0 and 1 and one sample a problem by McNemar's exact test, else by the paired bootstrap over problems,
    on each problem's mean score (`lessons/bootstrap.py`).
    """
    was, now = _scores(before), _scores(after, skill)
    pairs = [(was[problem], scores) for problem, scores in sorted(now.items()) if problem in was]
    n = len(pairs)
    if all(len(one) == len(two) == 1 and {*one, *two} <= {0.0, 1.0} for one, two in pairs):
        gained = sum(two > one for one, two in pairs)
        lost = sum(two < one for one, two in pairs)
        low, high = paired_difference(gained, lost, n)
        difference = (gained - lost) / n if n else 0.0
        return Change(n=n, gained=gained, lost=lost, difference=difference, low=low, high=high, p=mcnemar(gained, lost))
    shifts = [fmean(two) - fmean(one) for one, two in pairs]
    found = paired(shifts)
    return Change(
        n=n,
        gained=sum(shift > 0 for shift in shifts),
        lost=sum(shift < 0 for shift in shifts),
        difference=found.mean,
        low=found.low,
        high=found.high,
        p=found.p,
        test="paired bootstrap",
    )


def _scores(attempts: Sequence[Attempt], skill: str | None = None) -> dict[str, list[float]]:
    """Return problem id -> scores of its graded samples, in order of the samples."""
    found: dict[str, dict[int, float]] = {}
    for attempt in attempts:
        if attempt.score is not None and (skill is None or skill in attempt.problem.skills):
            found.setdefault(attempt.problem.id, {})[attempt.sample] = attempt.score
    return {problem: [score for _, score in sorted(scores.items())] for problem, scores in found.items()}


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
    scores = _scores(attempts)
    design = design_effect(scores, correlation([scores]))
    low, high = wilson(right / design, len(graded) / design)
    partial = any(attempt.score not in (0.0, 1.0) for attempt in graded)
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
        score=fmean(attempt.score or 0.0 for attempt in graded) if partial else None,
        passes=passes(scores),
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
    by_score = change.test == "paired bootstrap"
    if by_score:
        told += f", mean score {100 * change.difference:+.1f} points by {change.test}"
    if rule == "always":
        return True, f"promoted: every round is (gate.rule always); {told}"
    if change.difference <= 0:
        return False, f"kept the student before: the new one is no better ({told})"
    if rule == "better":
        return True, f"promoted: {'a higher mean score' if by_score else 'more right answers'} ({told})"
    if change.p <= alpha:
        return True, f"promoted: better beyond chance ({told})"
    return False, f"kept the student before: the gain may be chance ({told}, asked for p <= {alpha:g})"


def _with_p(change: Change, p: float) -> Change:
    return msgspec.structs.replace(change, p=p)
