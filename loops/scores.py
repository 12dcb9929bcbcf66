"""How probable a student finds given texts. Each text is scored once and kept by content, whoever asks again."""

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lessons.errors import InputError
from lessons.ids import content_id
from lessons.records import Message
from students.base import Progress, Student

TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, total REAL, tokens INTEGER)"
CHUNK = 512
"""Texts that are scored at once: what is held in memory, and what a kill loses at most."""

Text = tuple[Sequence[Message], str]
"""A chat and the completion that is scored after it; an empty chat: the completion after nothing but the header of the
assistant's turn."""


class Score(NamedTuple):
    """What a student makes of one completion."""

    total: float
    """Sum of the natural-log probabilities of its tokens, the end of the turn included."""
    tokens: int

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats."""
        return -self.total / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(loss); infinity where that is too large a number."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


class Scores:
    """Scores of texts by several students, in one file.

    path: the file, made where it is not there; None keeps them in memory. students: name -> what opens the student.
    The names of a run: "now", the student that is taught in this round; "base", the student before any lesson; "last",
    the student that the round before began with (in round 1 the one that it begins with itself). Any other name is the
    id of a model (`students.open`).
    """

    def __init__(
        self, path: Path | None, students: Mapping[str, Callable[[], Student]], progress: Progress | None = None
    ) -> None:
        self._path = path
        self._students = dict(students)
        self._opened: dict[str, Student] = {}
        self._progress = progress
        self._file: sqlite3.Connection | None = None

    def student(self, name: str) -> Student:
        """Return a student by its name.

        Raises:
            InputError: there is no such student or model.
        """
        if name not in self._opened:
            if name in self._students:
                self._opened[name] = self._students[name]()
            else:
                from students.open import open_student

                self._opened[name] = open_student(name)
        return self._opened[name]

    def of(self, texts: Iterable[Text], student: str = "now") -> Iterator[Score]:
        """Yield the score of each text, in order; only what is not known yet is computed, `CHUNK` texts at a time.

        Raises:
            InputError: there is no such student, or the file cannot be read.
        """
        scorer = self.student(student)
        rest = iter(texts)
        while chunk := list(islice(rest, CHUNK)):
            yield from self._chunk(chunk, scorer)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _chunk(self, texts: Sequence[Text], scorer: Student) -> list[Score]:
        keys = [content_id("score", student=scorer.digest, prompt=list(p), completion=c) for p, c in texts]
        known = self._known(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            found = scorer.score(list(new.values()), progress=self._progress)
            fresh = {key: Score(math.fsum(logs), len(logs)) for key, logs in zip(new, found, strict=True)}
            self._keep(fresh)
            known |= fresh
        return [known[key] for key in keys]

    def _known(self, keys: Sequence[str]) -> dict[str, Score]:
        asked = ", ".join("?" * len(keys))
        rows = self._open().execute(f"SELECT key, total, tokens FROM scores WHERE key IN ({asked})", keys)  # noqa: S608
        return {key: Score(total, tokens) for key, total, tokens in rows}

    def _keep(self, fresh: Mapping[str, Score]) -> None:
        file = self._open()
        with file:
            file.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", [(key, *score) for key, score in fresh.items()]
            )

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            try:
                self._file = sqlite3.connect(self._path or ":memory:", check_same_thread=False)
                self._file.execute(TABLE)
            except sqlite3.DatabaseError as error:
                raise InputError(f"{self._path}: is no file of scores ({error}); delete it, it is made anew") from error
        return self._file
