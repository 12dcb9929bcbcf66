"""A teacher that says what it is told to: for tests, documents and dry runs."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from lessons.errors import TeacherError
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.prices import FREE, Prices

__all__ = ["ScriptedTeacher"]

_Line = str | Reply | Exception
_Function = Callable[[Sequence[Message], Sampling], _Line | Awaitable[_Line]]


class _Request(NamedTuple):
    messages: tuple[Message, ...]
    sampling: Sampling


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptedTeacher:
    """Answers from a script, and keeps what it was asked. A line is a text, a whole Reply, or an error to raise."""

    replies: Sequence[_Line] | Mapping[str, _Line] | _Function
    """A list: said in order, one for each request. A mapping: said where its key stands in the last user message, the
    first such key. A function of (messages, sampling), which may be async."""
    name: str = "scripted"
    """What the ledger files its replies under."""

    prices: ClassVar[Prices] = FREE
    """A program costs nothing."""
    examined: ClassVar[bool] = False
    """Fixed replies say nothing of what a teacher can: it sits no exam before round 1."""

    @cached_property
    def requests(self) -> list[_Request]:
        """What was asked so far, in order: (messages, sampling) pairs."""
        return []

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Say the next line.

        Raises:
            TeacherError: the line is such an error, or the script has no line for this request.
        """
        self.requests.append(_Request(tuple(messages), sampling))
        line = self._line(messages, sampling)
        if inspect.isawaitable(line):
            line = await line
        if isinstance(line, Exception):
            raise line
        return Reply(text=line, usd=0.0) if isinstance(line, str) else line

    async def aclose(self) -> None:
        """Nothing to give back."""

    def _line(self, messages: Sequence[Message], sampling: Sampling) -> _Line | Awaitable[_Line]:
        if isinstance(self.replies, Mapping):
            asked = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
            for key, line in self.replies.items():
                if key in asked:
                    return line
            raise TeacherError(f"the script of {self.name!r} has no line for {asked[:80]!r}")
        if isinstance(self.replies, Sequence):
            said = len(self.requests) - 1
            if said < len(self.replies):
                return self.replies[said]
            raise TeacherError(f"the script of {self.name!r} ends after {len(self.replies)} replies")
        return self.replies(messages, sampling)
