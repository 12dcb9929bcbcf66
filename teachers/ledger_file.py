"""The ledger's file: how it is begun, opened and refused, and how SQLite's errors are said."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lessons.errors import InputError

APPLICATION = 0x74757465
"""SQLite's application id of a ledger ("tute"): another program's database is refused, not written into."""
VERSION = 2
"""Of the tables. Version 1 lacked `usd`, `paid` and `broken`."""
WAIT = 60.0
"""Seconds to wait for another process's transaction."""
TABLES = (
    """
CREATE TABLE calls (
    id TEXT PRIMARY KEY NOT NULL, teacher TEXT NOT NULL, purpose TEXT NOT NULL, seconds REAL NOT NULL,
    prompt INTEGER, cached_prompt INTEGER, completion INTEGER, reasoning INTEGER, record BLOB NOT NULL,
    usd REAL, paid INTEGER NOT NULL DEFAULT 1)
""",
    """
CREATE TABLE broken (
    purpose TEXT NOT NULL, prompt INTEGER, cached_prompt INTEGER, completion INTEGER, reasoning INTEGER,
    usd REAL, record BLOB NOT NULL)
""",
)
"""`paid`: 1 where this ledger's user bought the reply, 0 where a shared cache had it. `broken`: replies that were paid
for and cannot be used; the same request is sent again."""
_UPGRADE = ("ALTER TABLE calls ADD COLUMN usd REAL", "ALTER TABLE calls ADD COLUMN paid INTEGER NOT NULL DEFAULT 1")


_TOKENS = "prompt, cached_prompt, completion, reasoning"


@contextmanager
def said(path: Path) -> Generator[None, None, None]:
    """Turn what SQLite and the decoder raise into one line that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(
            f"{path}: the ledger cannot be used ({error}): check the path, its rights and free space"
        ) from error
    except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the ledger is damaged or not a ledger ({error}): move it away or restore it; it was not changed"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: the ledger cannot be opened ({error.strerror})") from error


def begin(path: Path) -> None:
    """Make an empty file that only its owner may read: prompts may hold private data. SQLite's own files inherit it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:  # another process was first
        return


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading and writing; each commit is flushed to disk."""
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the file so that nothing can be written, whoever else has it open.

    Raises:
        InputError: there is no such file, or it is not a ledger.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no ledger")
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=WAIT, isolation_level=None)
    try:
        old = _check(path, connection, oldest=1) < VERSION
    except sqlite3.OperationalError:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        # In a folder that cannot be written SQLite cannot make the files that WAL wants; a closed ledger needs none.
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
        old = _check(path, connection, oldest=1) < VERSION
    bought = f"SELECT purpose, seconds, {_TOKENS}, {'NULL AS usd, 1 AS paid' if old else 'usd, paid'}, 1 AS whole"
    lost = f"SELECT purpose, 0.0 AS seconds, {_TOKENS}, usd, 1 AS paid, 0 AS whole FROM broken"  # noqa: S608 - all from here
    union = f"{bought} FROM calls" if old else f"{bought} FROM calls UNION ALL {lost}"
    connection.execute(f"CREATE TEMP VIEW bill AS {union}")
    return connection


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables where the file is new, and refuse what is not a ledger of this version."""
    connection.execute("BEGIN IMMEDIATE")
    fresh = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if fresh:
        connection.execute(f"PRAGMA application_id={APPLICATION}")
    found = _versions(connection)
    if fresh or found == (APPLICATION, 1):
        for statement in TABLES if fresh else (*_UPGRADE, TABLES[1]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
    _check(path, connection)
    connection.execute("PRAGMA journal_mode=WAL")


def _versions(connection: sqlite3.Connection) -> tuple[int, int]:  # (application, tables)
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return application, connection.execute("PRAGMA user_version").fetchone()[0]


def _check(path: Path, connection: sqlite3.Connection, oldest: int = VERSION) -> int:
    """Refuse what is not a ledger of a version that can be read; return the version."""
    application, version = _versions(connection)
    if application != APPLICATION:
        raise InputError(f"{path}: this SQLite file is not a ledger: give another path")
    if not oldest <= version <= VERSION:
        raise InputError(
            f"{path}: a ledger of version {version}, and this tutelage reads {VERSION}: use a matching one"
        )
    return version
