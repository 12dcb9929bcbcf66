"""ReST-EM: the student's own right answers, a few of each problem, from the base again (arXiv 2312.06585)."""

from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.rolling import Of, aimed, one_each, rolled
from loops.round import Round

__all__ = ["RestEm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestEm:
    """E-step: the student draws answers, and the grader keeps the right ones, a few of each problem at most. M-step:
    the student before any lesson is trained on them, which `train.start: base` does.

    The paper's settings are recalled, not read. It draws among the 40 likeliest tokens and keeps worked examples before
    the question (recalled); here answers are drawn from all tokens, and the prompt is the exam's own. Name
    `select: {id: uniform, replay: 0}` to train on nothing else.
    """

    paper: ClassVar[str] = "arXiv:2312.06585"
    teacher: ClassVar[str] = "nothing"
    student: ClassVar[str] = "k answers to each problem"
    cost: ClassVar[str] = "none"
    samples: int = 32
    """Answers to each problem: 32 for mathematics, 64 for programs in the paper (recalled)."""
    temperature: float = 0.7
    """Of the answers; 0.7 in the paper (recalled)."""
    per_problem: int = 10
    """Right answers of one problem that are kept, at most, so that easy problems do not fill the rows; 10 in the paper
    (recalled). The first different ones: they were drawn independently, so these are a random choice."""
    max_tokens: int | None = None
    """Tokens of an answer, at most; none given: as in examinations."""
    earlier: bool = False
    """Train on the lessons of earlier rounds, too. The paper's M-step has only the samples of the latest student."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.per_problem < 1 or self.temperature < 0:
            raise ValueError("samples and per_problem must be at least 1, temperature at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw, keep what is right, take some of each problem."""
        lessons: list[Lesson] = []
        drawn = rolled(
            round, one_each(round, self.of), self.samples,
            temperature=self.temperature, max_tokens=self.max_tokens, draw="rest_em",
        )  # fmt: skip
        async for asked, answers in drawn:
            right = [answer.text.strip() for answer in answers if answer.right]
            different = list(dict.fromkeys(right))
            kept = different[: self.per_problem]
            round.counts["own answers"] += len(answers)
            round.counts["own answers wrong or not gradable"] += len(answers) - len(right)
            round.counts["right answers that were there already"] += len(right) - len(different)
            round.counts["right answers above the cap"] += len(different) - len(kept)
            lessons += [round.lesson(asked.problem, text, attempt=asked, skill=aimed(asked)) for text in kept]
        return lessons
