"""What is fuzzed: a function that reads bytes, what it may raise, and how one input is judged."""

import resource
import signal
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lessons.errors import TutelageError

Kind = Literal["text", "json", "jsonl", "yaml", "binary", "sqlite"]
"""What an input is made as: which mutations fit it."""

CPU_SECONDS = 4.0
"""Of computing that one input may take; the largest inputs have about a hundred thousand bytes. Our own bound."""
WALL_SECONDS = 60.0
"""That one input may take in all: a reader that waits uses no processor. Our own bound, wide for a busy machine."""
MEMORY = 512 * 1024 * 1024
"""Bytes by which one input may raise the most memory that the process has ever held. Our own bound."""

ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(str(ROOT / name) for name in ("lessons", "teachers", "students", "loops"))


class Seed(NamedTuple):
    """An input as it should be, from which hostile ones are made."""

    data: bytes
    kind: Kind = "text"
    head: bytes = b""
    """What stands before every input that is made from it, as it is."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One reader of foreign bytes."""

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[Seed, ...]
    refuses: tuple[type[BaseException], ...] = (TutelageError,)
    """What it may raise; anything else is a crash."""
    weight: float = 1.0
    """How many inputs it gets, next to a fast reader's 1."""
    close: Callable[[], None] = lambda: None


class Crash(NamedTuple):
    """An input that was neither read nor refused."""

    reader: str
    what: str
    """The exception and where it was raised, or the limit that was broken: crashes with equal words are one crash."""
    data: bytes
    trace: str


class TooSlow(BaseException):
    """The input broke a limit of time. No `except Exception` of a reader holds it up."""


@contextmanager
def limits() -> Generator[None]:
    """Turn the two timers' signals into `TooSlow` while the block runs. For the main thread only."""

    def ring(number: int, frame: object) -> None:
        seconds = f"{CPU_SECONDS:g} s of computing" if number == signal.SIGPROF else f"{WALL_SECONDS:g} s"
        raise TooSlow(f"more than {seconds}")

    before = {number: signal.signal(number, ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def judged(reader: Reader, data: bytes) -> Crash | None:
    """Give a reader one input, inside of `limits`; return the crash, or None where it was read or refused in order."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        try:
            reader.read(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except reader.refuses as error:
        if not str(error).strip() and isinstance(error, TutelageError):
            return Crash(reader.name, f"{type(error).__name__} without words", data, traceback.format_exc())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever comes out of a reader is what is looked for
        return Crash(reader.name, _told(error), data, traceback.format_exc()[-4000:])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) * 1024
    if grown > MEMORY:
        return Crash(reader.name, f"took {grown >> 20} MB more than anything before", data, "")
    return None


def _told(error: BaseException) -> str:
    """Return the exception's name and the innermost line of our own that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)]
    if isinstance(error, RecursionError | TooSlow):
        frames = frames[:1]  # where it stopped within is a matter of chance
    place = f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} at {place}"
