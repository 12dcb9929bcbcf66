import asyncio
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessons.errors import InputError
from teachers.accounts import account, accounts
from teachers.base import Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.ledger import Call, Ledger, call_key, read_calls
from teachers.rescue import set_aside_if_damaged
from teachers.scripted import ScriptedTeacher


def a_call(text: str = "4", *, sample: int = 0) -> Call:
    messages = ({"role": "user", "content": "2 + 2?"},)
    return Call(
        id=call_key("teacher", messages, Sampling(), sample),
        teacher="teacher",
        purpose="number",
        messages=messages,
        sampling=Sampling(),
        sample=sample,
        reply=Reply(text=text),
        seconds=0.25,
        created="2026-11-21T10:00:00Z",
    )


def priced(messages, sampling) -> Reply:
    return Reply(text="7", usage=Usage(prompt=20, completion=5), usd=0.25)


async def test_the_cache_saves_another_run_the_money_and_says_how_much(tmp_path, number_prompt):
    cache, first, second = tmp_path / "cache.sqlite", tmp_path / "first.sqlite", tmp_path / "second.sqlite"
    teacher = ScriptedTeacher(replies=priced)
    with Ledger.open(first, cache=cache) as ledger:
        answers = await Caller(teacher, ledger).ask(number_prompt, {"question": "1"}, n=4)
    with Ledger.open(second, cache=cache) as ledger:
        caller = Caller(teacher, ledger)
        assert (await caller.ask(number_prompt, {"question": "1"}, n=4)) == answers
        await caller.ask(number_prompt, {"question": "2"})
        assert (caller.totals.from_cache, caller.totals.sent) == (4, 1)
    assert len(teacher.requests) == 5
    told = account(second)
    assert (told.used.calls, told.paid.calls, told.saved.calls) == (5, 1, 4)
    assert (told.paid.usd, told.saved.usd) == (0.25, 1.0)
    assert account(first).saved.calls == 0
    assert {call.id for call in read_calls(second)} == {call.id for call in read_calls(cache)}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600


async def test_what_is_in_the_runs_own_ledger_stays_paid_for_also_if_the_cache_goes(tmp_path, number_prompt):
    cache, own = tmp_path / "cache.sqlite", tmp_path / "own.sqlite"
    teacher = ScriptedTeacher(replies=priced)
    with Ledger.open(own, cache=cache) as ledger:
        await Caller(teacher, ledger).ask(number_prompt, {"question": "1"})
    for side in tmp_path.glob("cache.sqlite*"):
        side.unlink()
    with Ledger.open(own, cache=cache) as ledger:
        await Caller(teacher, ledger).ask(number_prompt, {"question": "1"})
    assert len(teacher.requests) == 1
    assert account(own).paid.calls == 1


async def test_replies_that_broke_off_are_paid_for_counted_and_asked_again(ledger, number_prompt):
    cut = Reply(text="7", finish="other", usage=Usage(prompt=20, completion=3), usd=0.5)
    teacher = ScriptedTeacher(replies=[cut, priced(None, None)])
    caller = Caller(teacher, ledger)
    assert (await caller.ask(number_prompt, {"question": "1"}))[0].reason == "failed"
    assert (await caller.ask(number_prompt, {"question": "1"}))[0].reason == ""
    bill = account(ledger.path).paid
    assert (bill.calls, bill.broken, bill.usd, bill.tokens.completion) == (2, 1, 0.75, 8)
    assert accounts(ledger.path)["number"].paid == bill


async def test_unknown_prices_stay_unknown(ledger):
    await ledger.put(a_call(sample=0))
    assert account(ledger.path).paid.usd is None
    known = a_call(sample=1)
    await ledger.put(type(known)(**{**_fields(known), "reply": Reply(text="4", usd=0.5)}))
    bill = account(ledger.path).paid
    assert (bill.usd, bill.unpriced) == (0.5, 1)


def _fields(call):
    return {name: getattr(call, name) for name in call.__struct_fields__}


def test_a_ledger_of_version_1_is_read_and_brought_up_to_date(tmp_path):
    path = tmp_path / "calls.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("PRAGMA application_id=1953854565")
        old.execute("PRAGMA user_version=1")
        old.execute(
            "CREATE TABLE calls (id TEXT PRIMARY KEY NOT NULL, teacher TEXT NOT NULL, purpose TEXT NOT NULL, "
            "seconds REAL NOT NULL, prompt INTEGER, cached_prompt INTEGER, completion INTEGER, reasoning INTEGER, "
            "record BLOB NOT NULL)"
        )
        import msgspec

        call = a_call()
        old.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (call.id, call.teacher, call.purpose, call.seconds, 3, None, 4, None, msgspec.json.encode(call)),
        )
    old.close()
    assert account(path).paid.tokens == Usage(prompt=3, completion=4)  # read as it is
    with Ledger.open(path) as ledger:
        assert ledger.get(call.id) == call
        asyncio.run(ledger.put(a_call(sample=1)))
    assert account(path).paid.calls == 2


def filled(path: Path, count: int) -> set[str]:
    async def fill() -> set[str]:
        with Ledger.open(path) as ledger:
            calls = [a_call("x" * 300, sample=number) for number in range(count)]
            await asyncio.gather(*(ledger.put(call) for call in calls))
            return {call.id for call in calls}

    return asyncio.run(fill())


def test_a_damaged_ledger_is_set_aside_whole_and_what_can_be_read_is_kept(tmp_path):
    path, lines = tmp_path / "calls.sqlite", []
    ids = filled(path, 400)
    whole = path.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    damaged = whole[:middle] + b"\xee" * 4096 + whole[middle + 4096 :]
    path.write_bytes(damaged)
    rescued = set_aside_if_damaged(path, lines.append)
    assert rescued is not None
    assert rescued.aside.read_bytes() == damaged  # moved, not changed
    kept = {call.id for call in read_calls(path)}
    assert kept < ids
    assert len(kept) == rescued.calls > 380  # all but those on the one page
    (line,) = lines
    assert str(path) in line
    assert "damaged" in line
    assert rescued.aside.name in line
    assert f"{rescued.calls} calls" in line
    assert set_aside_if_damaged(path, lines.append) is None  # the new one is whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_without_a_head_is_set_aside_and_a_foreign_one_is_not_touched(tmp_path):
    ours, foreign, lines = tmp_path / "calls.sqlite", tmp_path / "foreign.sqlite", []
    ours.write_bytes(b"this is no database at all" * 100)
    rescued = set_aside_if_damaged(ours, lines.append)
    assert rescued is not None
    assert (rescued.calls, rescued.aside.name) == (0, "calls.sqlite.damaged-1")
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    before = foreign.read_bytes()
    assert set_aside_if_damaged(foreign, lines.append) is None
    assert foreign.read_bytes() == before
    assert set_aside_if_damaged(tmp_path / "none.sqlite", lines.append) is None
    assert len(lines) == 1


def test_a_second_damage_takes_another_name(tmp_path):
    path = tmp_path / "calls.sqlite"
    for number in (1, 2):
        path.write_bytes(b"no database" * 500)
        rescued = set_aside_if_damaged(path, lambda line: None)
        assert rescued is not None
        assert rescued.aside.name == f"calls.sqlite.damaged-{number}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_damaged_ledger_that_cannot_be_moved_is_an_error(tmp_path):
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"no database" * 500)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises((InputError, PermissionError)):
            set_aside_if_damaged(path, lambda line: None)
    finally:
        tmp_path.chmod(0o700)


@pytest.fixture(scope="module")
def a_filled_ledger(tmp_path_factory) -> tuple[Path, set[str]]:
    path = tmp_path_factory.mktemp("ledger") / "calls.sqlite"
    return path, filled(path, 60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), length=st.integers(1, 9000), byte=st.integers(0, 255), cut=st.booleans())
def test_whatever_bytes_are_damaged_no_call_is_invented_and_the_ledger_can_be_used(
    a_filled_ledger, tmp_path_factory, at, length, byte, cut
):
    source, ids = a_filled_ledger
    path = tmp_path_factory.mktemp("damaged") / "calls.sqlite"
    whole = source.read_bytes()
    place = int(at * (len(whole) - 1))
    path.write_bytes(whole[:place] + (b"" if cut else bytes([byte]) * length + whole[place + length :]))
    lines: list[str] = []
    rescued = set_aside_if_damaged(path, lines.append)
    assert bool(rescued) == bool(lines)
    try:
        with Ledger.open(path) as ledger:
            found = {call.id for call in read_calls(path)}
            fresh = a_call("fresh", sample=999)
            assert asyncio.run(ledger.put(fresh)) == fresh
    except InputError as error:
        assert str(path) in str(error)  # a head that reads as another program's or version's is refused, not rewritten
        assert rescued is None
        return
    assert found <= ids
    shutil.rmtree(path.parent)


async def test_a_cache_that_fails_costs_no_run(tmp_path, number_prompt, caplog):
    cache, own = tmp_path / "cache.sqlite", tmp_path / "own.sqlite"
    with Ledger.open(own, cache=cache) as ledger:
        caller = Caller(ScriptedTeacher(replies=priced), ledger)
        await caller.ask(number_prompt, {"question": "1"})
        with sqlite3.connect(cache) as other:
            other.execute("DROP TABLE calls")
        answers = [
            *await caller.ask(number_prompt, {"question": "2"}),
            *await caller.ask(number_prompt, {"question": "3"}),
        ]
        assert [answer.reason for answer in answers] == ["", ""]
    assert account(own).paid.calls == 3
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(cache) in warning
    assert "goes on without the replies of other runs" in warning


async def test_a_cache_that_fails_when_it_is_written_costs_no_run(tmp_path, number_prompt, caplog):
    cache, own = tmp_path / "cache.sqlite", tmp_path / "own.sqlite"
    with Ledger.open(own, cache=cache) as ledger:
        with sqlite3.connect(cache) as other:
            other.execute("CREATE TRIGGER no BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        caller = Caller(ScriptedTeacher(replies=priced), ledger)
        answers = await caller.ask(number_prompt, {"question": "1"}, n=5)
        assert [answer.reason for answer in answers] == [""] * 5
    assert account(own).paid.calls == 5
    assert len(caplog.records) == 1
