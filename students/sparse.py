"""A teacher's token distributions, stored as a few draws each: about three bytes for every different token drawn."""

import hashlib
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lessons.errors import StudentError
from lessons.ids import content_id, seed_of
from lessons.jsonl import begin_private
from students.chats import Row

if TYPE_CHECKING:
    import torch

TABLE = "CREATE TABLE IF NOT EXISTS draws (key TEXT PRIMARY KEY, drawn BLOB, sum TEXT)"
BATCH_TOKENS = 4096
"""Positions that go through the teacher at once."""


class Target(NamedTuple):
    """A distribution with mass on a few tokens."""

    tokens: tuple[int, ...]
    """Ids, rising."""
    counts: tuple[int, ...]
    """How often each was drawn; they sum to the number of draws."""


def draw(probabilities: "torch.Tensor", draws: int, seed: int) -> list[Target]:
    """Draw tokens with replacement from each distribution, and count them: count / draws is unbiased for each token.

    probabilities: [positions, vocabulary], each row summing to 1. draws: of each row.
    """
    import torch

    source = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(probabilities.float().cpu(), draws, replacement=True, generator=source)
    targets: list[Target] = []
    for row in drawn:
        tokens, counts = torch.unique(row, return_counts=True)
        targets.append(Target(tuple(tokens.tolist()), tuple(counts.tolist())))
    return targets


def pack(targets: Sequence[Target], vocabulary: int, draws: int) -> bytes:
    """Return targets as bytes: for each its number of tokens, then token and count in one number.

    vocabulary: ids are below it. draws: counts are at most this, at most 65,535.
    """
    wide = _width(vocabulary, draws)
    parts: list[bytes] = []
    for target in targets:
        parts.append(len(target.tokens).to_bytes(2, "little"))
        parts += [
            (token * (draws + 1) + count).to_bytes(wide, "little")
            for token, count in zip(target.tokens, target.counts, strict=True)
        ]
    return b"".join(parts)


def unpack(packed: bytes, vocabulary: int, draws: int) -> list[Target]:
    """Return what `pack` was given.

    Raises:
        ValueError: the bytes are cut off.
    """
    wide, place, targets = _width(vocabulary, draws), 0, list[Target]()
    while place < len(packed):
        size = int.from_bytes(packed[place : place + 2], "little")
        end = place + 2 + size * wide
        if not size or end > len(packed):
            raise ValueError("stored draws are cut off")
        numbers = [int.from_bytes(packed[at : at + wide], "little") for at in range(place + 2, end, wide)]
        targets.append(Target(tuple(n // (draws + 1) for n in numbers), tuple(n % (draws + 1) for n in numbers)))
        place = end
    return targets


def _width(vocabulary: int, draws: int) -> int:
    return ((vocabulary * (draws + 1)).bit_length() + 7) // 8


class DrawStore:
    """Draws of one teacher by the content of the row that they are of, in one file; each is made once.

    path: the file. teacher: fingerprint of its weights. draws: of each token. vocabulary: ids are below it.
    """

    def __init__(self, path: Path, teacher: str, draws: int, vocabulary: int) -> None:
        self.path, self.teacher, self.draws, self.vocabulary = path, teacher, draws, vocabulary
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as file:
            file.execute(TABLE)

    def key(self, row: Row) -> str:
        """Return the content id that a row's draws are kept under."""
        return content_id("draws", teacher=self.teacher, draws=self.draws, prompt=row.prompt, completion=row.completion)

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows, each once, that have no draws yet."""
        new = {self.key(row): row for row in rows}
        with self._opened() as file:
            known = {key for key in new if file.execute("SELECT 1 FROM draws WHERE key = ?", (key,)).fetchone()}
        return [row for key, row in new.items() if key not in known]

    def fill(self, model: Any, rows: Sequence[Row], padding: int) -> Iterator[int]:
        """Draw for these rows; yields how many rows are done after each batch, which is kept from then on.

        A row's draws depend on its content and the teacher only, not on the batch.
        """
        import torch

        from students.decode import batches
        from students.scoring import label_logits, padded

        done = 0
        for places in batches([len(row) for row in rows], 0, BATCH_TOKENS):
            some = [rows[place] for place in places]
            inputs, labels = padded(some, padding)
            with torch.no_grad():
                asked = {name: value.to(model.device) for name, value in inputs.items()}
                chances = torch.softmax(label_logits(model, asked, labels.to(model.device))[:, : self.vocabulary], -1)
            begin, kept = 0, list[tuple[str, bytes, str]]()
            for row in some:
                key, end = self.key(row), begin + len(row.completion)
                packed = pack(draw(chances[begin:end], self.draws, seed_of(key)), self.vocabulary, self.draws)
                kept.append((key, packed, hashlib.sha256(packed).hexdigest()))
                begin = end
            with self._opened() as file:
                file.executemany("INSERT OR REPLACE INTO draws VALUES (?, ?, ?)", kept)
            done += len(some)
            yield done

    def read(self, row: Row) -> list[Target]:
        """Return the target of each completion token of a row.

        Raises:
            StudentError: there is none, or what is stored is damaged.
        """
        with self._opened() as file:
            found = file.execute("SELECT drawn, sum FROM draws WHERE key = ?", (self.key(row),)).fetchone()
        if found is None or not isinstance(found[0], bytes) or hashlib.sha256(found[0]).hexdigest() != found[1]:
            raise StudentError(f"{self.path}: the stored distributions are damaged; delete the file, it is made anew")
        return unpack(found[0], self.vocabulary, self.draws)

    def size(self, rows: Sequence[Row]) -> int:
        """Return how many bytes the draws of these rows take."""
        with self._opened() as file:
            keys = {self.key(row) for row in rows}
            told = [file.execute("SELECT length(drawn) FROM draws WHERE key = ?", (key,)).fetchone() for key in keys]
        return sum(one[0] for one in told if one and isinstance(one[0], int))

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """Open the file for one transaction, and say in one line what is wrong with it."""
        try:
            begin_private(self.path)
            with closing(sqlite3.connect(self.path, timeout=60)) as file, file:
                file.execute("PRAGMA journal_mode=WAL")
                yield file
        except (sqlite3.OperationalError, OSError) as error:  # its place, its rights, another's lock, a full disk
            raise StudentError(f"{self.path}: the file of draws cannot be used ({error})") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise StudentError(f"{self.path}: is no file of draws ({error}); delete it, it is made anew") from error
