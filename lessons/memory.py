"""What a student keeps in its prompt: rules, rubrics, worked examples. Part of what it is, as its weights are."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from lessons.ids import content_id
from lessons.records import Record

Choose = Literal["fixed", "words", "skill"]
"""Which demonstrations a question is shown with: the first ones, the nearest by words, or those of its skill."""


class Demonstration(Record, frozen=True, kw_only=True):
    """A worked example, shown as an earlier turn of the chat."""

    question: str
    completion: str
    skills: tuple[str, ...] = ()
    """Names from the task's catalogue; the first is the main one."""
    problem: str | None = None
    """Id of the problem that it was made from."""


class Rubric(Record, frozen=True, kw_only=True):
    """What makes an answer to one kind of question good."""

    name: str
    """The kind of question."""
    criteria: tuple[str, ...]
    questions: tuple[str, ...] = ()
    """Questions of the kind, by which it is found for another one."""


class Memory(Record, frozen=True, kw_only=True):
    """A student's prompt memory. `students.memory` says how a chat is rendered with it."""

    instructions: str = ""
    """How problems of the task are solved; stands in the system message."""
    principles: tuple[str, ...] = ()
    """Rules against mistakes that were made; stand in the system message, numbered."""
    rubrics: tuple[Rubric, ...] = ()
    """Of them, the one that is nearest to a question by words goes with it."""
    demonstrations: tuple[Demonstration, ...] = ()
    choose: Choose = "fixed"
    """Which of the demonstrations go with a question; never one whose question it is itself."""
    shown: int = 0
    """How many of them go with a question; 0: all."""
    room: int = 0
    """Characters that they may take together, the best first; 0 sets no bound."""
    revisions: int = 0
    """How often the student revises its own draft, by the rubric where there is one, before that is its answer."""
    draft_with_rubric: bool = False
    """Whether the rubric stands in the system message while it drafts, and not only while it revises."""

    @property
    def id(self) -> str:
        """Content hash of all of it."""
        return content_id("memory", **msgspec.to_builtins(self))

    @property
    def empty(self) -> bool:
        """Whether a student with it is the student without."""
        return not (self.instructions or self.principles or self.rubrics or self.demonstrations or self.revisions)

    @property
    def told(self) -> str:
        """What it holds, for people."""
        parts = [
            "instructions" if self.instructions else "",
            _counted(len(self.principles), "principle"),
            _counted(len(self.rubrics), "rubric"),
            _counted(len(self.demonstrations), "demonstration"),
            _counted(self.revisions, "revision"),
        ]
        return ", ".join(part for part in parts if part) or "nothing"


def numbered(texts: Iterable[str]) -> str:
    """Return texts as numbered lines, each on one line."""
    return "\n".join(f"{number}. {' '.join(text.split())}" for number, text in enumerate(texts, start=1))


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'s' * (number != 1)}" if number else ""
