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
VERSION = 1
"""Of the tables."""
WAIT = 60.0
"""Seconds to wait for another process's transaction."""
TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY NOT NULL, teacher TEXT NOT NULL, purpose TEXT NOT NULL, seconds REAL NOT NULL,
    prompt INTEGER, cached_prompt INTEGER, completion INTEGER, reasoning INTEGER, record BLOB NOT NULL)
"""


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
    _check(path, connection)
    return connection


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables where the file is new, and refuse what is not a ledger of this version."""
    connection.execute("BEGIN IMMEDIATE")
    fresh = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if fresh:
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute(TABLES)
    connection.execute("COMMIT")
    _check(path, connection)
    connection.execute("PRAGMA journal_mode=WAL")


def _check(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise InputError(f"{path}: this SQLite file is not a ledger: give another path")
    if version != VERSION:
        raise InputError(
            f"{path}: a ledger of version {version}, and this tutelage reads {VERSION}: use a matching one"
        )
