"""Draw the parts of a split from rows of data, so that no two parts share a question. Pure functions and one reader."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import msgspec

from lessons.answers import question_key
from lessons.errors import InputError
from lessons.jsonl import UNREADABLE
from lessons.records import Problem

Row = dict[str, Any]
T = TypeVar("T")


def rows_of(path: Path, *, advice: str = "") -> Iterator[tuple[int, Row]]:
    """Yield line number and content of each row of a JSON lines file; blank lines are passed over.

    Raises:
        InputError: the file cannot be read (with `advice` on where to get it), holds no rows, or a line is no object.
    """
    decoder = msgspec.json.Decoder()
    number, rows = 0, 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = decoder.decode(line.removeprefix(b"\xef\xbb\xbf"))
                if not isinstance(row, dict):
                    raise InputError(f"{path}: line {number}: expected an object, got {type(row).__name__}")
                rows += 1
                yield number, cast(Row, row)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}){advice and '; '}{advice}") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: line {number}: {error}") from error
    if not rows:
        raise InputError(f"{path}: holds no rows")


def text_of(row: Row, field: str, path: Path, line: int) -> str:
    """Return a row's text field.

    Raises:
        InputError: the field is missing, no text, or empty; names file, line and field.
    """
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        fault = "is missing" if field not in row else "is empty" if isinstance(value, str) else "is not text"
        raise InputError(
            f"{path}: line {line}: field {field!r} {fault}; fields here: {', '.join(map(str, row)) or 'none'}"
        )
    return value


def shuffled(items: Iterable[T], rng: Random) -> list[T]:
    """Return the items in a random order."""
    order = list(items)
    rng.shuffle(order)
    return order


def key_of(problem: Problem) -> str:
    """Return what two problems share when they ask the same but for case, spaces and punctuation."""
    return question_key(problem.question)


def unused(problems: Iterable[Problem], used: set[str], key: Callable[[Problem], str] = key_of) -> Iterator[Problem]:
    """Yield the problems whose key is not in `used`, and put it there: each question once, in one part only.

    A key that depends on the question alone keeps two parts from sharing ids as well as texts.
    """
    for problem in problems:
        name = key(problem)
        if name not in used:
            used.add(name)
            yield problem


def take(problems: Iterator[Problem], count: int, *, part: str, source: object) -> tuple[Problem, ...]:
    """Return the next `count` problems.

    Raises:
        InputError: there are not so many; says how many there are.
    """
    taken = tuple(problem for _, problem in zip(range(count), problems, strict=False))
    if len(taken) < count:
        raise InputError(
            f"{source}: {part} asks for {count:,} problems, but only {len(taken):,} different ones are left"
        )
    return taken


def balanced(problems: Sequence[Problem], label: Callable[[Problem], str]) -> list[Problem]:
    """Return the problems one label after the other in turn, so that any first n of them are balanced."""
    piles: dict[str, list[Problem]] = {}
    for problem in problems:
        piles.setdefault(label(problem), []).append(problem)
    turns = max(map(len, piles.values()), default=0)
    return [pile[turn] for turn in range(turns) for pile in piles.values() if turn < len(pile)]


def checked_counts(**counts: int) -> None:
    """Refuse negative counts, and an empty train or held-out part.

    Raises:
        ValueError: names the knob.
    """
    for name, count in counts.items():
        least = 1 if name in ("train", "held_out") else 0
        if count < least:
            raise ValueError(f"{name} must be {least} or more, got {count}")
