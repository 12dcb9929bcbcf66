"""A teacher that scores tokens as a process reward model: "+" against "-" as its next word after each step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from lessons.knobs import Nested
from lessons.records import Message
from lessons.timing import Waited
from loops.methods.base import together
from loops.scorers.base import Solution
from loops.scorers.step_tokens import conversation
from students.base import Progress
from teachers.base import HoldingTeacher, ScoringTeacher

__all__ = ["TeacherTokens"]

TOP = 20
"""Likeliest tokens that are asked for, so that one request mostly holds both words; the most that a teacher gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherTokens:
    """A teacher with token scores (`local`, or `teachers.vllm_scores:VLLMScores`) reads the steps as RLHFlow's models.

    Scores are computed where the weights are; nothing is generated, so nothing goes into the ledger.
    """

    paper: ClassVar[str] = "arXiv:2405.07863"
    teacher: Annotated[ScoringTeacher, Nested("teacher")]
    """Who scores: a teacher of its own, such as a reward model on a vLLM server."""
    good: str = "+"
    """The word of a good step; one token."""
    bad: str = "-"
    """The word of a bad one; one token."""
    system: str = ""
    """A system message before the steps, for a model that was not trained as a reward model; "" for none."""

    def __post_init__(self) -> None:
        if not callable(getattr(self.teacher, "score", None)):
            raise ValueError("teacher has no token scores; see `local` and teachers.vllm_scores:VLLMScores")
        if not self.good or not self.bad or self.good == self.bad:
            raise ValueError("good and bad must be given and differ")

    async def score(
        self, solutions: Sequence[Solution], *, progress: Progress | None = None
    ) -> list[list[float]]:  # [solution][step]
        """Return the rewards of each solution's steps.

        Raises:
            TeacherError: the teacher has no scores.
        """
        opening = [Message(role="system", content=self.system)] if self.system else []
        chats = [
            [*opening, *conversation(solution, self.good)[: 2 * number + 1]]
            for solution in solutions
            for number in range(len(solution.steps))
        ]
        if not chats:
            return [[] for _ in solutions]
        done = 0

        async def one(turns: Sequence[Message], bad: int | None) -> float:
            nonlocal done
            reward = await self._reward(turns, bad)
            done += 1
            if progress is not None:
                progress(done, len(chats))
            return reward

        try:
            told = await Waited(self.teacher.score(chats[0], self.bad))
            bad = told[0].id if len(told) == 1 else None  # by its id it is found among the likeliest
            flat = iter(await together(one(chat, bad) for chat in chats))
        finally:
            await self.teacher.aclose()
        return [[next(flat) for _ in solution.steps] for solution in solutions]

    def close(self) -> None:
        """Give back the memory of a teacher that holds some."""
        if isinstance(self.teacher, HoldingTeacher):
            self.teacher.close()

    async def _reward(self, turns: Sequence[Message], bad: int | None) -> float:
        said = await Waited(self.teacher.score(turns, self.good, top=TOP))
        other = dict(said[0].top).get(bad) if bad is not None and len(said) == 1 else None
        if other is None:
            other = sum(token.logprob for token in await Waited(self.teacher.score(turns, self.bad)))
        return 1 / (1 + math.exp(min(700.0, other - sum(token.logprob for token in said))))
