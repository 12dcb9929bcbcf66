"""LLM2LLM: new problems like the seed problems that the student got wrong (arXiv 2403.15042)."""

import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import msgspec

from lessons.ids import seed_of
from lessons.records import Attempt, Lesson, Problem
from loops.filters.base import apply, normal
from loops.filters.rouge import Rouge
from loops.methods.base import together
from loops.rolling import Of, aimed, gold, one_each
from loops.round import Round, Said
from teachers.prompts.similar_problems import MOST, SIMILAR_PROBLEMS, Similar, shown

__all__ = ["Llm2Llm"]


@dataclass(slots=True)
class _Seed:
    """A seed problem that was missed, and what was written for it."""

    attempt: Attempt
    reference: str
    written: list[Similar] = field(default_factory=list[Similar])
    waiting: deque[tuple[Similar, Lesson]] = field(default_factory=deque[tuple[Similar, Lesson]])
    """Of the reply that is being read, what has the form and is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Llm2Llm:
    """For each seed problem that the student got wrong, the teacher writes a similar one with its solution.

    Seeds are train problems of the data itself: what was generated is never expanded again. With `train.start: base`,
    the default, the student is trained from its beginning on the lessons of all kept rounds, as in the paper, whose
    set also has the seeds themselves. Nothing checks whether the teacher's answers are right, as there. A reply that
    was cut off is lost as a whole, where the released code drops its last problem only.
    """

    paper: ClassVar[str] = "arXiv:2403.15042"
    teacher: ClassVar[str] = "similar problems with solutions for each missed seed, with its reference in sight"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call a lesson; up to `tries` where problems do not pass"
    new: int = 1
    """New problems for each missed seed; 1 as in the paper."""
    tries: int = 4
    """Times that the teacher is asked for a seed until it has its problems. Each asks for one problem more than the one
    before, up to 10, and every second shows those that were taken and asks for others, as the released code does, which
    tries on without end; the bound is our own."""
    rouge: float = 0.95
    """ROUGE-L F-measure, in [0, 1], with the round's missed seeds and new questions above which a question is not
    taken: 0.95 in the released code for GSM8K; 0.85, sometimes cited, is not in it (recalled)."""
    show_error: bool = False
    """Show the teacher the student's wrong answer. The paper means to; the released code's template has no place for
    it, so its figures come without."""
    seeds: Literal["all", "missed", "none"] = "all"
    """Seeds whose reference solutions are lessons, too: `all` that were examined, since the paper trains on seeds and
    new problems together; `missed` ones; `none`."""
    forbidden: tuple[str, ...] = ("write a program",)
    """A question with these words is not taken, as in the released code; case does not count."""
    plain_start: bool = True
    """Take only questions that begin with a character of ASCII that is no punctuation, as the released code does. Turn
    it off for other scripts."""

    def __post_init__(self) -> None:
        if min(self.new, self.tries) < 1 or not 0 <= self.rouge <= 1:
            raise ValueError("new and tries must be at least 1, rouge in [0, 1]")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Ask until each missed seed has its new problems, or the tries are over."""
        missed = self.seeds_of(round, "missed")
        round.counts["missed problems that are no seeds"] += len(one_each(round, "missed")) - len(missed)
        known = {normal(p.question) for p in (*round.problems, *round.pool)} | round.context.held_out
        made: list[Lesson] = []
        for number in range(self.tries):
            asked = [seed for seed in missed if len(seed.written) < self.new]
            sampling = SIMILAR_PROBLEMS.sampling
            if number:  # else the same words would get the same reply
                sampling = msgspec.structs.replace(sampling, seed=seed_of(round.seed, "llm2llm", number))
            told = await together(
                round.ask(
                    SIMILAR_PROBLEMS, sampling=sampling, question=seed.attempt.problem.question,
                    reference=seed.reference, count=min(self.new + number, MOST),
                    written=shown(seed.written) if number % 2 else "",
                    attempt=seed.attempt.text if self.show_error else "",
                )
                for seed in asked
            )  # fmt: skip
            for seed, replies in zip(asked, told, strict=True):
                seed.waiting = deque(pair for said in replies for pair in self._new(round, seed, said, known))
            while batch := [seed for seed in asked if seed.waiting and len(seed.written) < self.new]:
                self._take(round, missed, made, batch)
        round.counts["seeds short of new problems"] += sum(len(seed.written) < self.new for seed in missed)
        shown_too = {"all": self.seeds_of(round, "all"), "missed": missed, "none": []}[self.seeds]
        own = [
            round.lesson(s.attempt.problem, s.reference, attempt=s.attempt, skill=aimed(s.attempt)) for s in shown_too
        ]
        return [*own, *made]

    def seeds_of(self, round_: Round, of: Of) -> list[_Seed]:
        """Return an attempt at each seed: a problem of the data itself, with a reference."""
        data = {problem.id for problem in round_.problems if problem.parent is None}
        known = [(attempt, gold(round_, attempt.problem)) for attempt in one_each(round_, of)]
        return [_Seed(a, reference) for a, reference in known if a.problem.id in data and reference is not None]

    def _new(
        self, round_: Round, seed: _Seed, said: Said[list[Similar]], known: set[str]
    ) -> list[tuple[Similar, Lesson]]:
        """Return what has the form and is not known yet."""
        origin = seed.attempt.problem
        found: list[tuple[Similar, Lesson]] = []
        for one in said.value:
            words = normal(one.question)
            plain = one.question[0].isascii() and one.question[0] not in string.punctuation
            if (self.plain_start and not plain) or any(normal(phrase) in words for phrase in self.forbidden):
                round_.counts["problem not of the form"] += 1
            elif words in known:
                round_.counts["problem not new"] += 1
            elif origin.choices and normal(one.answer) not in map(normal, origin.choices):
                round_.counts["answer not in the list"] += 1
            else:
                known.add(words)
                source = f"{round_.method}, round {round_.index}"
                problem = Problem(
                    question=one.question, answer=one.answer, skills=origin.skills, choices=origin.choices,
                    subject=origin.subject, solution=one.solution or None, source=source, parent=origin.id,
                )  # fmt: skip
                said_so = f"{one.solution}\nAnswer: {one.answer}" if one.solution else round_.task.reference(problem)
                lesson = round_.lesson(
                    problem, said_so, attempt=seed.attempt, skill=aimed(seed.attempt), calls=(said.call,)
                )
                found.append((one, lesson))
        return found

    def _take(self, round_: Round, missed: Sequence[_Seed], made: list[Lesson], batch: Sequence[_Seed]) -> None:
        """Take the next new problem of each of these seeds, unless it is too like a missed seed or a taken one."""
        nexts = [seed.waiting.popleft() for seed in batch]
        context = replace(round_.context, problems=[seed.attempt.problem for seed in missed])
        lessons = [lesson for _, lesson in nexts]
        kept, dropped = apply("rouge", Rouge(threshold=self.rouge, seeds="all"), [*made, *lessons], context)
        round_.dropped.extend(dropped)
        passed = {id(lesson.problem): lesson for lesson in kept[len(made) :]}
        for seed, (one, lesson) in zip(batch, nexts, strict=True):
            if (taken := passed.get(id(lesson.problem))) is not None:
                seed.written.append(one)
                made.append(taken)
