"""RISE: the student learns to mend its own answers over several turns (arXiv 2407.18219)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec

from lessons.errors import GradeError
from lessons.records import Attempt, Lesson, Message
from loops.filters.base import normal
from loops.methods.base import together
from loops.rolling import Of, aimed
from loops.round import Round
from loops.turns import Criterion, chat, worth
from teachers.prompts.improvement import IMPROVEMENT, numbered

__all__ = ["Rise"]

FEEDBACK = "This answer is not right. Find the mistake, and solve the problem again from the start."

Turn = tuple[str, float, tuple[str, ...]]
"""Text, reward in [0, 1], ids of the calls that paid for it."""


@dataclass(slots=True)
class _Path:
    """What passes between the student, its improver and the environment on one problem."""

    attempt: Attempt
    turns: list[Turn] = field(default_factory=list[Turn])
    ended: bool = False

    @property
    def open(self) -> bool:
        """Whether another turn is to be taken: nothing was right yet."""
        return not self.ended and self.turns[-1][1] < 1.0

    @property
    def texts(self) -> list[str]:
        return [text for text, _, _ in self.turns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """The student's answer is the first turn; while it is wrong, an improver who sees all turns gives the next one.

    Each turn is an example of its own: its prompt holds the turns before and what was said to them, so that only the
    last answer carries loss, and its reward is the grader's score. Train it with the objective `reward_weighted`,
    which weighs a row by exp(reward / tau), and without the filter `verified`, which would drop the wrong turns that
    the paper keeps with a small weight. The environment says that an answer is not right, and nothing else.
    """

    paper: ClassVar[str] = "arXiv:2407.18219"
    teacher: ClassVar[str] = "a better answer after wrong ones, without the reference (improver: teacher)"
    student: ClassVar[str] = "n answers to each turn (improver: self)"
    cost: ClassVar[str] = "1 call for each turn after the first; none with improver: self"
    unverifiable: ClassVar[str] = "it trains wrong turns, by their rewards"
    improver: Literal["teacher", "self"] = "teacher"
    """`teacher` is the paper's distillation; `self` takes the best of the student's own answers to the turn."""
    turns: int = 0
    """Turns of a problem, at most; 0 is one more than the round's number, as in the paper's iterations."""
    best_of: int = 16
    """The student's answers to a turn, of which the one with the highest score is taken; 16 as in the paper."""
    temperature: float = 1.0
    """Of the student's answers where it improves itself. Our own choice."""
    keep: Criterion = "all"
    """Turns that become examples: `all`, as the released code is used; `better` than the turn before; `best` so far;
    `success`, the right ones."""
    example: tuple[str, str] | None = None
    """A question and its solution that stand before every chat as an earlier turn. The released code puts one solved
    problem there; none by default, since the exam's chat has none."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    def __post_init__(self) -> None:
        if self.turns < 0 or self.best_of < 1 or self.temperature < 0:
            raise ValueError("turns and temperature must be at least 0, best_of at least 1")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Let the turns be taken, all problems side by side, and make the worthy ones lessons."""
        graded = [a for a in (round.missed if self.of == "missed" else round.attempts) if a.graded and a.text.strip()]
        paths = [_Path(a, [(a.text.strip(), a.score or 0.0, ())]) for a in graded]
        for turn in range(1, self.turns or round.index + 1):
            going = [path for path in paths if path.open]
            if going:
                better = self._by_teacher if self.improver == "teacher" else self._by_itself
                for path, given in zip(going, await better(round, going, turn), strict=True):
                    self._take(round, path, given)
        for path in paths:
            for number, (_, reward, _) in enumerate(path.turns, start=1):
                round.counts[f"turn {number}"] += 1
                round.counts[f"turn {number} right"] += reward >= 1.0
        return [lesson for path in paths for lesson in self._lessons(round, path)]

    def _take(self, round_: Round, path: _Path, given: Turn | None) -> None:
        if given is None:
            path.ended = True
        elif normal(given[0]) in map(normal, path.texts):
            round_.counts["turns that repeat an earlier one"] += 1
            path.ended = True
        else:
            path.turns.append(given)

    def _lessons(self, round_: Round, path: _Path) -> Iterator[Lesson]:
        chosen = worth([reward for _, reward, _ in path.turns], self.keep)
        for place, ((text, reward, _), wanted) in enumerate(zip(path.turns, chosen, strict=True)):
            if wanted:
                calls = [call for _, _, paid in path.turns[: place + 1] for call in paid]
                yield round_.lesson(
                    path.attempt.problem, text, attempt=path.attempt, skill=aimed(path.attempt), calls=calls,
                    prompt=self._chat(round_, path.attempt, path.texts[:place]), reward=reward,
                )  # fmt: skip

    def _chat(self, round_: Round, attempt: Attempt, texts: Sequence[str]) -> tuple[Message, ...]:
        prompt = round_.prompt(attempt.problem)
        if self.example is not None:
            question, solution = self.example
            shown = (Message(role="user", content=question), Message(role="assistant", content=solution))
            prompt = (*prompt[:-1], *shown, prompt[-1])
        return chat(prompt, texts, FEEDBACK)

    async def _by_teacher(self, round_: Round, paths: Sequence[_Path], turn: int) -> list[Turn | None]:
        told = await together(
            round_.ask(IMPROVEMENT, question=path.attempt.problem.question, attempts=numbered(path.texts))
            for path in paths
        )
        said = [(path, reply) for path, replies in zip(paths, told, strict=True) for reply in replies]
        verdicts = await round_.verdicts([(path.attempt.problem, reply.value) for path, reply in said])
        given: dict[int, Turn] = {}
        for (path, reply), verdict in zip(said, verdicts, strict=True):
            if isinstance(verdict, GradeError):
                round_.counts["turns that cannot be graded"] += 1
            else:
                given[id(path)] = (reply.value, verdict.score, (reply.call,))
        return [given.get(id(path)) for path in paths]

    async def _by_itself(self, round_: Round, paths: Sequence[_Path], turn: int) -> list[Turn | None]:
        answers = await round_.roll_out(
            [path.attempt.problem for path in paths], self.best_of, temperature=self.temperature,
            prompts=[self._chat(round_, path.attempt, path.texts) for path in paths], draw=("rise", turn),
        )  # fmt: skip
        best: list[Turn | None] = []
        for tried in answers:
            graded = [msgspec.structs.replace(a, text=a.text.strip()) for a in tried if a.graded and a.text.strip()]
            chosen = max(graded, key=lambda a: a.score or 0.0, default=None)  # of equals, the first
            best.append(None if chosen is None else (chosen.text, chosen.score or 0.0, ()))
        return best
