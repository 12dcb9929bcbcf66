"""The ledger: every teacher reply that was paid for, on disk before anybody uses it, never bought twice."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from lessons.errors import InputError
from lessons.ids import content_id
from lessons.records import Message, Record
from teachers.base import Reply, Sampling
from teachers.ledger_file import begin, connect, connect_to_read, prepare, said

BATCH = 90
"""Puts at most in one transaction: eleven values each, and older SQLites take 999 in a statement."""
PUT = """
INSERT INTO calls (id, teacher, purpose, seconds, prompt, cached_prompt, completion, reasoning, record, usd, paid)
VALUES {} ON CONFLICT (id) DO NOTHING
"""
ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BROKEN = "INSERT INTO broken VALUES (?, ?, ?, ?, ?, ?, ?)"
_GET = "SELECT record FROM calls WHERE id = ?"
_LAST = "SELECT record FROM calls WHERE teacher = ? ORDER BY rowid DESC LIMIT 1"


class Call(Record, frozen=True, kw_only=True):
    """One request to a teacher and the reply that it got."""

    id: str
    """`call_key` of the request."""
    teacher: str
    purpose: str
    """Name of the prompt; a repair turn has "/repair" after it."""
    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int
    """Index among the replies that were asked for with these messages."""
    reply: Reply
    seconds: float
    """From sending to the whole reply, the client's own retries included."""
    created: str
    """ISO 8601, UTC: when the reply was there."""


def call_key(teacher: str, messages: Sequence[Message], sampling: Sampling, sample: int) -> str:
    """Return the id of a request, 16 hex digits: a content hash of who is asked what, how, and for which sample."""
    settings = msgspec.structs.asdict(sampling)
    settings |= {"temperature": float(sampling.temperature), "top_p": float(sampling.top_p)}  # 0 and 0.0 are one value
    settings["stop"] = list(sampling.stop)
    if sampling.json_schema is None:
        del settings["json_schema"]  # keys from before there were schemas stay what they are
    chat = [[message["role"], message["content"]] for message in messages]
    return content_id("call", teacher=teacher, messages=chat, sampling=settings, sample=sample)


class _Put(NamedTuple):
    call: Call
    record: bytes
    paid: bool
    whole: bool
    future: "asyncio.Future[Call]"
    loop: asyncio.AbstractEventLoop
    then: "tuple[Ledger, _Put] | None" = None
    """What is put where, once this is written."""


class Ledger:
    """A SQLite file of calls. Open it with `Ledger.open`; close it, or use it in a `with` block.

    Puts of many tasks share a transaction, and each is flushed to disk (WAL, synchronous=FULL) before its `put`
    returns: a process killed at any byte loses only what had not returned. Several processes may use one file.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, cache: "Ledger | None" = None) -> None:
        self.path = path
        self._reader = reader
        self._cache = cache
        self._queue: queue.SimpleQueue[_Put | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name=f"ledger {path.name}", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, cache: Path | None = None) -> Self:
        """Open a ledger, or begin one (file mode 0600) where there is none.

        `cache` is a ledger that several runs share: `borrow` looks there, and what is put goes there as well.

        Raises:
            InputError: a file cannot be opened, is damaged (see `teachers.rescue`), or is not a ledger of this
                version. It is left as it is.
        """
        shared = cls.open(cache) if cache is not None else None
        try:
            with said(path):
                if not path.exists():
                    begin(path)
                with closing(connect(path)) as connection:
                    prepare(path, connection)
                return cls(path, connect(path), shared)
        except BaseException:
            if shared is not None:
                shared.close()
            raise

    def get(self, key: str) -> Call | None:
        """Return the call under this key, or None. Microseconds; may be called from the event loop."""
        with said(self.path):
            row = self._reader.execute(_GET, (key,)).fetchone()
            return _call(row[0]) if row else None

    def has(self, teacher: str) -> bool:
        """Whether this teacher has ever answered. Reads the whole table where it has not."""
        with said(self.path):
            return self._reader.execute("SELECT 1 FROM calls WHERE teacher = ?", (teacher,)).fetchone() is not None

    def last(self, teacher: str) -> Call | None:
        """Return this teacher's last call, or None where it has none, for which the whole table is read."""
        with said(self.path):
            row = self._reader.execute(_LAST, (teacher,)).fetchone()
            return _call(row[0]) if row else None

    async def borrow(self, key: str) -> Call | None:
        """Return the call under this key from the shared cache, now in this ledger too as not paid for; else None."""
        if self._cache is None:
            return None
        call = self._cache.get(key)
        return None if call is None else await self._enqueue(call, msgspec.json.encode(call), paid=False)

    async def put(self, call: Call) -> Call:
        """Write a call and return it once it is on disk; where the key was taken, return the call that stays there."""
        return await self.put_now(call)

    def put_now(self, call: Call) -> Awaitable[Call]:
        """Write a call; what is awaited returns as `put`.

        The call is on its way as soon as this is called: cancelling the wait does not lose it.

        Raises:
            InputError: the ledger is closed; when awaited, the file cannot be written.
        """
        record = msgspec.json.encode(call)
        if self._cache is None:
            return self._enqueue(call, record)
        # Not at once: after a kill, what only the cache had would look as if another run had paid for it.
        shared = _put(call, record)
        return _both(self._enqueue(call, record, then=(self._cache, shared)), shared.future)

    def put_broken(self, call: Call) -> Awaitable[Call]:
        """Write a call whose reply was paid for and cannot be used: it is counted, and its request is sent again."""
        return self._enqueue(call, msgspec.json.encode(call), whole=False)

    def _enqueue(
        self,
        call: Call,
        record: bytes,
        *,
        paid: bool = True,
        whole: bool = True,
        then: "tuple[Ledger, _Put] | None" = None,
    ) -> "asyncio.Future[Call]":
        item = _put(call, record, paid=paid, whole=whole, then=then)
        with self._lock:
            if self._closed:
                raise InputError(f"{self.path}: the ledger is closed")
            self._queue.put(item)
        return item.future

    def close(self) -> None:
        """Write what was put, then let go of the file. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        self._reader.close()
        if self._cache is not None:
            self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write_all(self) -> None:
        """Take whatever has gathered since the last flush, and write it in one transaction; until closed."""
        connection: sqlite3.Connection | None = None
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            puts = [item for item in batch if item is not None]
            going = len(puts) == len(batch)
            if not puts:
                continue
            try:
                with said(self.path):
                    connection = connection or connect(self.path)
                    settled = _write(connection, puts)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, not to this thread
                _settle([(item, error) for item in puts])
            else:
                _settle(list(zip(puts, settled, strict=True)))
            for item in puts:
                if item.then is not None:
                    ledger, follower = item.then
                    ledger._queue.put(follower)
        if connection is not None:
            connection.close()


def _put(
    call: Call, record: bytes, *, paid: bool = True, whole: bool = True, then: "tuple[Ledger, _Put] | None" = None
) -> _Put:
    loop = asyncio.get_running_loop()
    return _Put(call, record, paid, whole, loop.create_future(), loop, then)


def _write(connection: sqlite3.Connection, puts: Sequence[_Put]) -> list[Call]:  # [put]
    """Write all in one statement, which is one transaction.

    One statement and not one for each row: each gives the interpreter's lock away, and gets it back only after the
    event loop's thread has had its turn.
    """
    whole = [put for put in puts if put.whole]
    values = [value for put in whole for value in values_of(put.call, put.record, put.paid)]
    if len(whole) < len(puts):
        _write_broken(connection, [put for put in puts if not put.whole])
    written = connection.execute(PUT.format(", ".join([ROW] * len(whole))), values).rowcount if whole else 0
    if written == len(whole):
        return [put.call for put in puts]
    return [_call(connection.execute(_GET, (p.call.id,)).fetchone()[0]) if p.whole else p.call for p in puts]


async def _both(own: Awaitable[Call], shared: Awaitable[Call]) -> Call:
    try:
        return await own
    finally:
        await shared


def values_of(call: Call, record: bytes, paid: bool) -> tuple[object, ...]:
    """Return the values of one `ROW` of `PUT`."""
    used = call.reply.usage
    tokens = (used.prompt, used.cached_prompt, used.completion, used.reasoning)
    return (call.id, call.teacher, call.purpose, call.seconds, *tokens, record, call.reply.usd, paid)


def _write_broken(connection: sqlite3.Connection, puts: Sequence[_Put]) -> None:
    for call, record, *_ in puts:
        used = call.reply.usage
        tokens = (used.prompt, used.cached_prompt, used.completion, used.reasoning)
        connection.execute(_BROKEN, (call.purpose, *tokens, call.reply.usd, record))


def _settle(outcomes: Sequence[tuple[_Put, Call | Exception]]) -> None:
    """Wake those who wait, once for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Put, Call | Exception]]] = {}
    for item, outcome in outcomes:
        by_loop.setdefault(item.loop, []).append((item, outcome))
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, own)
        except RuntimeError:  # the loop is closed: nobody waits any more, and the calls are on disk
            continue


def _wake(outcomes: Sequence[tuple[_Put, Call | Exception]]) -> None:
    for item, outcome in outcomes:
        if item.future.done():  # cancelled meanwhile
            continue
        if isinstance(outcome, Exception):
            item.future.set_exception(outcome)
        else:
            item.future.set_result(outcome)


def read_calls(path: Path, ids: Iterable[str] | None = None) -> Iterator[Call]:
    """Yield calls of a ledger, read-only, also while a run writes it or after one was killed.

    All calls in the order in which they were written, or those with these ids in the order given; an id that is not
    there is passed over. Streams: memory does not grow.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    with said(path), closing(connect_to_read(path)) as connection:
        if ids is None:
            for row in connection.execute("SELECT record FROM calls ORDER BY rowid"):
                yield _call(row[0])
        else:
            for key in ids:
                for row in connection.execute(_GET, (key,)):
                    yield _call(row[0])


def _call(record: bytes) -> Call:
    return _decoder.decode(record)


_decoder = msgspec.json.Decoder(Call)
