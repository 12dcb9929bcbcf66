"""What a round's diagnosis came to: how the failures went wrong, and whether teacher and grader agree."""

from collections import Counter

from lessons.records import FORM_ERRORS, Record
from lessons.tally import of_form_alone
from loops.diagnosis.difficulty import counted
from loops.diagnosis.verdicts import Verdicts
from loops.reading import RoundView


class ErrorCount(Record, frozen=True, kw_only=True):
    """One way of going wrong."""

    error: str
    """An error kind, or "not told" where nobody could say."""
    count: int


class Rewards(Record, frozen=True, kw_only=True):
    """What process rewards said, beside the grader."""

    scored: int
    """Attempts that were given rewards."""
    unscored: int
    """Attempts that the scorer could not tell; the grader decides about them."""
    difficult: int
    """Scored attempts that call for lessons."""
    difficult_right: int
    """Of these, right for the grader."""
    easy_wrong: int
    """Scored attempts that call for none, and are wrong for the grader."""


class Diagnosed(Record, frozen=True, kw_only=True):
    """One round's diagnosis."""

    missed: int
    """Attempts that call for lessons: the failed ones, unless process rewards told which are difficult."""
    errors: tuple[ErrorCount, ...]
    """How they went wrong, most frequent first."""
    form: int
    """Of them, failures of form alone (format, truncated): they are no gap of a skill."""
    form_as_skills: int
    """Failures of form that count as gaps all the same: nearly all failures were such, or the recipe says so."""
    asked: int
    """Attempts that the teacher has judged, right ones included."""
    privileged: bool
    """Whether it saw the reference."""
    verdicts: Verdicts | None
    """Its verdicts beside the grader's; None where it judged nothing."""
    agrees_on_failures: float | None
    """Share of the judged failures that it takes for wrong too, in [0, 1]."""
    agrees_on_right: float | None
    """Share of the judged right attempts that it takes for right too, in [0, 1]; None where it saw none."""
    kappa: float | None
    """Agreement beyond chance; None where the teacher saw no right attempt (diagnose.check_right)."""
    lost: tuple[ErrorCount, ...]
    """Diagnoses whose reply was lost, by reason; the skills that the problem needs stand in their place."""
    rewards: Rewards | None
    """None where the grader alone decides."""


def diagnosed(turn: RoundView) -> Diagnosed | None:
    """Count one round's diagnosis; None before it is done. Streams the attempts."""
    if not turn.has("attempts.jsonl"):
        return None
    attempts = list(turn.attempts())
    missed = [attempt for attempt in attempts if attempt.missed]
    told = [(attempt, attempt.diagnosis.error if attempt.diagnosis else None) for attempt in missed]
    verdicts = Verdicts.of(attempts)
    asked = [a.diagnosis for a in attempts if a.diagnosis is not None and a.diagnosis.verdict is not None]
    lost = Counter(
        {
            name.removeprefix(_LOST): count
            for name, count in (turn.markers["diagnose"].counts if "diagnose" in turn.markers else {}).items()
            if name.startswith(_LOST)
        }
    )
    on_failures, on_right = verdicts.shares
    rewards = counted(attempts) if any(attempt.difficult is not None for attempt in attempts) else None
    return Diagnosed(
        missed=len(missed),
        errors=_most_first(Counter(error or "not told" for _, error in told)),
        form=sum(map(of_form_alone, missed)),
        form_as_skills=sum(error in FORM_ERRORS and bool(attempt.missing) for attempt, error in told),
        asked=len(asked),
        privileged=any(one.privileged for one in asked),
        verdicts=verdicts if asked else None,
        agrees_on_failures=on_failures,
        agrees_on_right=on_right,
        kappa=verdicts.kappa,
        lost=_most_first(lost),
        rewards=None
        if rewards is None
        else Rewards(
            scored=rewards["rewards/scored"],
            unscored=rewards["rewards/not scored"],
            difficult=rewards["rewards/difficult"],
            difficult_right=rewards["rewards/difficult, grader right"],
            easy_wrong=rewards["rewards/easy, grader wrong"],
        ),
    )


_LOST = "diagnose/no diagnosis: "


def _most_first(counts: Counter[str]) -> tuple[ErrorCount, ...]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(ErrorCount(error=error, count=count) for error, count in ordered)


def phrases(found: Diagnosed) -> list[str]:
    """Return the diagnosis in words, a line each, for people; what a model wrote is not made visible yet."""
    kinds = ", ".join(f"{one.error} {one.count:,}" for one in found.errors)
    lines = [f"{found.missed:,} missed: {kinds}" if kinds else f"{found.missed:,} missed"]
    if found.form:
        lines.append(f"{found.form:,} of form alone (cut off, or no answer that can be read): no gap of a skill")
    if found.form_as_skills:
        lines.append(f"{found.form_as_skills:,} of form counted as gaps of the skills that their problems need")
    if found.verdicts is not None:
        lines += _agreement(found, found.verdicts)
    if found.lost:
        reasons = ", ".join(f"{one.error} {one.count:,}" for one in found.lost)
        lines.append(f"diagnoses lost: {reasons}; the needed skills stand in their place")
    if found.rewards is not None:
        it = found.rewards
        lines.append(
            f"rewards of {it.scored:,} attempts: {it.difficult:,} difficult ({it.difficult_right:,} of them right for "
            f"the grader), {it.easy_wrong:,} wrong for the grader and not difficult, {it.unscored:,} not scored"
        )
    return lines


def _agreement(found: Diagnosed, verdicts: Verdicts) -> list[str]:
    seen = " (it saw the reference)" if found.privileged else ""
    told = f"teacher{seen} takes {verdicts.confirmed:,} of {verdicts.failures:,} failures for wrong"
    if not verdicts.checked:
        return [f"{told}; none of the right attempts was shown to it (diagnose.check_right)"]
    kappa = "" if found.kappa is None else f"; kappa {found.kappa:.2f}"
    return [f"{told}, {verdicts.passed:,} of {verdicts.checked:,} right attempts for right{kappa}"]
