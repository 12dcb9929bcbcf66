"""How calls get into the ledger's file: many at once, in one transaction, by the ledger's own thread."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lessons.records import Message, Record
from teachers.base import Reply, Sampling

if TYPE_CHECKING:
    from teachers.ledger import Ledger

PUT = """
INSERT INTO calls (id, teacher, purpose, seconds, prompt, cached_prompt, completion, reasoning, record, usd, paid)
VALUES {} ON CONFLICT (id) DO NOTHING
"""
ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
GET = "SELECT record FROM calls WHERE id = ?"
_BROKEN = "INSERT INTO broken VALUES (?, ?, ?, ?, ?, ?, ?)"


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


class Put(NamedTuple):
    """A call on its way to the disk, and who waits for it."""

    call: Call
    record: bytes
    """The call, encoded."""
    paid: bool
    """Whether the ledger's user bought it."""
    whole: bool
    """Whether its reply can be used; one that broke off goes into a table of its own."""
    future: "asyncio.Future[Call]"
    loop: asyncio.AbstractEventLoop
    then: "tuple[Ledger, Put] | None" = None
    """What is put where, once this is written."""


def put_of(
    call: Call, record: bytes, *, paid: bool = True, whole: bool = True, then: "tuple[Ledger, Put] | None" = None
) -> Put:
    """Return a call on its way, waited for on the running event loop."""
    loop = asyncio.get_running_loop()
    return Put(call, record, paid, whole, loop.create_future(), loop, then)


def write(connection: sqlite3.Connection, puts: Sequence[Put]) -> list[Call]:  # [put]
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
    return [call_of(connection.execute(GET, (p.call.id,)).fetchone()[0]) if p.whole else p.call for p in puts]


def values_of(call: Call, record: bytes, paid: bool) -> tuple[object, ...]:
    """Return the values of one `ROW` of `PUT`."""
    used = call.reply.usage
    tokens = (used.prompt, used.cached_prompt, used.completion, used.reasoning)
    return (call.id, call.teacher, call.purpose, call.seconds, *tokens, record, call.reply.usd, paid)


def _write_broken(connection: sqlite3.Connection, puts: Sequence[Put]) -> None:
    for call, record, *_ in puts:
        used = call.reply.usage
        tokens = (used.prompt, used.cached_prompt, used.completion, used.reasoning)
        connection.execute(_BROKEN, (call.purpose, *tokens, call.reply.usd, record))


def settle(outcomes: Sequence[tuple[Put, Call | Exception]]) -> None:
    """Wake those who wait, once for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Put, Call | Exception]]] = {}
    for item, outcome in outcomes:
        by_loop.setdefault(item.loop, []).append((item, outcome))
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, own)
        except RuntimeError:  # the loop is closed: nobody waits any more, and the calls are on disk
            continue


def _wake(outcomes: Sequence[tuple[Put, Call | Exception]]) -> None:
    for item, outcome in outcomes:
        if item.future.done():  # cancelled meanwhile
            continue
        if isinstance(outcome, Exception):
            item.future.set_exception(outcome)
        else:
            item.future.set_result(outcome)


def call_of(record: object) -> Call:
    """Return the call that was encoded.

    Raises:
        msgspec.DecodeError: it is none; in a damaged file the cell may hold anything.
    """
    return _decoder.decode(bytes_of(record))


def bytes_of(cell: object) -> bytes:
    """Return a cell that must hold bytes.

    Raises:
        msgspec.DecodeError: it holds something else.
    """
    if not isinstance(cell, bytes):
        raise msgspec.DecodeError(f"a record is no bytes but {type(cell).__name__}")
    return cell


_decoder = msgspec.json.Decoder(Call)
