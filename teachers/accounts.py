"""What a ledger's calls came to: what a run used, what it paid for, what a shared cache saved it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from lessons.records import Record
from teachers.base import Usage
from teachers.ledger_file import begun, connect_to_read, said

T = TypeVar("T", int, float)

_COUNT = """
SELECT purpose, paid, count(*), count(*) - sum(whole), count(*) - count(completion), total(seconds),
    sum(prompt), sum(cached_prompt), sum(completion), sum(reasoning), sum(usd), count(*) - count(usd)
FROM bill GROUP BY purpose, paid
"""
_UNTIL = """
SELECT CASE {} END, paid, count(*), count(*) - count(completion), total(seconds),
    sum(prompt), sum(cached_prompt), sum(completion), sum(reasoning), sum(usd), count(*) - count(usd)
FROM numbered WHERE number <= ? GROUP BY 1, 2
"""
_ORDER = "SELECT purpose FROM calls GROUP BY purpose ORDER BY min(rowid)"


class Bill(Record, frozen=True, kw_only=True):
    """Calls added up. A sum is None where no call told any; it lacks the calls that told none."""

    calls: int = 0
    broken: int = 0
    """Among them: replies that broke off, paid for and asked for again."""
    unmeasured: int = 0
    """Among them: calls whose reply did not tell its completion tokens."""
    unpriced: int = 0
    """Among them: calls whose price is not known."""
    seconds: float = 0.0
    """Added over calls that went on at the same time: not wall time."""
    tokens: Usage = Usage()
    usd: float | None = None
    """None where no price is known."""

    def __add__(self, other: "Bill") -> "Bill":
        """Return the two added up."""
        return Bill(
            calls=self.calls + other.calls,
            broken=self.broken + other.broken,
            unmeasured=self.unmeasured + other.unmeasured,
            unpriced=self.unpriced + other.unpriced,
            seconds=self.seconds + other.seconds,
            tokens=Usage(
                prompt=_added(self.tokens.prompt, other.tokens.prompt),
                cached_prompt=_added(self.tokens.cached_prompt, other.tokens.cached_prompt),
                completion=_added(self.tokens.completion, other.tokens.completion),
                reasoning=_added(self.tokens.reasoning, other.tokens.reasoning),
            ),
            usd=_added(self.usd, other.usd),
        )


class Account(Record, frozen=True, kw_only=True):
    """The calls of one purpose."""

    paid: Bill = Bill()
    """Bought by this run."""
    saved: Bill = Bill()
    """Taken from the cache that runs share: what somebody paid before."""

    @property
    def used(self) -> Bill:
        """Both."""
        return self.paid + self.saved

    def __add__(self, other: "Account") -> "Account":
        """Return the two added up."""
        return Account(paid=self.paid + other.paid, saved=self.saved + other.saved)


def accounts(path: Path) -> Mapping[str, Account]:
    """Return what was used, paid and saved by purpose, in the order in which purposes first came up; read-only.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    found: dict[str, Account] = {}
    with said(path), closing(connect_to_read(path)) as connection:
        for (purpose,) in connection.execute(_ORDER):
            found[purpose] = Account()
        for row in connection.execute(_COUNT):
            purpose, paid, calls, broken, unmeasured, seconds, prompt, cached, completion, reasoning, usd, unpriced = (
                row
            )
            bill = Bill(
                calls=calls,
                broken=broken,
                unmeasured=unmeasured,
                unpriced=unpriced,
                seconds=seconds,
                tokens=Usage(prompt=prompt, cached_prompt=cached, completion=completion, reasoning=reasoning),
                usd=usd,
            )
            found[purpose] = found.get(purpose, Account()) + (Account(paid=bill) if paid else Account(saved=bill))
    return found


def account(path: Path) -> Account:
    """Return all purposes added up; nothing where there is no ledger yet.

    Raises:
        InputError: the ledger is damaged.
    """
    return sum(accounts(path).values(), Account()) if begun(path) else Account()


def entries(path: Path) -> int:
    """Return the number of the ledger's last call, counted from 1 in the order of writing; 0 where there is none.

    Raises:
        InputError: the ledger is damaged.
    """
    if not begun(path):
        return 0
    with said(path), closing(connect_to_read(path)) as connection:
        return connection.execute("SELECT max(rowid) FROM calls").fetchone()[0] or 0


def spent_until(path: Path, ends: Sequence[int]) -> list[Account]:  # [end]
    """Return what all calls up to each of these numbers came to (see `entries`); read-only, in one pass.

    Replies that broke off have no number: they are left out.

    Raises:
        InputError: there is no ledger at this path, or it is damaged.
    """
    parts = [Account() for _ in ends]
    if not ends:
        return parts
    place = " ".join(f"WHEN number <= {int(end)} THEN {number}" for number, end in enumerate(ends))
    with said(path), closing(connect_to_read(path)) as connection:
        for number, paid, *row in connection.execute(_UNTIL.format(place), (max(ends),)):
            calls, unmeasured, seconds, prompt, cached, completion, reasoning, usd, unpriced = row
            bill = Bill(
                calls=calls,
                unmeasured=unmeasured,
                unpriced=unpriced,
                seconds=seconds,
                tokens=Usage(prompt=prompt, cached_prompt=cached, completion=completion, reasoning=reasoning),
                usd=usd,
            )
            parts[number] += Account(paid=bill) if paid else Account(saved=bill)
    return list(accumulate(parts))


def _added(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
