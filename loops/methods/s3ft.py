"""S3FT: the student's own right answer, else its paraphrase of the reference, else the reference (arXiv 2502.08130)."""

from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Attempt, Lesson
from loops.rolling import aimed, gold, noted, one_each, parts
from loops.round import Round

__all__ = ["SelfToSupervised"]

PARAPHRASE = (
    "This is a correct solution:\n{reference}\n\n"
    "Write it again in your own words. Keep what it calculates and how it states the final answer."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfToSupervised:
    """One lesson for each examined problem, in words as near to the student's own as are right: what it answered, if
    that was right; else the reference in its own words, if that is right; else the reference.

    So the student is pulled away from what it was as little as can be. The grader is the paper's judge. A problem's own
    answer is that of this round's examination. The order of preference is the paper's; details are recalled.
    """

    paper: ClassVar[str] = "arXiv:2502.08130"
    teacher: ClassVar[str] = "nothing"
    student: ClassVar[str] = "a paraphrase of the reference to each problem that it missed"
    cost: ClassVar[str] = "none"
    paraphrases: int = 1
    """Paraphrases of each reference, of which the first right one is taken; 1 in the paper (recalled), 0 for none."""
    temperature: float | None = None
    """Of the paraphrases; none given: as in examinations. Above 0 where `paraphrases` is above 1."""

    def __post_init__(self) -> None:
        if self.paraphrases < 0 or (self.temperature or 0) < 0:
            raise ValueError("paraphrases and temperature must be at least 0")
        if self.paraphrases > 1 and self.temperature == 0:
            raise ValueError("more than 1 paraphrase needs a temperature above 0, or all are one")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Take the best source of each problem, in the order of the problems."""
        own: dict[str, Attempt] = {}
        for attempt in round.attempts:
            if attempt.right and attempt.text.strip():
                own.setdefault(attempt.problem.id, attempt)
        lessons: list[Lesson] = []
        for part in parts(one_each(round, "all"), self.paraphrases):
            told = await self._paraphrases(round, [asked for asked in part if asked.problem.id not in own])
            for asked in part:
                key = asked.problem.id
                cause = own.get(key, asked)
                source, text = next(
                    (source, text)
                    for source, text in (
                        ("own answers", own[key].text if key in own else None),
                        ("paraphrased references", told.get(key)),
                        ("references", gold(round, asked.problem)),
                        ("problems without an answer", ""),
                    )
                    if text is not None
                )
                round.counts[source] += 1
                if text:
                    lessons.append(round.lesson(asked.problem, text, attempt=cause, skill=aimed(cause)))
        return lessons

    async def _paraphrases(self, round_: Round, missed: list[Attempt]) -> dict[str, str]:
        """Return problem id -> the first right paraphrase of its reference, for those that have one."""
        shown = [(a.problem, reference) for a in missed if (reference := gold(round_, a.problem)) is not None]
        if not shown or not self.paraphrases:
            return {}
        prompts = [noted(round_.prompt(p), PARAPHRASE.format(reference=reference)) for p, reference in shown]
        answers = await round_.roll_out(
            [p for p, _ in shown], self.paraphrases, temperature=self.temperature, prompts=prompts, draw="s3ft"
        )
        first = (
            (p.id, next((a.text for a in said if a.right), None)) for (p, _), said in zip(shown, answers, strict=True)
        )
        return {key: text for key, text in first if text is not None}
