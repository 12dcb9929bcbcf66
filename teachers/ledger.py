"""The ledger: every teacher reply that was paid for, on disk before anybody uses it, never bought twice."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import msgspec

from lessons.errors import InputError
from lessons.ids import content_id
from lessons.records import Message
from teachers.base import Sampling
from teachers.ledger_file import begin, connect, connect_to_read, prepare, said
from teachers.ledger_writing import GET, Call, Put, bytes_of, call_of, put_of, settle, write

_log = logging.getLogger(__name__)

BATCH = 90
"""Puts at most in one transaction: eleven values each, and older SQLites take 999 in a statement."""
_LAST = "SELECT record FROM calls WHERE teacher = ? ORDER BY rowid DESC LIMIT 1"


def call_key(teacher: str, messages: Sequence[Message], sampling: Sampling, sample: int) -> str:
    """Return the id of a request, 16 hex digits: a content hash of who is asked what, how, and for which sample."""
    settings = msgspec.structs.asdict(sampling)
    settings |= {"temperature": float(sampling.temperature), "top_p": float(sampling.top_p)}  # 0 and 0.0 are one value
    settings["stop"] = list(sampling.stop)
    if sampling.json_schema is None:
        del settings["json_schema"]  # keys from before there were schemas stay what they are
    chat = [[message["role"], message["content"]] for message in messages]
    return content_id("call", teacher=teacher, messages=chat, sampling=settings, sample=sample)


class Ledger:
    """A SQLite file of calls. Open it with `Ledger.open`; close it, or use it in a `with` block.

    Puts of many tasks share a transaction, and each is flushed to disk (WAL, synchronous=FULL) before its `put`
    returns: a process killed at any byte loses only what had not returned. Several processes may use one file.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, cache: "Ledger | None" = None) -> None:
        self.path = path
        self._reader = reader
        self._cache = cache
        self._given_up: Ledger | None = None
        """The cache, after it failed: it is still to be closed."""
        self._queue: queue.SimpleQueue[Put | None] = queue.SimpleQueue()
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
            row = self._reader.execute(GET, (key,)).fetchone()
            return call_of(row[0]) if row else None

    def has(self, teacher: str) -> bool:
        """Whether this teacher has ever answered. Reads the whole table where it has not."""
        with said(self.path):
            return self._reader.execute("SELECT 1 FROM calls WHERE teacher = ?", (teacher,)).fetchone() is not None

    def last(self, teacher: str) -> Call | None:
        """Return this teacher's last call, or None where it has none, for which the whole table is read."""
        with said(self.path):
            row = self._reader.execute(_LAST, (teacher,)).fetchone()
            return call_of(row[0]) if row else None

    async def borrow(self, key: str) -> Call | None:
        """Return the call under this key from the shared cache, now in this ledger too as not paid for; else None."""
        if self._cache is None:
            return None
        try:
            call = self._cache.get(key)
        except InputError as error:
            self._without_cache(error)
            return None
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
        shared = put_of(call, record)
        return self._both(self._enqueue(call, record, then=(self._cache, shared)), shared.future)

    async def _both(self, own: Awaitable[Call], shared: Awaitable[Call]) -> Call:
        try:
            call = await own
        except BaseException:
            await asyncio.gather(shared, return_exceptions=True)
            raise
        try:
            await shared
        except InputError as error:
            self._without_cache(error)
        return call

    def _without_cache(self, error: InputError) -> None:
        """Go on without the cache: it saves money, and must not cost a run."""
        if self._cache is not None:
            self._given_up, self._cache = self._cache, None
            _log.warning("%s; the run goes on without the replies of other runs", error)

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
        then: "tuple[Ledger, Put] | None" = None,
    ) -> "asyncio.Future[Call]":
        item = put_of(call, record, paid=paid, whole=whole, then=then)
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
        for cache in (self._cache, self._given_up):
            if cache is not None:
                cache.close()

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
                    settled = write(connection, puts)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, not to this thread
                settle([(item, error) for item in puts])
            else:
                settle(list(zip(puts, settled, strict=True)))
            for item in puts:
                if item.then is not None:
                    ledger, follower = item.then
                    ledger._queue.put(follower)
        if connection is not None:
            connection.close()


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
                yield call_of(row[0])
        else:
            for key in ids:
                for row in connection.execute(GET, (key,)):
                    yield call_of(row[0])


def were_paid(path: Path, ids: Iterable[str]) -> dict[str, bool]:
    """Return call id -> whether this ledger's user bought the reply; False where a shared cache had it. Read-only.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    paid = "SELECT numbered.paid FROM calls JOIN numbered ON number = calls.rowid WHERE id = ?"
    with said(path), closing(connect_to_read(path)) as connection:
        return {key: bool(row[0]) for key in ids for row in connection.execute(paid, (key,))}


def ids_like(path: Path, beginning: str) -> list[str]:
    """Return the ids of calls that begin so, in order; read-only.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    with said(path), closing(connect_to_read(path)) as connection:
        between = "SELECT id FROM calls WHERE id >= ? AND id < ? ORDER BY id"
        return [row[0] for row in connection.execute(between, (beginning, beginning + "g"))]


def written_until(path: Path, times: Sequence[str]) -> list[int | None]:  # [time]
    """Return the number of the last call that stood in the ledger at each of these times (ISO 8601, UTC), read-only.

    Calls from a cache have the time of whoever bought them and tell nothing; without any other the answer is None.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    decoder = msgspec.json.Decoder(_Made)
    with said(path), closing(connect_to_read(path)) as connection:
        paid = "SELECT rowid, record FROM calls WHERE rowid IN (SELECT number FROM numbered WHERE paid) ORDER BY rowid"
        made = [(row[0], decoder.decode(bytes_of(row[1])).created) for row in connection.execute(paid)]
        last = connection.execute("SELECT max(rowid) FROM calls").fetchone()[0]
    if not made:
        return [None for _ in times]
    # What was borrowed between two bought calls is counted with the earlier one.
    return [next((number - 1 for number, created in made if created > time), last) for time in times]


class _Made(msgspec.Struct):
    created: str
