"""Skills: the closed list that names come from, and the profile of what a student lacks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec

from lessons.records import Attempt, Problem, Record
from lessons.statistics import Interval, wilson


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


class SkillRow(Record, frozen=True, kw_only=True):
    """One skill in a profile."""

    attempts: int
    """Graded attempts at problems that need the skill."""
    right: int
    failures: int
    """Attempts at problems that need it, graded and not wholly right."""
    missing: int
    """Failed attempts (on any problem) whose diagnosis names this skill."""

    @property
    def accuracy(self) -> float | None:
        """Share of right attempts in [0, 1]; None without attempts."""
        return self.right / self.attempts if self.attempts else None

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.attempts)

    @property
    def gap(self) -> float:
        """Share of the attempts that need the skill and lacked it, in [0, 1]."""
        return min(1.0, self.missing / self.attempts) if self.attempts else float(self.missing > 0)


class SkillProfile(Record, frozen=True, kw_only=True):
    """Per skill: attempts, failures, accuracy, gap. STAT's Missing-Skill-Profile (arXiv 2510.10023, step 2)."""

    rows: dict[str, SkillRow] = msgspec.field(default_factory=dict[str, SkillRow])
    ungraded: int = 0
    """Attempts that the grader could not tell; they count in no row."""

    @classmethod
    def of(cls, attempts: Iterable[Attempt], skills: Sequence[str] = ()) -> Self:
        """Count attempts per skill; `skills` are listed first, also those that no attempt needs."""
        counts: dict[str, list[int]] = {name: [0, 0, 0, 0] for name in skills}
        ungraded = 0
        for attempt in attempts:
            if not attempt.graded:
                ungraded += 1
                continue
            for skill in attempt.problem.skills:
                row = counts.setdefault(skill, [0, 0, 0, 0])
                row[0] += 1
                row[1 if attempt.right else 2] += 1
            if attempt.failed:
                for skill in attempt.missing:
                    counts.setdefault(skill, [0, 0, 0, 0])[3] += 1
        rows = {
            name: SkillRow(attempts=row[0], right=row[1], failures=row[2], missing=row[3])
            for name, row in counts.items()
        }
        return cls(rows=rows, ungraded=ungraded)

    def gap(self, skill: str) -> float:
        """Share of attempts needing the skill that lacked it, in [0, 1]; 0 for a skill that is not in the profile."""
        return self.rows[skill].gap if skill in self.rows else 0.0

    def worst(self, k: int) -> list[str]:
        """Return the k skills with the widest gaps, widest first; ties in order of name."""
        return sorted(self.rows, key=lambda skill: (-self.gap(skill), skill))[:k]

    def shares(self) -> dict[str, float]:
        """Return each skill's share of all missing counts: STAT's histogram; sums to 1, or all 0 without failures."""
        total = sum(row.missing for row in self.rows.values())
        return {name: row.missing / total if total else 0.0 for name, row in self.rows.items()}

    def mastered(self, at_least: float = 0.5) -> list[str]:
        """Return the skills whose accuracy is at least this, best first."""
        known = {name: row.accuracy for name, row in self.rows.items() if row.accuracy is not None}
        return sorted((n for n, a in known.items() if a >= at_least), key=lambda n: (-known[n], n))


def by_skill(problems: Iterable[Problem]) -> Mapping[str, list[Problem]]:
    """Return STAT's Skill-Map: for each skill, the problems that need it, in the order given."""
    bank: dict[str, list[Problem]] = {}
    for problem in problems:
        for skill in problem.skills:
            bank.setdefault(skill, []).append(problem)
    return bank
