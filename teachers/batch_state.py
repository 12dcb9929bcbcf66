"""What is known of batches across processes: which request is in which batch, how far it got, and what came back."""

import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from platformdirs import user_cache_path

from lessons.errors import InputError
from lessons.formats import refuse_newer
from lessons.ids import digest

KEPT = 30 * 24 * 3600.0
"""Seconds for which results of a finished batch are kept: as long as OpenAI keeps the files."""
_WAIT = 60.0
"""Seconds to wait for another process's transaction."""
_APPLICATION = 0x74757462
"""SQLite's application id of this file ("tutb")."""
_VERSION = 1
"""Of the tables; a file that says none has it too."""
_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL, step TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY NOT NULL, batch INTEGER NOT NULL, tries INTEGER NOT NULL, result BLOB);
CREATE INDEX IF NOT EXISTS requests_of ON requests (batch);
"""

Step = Literal["made", "sending", "sent", "done"]
"""made: recorded, perhaps uploaded, surely not submitted. sending: perhaps submitted. sent: its id is known. done: its
results are here."""


class Batch(NamedTuple):
    """One batch as it is recorded."""

    number: int
    tag: str
    """What the endpoint was told to know it by (metadata)."""
    step: Step
    id: str
    """The endpoint's; "" until it is known."""


class Known(NamedTuple):
    """What is recorded of one request."""

    batch: Batch
    tries: int
    """Batches that it was put into so far."""
    result: bytes | None
    """The completion's JSON, once it is here."""


def default_path() -> Path:
    """Return where the state is kept: in $TUTELAGE_CACHE, or the user's cache folder."""
    given = os.environ.get("TUTELAGE_CACHE", "")
    return (Path(given).expanduser() if given else user_cache_path("tutelage")) / "batches.sqlite"


class BatchState:
    """A SQLite file. Every step is on disk (synchronous=FULL) before its method returns; processes may share it."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin one (mode 0600).

        Raises:
            InputError: it cannot be opened, or is something else.
        """
        path = self.path = path.resolve()  # so that two names of one file have one lock
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(path, timeout=_WAIT, isolation_level=None)) as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if application != _APPLICATION and not empty:
                    raise InputError(f"{path}: this SQLite file holds no batches: give teacher.state another path")
                refuse_newer(path, connection.execute("PRAGMA user_version").fetchone()[0], _VERSION)
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={_VERSION}")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_TABLES)
        with self._change() as change:
            old = "SELECT number FROM batches WHERE step = 'done' AND at < ?"
            change.execute(f"DELETE FROM requests WHERE batch IN ({old})", (time.time() - KEPT,))  # noqa: S608 - ours
            change.execute(f"DELETE FROM batches WHERE number IN ({old})", (time.time() - KEPT,))  # noqa: S608 - ours
        self._reader = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._reader.close()

    def known(self, key: str) -> Known | None:
        """Return what is recorded of a request, or None."""
        with self._said():
            return _known(self._reader, key)

    def batch(self, number: int) -> Batch | None:
        """Return a batch, or None where it was given up."""
        with self._said():
            row = self._reader.execute(f"{_BATCH} WHERE number = ?", (number,)).fetchone()
            return Batch(*row) if row else None

    def requests(self, number: int) -> dict[str, int]:
        """Return the keys of a batch's requests, and how many batches each was put into."""
        with self._said():
            return dict(self._reader.execute("SELECT key, tries FROM requests WHERE batch = ?", (number,)).fetchall())

    def make(self, keys: Sequence[str]) -> tuple[Batch | None, list[str]]:
        """Record a new batch; return it and the requests that are in it, all or some of these.

        Left out are those that have a result, or are in another batch that may have been submitted: they are paid
        for. Call it only while no other process makes or submits a batch.
        """
        with self._change() as change:
            free: dict[str, int] = {}
            for key in keys:
                known = _known(change, key)
                if known is None:
                    free[key] = 0
                elif known.result is None and known.batch.step in ("made", "done"):
                    # A batch that was made and not submitted was left behind by a process that is no more.
                    free[key] = known.tries - (known.batch.step == "made")
            if not free:
                return None, []
            number = change.execute(
                "INSERT INTO batches (tag, step, id, at) VALUES ('', 'made', '', ?)", (time.time(),)
            ).lastrowid
            assert number is not None
            tag = digest([sorted(free.items()), number, time.time_ns()])
            change.execute("UPDATE batches SET tag = ? WHERE number = ?", (tag, number))
            change.executemany(
                "INSERT INTO requests VALUES (?, ?, ?, NULL) ON CONFLICT (key) DO UPDATE SET batch = ?, tries = ?",
                [(key, number, tries + 1, number, tries + 1) for key, tries in free.items()],
            )
            change.execute("DELETE FROM batches WHERE step = 'made' AND number NOT IN (SELECT batch FROM requests)")
            return Batch(number, tag, "made", ""), list(free)

    def advance(self, number: int, step: Step, batch_id: str = "") -> None:
        """Record how far a batch has got."""
        with self._change() as change:
            change.execute(
                "UPDATE batches SET step = ?, id = ?, at = ? WHERE number = ?", (step, batch_id, time.time(), number)
            )

    def finish(self, batch: Batch, results: Mapping[str, bytes], dropped: Iterable[str]) -> None:
        """Record all that came back, in one transaction, and forget the requests that are not to be asked again."""
        with self._change() as change:
            change.executemany(
                "UPDATE requests SET result = ? WHERE key = ? AND batch = ?",
                [(result, key, batch.number) for key, result in results.items()],
            )
            change.executemany("DELETE FROM requests WHERE key = ? AND result IS NULL", [(key,) for key in dropped])
            change.execute(
                "UPDATE batches SET step = 'done', id = ?, at = ? WHERE number = ?",
                (batch.id, time.time(), batch.number),
            )

    def forget(self, key: str) -> None:
        """Forget one request: a later run may ask it anew."""
        with self._change() as change:
            change.execute("DELETE FROM requests WHERE key = ?", (key,))

    def give_up(self, number: int) -> None:
        """Forget a batch and its requests, which have no results: they may be asked anew."""
        with self._change() as change:
            change.execute("DELETE FROM requests WHERE batch = ?", (number,))
            change.execute("DELETE FROM batches WHERE number = ?", (number,))

    @contextmanager
    def _change(self) -> Generator[sqlite3.Connection, None, None]:
        """One transaction on a connection of its own: a reader on another thread must not see half of it."""
        with self._said(), closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _said(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.path}: the record of batches cannot be used ({error}): check the path, its rights and free "
                f"space; without it, batches under way are paid for again"
            ) from error


_BATCH = "SELECT number, tag, step, id FROM batches"


def _known(connection: sqlite3.Connection, key: str) -> Known | None:
    row = connection.execute(
        "SELECT number, tag, step, id, tries, result FROM requests JOIN batches ON batch = number WHERE key = ?", (key,)
    ).fetchone()
    return Known(Batch(*row[:4]), row[4], row[5]) if row else None
