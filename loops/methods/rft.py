"""RFT: the student's own right solutions, one for each way of calculating (arXiv 2308.01825)."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from lessons.equations import all_hold, equation_key
from lessons.records import Attempt, Lesson
from lessons.wording import farthest
from loops.rolling import Of, aimed, gold, one_each, rolled
from loops.round import Round

__all__ = ["RejectionSampling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionSampling:
    """Many of the student's own solutions of each problem; of the right ones, one for each list of equations.

    Two solutions with one list of equations calculate alike, and the one in the words most unlike the other kept ones
    is taken. Solutions without any equation count as one way of calculating. With `train.start: base` the lessons of
    every kept round are trained together, as the paper pools the samples of several models.
    """

    paper: ClassVar[str] = "arXiv:2308.01825"
    teacher: ClassVar[str] = "nothing"
    student: ClassVar[str] = "k answers to each problem"
    cost: ClassVar[str] = "none"
    samples: int = 100
    """Answers to each problem: the paper's k of 100, its largest."""
    temperature: float = 0.7
    """Of the answers; 0.7 as in the paper."""
    max_tokens: int = 256
    """Tokens of an answer, at most; 256 as in the released code. The student and its prompt must have room for them."""
    equations: bool = True
    """Drop a right answer with an equation that does not hold within 0.001, as the released code does. Calculator notes
    (`<<48/2=24>>`) are checked where there are any, else plain equations (`48 / 2 = 24`), which is our own."""
    gold: bool = True
    """Add the reference solution of each problem that has one, as in the paper."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.max_tokens < 1 or self.temperature < 0:
            raise ValueError("samples and max_tokens must be at least 1, temperature at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw, keep what is right, choose one for each list of equations, add the reference."""
        lessons: list[Lesson] = []
        drawn = rolled(
            round, one_each(round, self.of), self.samples,
            temperature=self.temperature, max_tokens=self.max_tokens, draw="rft",
        )  # fmt: skip
        async for asked, answers in drawn:
            texts = self.chosen(answers, round.counts)
            reference = gold(round, asked.problem) if self.gold and asked.problem.solution is not None else None
            if reference is not None:
                round.counts["reference solutions"] += 1
                texts = [reference, *(text for text in texts if text != reference)]
            lessons += [round.lesson(asked.problem, text, attempt=asked, skill=aimed(asked)) for text in texts]
        return lessons

    def chosen(self, answers: list[Attempt], counts: Counter[str]) -> list[str]:
        """Return the solutions to keep of one problem, in order of their lists' first appearance."""
        right = [answer.text.strip() for answer in answers if answer.right]
        sound = [text for text in right if not self.equations or all_hold(text)]
        kept = list(farthest([(equation_key(text), text) for text in sound]).values())
        counts["own answers"] += len(answers)
        counts["own answers wrong or not gradable"] += len(answers) - len(right)
        counts["right answers with a false equation"] += len(right) - len(sound)
        counts["right answers that calculate like another"] += len(sound) - len(kept)
        return kept
