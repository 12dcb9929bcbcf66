import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.records import Message
from teachers.accounts import accounts
from teachers.base import Reply, Sampling, Usage
from teachers.ledger import Call, Ledger, call_key, read_calls

ROOT = Path(__file__).resolve().parents[2]


def a_call(text: str = "4", *, sample: int = 0, purpose: str = "number", usage: Usage | None = None) -> Call:
    messages = (Message(role="user", content="What is 2 + 2?"),)
    sampling = Sampling(seed=1)
    return Call(
        id=call_key("scripted", messages, sampling, sample),
        teacher="scripted",
        purpose=purpose,
        messages=messages,
        sampling=sampling,
        sample=sample,
        reply=Reply(text=text, usage=usage or Usage()),
        seconds=0.25,
        created="2026-11-03T10:00:00.000+00:00",
    )


samplings = st.builds(
    Sampling,
    max_tokens=st.integers(1, 9999),
    temperature=st.sampled_from([0, 0.0, 0.5, 1, 1.0]),
    top_p=st.sampled_from([1, 1.0, 0.9]),
    seed=st.none() | st.integers(0, 2**31 - 1),
    stop=st.lists(st.text(max_size=4), max_size=2).map(tuple),
)
chats = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "user", "assistant"]),
        st.text(st.characters(), max_size=20),  # surrogates included
    ),
    max_size=3,
).map(tuple)


@given(st.text(max_size=8), chats, samplings, st.integers(0, 99))
def test_equal_requests_have_equal_keys_whatever_their_types_and_order(name, messages, sampling, sample):
    key = call_key(name, messages, sampling, sample)
    shuffled = [{"content": turn["content"], "role": turn["role"]} for turn in messages]
    floats = Sampling(
        max_tokens=sampling.max_tokens,
        temperature=float(sampling.temperature),
        top_p=float(sampling.top_p),
        seed=sampling.seed,
        stop=sampling.stop,
    )
    assert call_key(name, shuffled, floats, sample) == key
    assert len(key) == 16
    assert int(key, 16) >= 0


@given(chats, chats, samplings, samplings, st.integers(0, 3), st.integers(0, 3))
def test_different_requests_have_different_keys(chat, other_chat, sampling, other_sampling, sample, other_sample):
    same = (chat, sampling, sample) == (other_chat, other_sampling, other_sample)
    keys_equal = call_key("t", chat, sampling, sample) == call_key("t", other_chat, other_sampling, other_sample)
    assert keys_equal == same


def test_the_key_of_a_request_never_changes_between_versions():
    # A change here makes every ledger of every user worthless.
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Wie spät ist es? \U0001f551"),
    )
    sampling = Sampling(max_tokens=64, temperature=0.5, top_p=0.9, seed=7, stop=("\n",))
    assert call_key("openai:m@h", messages, sampling, 2) == "a66770b107b6d23a"


async def test_a_call_comes_back_as_it_was_put_also_after_reopening(tmp_path: Path):
    path = tmp_path / "calls.sqlite"
    call = a_call("viër\n\U0001f600", usage=Usage(prompt=3, completion=2))
    with Ledger.open(path) as ledger:
        assert ledger.get(call.id) is None
        assert not ledger.has("scripted")
        assert await ledger.put(call) == call
        assert ledger.get(call.id) == call
    with Ledger.open(path) as ledger:
        assert ledger.get(call.id) == call
        assert ledger.has("scripted")
        assert ledger.get("0" * 16) is None
    assert list(read_calls(path)) == [call]


async def test_the_first_reply_under_a_key_stays(ledger: Ledger):
    await ledger.put(a_call("first"))
    assert (await ledger.put(a_call("second"))).reply.text == "first"
    assert ledger.get(a_call().id).reply.text == "first"


async def test_cancelling_a_put_does_not_lose_the_call(ledger: Ledger):
    putting = asyncio.create_task(ledger.put(a_call()))
    await asyncio.sleep(0)  # it is queued now
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    ledger.close()
    assert [call.id for call in read_calls(ledger.path)] == [a_call().id]


async def test_many_puts_share_transactions_and_all_are_there(ledger: Ledger):
    calls = [a_call(str(i), sample=i) for i in range(2000)]
    await asyncio.gather(*(ledger.put(call) for call in calls))
    assert list(read_calls(ledger.path)) == calls


def test_a_ledger_serves_one_event_loop_after_another(ledger: Ledger):
    for sample in range(3):
        assert asyncio.run(ledger.put(a_call(sample=sample))).sample == sample


def test_only_its_owner_may_read_it_also_the_files_that_sqlite_adds(ledger: Ledger):
    asyncio.run(ledger.put(a_call()))
    files = sorted(ledger.path.parent.glob("calls.sqlite*"))
    assert len(files) == 3
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


async def test_putting_into_a_closed_ledger_is_an_error(ledger: Ledger):
    ledger.close()
    ledger.close()
    with pytest.raises(InputError, match=r"calls\.sqlite: the ledger is closed"):
        await ledger.put(a_call())


@pytest.mark.parametrize("damage", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, damage: bytes):
    path = tmp_path / "calls.sqlite"
    path.write_bytes(damage)
    with pytest.raises(InputError, match=r"calls\.sqlite: the ledger .*(damaged|cannot be used)"):
        Ledger.open(path)
    with pytest.raises(InputError, match="damaged|cannot be used"):
        list(read_calls(path))
    assert path.read_bytes() == damage


async def test_damage_in_the_middle_is_said_when_it_is_read(tmp_path: Path):
    path = tmp_path / "calls.sqlite"
    with Ledger.open(path) as ledger:
        await asyncio.gather(*(ledger.put(a_call("x" * 500, sample=i)) for i in range(200)))
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xee" * (len(whole) - 8192))
    with pytest.raises(InputError, match=r"calls\.sqlite: the ledger is damaged"):
        list(read_calls(path))


def test_another_programs_database_and_another_version_are_refused(tmp_path: Path):
    foreign, newer = tmp_path / "foreign.sqlite", tmp_path / "newer.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="not a ledger"):
        Ledger.open(foreign)
    assert foreign.read_bytes() == before
    Ledger.open(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match="newer tutelage .format 99, this one reads up to 2"):
        Ledger.open(newer)


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be opened"):
        Ledger.open(tmp_path / "missing" / "calls.sqlite")
    with pytest.raises(InputError, match="there is no ledger"):
        accounts(tmp_path / "calls.sqlite")
    assert not (tmp_path / "calls.sqlite").exists()


async def test_reports_read_while_the_ledger_is_written(ledger: Ledger):
    calls = [
        a_call(sample=0, usage=Usage(prompt=10, cached_prompt=4, completion=2)),
        a_call(sample=1, usage=Usage(prompt=5, completion=3)),
        a_call(sample=2, purpose="critique"),
    ]
    for call in calls:
        await ledger.put(call)
    wanted = [calls[2].id, "0" * 16, calls[0].id]
    assert [call.sample for call in read_calls(ledger.path, wanted)] == [2, 0]
    counts = {purpose: row.paid for purpose, row in accounts(ledger.path).items()}
    assert list(counts) == ["number", "critique"]
    assert (counts["number"].calls, counts["number"].unmeasured, counts["number"].seconds) == (2, 0, 0.5)
    assert counts["number"].tokens == Usage(prompt=15, cached_prompt=4, completion=5)
    assert counts["critique"].tokens == Usage()  # unknown is not 0
    assert counts["critique"].unmeasured == 1


WRITE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]) / "tests" / "teachers"))
from test_ledger import a_call
from teachers.ledger import Ledger

async def main():
    with Ledger.open(Path(sys.argv[2])) as ledger:
        async def one(i):
            await ledger.put(a_call("x" * 3000, sample=i))
            print(i, flush=True)
        for begin in range(int(sys.argv[3]), int(sys.argv[4]), 16):
            await asyncio.gather(*(one(i) for i in range(begin, begin + 16)))
asyncio.run(main())
"""


def writing(path: Path, begin: int, end: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITE, str(ROOT), str(path), str(begin), str(end)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def test_what_was_put_survives_a_kill_at_any_moment(tmp_path: Path):
    path = tmp_path / "calls.sqlite"
    said = 0
    for trial, lines in enumerate((1, 40, 333)):
        begin = trial * 100_000
        with writing(path, begin, begin + 16_000) as process:
            assert process.stdout is not None
            heard = [int(process.stdout.readline()) for _ in range(lines)]
            os.kill(process.pid, signal.SIGKILL)
            heard += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        said += len(heard)
        kept = {call.sample for call in read_calls(path)}  # read-only, on what the kill left
        assert set(heard) <= kept
        assert len(kept) >= said
    with Ledger.open(path) as ledger:  # and it goes on
        assert ledger.get(a_call(sample=0).id) is not None


def test_two_processes_share_a_ledger_from_its_first_moment(tmp_path: Path):
    for trial in range(3):
        path = tmp_path / f"{trial}.sqlite"
        processes = [writing(path, begin, begin + 160) for begin in (0, 80, 1000)]  # two of them overlap
        for process in processes:
            with process:
                assert process.wait() == 0
        assert sorted(call.sample for call in read_calls(path)) == [*range(240), *range(1000, 1160)]
