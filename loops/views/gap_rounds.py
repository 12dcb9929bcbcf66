"""What each round's diagnosis says in `tutelage gaps`: how the failures went wrong, and the form gap apart from skills.

Read from profile.json and the stage's counts alone, so that it costs nothing on a run of any size; `tutelage show` has
the same in more words.
"""

from typing import Any

from lessons.records import Record
from lessons.skills import SkillProfile
from loops.diagnosis.verdicts import Verdicts
from loops.reading import RoundView, RunView
from loops.selectors.profile import ByProfile


class RoundErrors(Record, frozen=True, kw_only=True):
    """How the failures of one round's examination went wrong."""

    round: int
    missed: int | None
    """Attempts that call for lessons; None in profiles from before they were counted."""
    formless: int
    """Of them, failures of form alone: format or truncated, and no skill named."""
    errors: dict[str, int]
    """Error kind -> missed attempts."""
    ungraded: int
    """Attempts that the grader could not tell."""
    verdicts: Verdicts | None
    """The teacher's verdicts beside the grader's; None where it was asked for none."""

    @property
    def untold(self) -> int:
        """Missed attempts whose kind of error nobody could tell."""
        return (self.missed or 0) - sum(self.errors.values())


def errors_of(turn: RoundView) -> RoundErrors | None:
    """Return one round's errors; None before its diagnosis."""
    profile = turn.profile
    if profile is None:
        return None
    counts = turn.markers["diagnose"].counts if "diagnose" in turn.markers else {}
    cells = {name: counts.get(key, 0) for name, key in _CELLS.items()}
    right = counts.get("examine/right") or sum(cells[name] for name in ("false_alarms", "passed"))
    verdicts = Verdicts(**cells, right=right) if any(cells.values()) else None
    older = not profile.missed and any(row.missing for row in profile.rows.values())
    return RoundErrors(
        round=turn.index,
        missed=None if older else profile.missed,
        formless=profile.formless,
        errors=dict(profile.errors),
        ungraded=profile.ungraded,
        verdicts=verdicts,
    )


_CELLS = {
    "confirmed": "verdict/grader wrong, teacher wrong",
    "excused": "verdict/grader wrong, teacher right",
    "false_alarms": "verdict/grader right, teacher wrong",
    "passed": "verdict/grader right, teacher right",
}


def shares_of(run: RunView, profile: SkillProfile) -> dict[str, float]:
    """Return each skill's share of the budget as the run's selector reckons it; empty for a selector that does not.

    Recipes from before there was a choice went by counts.
    """
    given: Any = run.recipe.get("select", {})
    spec: dict[str, Any] = given if isinstance(given, dict) else {}
    if spec.get("id", "profile") != "profile":
        return {}
    by, floor = spec.get("by", "count" if spec else "gap"), spec.get("floor", 0.0)
    try:
        return ByProfile(by=by, floor=float(floor)).shares(profile)
    except (TypeError, ValueError):
        return {}  # a recipe that was edited by hand: the run itself would refuse it
