"""Confine this process for good: limits, files by Landlock, everything else by a list of system calls (seccomp).

Both work for any user, in most containers too, where namespaces are often forbidden, and neither can be taken back.
The kernel's Documentation/userspace-api/landlock.rst and seccomp_filter.rst describe them.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lessons.sandbox.syscalls import MACHINES, program

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls: the same numbers on every machine."""
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_SET_PARENT_DEATH_SIGNAL, _GET_SECCOMP, _SET_SECCOMP, _SET_NO_NEW_PRIVILEGES = 1, 21, 22, 38
_SECCOMP_FILTER = 2
_KILL = 9

# Landlock's rights to files (linux/landlock.h), as bits.
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_FILE, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_KNOWN = {1: 13, 2: 14, 3: 15, 4: 15}
"""Landlock's version -> how many kinds of access to files it knows."""
_KNOWN_SINCE_5 = 16
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6

OPEN_FILES = 32
"""Files that confined code may have open at once."""


class Confinement(NamedTuple):
    """Whether this machine can confine code, and how."""

    possible: bool
    told: str
    """What was found; where it is not possible, what is lacking and what to do."""


class Limits(NamedTuple):
    """What confined code may use."""

    cpu_seconds: int
    """Of computing; past it, the kernel ends the process, a second later where it will not hear."""
    memory: int
    """Bytes of address space."""
    file_size: int
    """Bytes of one file that it writes."""


def confinement() -> Confinement:
    """Look whether this machine can confine code: Linux on x86-64 or ARM64, with Landlock and with seccomp."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return Confinement(False, f"code is confined on Linux on x86-64 or ARM64 only, this is {platform.platform()}")
    version = _landlock_version()
    if version < 1:
        return Confinement(
            False,
            "the kernel has no Landlock (5.13 and later have it; `lsm=landlock,...` on the kernel's command line turns "
            "it on; a container's own filter may hide it)",
        )
    if _libc().prctl(_GET_SECCOMP, 0, 0, 0, 0) < 0:
        return Confinement(False, "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")
    return Confinement(True, f"Landlock {version}, seccomp filter")


def confine(limits: Limits, *, readable: Sequence[str], writable: str | None) -> None:
    """Confine this process, which must have one thread; it cannot be undone.

    From here on it has no network, cannot make processes or threads, start programs or signal others, reads only
    beneath `readable`, and writes only files directly in `writable`.

    Raises:
        OSError: one of the walls does not stand. Nothing may be run then.
    """
    import resource

    end_with_parent()
    for kind, most, beyond in (
        (resource.RLIMIT_AS, limits.memory, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, 1),  # a signal of its own first, which tells why it ended
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, hard = resource.getrlimit(kind)
        soft, least = (one if hard == resource.RLIM_INFINITY else min(one, hard) for one in (most, most + beyond))
        resource.setrlimit(kind, (soft, least))
    _must(_libc().prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    _wall_files(readable, writable)
    _drop_capabilities()
    _wall_calls()


def end_with_parent() -> None:
    """Have this process ended when the one that started it ends, however that ends.

    Raises:
        OSError: the kernel does not do so.
    """
    _must(_libc().prctl(_SET_PARENT_DEATH_SIGNAL, _KILL, 0, 0, 0), "the parent's death signal")


def _wall_files(readable: Sequence[str], writable: str | None) -> None:
    version = _landlock_version()
    known = (1 << _KNOWN.get(version, _KNOWN_SINCE_5)) - 1
    handled = [known]
    if version >= _NETWORK_SINCE:
        handled.append(0b11)  # binding and connecting TCP
    if version >= _SCOPES_SINCE:
        handled.append(0b11)  # abstract sockets, and signals to processes outside
    attributes = (ctypes.c_uint64 * len(handled))(*handled)
    ruleset = _must(_libc().syscall(_CREATE_RULESET, attributes, ctypes.sizeof(attributes), 0), "Landlock")
    read = _READ_FILE | _READ_DIR
    for path in readable:
        _beneath(ruleset, path, read & known)
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        _beneath(ruleset, device, _READ_FILE | (_WRITE_FILE if device == "/dev/null" else 0))
    if writable is not None:
        _beneath(ruleset, writable, (read | _WRITE_FILE | _MAKE_FILE | _REMOVE_FILE | _TRUNCATE) & known)
    _must(_libc().syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def _beneath(ruleset: int, path: str, rights: int) -> None:
    """Allow these rights for a path and all beneath it; a path that is not there needs no rights."""

    class Rule(ctypes.Structure):
        """Landlock's struct landlock_path_beneath_attr."""

        _pack_ = 1
        _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))

    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not Path(path).is_dir():
            rights &= ~_READ_DIR
        _must(_libc().syscall(_ADD_RULE, ruleset, 1, ctypes.byref(Rule(rights, place)), 0), f"Landlock for {path}")
    finally:
        os.close(place)


def _drop_capabilities() -> None:
    """Give up what only root may do, so that a limit stays a limit and a file's owner stays its owner."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _must(_libc().syscall(_CAPSET[platform.machine()], header, none), "dropping capabilities")


def _wall_calls() -> None:
    code = program(platform.machine())

    class Filter(ctypes.Structure):
        """The kernel's struct sock_fprog."""

        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    told = Filter(len(code) // 8, code)
    _must(_libc().prctl(_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(told), 0, 0), "seccomp")


def _landlock_version() -> int:
    """Return Landlock's version, below 1 where there is none."""
    return _libc().syscall(_CREATE_RULESET, None, 0, 1)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
