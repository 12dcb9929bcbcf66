"""The line between a run and the processes that train for it: JSON lines on a socket that only this user can open."""

import contextlib
import os
import queue
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.records import Problem

LOST = 70
"""Exit code of a worker whose run is gone."""
_PATH = 100
"""Longest path of a socket, in bytes: the system takes 104 to 108."""


class Phase(msgspec.Struct, tag=True):
    """What is done now."""

    name: str


class Ready(msgspec.Struct, tag=True):
    """The trainer is made."""

    micro: int
    lengths: list[int]
    """Tokens of each lesson."""


class Stepped(msgspec.Struct, tag=True):
    """A step is done."""

    done: int
    of: int


class Alive(msgspec.Struct, tag=True):
    """Something between two steps is done."""


class Logged(msgspec.Struct, tag=True):
    """Figures for the trackers."""

    step: int
    figures: dict[str, float]


class Asked(msgspec.Struct, tag=True):
    """Answers to be graded."""

    answers: list[tuple[Problem, str]]


class Failed(msgspec.Struct, tag=True):
    """Training cannot go on."""

    words: str
    kind: str
    """`student`, `input`, `memory`; `other` for an error that nobody foresaw."""
    micro: int = 0


class Graded(msgspec.Struct, tag=True):
    """Grades, in the order of what was asked; a text is what a grader said that could not tell."""

    grades: list[tuple[float, str | None, str] | str]


class Stop(msgspec.Struct, tag=True):
    """Stop after this step, with a checkpoint."""


FromWorker = Phase | Ready | Stepped | Alive | Logged | Asked | Failed
ToWorker = Graded | Stop


class Switchboard:
    """The run's end of the lines of all workers."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="tutelage-")
        if len(os.fsencode(folder)) > _PATH - 2:
            Path(folder).rmdir()
            folder = tempfile.mkdtemp(prefix="tutelage-", dir="/tmp")
        self.path = Path(folder, "s")
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._held: dict[socket.socket, bytearray] = {}
        self._decoder = msgspec.json.Decoder(FromWorker)

    def read(self, seconds: float) -> list[tuple[socket.socket, FromWorker]]:
        """Return all that workers have said, waiting up to these seconds for the first of it."""
        told: list[tuple[socket.socket, FromWorker]] = []
        ready = self._selector.select(seconds)
        while ready:
            for key, _ in ready:
                if key.fileobj is self._server:
                    line, _ = self._server.accept()
                    self._selector.register(line, selectors.EVENT_READ)
                    self._held[line] = bytearray()
                else:
                    told += self._read_one(key.fileobj)
            ready = self._selector.select(0)
        return told

    def _read_one(self, line: Any) -> list[tuple[socket.socket, FromWorker]]:
        try:
            more = line.recv(1 << 16)
        except OSError:
            more = b""
        if not more:
            self._selector.unregister(line)
            self._held.pop(line)
            line.close()
            return []
        held = self._held[line]
        held += more
        *whole, rest = bytes(held).split(b"\n")
        held[:] = rest
        return [(line, self._decoder.decode(one)) for one in whole]

    def send(self, line: socket.socket, message: ToWorker) -> None:
        """Tell one worker something; one that is gone is told nothing."""
        with contextlib.suppress(OSError):  # its end is seen elsewhere
            line.sendall(msgspec.json.encode(message) + b"\n")

    def stop(self) -> None:
        """Ask all workers to stop after their step."""
        for line in list(self._held):
            self.send(line, Stop())

    def __enter__(self) -> "Switchboard":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Cut all lines: workers that are left end themselves."""
        for line in self._held:
            line.close()
        self._selector.close()
        self._server.close()
        shutil.rmtree(self.path.parent, ignore_errors=True)


class Line:
    """A worker's end. The process ends at once when the run is gone, whatever it is doing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._sending = threading.Lock()
        self._grades: queue.SimpleQueue[Graded] = queue.SimpleQueue()
        self.stopping = False
        """Whether the run asks to stop."""
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: FromWorker) -> None:
        """Tell the run something."""
        with self._sending:
            try:
                self._socket.sendall(msgspec.json.encode(message) + b"\n")
            except OSError:
                self._lost()

    def ask(self, answers: Sequence[tuple[Problem, str]]) -> list[Grade | GradeError]:
        """Have the run's grader grade answers."""
        self.send(Asked(answers=list(answers)))
        told = self._grades.get().grades
        return [GradeError(one) if isinstance(one, str) else Grade(*one) for one in told]

    def _listen(self) -> None:
        decoder = msgspec.json.Decoder(ToWorker)
        with self._socket.makefile("rb") as lines:
            for line in lines:
                message = decoder.decode(line)
                if isinstance(message, Graded):
                    self._grades.put(message)
                else:
                    self.stopping = True
        self._lost()

    def _lost(self) -> None:
        shutil.rmtree(self._path.parent, ignore_errors=True)
        os._exit(LOST)
