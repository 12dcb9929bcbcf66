"""A damaged ledger: set aside under another name, and every call of it that can still be read is kept."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from filelock import FileLock

from lessons.errors import InputError
from lessons.jsonl import UNREADABLE
from teachers.ledger import Call, call_key
from teachers.ledger_file import APPLICATION, begin, connect, prepare, said
from teachers.ledger_writing import PUT, ROW, values_of

LARGEST_CHECKED = 512 * 1024 * 1024
"""Bytes: a larger file is not read through when it is opened, only its head is. Our own bound: about half a second."""
_SIDES = ("", "-wal", "-shm")
"""What belongs to one SQLite file."""


class Rescued(NamedTuple):
    """What was done with a damaged ledger."""

    aside: Path
    """Where the damaged file lies now, unchanged."""
    calls: int
    """Calls that could be read, and stand in the new file."""
    why: str


def set_aside_if_damaged(path: Path, tell: Callable[[str], None]) -> Rescued | None:
    """Look whether a ledger is whole; a damaged one is moved away, and what can be read of it goes into a new one.

    A file that is whole, that is not there, or that is another program's is left as it is. Each call that is kept is
    one whose id is the hash of its own request. `tell` is given one line that says what was found and done.

    Raises:
        InputError: the file cannot be moved, or the new one cannot be written.
    """
    if not path.exists() or not _damage(path):
        return None
    with FileLock(path.with_name(f"{path.name}.rescue.lock"), mode=0o600):
        why = _damage(path)  # another process may have been first
        if not why:
            return None
        aside = _free_name(path)
        try:
            for side in reversed(_SIDES):
                if (beside := Path(f"{path}{side}")).exists():
                    beside.rename(f"{aside}{side}")
        except OSError as error:
            raise InputError(f"{path}: the ledger is damaged ({why}) and cannot be moved ({error.strerror})") from error
        kept = _salvage(aside, path)
    tell(
        f"{path}: the ledger was damaged ({why}); it was set aside as {aside.name}, and {kept:,} calls of it could be "
        f"read and are kept; what is missing is asked for again"
    )
    return Rescued(aside, kept, why)


def _damage(path: Path) -> str:
    """Return what is wrong with a ledger's file, or ""."""
    try:
        if path.stat().st_size == 0:
            return ""
        with closing(sqlite3.connect(path, timeout=60.0, isolation_level=None)) as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application != APPLICATION and tables:
                return ""  # another program's, and whole: refused where it is opened
            if path.stat().st_size > LARGEST_CHECKED:
                return ""
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            return "" if found == "ok" else " ".join(str(found).split())[:120]
    except sqlite3.OperationalError as error:  # rights, locks, a full disk: no damage
        return "" if "malformed" not in str(error) else str(error)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return str(error)
    except OSError as error:
        raise InputError(f"{path}: the ledger cannot be opened ({error.strerror})") from error


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _salvage(aside: Path, path: Path) -> int:
    kept = 0
    with said(path):
        begin(path)
        with closing(connect(path)) as connection:
            prepare(path, connection)
            for call, paid in _readable(aside):
                kept += connection.execute(PUT.format(ROW), values_of(call, msgspec.json.encode(call), paid)).rowcount
    return kept


def _readable(aside: Path) -> Iterator[tuple[Call, bool]]:
    """Yield what can be read from the front up to the damage, then from the back."""
    for order in ("ASC", "DESC"):
        try:
            with closing(sqlite3.connect(aside, isolation_level=None)) as connection:
                columns = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
                paid = "paid" if "paid" in columns else "1"
                for record, bought in connection.execute(f"SELECT record, {paid} FROM calls ORDER BY rowid {order}"):  # noqa: S608 - both from here
                    call = _whole(record)
                    if call is not None:
                        yield call, bool(bought)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue


def _whole(record: object) -> Call | None:
    """Return the call, where it is one and nothing of its request has changed."""
    try:
        call = msgspec.json.decode(record, type=Call) if isinstance(record, bytes) else None
    except UNREADABLE:
        return None
    if call is None or call.id != call_key(call.teacher, call.messages, call.sampling, call.sample):
        return None
    return call
