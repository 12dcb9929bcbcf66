"""Run code against tests in processes of its own, confined; the side of the caller."""

import os
import signal
import struct
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lessons.errors import GradeError
from lessons.sandbox.channel import LARGEST
from lessons.sandbox.confine import confinement
from lessons.sandbox.values import BadValueError, dumps, loads

GRACE = 20.0
"""Seconds beyond all limits after which the whole of it is ended: starting and cleaning up on a busy machine."""
WALL_TIMES = 20
"""Time by the clock for all tests of one answer, as a multiple of its computing time: for a machine that has other
work. Code that only waits is ended long before."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
"""All that the code finds in its environment. Without chance in the order of sets a grade can be got again."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Threads are refused; libraries that would start some are told."""
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo", "/etc/localtime")
"""What Python and its libraries read while they run."""


class Bounds(NamedTuple):
    """What one answer may use."""

    seconds: int
    """Of computing, over all tests."""
    memory: int
    """Bytes of address space."""
    file_size: int
    """Bytes of one file in its folder."""
    packages: bool
    """Whether it may import the packages that are installed beside ours."""


class Outcome(NamedTuple):
    """What came of the tests."""

    passed: int
    failed: int
    why: str
    """Of the first failed test; "" where none failed."""


def run_tests(code: str, tests: str, entry_point: str, bounds: Bounds) -> Outcome:
    """Run code against tests, both confined.

    Raises:
        GradeError: it cannot be told: this machine cannot confine code, the tests are broken, or a verdict would rest
            on the word of the code under test.
    """
    found = confinement()
    if not found.possible:
        raise GradeError(f"code is not run where it cannot be confined: {found.told}")
    with TemporaryDirectory(prefix="tutelage-code-", ignore_cleanup_errors=True) as folder:
        asked = {
            "code": code,
            "seconds": bounds.seconds,
            "wall_seconds": float(WALL_TIMES * bounds.seconds),
            "memory": bounds.memory,
            "file_size": bounds.file_size,
            "readable": _readable(),
            "packages": _packages() if bounds.packages else (),
            "folder": folder,
        }
        told = _asked(_framed(asked) + _framed({"tests": tests, "entry_point": entry_point}), bounds)
    if told["unclear"]:
        raise GradeError(told["unclear"])
    return Outcome(told["passed"], told["failed"], told["why"])


def _asked(message: bytes, bounds: Bounds) -> dict[str, Any]:
    program = Path(__file__).with_name("program.py")
    root = Path(__file__).parents[2]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [_python(), "-P", "-s", "-S", str(program), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**_ENVIRONMENT, **_ONE_THREAD},
            start_new_session=True,  # one group, so that all of it can be ended; and Ctrl-C is for the caller
        )
    except OSError as error:
        raise GradeError(f"the process that runs code cannot be started: {error.strerror}") from error
    try:
        raw, _ = process.communicate(message, timeout=WALL_TIMES * bounds.seconds + GRACE)
    except subprocess.TimeoutExpired as error:
        raise GradeError("the process that runs code did not end in time") from error
    finally:
        _end(process)
    try:
        return loads(raw[4:])
    except BadValueError as error:
        raise GradeError(f"the process that runs code ended with {process.returncode} and said nothing") from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the program and both of its children, whatever they do."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them have ended
    finally:
        process.communicate()


def _framed(data: object) -> bytes:
    raw = dumps(data)
    if len(raw) > LARGEST:
        raise GradeError(f"code and tests may have {LARGEST // 2**20} MB each")
    return struct.pack(">I", len(raw)) + raw


def _python() -> str:
    """Return the interpreter itself, not the virtual environment's: it finds Python's own modules and no others."""
    return getattr(sys, "_base_executable", None) or sys.executable


@cache
def _readable() -> tuple[str, ...]:
    return (*_SYSTEM, str(Path(sys.base_prefix, "lib")), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))


@cache
def _packages() -> tuple[str, ...]:
    return tuple(dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))))
