"""One reader under fire: its inputs in order, its crashes, and each crash made as small as it gets."""

import hashlib
import json
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from fuzzing.making import BOMBS, from_hypothesis
from fuzzing.mutation import made_from
from fuzzing.reader import Crash, Reader, judged, limits

FROM_NOTHING = 0.1
"""Share of the inputs that hypothesis makes; the others are made from seeds."""
OF_BOMBS = 0.2
"""Share of the inputs that may be bombs; where there are more bombs, some are drawn."""
MOST_KEPT = 20
"""Different crashes that are kept of one reader."""
_TRIES = 400
_SECONDS = 30.0
"""Inputs that a crash is made smaller by, and the time for it: each try of a slow one takes its full limit."""


class Tried(NamedTuple):
    """What came of one reader."""

    reader: str
    inputs: int
    seconds: float
    """Of wall time, making the inputs included."""
    crashes: list[Crash]
    """Each different one once, as small as it got."""

    def line(self) -> str:
        """Return it as one line of JSON."""
        told = {"reader": self.reader, "inputs": self.inputs, "seconds": round(self.seconds, 3)}
        return json.dumps({**told, "crashes": [json.loads(crash_line(one)) for one in self.crashes]})


def crash_line(crash: Crash) -> str:
    """Return a crash as one line of JSON."""
    return json.dumps({"what": crash.what, "data": crash.data.hex(), "trace": crash.trace})


def try_reader(
    reader: Reader, inputs: int, *, seed: int, until: float = float("inf"), count: Callable[[int], object] = bool
) -> Tried:
    """Give a reader so many inputs: its seeds, the bombs, what hypothesis makes, then seeds made hostile.

    until: a time of `time.monotonic` after which no further input is made. count: told each input's number before it is
    tried.
    """
    found: dict[str, Crash] = {}
    tried = 0
    begun = time.monotonic()

    def take(data: bytes) -> None:
        nonlocal tried
        if tried >= inputs or time.monotonic() >= until:
            return
        count(tried)
        tried += 1
        crash = judged(reader, data)
        if crash is not None and crash.what not in found and len(found) < MOST_KEPT:
            found[crash.what] = smaller(reader, crash)

    try:
        with limits():
            _give(reader, inputs, seed, take, lambda: tried >= inputs or time.monotonic() >= until)
    finally:
        reader.close()
    return Tried(reader.name, tried, time.monotonic() - begun, list(found.values()))


def input_of(reader: Reader, number: int, inputs: int, *, seed: int) -> bytes:
    """Return the input of this number among so many, without trying any."""
    made: list[bytes] = []
    _give(reader, inputs, seed, made.append, lambda: len(made) > number)
    return made[number]


def _give(reader: Reader, inputs: int, seed: int, take: Callable[[bytes], object], enough: Callable[[], bool]) -> None:
    """Give `take` a reader's inputs in their order until it has had enough."""
    for one in reader.seeds:
        take(one.head + one.data)
    heads = list(dict.fromkeys(one.head for one in reader.seeds))
    bombs = [head + bomb for bomb in BOMBS for head in heads]
    most = max(1, int(inputs * OF_BOMBS))
    for bomb in bombs if len(bombs) <= most else Random(_number(seed, reader.name)).sample(bombs, most):
        if not enough():
            take(bomb)
    kinds = list(dict.fromkeys(one.kind for one in reader.seeds))
    for kind in kinds:
        heads = [one.head for one in reader.seeds if one.kind == kind]
        taken = 0

        def with_head(data: bytes, heads: list[bytes] = heads) -> None:
            nonlocal taken
            if not enough():
                take(heads[taken % len(heads)] + data)
                taken += 1

        share = max(1, int(inputs * FROM_NOTHING / len(kinds)))
        if not enough():
            from_hypothesis(kind, share, _number(seed, reader.name), with_head)
    number = 0
    while not enough():
        take(made_from(reader.seeds, Random(_number(seed, f"{reader.name} {number}"))))
        number += 1


def smaller(reader: Reader, crash: Crash) -> Crash:
    """Return the same crash from a smaller input: pieces are left out as long as the crash stays the same."""
    best = crash
    tries, until = 0, time.monotonic() + _SECONDS
    piece = max(1, len(best.data) // 2)
    while tries < _TRIES and time.monotonic() < until:
        at, shorter = 0, False
        while at < len(best.data) and tries < _TRIES and time.monotonic() < until:
            data = best.data[:at] + best.data[at + piece :]
            tries += 1
            again = judged(reader, data)
            if again is not None and again.what == crash.what:
                best, shorter = again, True
            else:
                at += piece
        if piece == 1 and not shorter:
            break
        piece = piece if shorter and piece == 1 else max(1, piece // 2)
    return best


def _number(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest(), "big")
