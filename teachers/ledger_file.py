"""The ledger's file: how it is begun, opened and refused, and how SQLite's errors are said."""

import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lessons.errors import InputError
from lessons.formats import refuse_newer
from lessons.jsonl import UNREADABLE

APPLICATION = 0x74757465
"""SQLite's application id of a ledger ("tute"): another program's database is refused, not written into."""
VERSION = 2
"""Of the tables. Version 1 lacked `usd`, `paid` and `broken`."""
WAIT = 60.0
"""Seconds to wait for another process's transaction."""
WAIT_TO_READ = 5.0
"""Seconds that somebody who only looks waits: readers are held up by hardly anything."""
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
    except (sqlite3.DatabaseError, *UNREADABLE) as error:
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


def begun(path: Path) -> bool:
    """Whether there is a ledger: a process that is killed while it makes the first tables leaves a file without any.

    Those are made under a journal, which SQLite undoes when somebody next writes; later writes go into a log.
    """
    journal = path.with_name(f"{path.name}-journal")
    return path.is_file() and path.stat().st_size > 0 and not (journal.is_file() and journal.stat().st_size > 0)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading and writing; each commit is flushed to disk."""
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the file so that nothing is written, into it or beside it, whoever else has it open.

    Raises:
        InputError: there is no such file, or it is not a ledger.
        sqlite3.Error: it cannot be read, or another process keeps it to itself (see `said`).
    """
    if not begun(path):
        raise InputError(f"{path}: there is no ledger")
    try:
        connection, version = _opened_to_read(path)
    except sqlite3.OperationalError:  # a writer closed it between the look at its files and the opening
        connection, version = _opened_to_read(path)
    old = version < VERSION
    bought = f"SELECT purpose, seconds, {_TOKENS}, {'NULL AS usd, 1 AS paid' if old else 'usd, paid'}, 1 AS whole"
    lost = f"SELECT purpose, 0.0 AS seconds, {_TOKENS}, usd, 1 AS paid, 0 AS whole FROM broken"  # noqa: S608 - all from here
    union = f"{bought} FROM calls" if old else f"{bought} FROM calls UNION ALL {lost}"
    connection.execute(f"CREATE TEMP VIEW bill AS {union}")
    numbered = bought.replace("SELECT", "SELECT rowid AS number,", 1)
    connection.execute(f"CREATE TEMP VIEW numbered AS {numbered} FROM calls")
    return connection


def _opened_to_read(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open the file in the way that suits what stands beside it; return its version too.

    A plain read-only connection would make SQLite's own two files anew, or change them: what looks at a run writes
    nothing into its folder.
    """
    log, index = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))
    if not log.exists() or not log.stat().st_size:  # closed, and whole in itself
        return _checked(path, f"{path.absolute().as_uri()}?immutable=1")
    if index.exists():
        return _checked(path, f"{path.absolute().as_uri()}?mode=ro&readonly_shm=1")
    # A folder that was copied, or that cannot be written: SQLite needs an index of the log, which it makes elsewhere.
    with TemporaryDirectory(prefix="tutelage-") as folder:
        shutil.copyfile(log, Path(folder, log.name))
        copy = Path(shutil.copyfile(path, Path(folder, path.name)))
        return _checked(path, f"{copy.as_uri()}?mode=rw")


def _checked(path: Path, uri: str) -> tuple[sqlite3.Connection, int]:
    connection = sqlite3.connect(uri, uri=True, timeout=WAIT_TO_READ, isolation_level=None)
    try:
        return connection, _check(path, connection, oldest=1)
    except BaseException:
        connection.close()
        raise


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
    refuse_newer(path, version, VERSION)
    if version < oldest:
        raise InputError(f"{path}: a ledger of version {version}, which no tutelage wrote: give another path")
    return version
