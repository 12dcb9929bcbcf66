"""The program that the grader starts for one answer: it forks the answer's process and the tests', and watches both.

It is run by its path, with the folder of our packages as its argument. It runs no foreign code itself. The answer's
process is forked before the tests are read, so that not even its memory holds them.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
from lessons.sandbox import answering, testing  # its place is known only now
from lessons.sandbox.channel import Channel, GoneError
from lessons.sandbox.confine import Limits, confine, end_with_parent

if __name__ == "__main__":
    del sys.path[0]

LOOK_EVERY = 0.02
"""Seconds between two looks at the folder and the clock."""
FOLDER_BYTES = 64 * 2**20
"""Of all files that the answer may have in its folder."""
FOLDER_FILES = 1000
TESTS_TIMES = 3
"""The tests' process may compute this many times as long as the answer's: what it decodes, the answer wrote."""


class _Child(NamedTuple):
    pid: int
    ready: Channel
    """Tells whether the walls stand."""


class _Asked(NamedTuple):
    code: str
    seconds: int
    wall_seconds: float
    memory: int
    file_size: int
    readable: tuple[str, ...]
    packages: tuple[str, ...]
    folder: str


def main() -> None:
    """Read what to run and then the tests, each one message; write one message with what came of it."""
    end_with_parent()
    caller = Channel(0, 1)
    asked = _Asked(**caller.receive())
    to_answer, to_tests = os.pipe(), os.pipe()
    answer_side, tests_side = Channel(to_answer[0], to_tests[1]), Channel(to_tests[0], to_answer[1])
    limits = Limits(asked.seconds, asked.memory, asked.file_size)
    os.chdir(asked.folder)
    sys.path += asked.packages

    def answer() -> None:
        answering.answer(answer_side, asked.code)

    readable = (*asked.readable, *asked.packages)
    answerer = _forked(answer, answer_side, limits, readable, writable=asked.folder)
    for end in answer_side:
        os.close(end)
    tests = caller.receive()
    results = os.pipe()
    reports = Channel(-1, results[1])

    def test() -> None:
        testing.run(reports.send, tests_side, tests["tests"], tests["entry_point"])

    more = limits._replace(cpu_seconds=TESTS_TIMES * asked.seconds)
    tester = _forked(test, tests_side, more, readable, writable=None, also=results[1])
    for end in (*tests_side, results[1]):
        os.close(end)
    caller.send(_watched(asked, answerer, tester, Channel(results[0], -1)))


def _forked(
    do: Callable[[], None], talk: Channel, limits: Limits, readable: tuple[str, ...], *, writable: str | None,
    also: int = -1,
) -> _Child:  # fmt: skip
    ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(do, Channel(-1, ready[1]), {*talk, ready[1], also}, limits, readable, writable)
    os.close(ready[1])
    return _Child(pid, Channel(ready[0], -1))


def _live(
    do: Callable[[], None], ready: Channel, keep: set[int], limits: Limits, readable: tuple[str, ...],
    writable: str | None,
) -> NoReturn:  # fmt: skip
    """Be a child: nothing open but what is needed, the walls up, and then the work. Never returns."""
    sys.dont_write_bytecode = True
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor > 2 and descriptor not in keep:
                _close(descriptor)
        try:
            confine(limits, readable=readable, writable=writable)
        except OSError as error:
            ready.send({"open": str(error)})
            os._exit(1)
        ready.send({"open": ""})
        os.close(ready.outgoing)
        do()
    except GoneError:
        os._exit(1)  # the other side has what it wanted, or is gone
    finally:
        os._exit(0)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # the listing's own


def _watched(asked: _Asked, answerer: _Child, tester: _Child, reports: Channel) -> dict[str, Any]:
    """Return what the tests said, and why they said no more."""
    try:
        for child in (answerer, tester):
            if lacking := child.ready.receive()["open"]:
                return _told(unclear=f"the code cannot be confined: {lacking}")
    except GoneError:
        return _told(unclear="the code cannot be confined: a process ended before its walls stood")
    passed, whys = 0, list[str]()
    began = looked = time.monotonic()
    asleep, ended = 0.0, ""
    try:
        while True:
            if select.select([reports.incoming], [], [], LOOK_EVERY)[0]:
                match reports.receive():
                    case {"passed": True}:
                        passed += 1
                    case {"passed": False, "why": str(why)}:
                        whys.append(why)
                    case {"done": True}:
                        return _told(passed, whys, ended=ended or _how_ended(answerer.pid, asked))
                    case {"unusable": str(why)} | {"unclear": str(why)}:
                        return _told(passed, whys, unclear=why)
                    case _:
                        return _told(passed, whys, unclear="the tests' process says what nobody understands")
            elif asleep > asked.seconds:
                waits = f"the code waits for something, {asked.seconds} seconds by now"
                return _told(passed, [*whys, waits])
            elif time.monotonic() > began + asked.wall_seconds:
                words = f"the machine has not got round to the tests in {asked.wall_seconds:g} seconds"
                return _told(passed, whys, unclear=words)
            now = time.monotonic()
            # Code that waits is told from a machine that has no time for it: only the first is the code's fault.
            asleep += now - looked if _sleeps(answerer.pid) and _sleeps(tester.pid) else 0.0
            looked = now
            if not ended and _overfull(asked.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(answerer.pid, signal.SIGKILL)
                ended = f"it had written more than {FOLDER_BYTES // 2**20} MB or {FOLDER_FILES} files"
    except GoneError:
        return _told(passed, whys, unclear="the tests' process ended: they take too much time or memory by themselves")
    finally:
        for child in (answerer, tester):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)


def _told(passed: int = 0, whys: list[str] | None = None, *, unclear: str = "", ended: str = "") -> dict[str, Any]:
    why = (whys or [""])[0]
    return {
        "passed": passed, "failed": len(whys or ()), "unclear": unclear, "why": f"{why} ({ended})" if ended else why
    }  # fmt: skip


def _sleeps(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "S"


def _how_ended(pid: int, asked: _Asked) -> str:
    """End the answer's process; return why it had ended before, where the kernel ended it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if by == signal.SIGXCPU or used.ru_utime + used.ru_stime >= asked.seconds:
        return f"its computing time, {asked.seconds} seconds, was used up"
    return f"ended by signal {signal.Signals(by).name}" if by not in (0, signal.SIGKILL) else ""


def _overfull(folder: str) -> bool:
    size = 0
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= FOLDER_FILES:
                return True
            try:
                size += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
    return size > FOLDER_BYTES


if __name__ == "__main__":
    main()
