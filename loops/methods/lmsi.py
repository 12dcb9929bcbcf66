"""LMSI: a student that teaches itself by the majority of its own answers, without any labels (arXiv 2210.11610)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import msgspec

from lessons.graders.base import Grader
from lessons.records import Attempt, Lesson, Message, Problem
from loops.rolling import aimed, noted, one_each, rolled
from loops.round import Round
from loops.voting import agree, camps

__all__ = ["MajorityVote"]

Format = Literal["few_shot_steps", "few_shot_direct", "steps", "direct"]

DIRECT = "Give only the final answer, without the steps."


class _Voted(NamedTuple):
    """A problem that the student has voted on."""

    asked: Attempt
    problem: Problem
    """With the majority's answer in the place of a reference."""
    share: float
    """Part of all answers that are in the majority, in (0, 1]."""
    paths: list[str]
    """The different answers that end in it."""
    direct: str
    """Its statement alone, in the student's own form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MajorityVote:
    """The student answers each problem many times; the answer that most end in is taken for right, and every answer
    that ends in it is a lesson, in several forms of asking.

    No label is looked at: the lesson's problem has the majority's answer for its reference, so that the filter
    `verified` passes what the vote passed. Form `steps` is the exam's own chat, which stands for the paper's "step by
    step"; `direct` asks for the answer alone; the `few_shot` ones have solved problems before the question. The paper
    draws with worked examples of people's; here answers are drawn in the exam's own chat, and the examples are the
    student's own on other problems, those that it agreed on most.
    """

    paper: ClassVar[str] = "arXiv:2210.11610"
    teacher: ClassVar[str] = "nothing"
    student: ClassVar[str] = "k answers to each problem"
    cost: ClassVar[str] = "none"
    compares: ClassVar[bool] = True
    """It needs a grader that can compare two answers."""
    samples: int = 32
    """Answers to each problem; 32 in the paper (recalled)."""
    temperature: float = 0.7
    """Of the answers; 0.7 in the paper (recalled)."""
    max_tokens: int | None = None
    """Tokens of an answer, at most; none given: as in examinations."""
    least_share: float = 0.0
    """Part of a problem's answers, in [0, 1], that the majority must have; 0 keeps every majority, as in the paper."""
    formats: tuple[Format, ...] = ("few_shot_steps", "few_shot_direct", "steps", "direct")
    """Forms of asking that each path is trained in; all four in the paper (recalled)."""
    shots: int = 3
    """Solved problems before the question in the `few_shot` forms. Our own number; a lesson must fit
    train.max_length."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.temperature < 0 or self.shots < 1 or not 0 <= self.least_share <= 1:
            raise ValueError("samples and shots must be at least 1, temperature at least 0, least_share in [0, 1]")
        if not self.formats:
            raise ValueError("formats must name at least one form")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw, vote, and write each path of the majority in each form."""
        voted: list[_Voted] = []
        asked = one_each(round, "all")
        unlabelled = [msgspec.structs.replace(a, problem=_without_labels(a.problem)) for a in asked]
        causes = iter(asked)
        drawn = rolled(
            round, unlabelled, self.samples, temperature=self.temperature, max_tokens=self.max_tokens, draw="lmsi"
        )
        async for bare, answers in drawn:
            found = self.vote(next(causes), bare.problem, answers, round.context.grader)
            round.counts["problems"] += 1
            if found is None:
                round.counts["problems without a final answer"] += 1
            elif found.share < self.least_share:
                round.counts["problems below the share"] += 1
            else:
                voted.append(found)
        surest = sorted(range(len(voted)), key=lambda place: (-voted[place].share, place))[: self.shots + 1]
        return [
            round.lesson(one.problem, text, attempt=one.asked, skill=aimed(one.asked), prompt=prompt)
            for place, one in enumerate(voted)
            for prompt, text in self._rows(
                round, one, [voted[other] for other in surest if other != place][: self.shots]
            )
        ]

    def vote(self, asked: Attempt, bare: Problem, answers: Sequence[Attempt], grader: Grader) -> _Voted | None:
        """Return what most answers end in, and how; of equal camps the one that came first. None without an answer."""
        texts = [answer.text.strip() for answer in answers]
        finals = [grader.read(text) for text in texts]
        majority = next(iter(camps(finals, grader)), None)
        if majority is None:
            return None
        answer = finals[majority[0]]
        assert answer is not None
        paths = list(dict.fromkeys(texts[place] for place in majority))
        problem = msgspec.structs.replace(bare, answer=answer, parent=asked.problem.id)
        return _Voted(asked, problem, len(majority) / len(texts), paths, stated_alone(paths[0], answer, grader))

    def _rows(self, round_: Round, one: _Voted, shown: Sequence[_Voted]) -> Iterator[tuple[tuple[Message, ...], str]]:
        """Yield the chats and completions of one problem, each pair once."""
        rows: dict[tuple[str, str], None] = {}
        forms = [form for form in self.formats if shown or not form.startswith("few_shot")]
        for form in forms:
            for path in one.paths if form.endswith("steps") else [one.direct]:
                rows.setdefault((form, path))
        for form, path in rows:
            note = "" if form.endswith("steps") else DIRECT
            prompt = noted(round_.prompt(one.problem), note)
            if form.startswith("few_shot"):
                prompt = (*prompt[:-1], *_examples(round_, shown, note), prompt[-1])
            yield prompt, path


def _without_labels(problem: Problem) -> Problem:
    """Return a problem as somebody sees it who knows the question only."""
    return msgspec.structs.replace(problem, answer=None, solution=None)


def stated_alone(path: str, answer: str, grader: Grader) -> str:
    """Return the shortest end of an answer, in whole lines, that states the same final answer."""
    lines = path.splitlines()
    for start in range(len(lines) - 1, 0, -1):
        end = "\n".join(lines[start:]).strip()
        read = grader.read(end) if end else None
        if read is not None and agree(read, answer, grader):
            return end
    return path


def _examples(round_: Round, shown: Sequence[_Voted], note: str) -> list[Message]:
    """Return solved problems as earlier turns."""
    turns: list[Message] = []
    for other in shown:
        turns.append(noted(round_.prompt(other.problem), note)[-1])
        turns.append(Message(role="assistant", content=other.direct if note else other.paths[0]))
    return turns
