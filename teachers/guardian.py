"""A small process between this project and a server: it ends the server, and all that the server started, in any case.

Run as a program, with the standard library alone: `python guardian.py GRACE RECORD COMMAND...`. It starts the command
in a session of its own, says the command's process id on standard output, and then waits. It ends the whole group when
its standard input closes or its parent is gone (so also after a kill -9 of the parent), when it is told SIGTERM, and
when the command's main process has ended: vLLM's engine outlives its API process otherwise. It exits with the
command's code (128 and the signal's number where a signal ended it), and takes the server's record away before.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""Of Linux's prctl(2)."""
_LOOK = 1.0
"""Seconds between two looks whether the parent is still there: a forked child of it may hold the pipe open."""
_ENGINE = "VLLM::Engine"
"""How vLLM's processes that compute are called; the kernel keeps 15 signs of a name."""


def main(arguments: list[str]) -> int:
    """Run the command until it ends or nobody wants it any more; return the exit code."""
    grace, record, command = float(arguments[0]), Path(arguments[1]), arguments[2:]
    parent = os.getppid()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    stopping: list[int] = []

    def told_to_stop(number: int, frame: object) -> None:
        stopping.append(number)

    def look_up(number: int, frame: object) -> None:
        """Do nothing: that there is a handler lets the signal end the wait below."""

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, told_to_stop)
    signal.signal(signal.SIGCHLD, look_up)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        process = subprocess.Popen(  # noqa: S603 - the command that its parent was told to run
            command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True, preexec_fn=_dies_with(os.getpid())
        )
    except OSError as error:
        print(f"{command[0]}: cannot be started ({error.strerror})", file=sys.stderr)  # noqa: T201 - into the log
        record.unlink(missing_ok=True)
        return 127
    os.write(1, b"%d\n" % process.pid)
    os.close(1)
    watched = [0, woken]
    engine = _EngineWatch(process.pid, grace)
    while process.poll() is None and not stopping and os.getppid() == parent:
        ready, _, _ = select.select(watched, [], [], _LOOK)
        if 0 in ready and not os.read(0, 4096):
            break
        _drain(woken)
        if engine.is_dead_for_long():
            break
    end_group(process, grace)
    record.unlink(missing_ok=True)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class _EngineWatch:
    """Sees a server whose engine is dead and which does not end.

    vLLM 0.32 that is told to end while it answers may kill its engine, and then wait without end for the connections of
    those whom nobody will answer (seen on a busy machine).
    """

    def __init__(self, group: int, grace: float) -> None:
        self._group, self._grace = group, grace
        self._seen = False
        self._gone: float | None = None

    def is_dead_for_long(self) -> bool:
        """Whether there was an engine, and has been none for the seconds of grace that any end is given."""
        lives = _engine_lives(self._group)
        self._seen = self._seen or lives
        if lives or not self._seen:
            self._gone = None
            return False
        if self._gone is None:
            self._gone = time.monotonic()
        return time.monotonic() - self._gone > self._grace


def _engine_lives(group: int) -> bool:
    """Whether a process of the group is an engine; False where there is no /proc."""
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
            if not task.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                head, _, tail = Path("/proc", task, "stat").read_text(errors="replace").rpartition(")")
                state, _, leader = tail.split()[:3]
                if int(leader) == group and state != "Z" and head.partition("(")[2].startswith(_ENGINE):
                    return True
    return False


def end_group(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """Ask the group to end, wait up to `grace` seconds for its main process, and kill whatever is left of it.

    On Linux also what had left the group: orphans of the server become children of this process.
    """
    _signal_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + grace
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
    # Its main process gone, the rest has no use: it is not asked twice.
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        _signal_group(process.pid, signal.SIGKILL)
        left = children()
        for child in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left and not _group_lives(process.pid):
            return
        time.sleep(0.02)


def children() -> list[int]:
    """Return the ids of this process's children; empty where there is no /proc."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
            if not task.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name in parentheses may hold anything; state and parent come after the last of them.
                fields = Path("/proc", task, "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.append(int(task))
    return found


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _dies_with(guardian: int) -> Callable[[], None] | None:
    """Return what a child does before it becomes the command: have the kernel tell it SIGTERM when this process dies.

    A killed guardian can end nothing. A server that does not follow the signal is found by its record.
    """
    if sys.platform != "linux":
        return None

    def before() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != guardian:
            os._exit(1)

    return before


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _drain(end: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(end, 4096):
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
