"""How probable a student finds given texts. Each text is scored once and kept by content, whoever asks again."""

import math
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

from lessons.errors import InputError, StudentError
from lessons.formats import refuse_newer
from lessons.ids import content_id
from lessons.jsonl import begin_private
from lessons.records import Message
from students.base import Progress, Student

VERSION = 1
"""Of the table; a file that says none has it too."""
TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, total REAL, tokens INTEGER, distance REAL)"
CHUNK = 512
"""Texts that are scored at once: what is held in memory, and what a kill loses at most."""

Text = tuple[Sequence[Message], str]
"""A chat and the completion that is scored after it; an empty chat: the completion after nothing but the header of the
assistant's turn."""


class Score(NamedTuple):
    """What a student makes of one completion."""

    total: float
    """Sum of the natural-log probabilities of its tokens, the end of the turn included; at most 0, may be -infinity."""
    tokens: int
    distance: float = 0.0
    """Root mean square over the tokens of 1 - probability, in [0, 1]: how far the student is from writing them for
    certain (DELIFT, arXiv 2411.04425)."""

    @classmethod
    def of_tokens(cls, logs: Sequence[float]) -> Self:
        """Make a score of the natural-log probabilities of a completion's tokens."""
        squares = math.fsum((1 - math.exp(log)) ** 2 for log in logs)
        return cls(math.fsum(logs), len(logs), math.sqrt(squares / len(logs)) if logs else 0.0)

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats; 0 for a text of no tokens."""
        return -self.total / self.tokens if self.tokens else 0.0

    @property
    def perplexity(self) -> float:
        """exp(loss); infinity where that is too large a number."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@runtime_checkable
class Holding(Protocol):
    """A student that holds memory which it can give back; its next use takes it again."""

    def close(self) -> None:
        """Give the memory back."""
        ...


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

    def of(self, texts: Iterable[Text], student: str | Student = "now") -> Iterator[Score]:
        """Yield the score of each text, in order; only what is not known yet is computed, `CHUNK` texts at a time.

        student: a name (see the class), or a student itself. What a chunk has found is kept at once: a kill loses one
        chunk at most. A chunk with a text that cannot be scored is not kept.

        Raises:
            InputError: there is no such student, or the file cannot be used.
            StudentError: the student cannot take a text, or a probability is no number.
        """
        scorer = self.student(student) if isinstance(student, str) else student
        rest = iter(texts)
        while chunk := list(islice(rest, CHUNK)):
            yield from self._chunk(chunk, scorer)

    def each(self, texts: Iterable[Text], student: str | Student = "now") -> Iterator[Score | StudentError]:
        """Yield what `of` yields, and for a text that the student cannot take (too long for it) why it cannot.

        Raises:
            InputError: there is no such student, or the file cannot be used.
        """
        rest = iter(texts)
        while chunk := list(islice(rest, CHUNK)):
            yield from self._each(chunk, student)

    def close(self) -> None:
        """Close the file and give back the memory of the students; the next use opens and loads them again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for student in self._opened.values():
            if isinstance(student, Holding):
                student.close()

    def _each(self, texts: Sequence[Text], student: str | Student) -> list[Score | StudentError]:
        """Return the scores; where some text does not fit, halves tell which, and the others keep their batches."""
        try:
            return list(self.of(texts, student))
        except StudentError as error:
            if len(texts) == 1:
                return [error]
        half = len(texts) // 2
        return [*self._each(texts[:half], student), *self._each(texts[half:], student)]

    def _chunk(self, texts: Sequence[Text], scorer: Student) -> list[Score]:
        keys = [content_id("score", student=scorer.digest, prompt=list(p), completion=c) for p, c in texts]
        known = self._known(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            found = scorer.score(list(new.values()), progress=self._progress)
            fresh = {key: Score.of_tokens(logs) for key, logs in zip(new, found, strict=True)}
            if any(math.isnan(score.total) for score in fresh.values()):
                raise StudentError(f"{scorer.name}: the probability of a text is no number (broken weights?)")
            self._keep(fresh)
            known |= fresh
        return [known[key] for key in keys]

    def _known(self, keys: Sequence[str]) -> dict[str, Score]:
        asked = ", ".join("?" * len(keys))
        query = f"SELECT key, total, tokens, distance FROM scores WHERE key IN ({asked})"  # noqa: S608 - only marks
        with self._told():
            rows = self._open().execute(query, keys).fetchall()
        return {key: Score(total, tokens, distance) for key, total, tokens, distance in rows}

    def _keep(self, fresh: Mapping[str, Score]) -> None:
        with self._told(), self._open() as file:
            file.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", [(key, *score) for key, score in fresh.items()]
            )

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            if self._path is not None and self._path.parent.is_dir():
                begin_private(self._path)
            file = sqlite3.connect(self._path or ":memory:", check_same_thread=False)
            try:
                found = file.execute("PRAGMA user_version").fetchone()[0]
                refuse_newer(self._path or Path(), found, VERSION)
                file.execute(TABLE)
                if found != VERSION:
                    file.execute(f"PRAGMA user_version={VERSION}")
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    @contextmanager
    def _told(self) -> Generator[None]:
        """Say in one line what is wrong with the file."""
        try:
            yield
        except sqlite3.OperationalError as error:  # a folder that is gone, a full disk, another's lock
            raise InputError(f"{self._path}: the file of scores cannot be used ({error})") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise InputError(f"{self._path}: is no file of scores ({error}); delete it, it is made anew") from error
