"""What every way of answering shares: which answers are to be written, and what the tokens of one say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lessons.errors import StudentError
from lessons.records import Message
from students.base import Answer, Generation, Progress
from students.chats import prompt_tokens, text_of, until

Job = tuple[tuple[int, ...], int]
"""Tokens of a chat, and the number of the sample: one answer to write."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Chats that are to be answered."""

    chats: Sequence[tuple[int, ...]]
    """Their tokens, in the order in which they were asked."""
    samples: int
    generation: Generation

    @classmethod
    def of(cls, tokenizer: Any, prompts: Sequence[Sequence[Message]], generation: Generation, samples: int) -> "Asked":
        """Render chats as the student is trained on them."""
        return cls([tuple(prompt_tokens(tokenizer, prompt)) for prompt in prompts], samples, generation)

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn; greedy ones are all alike."""
        return self.generation.temperature > 0

    @property
    def jobs(self) -> list[Job]:
        """Every answer that differs from the others: one for each (chat, sample), of greedy ones one for each chat."""
        return [(chat, sample) for chat in dict.fromkeys(self.chats) for sample in range(self._written)]

    def spread(self, answers: Mapping[Job, Answer]) -> list[list[Answer]]:  # [prompt][sample]
        """Return the answers in the order in which they were asked for."""
        return [[answers[chat, sample if self.drawn else 0] for sample in range(self.samples)] for chat in self.chats]

    def check_room(self, name: str, positions: int | None) -> None:
        """Refuse a chat that does not fit with its answer.

        Raises:
            StudentError: names the student, and what to do.
        """
        check_room(name, positions, self.chats, self.generation.max_tokens)

    def counted(self, progress: Progress | None) -> "Counted":
        """Return what counts the answers that are written."""
        each = self.samples // self._written if self._written else 0
        return Counted(progress, each, len(self.jobs) * each)

    @property
    def _written(self) -> int:
        return self.samples if self.drawn else min(self.samples, 1)


class Counted:
    """Tells how many of the answers there are, each time that one has ended."""

    def __init__(self, progress: Progress | None, each: int, every: int) -> None:
        self._progress, self._each, self._every, self._done = progress, each, every, 0

    def __call__(self) -> None:
        """Count one that has ended."""
        self._done += self._each
        if self._progress is not None:
            self._progress(self._done, self._every)


def read(tokenizer: Any, tokens: Sequence[int], stops: frozenset[int], stop: Sequence[str]) -> Answer:
    """Return what the tokens of an answer say, up to the first of the texts that end one."""
    text, stopped = until(text_of(tokenizer, tokens, stops), stop)
    return Answer(text, not stopped and (not tokens or tokens[-1] not in stops))


def check_room(name: str, positions: int | None, chats: Sequence[Sequence[int]], more: int) -> None:
    """Refuse a text that does not fit the model's positions with `more` tokens behind it.

    Raises:
        StudentError: names the student, and what to do.
    """
    longest = max((len(chat) for chat in chats), default=0)
    if positions is not None and longest + more > positions:
        raise StudentError(
            f"{name} has {positions} positions; a text of {longest} tokens"
            + (f" and max_tokens {more} do not fit: lower generation.max_tokens" if more else " does not fit")
        )
