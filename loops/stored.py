"""Many records without holding them: sequences that read from a JSON lines file what they are asked for.

What has up to `HELD` records is held in memory as a list, so that small runs never notice; past that, a sequence holds
8 bytes for each record, and the file the rest.
"""

import os
import re
import weakref
from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar, overload

import msgspec

from lessons.jsonl import encode_line, read_jsonl
from lessons.records import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)

HELD = 10_000
"""Records that are held in memory: some 12 MB of lessons."""


_ID = re.compile("[0-9a-f]{16}")


class _Sequence(Sequence[T]):
    """What every sequence here shares: slices are lists, items are made one at a time."""

    @abstractmethod
    def item(self, place: int) -> T:
        """Return the item at a place, from 0."""

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self.item(one) for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.item(place % len(self))

    def __iter__(self) -> Iterator[T]:
        return (self.item(place) for place in range(len(self)))


class Stored(_Sequence[R]):
    """The records of a whole JSON lines file. The file must stay as it is while this is used.

    Raises:
        InputError: when read: the file is not there, or a line is damaged.
    """

    def __init__(self, path: Path, kind: type[R], starts: "array[int] | None" = None) -> None:
        """starts: where each line begins, and the end of the last; None: it is looked up."""
        self.path = path
        self._kind = kind
        self._starts = _lines(path) if starts is None else starts
        self._decoder = msgspec.json.Decoder(kind)
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[R]:
        return read_jsonl(self.path, self._kind)

    def item(self, place: int) -> R:
        """Read one record."""
        if self._file is None:
            self._file = self.path.open("rb")
            weakref.finalize(self, self._file.close)
        start, end = self._starts[place], self._starts[place + 1]
        return self._decoder.decode(os.pread(self._file.fileno(), end - start, start))


class Picked(_Sequence[T]):
    """Some items of a sequence, in an order of their own, each perhaps changed when it is read. Holds 8 bytes for each.

    change: told the place in this sequence, and the item.
    """

    def __init__(self, source: Sequence[T], places: Iterable[int], change: Callable[[int, T], T] | None = None) -> None:
        self._source = source
        self._places = array("q", places)
        self._change = change

    def __len__(self) -> int:
        return len(self._places)

    def item(self, place: int) -> T:
        """Read one item."""
        found = self._source[self._places[place]]
        return found if self._change is None else self._change(place, found)


class Joined(_Sequence[T]):
    """Items of several sequences in one order. Holds 16 bytes for each."""

    def __init__(self, sources: Sequence[Sequence[T]], picks: Iterable[tuple[int, int]]) -> None:
        """picks: for each item the number of its sequence, and its place there."""
        self._sources = sources
        self._which, self._places = array("q"), array("q")
        for which, place in picks:
            self._which.append(which)
            self._places.append(place)

    def __len__(self) -> int:
        return len(self._which)

    def item(self, place: int) -> T:
        """Read one item."""
        return self._sources[self._which[place]][self._places[place]]


class Ids(Set[str]):
    """A set of records' ids (16 hex digits each) that holds 8 bytes for each."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        import numpy as np

        found = array("Q", (int(one, 16) for one in ids))
        self._sorted = array("Q", np.unique(np.frombuffer(found, np.uint64)).tobytes()) if found else found

    def __contains__(self, one: object) -> bool:
        if not isinstance(one, str) or not _ID.fullmatch(one):
            return False
        number = int(one, 16)
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number

    def __iter__(self) -> Iterator[str]:
        return (f"{number:016x}" for number in self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)


class Spool(Generic[R]):
    """Takes records one after the other, and gives them back as a sequence: a list, or past `HELD` a file.

    path: the file, which is made only then; what stood there is overwritten. It is whole once `records` was called.
    None: all of them are held in memory.
    """

    def __init__(self, path: Path | None, kind: type[R]) -> None:
        self._path = path
        self._kind = kind
        self._held: list[R] = []
        self._starts = array("q", [0])
        self._out: BinaryIO | None = None

    def add(self, record: R) -> None:
        """Take a record."""
        if self._path is None or (self._out is None and len(self._held) < HELD):
            self._held.append(record)
            return
        if self._out is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._out = self._path.open("wb")
            weakref.finalize(self, self._out.close)
            for early in self._held:
                self._write(self._out, early)
            self._held.clear()
        self._write(self._out, record)

    def extend(self, records: Iterable[R]) -> None:
        """Take several records."""
        for record in records:
            self.add(record)

    def records(self) -> Sequence[R]:
        """Return what was taken so far; nothing may be added afterwards."""
        if self._out is None or self._path is None:
            return self._held
        self._out.close()
        return Stored(self._path, self._kind, self._starts)

    def _write(self, out: BinaryIO, record: R) -> None:
        line = encode_line(record)
        out.write(line)
        self._starts.append(self._starts[-1] + len(line))


def picked(source: Sequence[T], places: Iterable[int], change: Callable[[int, T], T] | None = None) -> Sequence[T]:
    """Return some items of a sequence, as `Picked` does: a list of up to `HELD`."""
    return held(Picked(source, places, change))


def joined(sources: Sequence[Sequence[T]], picks: Iterable[tuple[int, int]]) -> Sequence[T]:
    """Return items of several sequences, as `Joined` does: a list of up to `HELD`."""
    return held(Joined(sources, picks))


def held(items: Sequence[T]) -> Sequence[T]:
    """Return a list of the items where they are few, else the sequence itself."""
    return list(items) if len(items) <= HELD else items


def records(path: Path, kind: type[R], *, torn: Callable[[str], None] | None = None) -> Sequence[R]:
    """Return the records of a file: a list of up to `HELD`, else a sequence that reads what it is asked for.

    Raises:
        InputError: the file is not there, or a line is damaged; of a large file, when that is read.
    """
    first = list(islice(read_jsonl(path, kind, torn=torn), HELD + 1))
    return first if len(first) <= HELD else Stored(path, kind)


def _lines(path: Path) -> "array[int]":
    """Return where each line of a file begins, and the end of the last one; blank lines count for nothing."""
    starts, ends, place = array("q"), 0, 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                starts.append(place)
                ends = place + len(line)
            place += len(line)
    starts.append(ends)
    return starts
