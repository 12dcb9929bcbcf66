"""What can happen to a run: a signal at some moment, or a fault at one of its file-system calls."""

import ctypes
import errno
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

_PLAIN = ("open", "create", "read", "write", "sync", "rename", "unlink", "mkdir", "truncate", "chmod")
KINDS = (*_PLAIN, *(f"SQLite's {kind}" for kind in _PLAIN))
"""Kinds of file-system calls, in the order in which shim.c numbers them: of files, then of SQLite's files."""

_KILL, _FAIL, _FAIL_ON, _TORN, _CLOCK = range(1, 6)
"""What shim.c does at a call."""


class FileFault(NamedTuple):
    """A fault at a file-system call. Calls are counted under the run folder and the shared cache of replies."""

    action: int
    error: int
    """The errno that the call fails with; 0 for none."""
    at: tuple[str, ...]
    """Kinds of calls of which the n-th is struck, be it SQLite's or not."""
    lasting: tuple[str, ...] = ()
    """Kinds that fail from then on, as long as the process lives; of SQLite's files too."""


FILE_FAULTS: Mapping[str, FileFault] = {
    "kill at a call": FileFault(_KILL, 0, _PLAIN),
    "torn write, killed": FileFault(_TORN, 0, ("write",)),
    "disk full (ENOSPC)": FileFault(
        _FAIL_ON, errno.ENOSPC, ("create", "write", "mkdir"), ("create", "write", "mkdir", "truncate")
    ),
    "input/output error (EIO)": FileFault(_FAIL, errno.EIO, ("open", "read", "write", "sync", "rename", "unlink")),
    "permission lost (EACCES)": FileFault(
        _FAIL_ON,
        errno.EACCES,
        ("open", "create", "rename", "unlink", "mkdir"),
        ("open", "create", "rename", "unlink", "mkdir", "chmod"),
    ),
    "clock jumps": FileFault(_CLOCK, 0, _PLAIN),
}
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGINT twice": signal.SIGINT}
JUMPS = (-86_400, -3_600, 3_600, 40 * 86_400)
"""Seconds by which a clock jumps: a day and an hour back, an hour and forty days on."""


class Plan(NamedTuple):
    """What one process is to suffer."""

    name: str
    """A key of `FILE_FAULTS` or `SIGNALS`."""
    moment: float
    """Share of the undisturbed run's time, or of its calls of the kind, in [0, 1]."""
    kind: str = ""
    """The kind of the call that is struck; "" for a signal."""
    jump: int = 0
    """Seconds, for a clock."""


def drawn(name: str, calls: Mapping[str, int], rng: Random) -> Plan:
    """Draw when a fault strikes, and at which kind of call among those that the undisturbed run makes.

    Kinds are drawn alike, and SQLite's calls as often as the others, since most calls are its reads and writes.
    """
    if name in SIGNALS:
        return Plan(name, rng.random())
    of_sqlite = rng.random() < 0.5
    kinds = [f"SQLite's {kind}" if of_sqlite else kind for kind in FILE_FAULTS[name].at]
    return Plan(name, rng.random(), rng.choice([kind for kind in kinds if calls[kind]]), rng.choice(JUMPS))


def built(folder: Path) -> Path | str:
    """Compile the shim into a folder; return its path, or why it cannot be had."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "there is no C compiler here"
    source, made = Path(__file__).with_name("shim.c"), folder / "shim.so"
    command = [compiler, "-O1", "-Wall", "-fPIC", "-shared", "-o", str(made), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return made if done.returncode == 0 else f"the shim cannot be compiled: {done.stderr.strip()[:200]}"


def arm(library: Any, plan: Mapping[str, Any] | None, folders: Sequence[str], report: int) -> None:
    """Arm the shim in this process: with a plan (`as_plain`), or to count only."""
    told = plan or {"action": 0, "error": 0, "call": 0, "at": 0, "lasting": 0, "jump": 0}
    library.chaos_arm(
        told["action"], told["error"], ctypes.c_long(told["call"]), told["at"], told["lasting"],
        ctypes.c_long(told["jump"]), "\n".join(folders).encode(), report,
    )  # fmt: skip


def counts(library: Any) -> dict[str, int]:
    """Return how many calls of each kind the shim has seen since it was armed."""
    library.chaos_count.restype = ctypes.c_long
    return {kind: library.chaos_count(number) for number, kind in enumerate(KINDS)}


def as_plain(plan: Plan, calls: Mapping[str, int]) -> dict[str, Any]:
    """Return a plan for the shim, with the number of the call among those of its kind in an undisturbed run."""
    fault = FILE_FAULTS[plan.name]
    return {
        "action": fault.action,
        "error": fault.error,
        "call": 1 + int(plan.moment * max(calls[plan.kind] - 1, 0)),
        "at": _bits((plan.kind,)),
        "lasting": _bits((*fault.lasting, *(f"SQLite's {kind}" for kind in fault.lasting))),
        "jump": plan.jump,
    }


def _bits(kinds: Sequence[str]) -> int:
    return sum(1 << KINDS.index(kind) for kind in kinds)
