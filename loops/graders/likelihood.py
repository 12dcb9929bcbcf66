"""Choices by likelihood: the choice that the student thinks most probable is its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.graders.choice import ChoiceGrader
from lessons.records import Problem

__all__ = ["LikelihoodGrader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodGrader:
    """The student writes nothing: the most probable one of the problem's choices is its answer.

    It shows what a student knows that cannot yet keep to a form, and only for problems with choices. Lessons are read
    as the `choice` grader reads them.
    """

    compare: Literal["mean", "sum", "unconditional"] = "mean"
    """`mean`: log probability a token, so that long choices are not at a loss; `sum`: of the whole choice;
    `unconditional`: of the whole choice, less what it has after a question that says nothing, so that common words are
    not at an advantage. All three are in GPT-3's report (arXiv 2005.14165, section 2.4)."""
    neutral_question: str = "Answer:"
    """What stands in the question's place for `unconditional`; as in arXiv 2005.14165, section 2.4."""

    @property
    def neutral(self) -> str | None:
        """The question that says nothing, where one is needed."""
        return self.neutral_question if self.compare == "unconditional" else None

    def texts(self, problem: Problem) -> Sequence[str]:
        """Return the problem's choices.

        Raises:
            GradeError: it has fewer than two, or its reference answer is none of them.
        """
        if len(set(problem.choices)) < 2:
            raise GradeError(f"problem {problem.id} has no two choices to choose from")
        self._right(problem)
        return problem.choices

    def choose(
        self, problem: Problem, scores: Sequence[Sequence[float]], neutral: Sequence[Sequence[float]]
    ) -> tuple[str, Grade]:
        """Return the most probable choice, and 1 where it is the reference answer, else 0.

        Raises:
            GradeError: two choices are equally probable, or one has no tokens.
        """
        right = self._right(problem)
        if not all(scores):
            raise GradeError(f"a choice of problem {problem.id} has no tokens")
        values = [sum(one) / len(one) if self.compare == "mean" else sum(one) for one in scores]
        if self.compare == "unconditional":
            values = [value - sum(bare) for value, bare in zip(values, neutral, strict=True)]
        ranked = sorted(zip(values, problem.choices, strict=True), reverse=True)
        if ranked[0][0] == ranked[1][0]:
            raise GradeError(f"{ranked[0][1]!r} and {ranked[1][1]!r} are equally probable")
        chosen = ranked[0][1]
        return chosen, Grade(float(chosen == right), chosen, f"{ranked[0][0] - ranked[1][0]:.2f} nats before the next")

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade a written answer, as the `choice` grader does.

        Raises:
            GradeError: see there.
        """
        return ChoiceGrader().grade(problem, text)

    def read(self, text: str) -> str | None:
        """Return the final answer that a written text states, or None."""
        return ChoiceGrader().read(text)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same label.

        Raises:
            GradeError: one of them is empty.
        """
        return ChoiceGrader().same(one, other)

    def _right(self, problem: Problem) -> str:
        named = problem.answer or ""
        found = ChoiceGrader().grade(problem, f"Answer: {named}")  # a letter is an answer too: "B"
        if found.score < 1 or found.answer is None:
            raise GradeError(f"reference answer {problem.answer!r} of problem {problem.id} is none of its choices")
        return found.answer
