"""Whether the teacher's own verdicts agree with the grader: two by two, in both directions."""

from collections.abc import Iterable
from typing import Self

from lessons.records import Attempt, Record


class Verdicts(Record, frozen=True, kw_only=True):
    """How many attempts the grader and the teacher took for right or wrong. The teacher saw no verdict of the grader.

    All failures that it was asked about are in it, but of the right attempts only a sample (`diagnose.check_right`).
    """

    confirmed: int = 0
    """Wrong for the grader, wrong for the teacher."""
    excused: int = 0
    """Wrong for the grader, right for the teacher."""
    false_alarms: int = 0
    """Right for the grader, wrong for the teacher."""
    passed: int = 0
    """Right for the grader, right for the teacher."""
    right: int = 0
    """Right attempts in all, of which `false_alarms + passed` are the sample."""

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> Self:
        """Count the attempts that both have judged."""
        cells = [0, 0, 0, 0]
        right = 0
        for attempt in attempts:
            right += attempt.right
            verdict = attempt.diagnosis.verdict if attempt.diagnosis else None
            if verdict is not None and attempt.graded:
                cells[2 * attempt.right + (verdict == "right")] += 1
        return cls(confirmed=cells[0], excused=cells[1], false_alarms=cells[2], passed=cells[3], right=right)

    @property
    def failures(self) -> int:
        """Failures that the teacher has judged."""
        return self.confirmed + self.excused

    @property
    def checked(self) -> int:
        """Right attempts that it has judged."""
        return self.false_alarms + self.passed

    @property
    def shares(self) -> tuple[float | None, float | None]:
        """Shares in [0, 1] that the teacher agrees on: of the failures, of the right ones; None where it saw none."""
        return (
            self.confirmed / self.failures if self.failures else None,
            self.passed / self.checked if self.checked else None,
        )

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960), at most 1, with the checked right attempts standing for all of them.

        None where the teacher saw no failure or no right attempt, or where chance alone agrees on everything.
        """
        if not self.failures or not self.checked:
            return None
        weight = max(self.right, self.checked) / self.checked
        alarms, passed = weight * self.false_alarms, weight * self.passed
        every = self.failures + alarms + passed
        observed = (self.confirmed + passed) / every
        wrong = (self.failures / every) * ((self.confirmed + alarms) / every)
        right = ((alarms + passed) / every) * ((self.excused + passed) / every)
        by_chance = wrong + right
        return None if by_chance >= 1 else (observed - by_chance) / (1 - by_chance)

    def counts(self) -> dict[str, int]:
        """Return the cells as a stage counts them."""
        return {
            "verdict/grader wrong, teacher wrong": self.confirmed,
            "verdict/grader wrong, teacher right": self.excused,
            "verdict/grader right, teacher wrong": self.false_alarms,
            "verdict/grader right, teacher right": self.passed,
        }
