"""A student for rehearsals: it answers right where it is told to, and cannot learn. Nothing is loaded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lessons.errors import InputError
from lessons.records import Message
from loops.scores import Scores
from students.base import Answer, Generation, Progress, Student
from students.memory import question_of

STUDENT_SAYS = "First I add the two numbers, then I take the half of them. Answer: 7"
"""Stands for a student's answer where it is wrong, and where the problem has no worked solution."""
NO_MODEL = "(no model is loaded for an estimate)"
"""Stands for the student's base model."""
LOG = -1.0
"""Natural-log probability of every token that it is asked about."""
_ACTIONS = re.compile(r"^Actions: ([^,\n]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """Answers each question as it is told to, in other words every time; all its tokens are as probable.

    What it is asked about is told by the questions of the examined problems; where a chat names none of them it is
    wrong. In an episode it takes the first action that there is.
    """

    answers: Mapping[str, str]
    """Question -> what it answers."""
    name: str = "rehearsal"
    digest: str = "rehearsal"

    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:  # [prompt][sample]
        """Answer chats."""
        return [
            [Answer(f"Try {seed % 1000}.{sample}: {self._said(prompt)}") for sample in range(samples)]
            for prompt in prompts
        ]

    def score(
        self, rows: Sequence[tuple[Sequence[Message], str]], *, progress: Progress | None = None
    ) -> list[list[float]]:  # [row][word and the end of the turn]
        """Return one score for each word, all the same."""
        return [[LOG] * (len(text.split()) + 1) for _, text in rows]

    def learn(self, *args: object, **options: object) -> NoReturn:
        """Learn nothing.

        Raises:
            InputError: always.
        """
        raise InputError("a student would have to be trained for it")

    def with_adapter(self, folder: Path) -> NoReturn:
        """Load nothing.

        Raises:
            InputError: always.
        """
        raise InputError("a student would have to be trained for it")

    def _said(self, prompt: Sequence[Message]) -> str:
        asked = question_of(prompt)
        if asked in self.answers:
            action = _ACTIONS.search(prompt[-1]["content"])
            return f"I begin with it. Action: {action[1].strip()}" if action else self.answers[asked]
        held = [question for turn in prompt for question in self.answers if question in turn["content"]]
        return self.answers[max(held, key=len)] if held else STUDENT_SAYS


class StandInScores(Scores):
    """Scores of the one student that there is in a rehearsal, whatever its name: no model is loaded."""

    def __init__(self, student: Student) -> None:
        super().__init__(None, {})
        self._stand_in = student

    def student(self, name: str) -> Student:
        """Return the stand-in."""
        return self._stand_in
