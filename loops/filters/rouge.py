"""Drop a new question that is nearly a seed question or one before it, by ROUGE-L as LLM2LLM has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lessons.records import Lesson
from loops.filters.base import Context, Drop, normal
from loops.likeness.rouge import Rouge as NearIndex

__all__ = ["Rouge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rouge:
    """Keeps lessons on new questions whose ROUGE-L F-measure with every question before them is at most the threshold.

    LLM2LLM compares with the seed questions that were answered wrong in this step, and with those already written in
    it. The result is that of comparing all pairs; see `loops.likeness.rouge` for why. Lessons on a train problem itself
    are kept, and all lessons on one question share its verdict.
    """

    paper: ClassVar[str] = "arXiv:2403.15042"
    threshold: float = 0.95
    """F-measure, in [0, 1], above which a question is dropped. 0.95 in LLM2LLM's code for GSM8K; 0.85, sometimes cited,
    is not in it (recalled)."""
    seeds: Literal["own", "all", "none"] = "own"
    """Which train questions count: those that the candidates were written from (as in LLM2LLM), all, or none."""
    earlier: bool = False
    """Compare with the questions of earlier rounds' lessons, too. LLM2LLM's code looks at the step alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {self.threshold}")

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge the questions in order."""
        before = dict(self._before(lessons, context))  # question -> whose it is
        train = {problem.id for problem in context.problems}
        new = dict.fromkeys(lesson.problem.question for lesson in lessons if lesson.problem.id not in train)
        index = NearIndex([*before, *new], self.threshold)
        asked = list(before)
        for question in before:
            index.add(question)
        verdicts: dict[str, Drop | None] = {}
        for question in new:
            if (key := normal(question)) in verdicts:
                continue
            near = index.near(question)
            if near is None:
                verdicts[key] = None
                asked.append(question)
                index.add(question)
            else:
                whose = before.get(asked[near], "an earlier question of this round")
                verdicts[key] = Drop(f"nearly the same as {whose}", asked[near][:200])
        return [
            lesson if lesson.problem.id in train else verdicts[normal(lesson.problem.question)] or lesson
            for lesson in lessons
        ]

    def _before(self, lessons: Sequence[Lesson], context: Context) -> Iterator[tuple[str, str]]:
        if self.earlier:
            for lesson in context.earlier:
                yield lesson.problem.question, "a question of an earlier round"
        if self.seeds != "none":
            own = {origin for one in lessons for origin in (one.provenance.seed, one.problem.parent)}
            for problem in context.problems:
                if self.seeds == "all" or problem.id in own:
                    yield problem.question, "a seed question"
