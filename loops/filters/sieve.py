"""Candidates through all filters of a round, one filter after the other, without holding them all.

Neighbours that judge each candidate by itself take turns on some candidates at a time: one reading of the file for all
of them. What passes and what is dropped lies in a folder of the sieve's own past `loops.stored.HELD` records.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Self, TypeVar

from lessons.records import Dropped, Lesson, Record
from loops.filters.base import Context, Filter, judged
from loops.stored import Spool

R = TypeVar("R", bound=Record)

CHUNK = 1000
"""Candidates that filters which judge by themselves are given at once."""

Named = tuple[str, Filter]
"""A filter with the name that its checks carry."""
Look = Callable[[Filter, Sequence[Lesson], Context], Context]
"""Told a filter, what it is about to judge, and what it might look at so far; returns what it may look at."""


def groups(filters: Sequence[Named], whole: Callable[[Filter], bool]) -> Iterator[list[Named]]:
    """Yield the filters in order: neighbours that may take turns together, each other one by itself.

    whole: whether a filter is to be given all candidates at once, though it judges each by itself.
    """
    group: list[Named] = []
    for named in filters:
        together = turns(named[1], whole)
        if group and not together:
            yield group
            group = []
        group.append(named)
        if not together:
            yield group
            group = []
    if group:
        yield group


def turns(judge: Filter, whole: Callable[[Filter], bool]) -> bool:
    """Whether a filter judges some candidates at a time, in turn with its neighbours."""
    return bool(getattr(judge, "alone", False)) and not whole(judge)


class Sieve:
    """What candidates pass through. A `with` block's end clears its folder."""

    def __init__(self, folder: Path) -> None:
        """folder: for what does not fit in memory; what lies there is thrown away."""
        self.counts: Counter[str] = Counter()
        """How many were dropped, by "filter: reason"; filters in their order."""
        self._folder = folder
        self._dropped: list[Sequence[Dropped]] = []  # [filter]
        self._files = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def dropped(self) -> Iterator[Dropped]:
        """What was dropped so far, filter after filter."""
        return chain.from_iterable(self._dropped)

    def through(
        self, group: Sequence[Named], lessons: Sequence[Lesson], context: Context, look: Look, *, whole: bool
    ) -> Sequence[Lesson]:
        """Return what passes a group of filters, with their checks.

        whole: whether its one filter is given all of them at once; else all of the group judge some at a time.
        """
        kept, gone = self._spool(Lesson), [self._spool(Dropped) for _ in group]
        counts: list[Counter[str]] = [Counter() for _ in group]
        for some in [lessons] if whole else _chunks(lessons):
            looks = context
            for place, (name, judge) in enumerate(group):
                looks = look(judge, some, looks)
                passed: list[Lesson] = []
                for row in judged(name, judge, some, looks):
                    if isinstance(row, Dropped):
                        gone[place].add(row)
                        counts[place][f"{row.check.filter}: {row.check.reason}"] += 1
                    elif place == len(group) - 1:
                        kept.add(row)
                    else:
                        passed.append(row)
                some = passed
        self._dropped += [spool.records() for spool in gone]
        for found in counts:
            self.counts.update(found)
        return kept.records()

    def _spool(self, kind: type[R]) -> Spool[R]:
        self._files += 1
        return Spool(self._folder / f"{self._files}.jsonl", kind)


def _chunks(lessons: Sequence[Lesson]) -> Iterator[list[Lesson]]:
    rest = iter(lessons)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
