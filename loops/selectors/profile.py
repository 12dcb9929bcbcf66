"""Lessons by the failure profile: the wider a skill's gap, the larger its part of the budget."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from lessons.errors import InputError
from lessons.records import Lesson
from lessons.skills import SkillProfile
from loops.knobs import nearest
from loops.selectors import allocation
from loops.selectors.allocation import Closed
from loops.selectors.base import Budgeted, Choice, aimed_skill, by_shares

__all__ = ["ByProfile"]

By = Literal["gap", "count", "learnable"]
Replayed = Literal["even", "known", "slipping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProfile(Budgeted):
    """Chooses lessons by the profile of skills: by its pooled gaps, or by its histogram as STAT does.

    In this order: the weights of `by`, what prerequisites take, `temper`, `fade`, `floor`, `most`. The defaults of the
    last five change nothing.
    """

    paper: ClassVar[str] = "arXiv:2510.10023"
    by: By = "gap"
    """What a skill's part goes by. "gap": its pooled gap, the share of attempts that lack it with few attempts drawn
    towards the other skills; every skill alike, however often the problems need it. "count": how often it was missing,
    the histogram of the Missing-Skill-Profile (arXiv 2510.10023, step 3a), which also weighs how often it is needed.
    "learnable": its pooled gap times the share of it that a lesson closes, as the lessons of earlier rounds did; in the
    first round gap * (1 - gap), so that skills which are half known come first."""
    floor: float = 0.0
    """Part of the budget, in [0, 1], that is shared evenly by all skills, whatever the profile says."""
    temper: float = 1.0
    """Power, at least 0, that the parts are raised to before they are made to sum to 1: 1 leaves them in proportion, 0
    makes all skills with a gap alike, above 1 sharpens. Our own."""
    most: float = 1.0
    """Largest part of one skill, in (0, 1]; what is cut off goes to the others by their parts. Our own."""
    fade: float = 0.0
    """Diminishing returns: lessons on one skill in a round after which one more brings 1/e (37 %) of what the first
    brought; each next lesson then goes where it brings most. 0: parts in proportion. Our own."""
    shrink: float = 10.0
    """For "learnable": the mean of all skills counts as this many lessons on a wholly missing skill, above 0. The fewer
    lessons a skill had, the more the mean tells of it. Our own."""
    prerequisites: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Skill -> the skills that it builds on. While one of those has a gap above `closed` and candidates, it takes the
    whole part of the skills that build on it. Our own."""
    closed: float = 0.2
    """Pooled gap, in [0, 1], up to which a prerequisite counts as learned. Our own."""
    replay_by: Replayed = "even"
    """How the replayed rows are shared by skills. "even": all alike. "known": by the accuracy, since what is known best
    can be lost most. "slipping": by how far the accuracy fell below its best in an earlier round, and evenly where none
    fell. Our own."""

    def __post_init__(self) -> None:
        if not 0 <= self.replay < 1 or not 0 <= self.floor <= 1 or self.budget < 0:
            raise ValueError("budget must be at least 0, replay in [0, 1), floor in [0, 1]")
        if self.by not in get_args(By):
            raise ValueError(f"by must be one of {', '.join(get_args(By))}, got {self.by!r}")
        if self.replay_by not in get_args(Replayed):
            raise ValueError(f"replay_by must be one of {', '.join(get_args(Replayed))}, got {self.replay_by!r}")
        if self.temper < 0 or not 0 < self.most <= 1 or self.fade < 0 or self.shrink <= 0 or not 0 <= self.closed <= 1:
            raise ValueError("temper and fade must be at least 0, most in (0, 1], shrink above 0, closed in [0, 1]")
        allocation.in_order(self.prerequisites)

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Draw by the profile's shares."""
        aims = {aimed_skill(lesson) for lesson in candidates}
        shares = self.shares(choice.profile, self._measured(choice), aims, budget)
        return by_shares(candidates, shares, budget, choice.rng)

    def aim(self, choice: Choice, count: int) -> Mapping[str, float]:
        """Return each skill's part of `count` lessons, before it is known what there are candidates for."""
        return self.shares(choice.profile, self._measured(choice), None, count)

    def _measured(self, choice: Choice) -> Mapping[str, Closed]:
        return allocation.closed_gaps(choice.profiles, choice.earlier) if self.by == "learnable" else {}

    def shares(
        self,
        profile: SkillProfile,
        measured: Mapping[str, Closed] | None = None,
        aims: Collection[str] | None = None,
        budget: int = 0,
    ) -> dict[str, float]:
        """Return each skill's part of the budget, in [0, 1].

        Args:
            profile: of this round.
            measured: what the lessons of earlier rounds did to each skill, for "learnable".
            aims: the skills that there are candidates for; None: for all.
            budget: lessons that the parts are of, for `fade`; with 0 it changes nothing.

        Raises:
            InputError: `prerequisites` names a skill that the profile does not have.
        """
        shares = self._weights(profile, measured or {})
        if self.prerequisites:
            self._check(profile)
            gaps = {
                skill: pooled.gap
                for skill, pooled in profile.pooled().items()
                if profile.rows[skill].tried and (aims is None or skill in aims)
            }
            shares = allocation.with_prerequisites(shares, gaps, self.prerequisites, self.closed)
        if self.temper != 1:
            shares = allocation.tempered(shares, self.temper)
        if self.fade:
            shares = allocation.fading(shares, budget, self.fade)
        shares = allocation.with_floor(shares, self.floor)
        return allocation.capped(shares, self.most) if self.most < 1 else shares

    def replay_shares(self, choice: Choice) -> dict[str, float]:
        """Return each skill's part of the replayed rows, in [0, 1]; empty for every skill alike."""
        known = {skill: row.accuracy or 0.0 for skill, row in choice.profile.rows.items()}
        if self.replay_by == "even":
            return {}
        if self.replay_by == "slipping":
            best = {
                skill: max(
                    (seen.rows[skill].accuracy or 0.0 for seen in choice.profiles if skill in seen.rows), default=0
                )
                for skill in known
            }
            known = {skill: max(0.0, best[skill] - now) for skill, now in known.items()}
        shares = allocation.tempered(known, 1.0)
        return shares if any(shares.values()) else {}

    def _weights(self, profile: SkillProfile, measured: Mapping[str, Closed]) -> dict[str, float]:
        if self.by != "learnable":
            return profile.shares(self.by)
        by_gap = profile.shares("gap")
        pooled = profile.pooled()
        gaps = {skill: pooled[skill].gap for skill, share in by_gap.items() if share > 0}
        rates = allocation.learnability(gaps, measured, self.shrink)
        weights = {skill: gaps[skill] * rates[skill] if skill in gaps else 0.0 for skill in by_gap}
        return allocation.tempered(weights, 1.0)

    def _check(self, profile: SkillProfile) -> None:
        for skill in {*self.prerequisites, *(one for below in self.prerequisites.values() for one in below)}:
            if skill not in profile.rows:
                raise InputError(f"select.prerequisites: there is no skill {skill!r}; {nearest(skill, profile.rows)}")
