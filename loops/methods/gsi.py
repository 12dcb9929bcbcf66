"""GSI: the student's own right answers, with help where it has too few of them (arXiv 2411.00750)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec

from lessons.equations import all_hold
from lessons.ids import seed_of
from lessons.records import Attempt, Lesson, Message
from loops.hints import beginning
from loops.methods.base import together
from loops.rolling import Of, aimed, gold, noted, one_each, parts
from loops.round import Round
from teachers.prompts.correction import CORRECTION

__all__ = ["GuidedSelfImprovement"]

ANSWER = "The final answer is {answer}. Find the steps that lead to it, and write the whole solution."
RATIONALE = "This is a correct solution:\n{reference}\n\nUnderstand it, then write a solution of your own."
CORRECTED = "There is a mistake in this:\n{correction}\n\nWrite the whole solution again, without the mistake."

Guided = tuple[tuple[Message, ...], tuple[str, ...]]
"""The chat with the help, and the calls that paid for it."""


@dataclass(slots=True)
class _Tried:
    """What was drawn on one problem so far."""

    asked: Attempt
    reference: str
    right: list[tuple[str, tuple[str, ...]]] = field(default_factory=list[tuple[str, tuple[str, ...]]])
    """Right answers, and the calls that paid for the help with each."""
    wrong: str = ""
    """The last wrong answer."""

    def note(self, answers: Sequence[Attempt], calls: tuple[str, ...], *, check: bool) -> int:
        """Take answers up; return how many are right."""
        before = len(self.right)
        for answer in answers:
            if answer.right and (not check or all_hold(answer.text)):
                self.right.append((answer.text.strip(), calls))
            elif answer.text.strip():
                self.wrong = answer.text.strip()
        return len(self.right) - before


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedSelfImprovement:
    """The student draws answers to each problem, and again with help to those with fewer right answers than the quota,
    so that hard problems do not vanish from what it learns. Right answers are the lessons, without the help in their
    prompts.

    Each round of help draws one more answer to every problem that is short. `train.start: base` and one epoch are the
    paper's; name `select: {id: uniform, replay: 0}` to train on nothing but this round's answers.
    """

    paper: ClassVar[str] = "arXiv:2411.00750"
    teacher: ClassVar[str] = "which step of a wrong answer is wrong (guide: interactive)"
    student: ClassVar[str] = "k answers to each problem, and one for each round of help"
    cost: ClassVar[str] = "up to `resample` calls for each hard problem (guide: interactive), else none"
    guide: Literal["answer", "rationale", "interactive", "state_reset"] = "interactive"
    """The help. `answer`: the final answer. `rationale`: the reference solution, to be written in other words.
    `interactive`: what the teacher says is wrong in the last wrong answer. `state_reset`: the beginning of the
    reference solution, which the student goes on from; one line more each time, or 20, 40, 60, 80 % of a solution of
    one line; it stays part of the lesson's completion."""
    samples: int = 8
    """Answers to each problem without help; 8 as in the paper."""
    min_correct: int = 4
    """Right answers that a problem must have; 4 as in the paper. Easy problems may have more."""
    resample: int = 8
    """Rounds of help, at most; 8 as in the paper."""
    temperature: float = 0.7
    """Of the student's answers; 0.7 as in the paper."""
    max_tokens: int | None = None
    """Tokens of an answer, at most: 1,024 in the paper; none given: as in examinations."""
    equations: bool = False
    """Count an answer as right only where its equations hold; the released code has it as a choice."""
    gold: bool = False
    """Add the reference solutions; off as in the released scripts."""
    earlier: bool = False
    """Train on the lessons of earlier rounds, too; off as in the released scripts."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    def __post_init__(self) -> None:
        if min(self.samples, self.min_correct) < 1 or self.resample < 0 or self.temperature < 0:
            raise ValueError("samples and min_correct must be at least 1, resample and temperature at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw without help, then with it where answers are lacking."""
        lessons: list[Lesson] = []
        for part in parts(one_each(round, self.of), self.samples):
            tried = [_Tried(a, (gold(round, a.problem) or "") if a.problem.solution is not None else "") for a in part]
            answers = await round.roll_out(
                [a.problem for a in part], self.samples,
                temperature=self.temperature, max_tokens=self.max_tokens, draw="gsi",
            )  # fmt: skip
            for one, given in zip(tried, answers, strict=True):
                round.counts["right without help"] += one.note(given, (), check=self.equations)
            await self._resampled(round, tried)
            for one in tried:
                texts = [(one.reference, ())] if self.gold and one.reference else []
                lessons += [
                    round.lesson(one.asked.problem, text, attempt=one.asked, skill=aimed(one.asked), calls=calls)
                    for text, calls in (*texts, *one.right)
                ]
        return lessons

    async def _resampled(self, round_: Round, tried: Sequence[_Tried]) -> None:
        """Draw with help until each problem has enough right answers, or the rounds of help are over."""
        short = [one for one in tried if len(one.right) < self.min_correct]
        round_.counts["problems short of right answers"] += len(short)
        for time in range(self.resample):
            short = [one for one in short if len(one.right) < self.min_correct]
            guides = await self._guides(round_, short, time)
            going = [(one, *guide) for one, guide in zip(short, guides, strict=True) if guide is not None]
            if not going:
                break
            answers = await round_.roll_out(
                [one.asked.problem for one, _, _ in going], temperature=self.temperature, max_tokens=self.max_tokens,
                prompts=[chat for _, chat, _ in going], draw=("gsi", time),
            )  # fmt: skip
            for (one, _, calls), given in zip(going, answers, strict=True):
                round_.counts["right with help"] += one.note(given, calls, check=self.equations)
        round_.counts["problems short after help"] += sum(len(one.right) < self.min_correct for one in short)

    async def _guides(self, round_: Round, short: Sequence[_Tried], time: int) -> list[Guided | None]:
        """Return the chat with the help for each problem; None where there is nothing to help with."""
        prompts = [round_.prompt(one.asked.problem) for one in short]
        if self.guide != "interactive":
            notes = [self._by_rule(one, prompt, time) for one, prompt in zip(short, prompts, strict=True)]
            return [None if chat is None else (chat, ()) for chat in notes]
        able = [one for one in short if one.reference and one.wrong]
        # Where the last wrong answer is the same again, another correction is drawn.
        sampling = msgspec.structs.replace(CORRECTION.sampling, seed=seed_of(round_.seed, "gsi", time))
        told = await together(
            round_.ask(
                CORRECTION, sampling=sampling,
                question=one.asked.problem.question, attempt=one.wrong, reference=one.reference,
            )
            for one in able
        )  # fmt: skip
        said = {id(one): reply for one, replies in zip(able, told, strict=True) for reply in replies}
        guides: list[Guided | None] = []
        for one, prompt in zip(short, prompts, strict=True):
            reply = said.get(id(one))
            if reply is None:
                guides.append(None)
                continue
            note = Message(role="user", content=CORRECTED.format(correction=reply.value))
            guides.append(((*prompt, Message(role="assistant", content=one.wrong), note), (reply.call,)))
        return guides

    def _by_rule(self, one: _Tried, prompt: Sequence[Message], time: int) -> tuple[Message, ...] | None:
        answer = one.asked.problem.answer
        if self.guide == "answer":
            return None if answer is None else noted(prompt, ANSWER.format(answer=answer))
        if not one.reference:
            return None
        if self.guide == "rationale":
            return noted(prompt, RATIONALE.format(reference=one.reference))
        start = beginning(one.reference, time)
        return (*prompt, Message(role="assistant", content=start)) if start else tuple(prompt)
