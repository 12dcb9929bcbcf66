"""Skills: the closed list that names come from, and the profile of what a student lacks."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self, get_args

import msgspec

from lessons.pooling import Pooled, pool
from lessons.records import Attempt, ErrorKind, Problem, Record
from lessons.sampling import correlation, design_effect, passes
from lessons.statistics import Interval, wilson
from lessons.tally import Tally, of_form_alone, tallies


class Skill(Record, frozen=True, kw_only=True):
    """A named ability."""

    name: str
    description: str = ""
    subject: str = ""


class SkillCatalog(Record, frozen=True, kw_only=True):
    """The closed list of skills; a reviewable file, given by the user or written by the teacher."""

    skills: tuple[Skill, ...]

    @classmethod
    def of_names(cls, names: Iterable[str]) -> Self:
        """Make a catalogue of plain names, each once, in the order of first sight."""
        return cls(skills=tuple(Skill(name=name) for name in dict.fromkeys(names)))

    @classmethod
    def of_problems(cls, problems: Iterable[Problem]) -> Self:
        """Make a catalogue of the skills that the problems are labelled with, sorted by name."""
        return cls.of_names(sorted({skill for problem in problems for skill in problem.skills}))

    @property
    def names(self) -> tuple[str, ...]:
        """Every skill's name, in order."""
        return tuple(skill.name for skill in self.skills)

    def of_subject(self, subject: str) -> tuple[Skill, ...]:
        """Return the skills of a subject; those without a subject belong to all."""
        return tuple(skill for skill in self.skills if not subject or skill.subject in ("", subject))

    def match(self, text: str) -> str | None:
        """Return the catalogue's own spelling of a name (case, spaces, hyphens and underscores are alike), or None."""
        return self._by_key().get(_key(text))

    def _by_key(self) -> dict[str, str]:
        return {_key(skill.name): skill.name for skill in self.skills}


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold().strip(" .\"'`*")


By = Literal["gap", "count"]
"""What a skill's share of the budget goes by: its pooled gap, or how often it was missing (STAT's histogram)."""


class SkillRow(Record, frozen=True, kw_only=True):
    """One skill in a profile."""

    attempts: int
    """Graded attempts at problems that need the skill."""
    right: int
    failures: int
    """Attempts at problems that need it, graded and not wholly right."""
    missing: int
    """Missed attempts (on any problem) whose diagnosis names this skill."""
    problems: int = 0
    """Different problems among the attempts."""
    score: float | None = None
    """Mean score of the attempts, in [0, 1]; None without any."""
    formless: int = 0
    """Failures of form alone (`FORM_ERRORS`) at problems that need it; they are no gap of any skill."""
    lacking: float | None = None
    """Attempts that lacked it, with labels and diagnosis weighed (`lessons/tally.py`); need not be whole. None in
    profiles from before it was counted; `missing` then stands for it."""
    trials: float | None = None
    """Attempts that could have lacked it, as many as `lacking` or more; None as for `lacking`."""
    design: float = 1.0
    """By how much samples of one problem being alike widens the variance; at least 1, and 1 with one sample each."""
    passes: dict[int, float] = msgspec.field(default_factory=dict[int, float])
    """k -> pass@k, in [0, 1]; empty with one sample a problem."""
    pooled: Pooled | None = None
    """The gap with what the other skills tell; None where nothing was diagnosed. Its interval reaches as far as it does
    if all contested attempts (`lessons/tally.py`) are the diagnosis' error, or all are the labels'."""

    @property
    def accuracy(self) -> float | None:
        """Share of right attempts in [0, 1]; None without attempts."""
        return self.right / self.attempts if self.attempts else None

    @property
    def effective(self) -> float:
        """How many attempts at different problems would say as much as these."""
        return self.attempts / self.design

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the accuracy, from the effective number of attempts."""
        return wilson(self.right / self.design, self.effective)

    @property
    def score_interval(self) -> Interval:
        """Wilson's 95 % interval of the mean score: exact for scores of 0 and 1, and cautious for those between, which
        vary less."""
        return wilson((self.score or 0.0) * self.effective, self.effective)

    def pass_interval(self, k: int) -> Interval:
        """Wilson's 95 % interval of pass@k, each problem one trial: cautious, since its estimates vary less than 0 and
        1 would. KeyError for a k that is not in `passes`."""
        return wilson(self.passes[k] * self.problems, self.problems)

    @property
    def tried(self) -> float:
        """`trials`, in any profile: of an old one the attempts, or what was missing where that is more."""
        return float(max(self.attempts, self.missing)) if self.trials is None else self.trials

    @property
    def lacked(self) -> float:
        """`lacking`, in any profile: of an old one what was missing."""
        return float(self.missing) if self.lacking is None else self.lacking

    @property
    def gap(self) -> float:
        """Share of the attempts that need the skill and lacked it, in [0, 1], as counted: no pooling."""
        return min(1.0, self.missing / self.attempts) if self.attempts else float(self.missing > 0)


class SkillProfile(Record, frozen=True, kw_only=True):
    """Per skill: attempts, failures, accuracy, gap. STAT's Missing-Skill-Profile (arXiv 2510.10023, step 2)."""

    rows: dict[str, SkillRow] = msgspec.field(default_factory=dict[str, SkillRow])
    ungraded: int = 0
    """Attempts that the grader could not tell; they count in no row's attempts."""
    missed: int = 0
    """Attempts that call for lessons: the failed ones, unless process rewards told which are difficult."""
    formless: int = 0
    """Of them, those of form alone: no skill's gap."""
    errors: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """Error kind -> missed attempts that went wrong so; those that nobody could tell are left out."""

    @classmethod
    def of(cls, attempts: Iterable[Attempt], skills: Sequence[str] = ()) -> Self:
        """Count attempts per skill; `skills` are listed first, also those that no attempt needs.

        Gaps are pooled where any attempt was diagnosed.
        """
        every = list(attempts)
        counted = tallies(every, skills)
        alike = correlation([tally.scores for tally in counted.values()])
        missed = [attempt for attempt in every if attempt.missed]
        told = Counter(attempt.diagnosis.error for attempt in missed if attempt.diagnosis and attempt.diagnosis.error)
        profile = cls(
            rows={name: _row(tally, alike) for name, tally in counted.items()},
            ungraded=sum(not attempt.graded for attempt in every),
            missed=len(missed),
            formless=sum(map(of_form_alone, missed)),
            errors={kind: told[kind] for kind in get_args(ErrorKind) if told[kind]},
        )
        if not any(attempt.diagnosis or attempt.missing for attempt in missed):
            return profile
        pooled = profile.pooled()
        for contested in (0.0, 1.0):  # all of what is contested may be wrong, or none
            rows = (_row(tally, alike) for tally in tallies(every, skills, contested).values())
            pooled = {name: _widened(pooled[name], other) for name, other in zip(pooled, _pool(rows), strict=True)}
        rows = {name: msgspec.structs.replace(row, pooled=pooled[name]) for name, row in profile.rows.items()}
        return msgspec.structs.replace(profile, rows=rows)

    def gap(self, skill: str) -> float:
        """Share of attempts needing the skill that lacked it, in [0, 1]; 0 for a skill that is not in the profile."""
        return self.rows[skill].gap if skill in self.rows else 0.0

    def pooled(self) -> dict[str, Pooled]:
        """Return each skill's gap with what the others tell, in [0, 1]: few attempts are drawn far towards the rest."""
        known = {name: row.pooled for name, row in self.rows.items() if row.pooled is not None}
        if len(known) == len(self.rows):
            return known
        return dict(zip(self.rows, _pool(self.rows.values()), strict=True))

    def worst(self, k: int) -> list[str]:
        """Return the k skills with the widest pooled gaps, widest first; ties in order of name.

        Skills that nothing was tried of come last: their gap is only what the others predict.
        """
        pooled = self.pooled()
        return sorted(self.rows, key=lambda name: (not self.rows[name].tried, -pooled[name].gap, name))[:k]

    def shares(self, by: By = "gap") -> dict[str, float]:
        """Return each skill's share of the budget; sums to 1, or all 0 where nothing was missing.

        Args:
            by: "gap": by the pooled gap, 0 for a skill that nothing was tried of. "count": by the times that it was
                missing: STAT's histogram, which also weighs how often a skill is needed.
        """
        if not any(row.missing or row.lacked for row in self.rows.values()):
            return dict.fromkeys(self.rows, 0.0)
        if by == "gap":
            pooled = self.pooled()
            weights = {name: pooled[name].gap if row.tried else 0.0 for name, row in self.rows.items()}
        else:
            weights = {name: float(row.missing) for name, row in self.rows.items()}
        total = math.fsum(weights.values())
        return {name: weight / total for name, weight in weights.items()}

    def mastered(self, at_least: float = 0.5) -> list[str]:
        """Return the skills whose accuracy is at least this, best first."""
        known = {name: row.accuracy for name, row in self.rows.items() if row.accuracy is not None}
        return sorted((n for n, a in known.items() if a >= at_least), key=lambda n: (-known[n], n))


def _row(tally: Tally, alike: float) -> SkillRow:
    scores = [score for samples in tally.scores.values() for score in samples]
    return SkillRow(
        attempts=len(scores),
        right=tally.right,
        failures=tally.failures,
        missing=tally.missing,
        problems=len(tally.scores),
        score=math.fsum(scores) / len(scores) if scores else None,
        formless=tally.formless,
        lacking=tally.lacking,
        trials=tally.trials,
        design=design_effect(tally.scores, alike),
        passes=passes(tally.scores),
    )


def _pool(rows: Iterable[SkillRow]) -> tuple[Pooled, ...]:
    counts = [(row.lacked / row.design, row.tried / row.design) for row in rows]
    trials = tuple(tried for _, tried in counts)
    return pool(tuple(min(lacked, tried) for lacked, tried in counts), trials)  # a rounded sum may exceed the other


def _widened(one: Pooled, other: Pooled) -> Pooled:
    return Pooled(gap=one.gap, low=min(one.low, other.low), high=max(one.high, other.high))


def by_skill(problems: Iterable[Problem]) -> Mapping[str, list[Problem]]:
    """Return STAT's Skill-Map: for each skill, the problems that need it, in the order given."""
    bank: dict[str, list[Problem]] = {}
    for problem in problems:
        for skill in problem.skills:
            bank.setdefault(skill, []).append(problem)
    return bank
