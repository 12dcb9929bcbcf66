"""`live.json`: what the process that runs a run is doing, for those who watch from beside it.

The run only notes what it does; a thread of its own writes the file, at most once a second. A watcher tells a living
process from a dead one by its id and its time of creation, so that a kill needs no goodbye.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from lessons.errors import InputError
from lessons.jsonl import open_private, plain_text
from lessons.records import Record
from loops.store import now, read_record
from loops.watching.progress import Listener, Told
from students.base import Progress
from teachers.servers import ProcessId, alive, process_id

NAME = "live.json"

EVERY = 1.0
"""Seconds between two writings at most: what a person who watches can follow."""

IDLE = 10.0
"""Seconds after which the file is written although nothing has changed, for watchers on another machine."""

GONE = 60.0
"""Seconds without a writing after which a process on another machine, which cannot be looked for, counts as dead."""

_LONGEST = 400
"""Signs kept of a line: the file stays small whatever is said."""


class Heartbeat(Record, frozen=True, kw_only=True):
    """`live.json`: the process that runs the run, and how far it is. Times are ISO 8601 in UTC."""

    process: ProcessId
    place: str
    """Where a process id means this process: the machine and, on Linux, its process namespace (a container has its
    own)."""
    began: str
    """When this process took the run up."""
    beat: str
    """When this was written."""
    moved: str
    """When something last went on."""
    round: int = 0
    stage: str = ""
    """The stage that runs; "" between two."""
    doing: str = ""
    """What is counted by `done` and `total`: the stage, or a part of it such as `gate`."""
    done: int = 0
    total: int = 0
    """0 where it is not known."""
    line: str = ""
    """Figures about the calls that go on: rates, what is spent, time left, errors."""
    said: str = ""
    """The last line that the run said."""
    ended: Literal["", "finished", "stopped"] = ""
    """"" while the process has the run."""
    reason: str = ""
    """Why it stopped before its end."""

    @property
    def living(self) -> bool:
        """Whether the process has the run still. One of another place is taken by its word, for `GONE` seconds."""
        if self.ended:
            return False
        if self.place == here():
            return alive(self.process)
        return seconds_since(self.beat) < GONE


class Pulse:
    """Keeps a run's `live.json` while its block runs, from the first stage that there is work for: a finished run that
    is run again stays as it is. Its methods only note; none but the first `begins` waits for a disk."""

    def __init__(self, folder: Path, *, every: float = EVERY, idle: float = IDLE) -> None:
        self.path = folder / NAME
        self.notes = 0
        """How often anything was noted."""
        self._every, self._idle = every, idle
        self._fields: dict[str, Any] = {}
        self._changed, self._ending = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_on, name="heartbeat", daemon=True)

    def __enter__(self) -> "Pulse":
        process = process_id(os.getpid())
        assert process is not None
        self._note(process=process, place=here(), began=now())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self._thread.is_alive():
            return
        self._ending.set()
        self._changed.set()
        self._thread.join()
        self.ended("" if error is None else _reason(error))

    def ended(self, why: str) -> None:
        """Write that the process has the run no more. why: it stopped before the run's end; "" at its end."""
        self._note(stage="", doing="", done=0, total=0, ended="stopped" if why else "finished", line="", reason=why)
        self._write()

    def last(self) -> dict[str, Any]:
        """Return what was noted last, by the names of `Heartbeat`."""
        with self._lock:
            return dict(self._fields)

    def begins(self, index: int, stage: str) -> None:
        """Note that a stage's work begins."""
        self._note(round=index, stage=stage, doing=stage, done=0, total=0, line="")
        if not self._thread.is_alive():
            self._write()
            self._thread.start()

    def said(self, text: str) -> None:
        """Note a line that the run said."""
        self._note(said=text.strip())

    def counted(self, doing: str, done: int, total: int) -> None:
        """Note how far something is."""
        self._note(doing=doing, done=done, total=total)

    def told(self, line: str) -> None:
        """Note the figures about the calls that go on."""
        self._note(line=line)

    def _note(self, **fields: Any) -> None:
        with self._lock:
            self._fields.update(fields, moved=now())
            self.notes += 1
        self._changed.set()

    def _write_on(self) -> None:
        while not self._ending.is_set():
            self._changed.wait(self._idle)
            self._changed.clear()
            self._write()
            self._ending.wait(self._every)

    def _write(self) -> None:
        with self._lock:
            fields: dict[str, Any] = {**self._fields, "beat": now()}
        for name in ("line", "said", "reason"):
            fields[name] = plain_text(str(fields.get(name, ""))[:_LONGEST])
        temporary = self.path.with_name(f".{NAME}.{os.getpid()}.tmp")
        # Not flushed to the disk, as what a stage writes is: nothing is lost with it. The stages say if it is full.
        with contextlib.suppress(OSError):
            with open_private(temporary) as out:
                out.write(msgspec.json.encode(Heartbeat(**fields)) + b"\n")
            temporary.replace(self.path)


class Watched:
    """A listener that notes in a pulse whatever it passes on to another.

    check: called whenever something that a student does has gone a step on; what it raises ends that.
    """

    def __init__(self, listener: Listener, pulse: Pulse, check: Callable[[], object] = lambda: None) -> None:
        self._listener, self._pulse, self._check = listener, pulse, check

    def line(self, text: str) -> None:
        """Say one finished thing."""
        self._pulse.said(text)
        self._listener.line(text)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Generator[Progress]:
        """Show something long going on."""
        self._pulse.counted(title, 0, total)
        with self._listener.bar(title, total) as progress:

            def both(done: int, of: int) -> None:
                self._check()
                self._pulse.counted(title, done, of)
                progress(done, of)

            yield both

    @contextlib.contextmanager
    def live(self, title: str) -> Generator[Told]:
        """Show calls going on."""
        self._pulse.counted(title, 0, 0)
        with self._listener.live(title) as told:
            last = -EVERY

            def both(done: int, of: int, line: Callable[[], str]) -> None:
                nonlocal last
                self._pulse.counted(title, done, of)
                # The line is made here and not when it is written: what it reads belongs to this thread.
                if time.monotonic() - last >= EVERY:
                    last = time.monotonic()
                    self._pulse.told(line())
                told(done, of, line)

            yield both


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """Return a run's heartbeat; None where no process has left one that can be read."""
    with contextlib.suppress(InputError, OSError):  # a later version's file is no reason not to show the run
        found = read_record(folder / NAME, Heartbeat)
        return None if found is None or any(_time(told) is None for told in (found.beat, found.moved)) else found
    return None


def here() -> str:
    """Return what tells this machine and this process namespace from others."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def seconds_since(moment: str) -> float:
    """Return the seconds since a time that `now` wrote; 0.0 where the clocks disagree."""
    time_then = _time(moment)
    return 0.0 if time_then is None else max(0.0, (datetime.now(UTC) - time_then).total_seconds())


def _time(moment: str) -> datetime | None:
    """Return a time that `now` wrote; None for words that are none."""
    try:
        told = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return told if told.tzinfo is not None else None


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "by Ctrl-C"
    if isinstance(error, GeneratorExit):
        return "by the program that ran it"
    return " ".join(str(error).split()) or type(error).__name__
