"""Looking at a ledger writes nothing, into it or beside it: closed, in use, left by a kill, copied without an index."""

import contextlib
import hashlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.records import Message
from teachers.accounts import account, entries, spent_until
from teachers.base import Reply, Sampling, Usage
from teachers.ledger import Call, Ledger, call_key, ids_like, read_calls, were_paid, written_until
from teachers.rescue import set_aside_if_damaged

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "alone":
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM calls WHERE id = 'none'")
connection.execute("UPDATE calls SET seconds = seconds + 1")
connection.execute("COMMIT")
print("ready", flush=True)
sys.stdin.readline()
"""


def a_call(number: int, *, created: str = "2026-11-20T10:00:00Z", usd: float | None = 0.5) -> Call:
    messages = (Message(role="user", content=f"question {number}"),)
    return Call(
        id=call_key("teacher", messages, Sampling(), 0),
        teacher="teacher",
        purpose="solution",
        messages=messages,
        sampling=Sampling(),
        sample=0,
        reply=Reply(text=f"reply {number}", usage=Usage(prompt=10 + number, completion=number), usd=usd),
        seconds=1.0,
        created=created,
    )


@pytest.fixture
async def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "calls.sqlite"
    path.parent.mkdir()
    with Ledger.open(path) as opened:
        for number in range(40):
            await opened.put(a_call(number, created=f"2026-11-20T10:{number:02d}:00Z"))
    return path


def tree(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def look(path: Path) -> int:
    """Read it in every way there is; return how many calls it holds."""
    numbers = [call.reply.usage.completion for call in read_calls(path)]
    assert sorted(number for number in numbers if number is not None) == list(range(len(numbers)))
    assert (entries(path), account(path).used.calls) == (len(numbers), len(numbers))
    assert sum(were_paid(path, ids_like(path, "")).values()) == len(numbers)
    return len(numbers)


def writer(path: Path, how: str) -> subprocess.Popen[str]:
    """Start a process that has the ledger open, with its last transaction in the log."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def test_a_closed_ledger(ledger: Path) -> None:
    before = tree(ledger.parent)
    assert list(before) == ["calls.sqlite"]
    assert look(ledger) == 40
    assert tree(ledger.parent) == before


async def test_a_ledger_that_a_process_writes(ledger: Path) -> None:
    with writer(ledger, "shared") as process:
        before = tree(ledger.parent)
        assert list(before) == ["calls.sqlite", "calls.sqlite-shm", "calls.sqlite-wal"]
        assert look(ledger) == 40
        assert tree(ledger.parent) == before
        process.communicate("\n")


async def test_a_ledger_that_a_kill_left(ledger: Path, tmp_path: Path) -> None:
    with writer(ledger, "shared") as process:
        process.kill()
    before = tree(ledger.parent)
    assert "calls.sqlite-wal" in before
    assert look(ledger) == 40
    assert next(read_calls(ledger)).seconds == 1.0
    assert account(ledger).used.seconds == 80.0  # what stands in the log is read
    assert tree(ledger.parent) == before
    shutil.copytree(ledger.parent, tmp_path / "copy", ignore=lambda folder, names: ["calls.sqlite-shm"])
    copy = tmp_path / "copy" / "calls.sqlite"
    before = tree(copy.parent)
    assert look(copy) == 40
    assert account(copy).used.seconds == 80.0
    assert tree(copy.parent) == before


async def test_a_ledger_that_a_process_keeps_to_itself(ledger: Path) -> None:
    with writer(ledger, "alone") as process:
        before = tree(ledger.parent)
        assert look(ledger) == 40
        assert account(ledger).used.seconds == 80.0
        assert tree(ledger.parent) == before
        process.communicate("\n")


async def test_spent_until_is_the_sum_up_to_each_call(ledger: Path) -> None:
    ends = [0, 1, 17, 40, 99]
    found = spent_until(ledger, ends)
    for end, part in zip(ends, found, strict=True):
        numbers = range(min(end, 40))
        assert part.used.calls == len(numbers)
        assert (part.used.tokens.prompt or 0) == sum(10 + number for number in numbers)
        assert (part.used.tokens.completion or 0) == sum(numbers)
        assert (part.paid.usd or 0) == pytest.approx(0.5 * len(numbers))
    assert spent_until(ledger, []) == []


async def test_what_was_written_until_a_time(ledger: Path) -> None:
    times = ["2026-11-20T09:59:59Z", "2026-11-20T10:00:00Z", "2026-11-20T10:16:30Z", "2026-11-21T00:00:00Z"]
    assert written_until(ledger, times) == [0, 1, 17, 40]
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("UPDATE calls SET paid = 0")  # all from a cache: their times are somebody else's
    assert written_until(ledger, times) == [None] * 4
    assert set(were_paid(ledger, ids_like(ledger, "")).values()) == {False}


async def test_ids_by_their_beginning(ledger: Path) -> None:
    every = sorted(call.id for call in read_calls(ledger))
    assert ids_like(ledger, "") == every
    for beginning in (every[0][:3], every[5], "zz"):
        assert ids_like(ledger, beginning) == [name for name in every if name.startswith(beginning)]


def test_no_ledger(tmp_path: Path) -> None:
    assert entries(tmp_path / "calls.sqlite") == 0
    with pytest.raises(InputError, match="there is no ledger"):
        ids_like(tmp_path / "calls.sqlite", "")


async def test_a_ledger_whose_first_tables_were_never_finished_is_none_yet(tmp_path: Path) -> None:
    """As kills leave it: an empty file, or half of the tables beside the journal that undoes them."""
    empty, half = tmp_path / "empty.sqlite", tmp_path / "half.sqlite"
    empty.touch()
    with contextlib.closing(sqlite3.connect(tmp_path / "begun.sqlite", isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size=1")  # what is written goes to the disk before it is committed
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("PRAGMA application_id=1953854565")
        writer.execute("CREATE TABLE calls (record BLOB)")
        writer.executemany("INSERT INTO calls VALUES (?)", [(bytes(3000),)] * 50)
        for side in ("", "-journal"):
            shutil.copyfile(f"{tmp_path / 'begun.sqlite'}{side}", f"{half}{side}")
    assert half.stat().st_size > 0
    for path in (empty, half):
        assert account(path).used.calls == 0
        assert entries(path) == 0
        with pytest.raises(InputError, match="there is no ledger"):
            list(read_calls(path))
        assert set_aside_if_damaged(path, print) is None
        assert account(path).used.calls == 0
        with Ledger.open(path) as ledger:
            await ledger.put(a_call(1))
        assert entries(path) == 1
