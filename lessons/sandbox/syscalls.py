"""What code may ask the kernel for: a closed list, as a program that the kernel runs before each call (seccomp).

Everything that is not on the list fails as "not permitted": sockets, new processes and threads, signals to others,
other programs, changes of rights. The language of these programs is described in the kernel's
Documentation/userspace-api/seccomp_filter.rst; the numbers are those of its arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h.
"""

import errno
import struct
from collections.abc import Sequence

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine, as `platform.machine` names it -> how the kernel names its system calls (AUDIT_ARCH_...)."""

# Name: (number on x86_64, number on aarch64), None where the machine has none of that name.
_ALLOWED: dict[str, tuple[int, int | None]] = {
    # what is open already, and time
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "close": (3, 57), "lseek": (8, 62), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "pipe": (22, None), "pipe2": (293, 59), "socketpair": (53, 199), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None), "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, None), "epoll_pwait": (281, 22), "eventfd2": (290, 19), "fsync": (74, 82),
    "fdatasync": (75, 83), "ftruncate": (77, 46), "fadvise64": (221, 223), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "gettimeofday": (96, 169),
    "time": (201, None), "times": (100, 153), "setitimer": (38, 103), "getitimer": (36, 102), "alarm": (37, None),
    # files, as far as Landlock lets it: names, sizes, deleting and renaming
    "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None), "lstat": (6, None), "statx": (332, 291),
    "statfs": (137, 43), "fstatfs": (138, 44), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "getcwd": (79, 17), "chdir": (80, 49), "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "umask": (95, 166),
    # memory, and the life of this one process
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "futex": (202, 98), "membarrier": (324, 283), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "rseq": (334, 293), "arch_prctl": (158, None), "restart_syscall": (219, 128),
    "exit": (60, 93), "exit_group": (231, 94), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136), "sigaltstack": (131, 132), "sched_yield": (24, 124),
    # what it may know of itself and of the machine
    "getrandom": (318, 278), "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getpgrp": (111, None), "getpgid": (121, 155),
    "getsid": (124, 156), "getrlimit": (97, 163), "getrusage": (98, 165), "sched_getaffinity": (204, 123),
    "sysinfo": (99, 179), "uname": (63, 160),
}  # fmt: skip

_OPENAT, _IOCTL, _FCNTL, _PRLIMIT = (257, 56), (16, 29), (72, 25), (302, 261)
_IOCTLS = (0x5401, 0x5421, 0x5450, 0x5451, 0x541B)
"""TCGETS (is it a terminal?), FIONBIO, FIONCLEX, FIOCLEX, FIONREAD. Not TIOCSTI, which types into a terminal, nor
FIOSETOWN, which has signals sent."""
_FCNTLS = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. Not F_SETOWN and F_SETSIG, which have signals sent."""
_ACCESS_AND_TRUNCATE, _TRUNCATE = 0o1003, 0o1000
"""Of openat's flags: O_RDONLY with O_TRUNC empties a file that may only be read, before Landlock's third version."""

_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _MACHINE = 0, 4


def program(machine: str) -> bytes:
    """Return the filter for a machine, 8 bytes an instruction. What is not on the list fails with EPERM.

    A call in another machine's convention (32-bit code on a 64-bit machine) ends the process.

    Raises:
        ValueError: the machine is none of `MACHINES`.
    """
    which = list(MACHINES).index(machine)
    steps = [_step(_LOAD, _MACHINE), _step(_EQUAL, MACHINES[machine], 1, 0), _step(_RETURN, _KILL)]
    steps.append(_step(_LOAD, _NUMBER))
    for numbers in _ALLOWED.values():
        number = numbers[which]
        if number is not None:
            steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    steps += _case(_IOCTL[which], _among(1, _IOCTLS))
    steps += _case(_FCNTL[which], _among(1, _FCNTLS))
    # A limit may be read, its own or another's; setting one is a pointer that is not null.
    steps += _case(_PRLIMIT[which], _both_halves_null(2))
    flags = [_step(_LOAD, _argument(2)), _step(_AND, _ACCESS_AND_TRUNCATE), _step(_EQUAL, _TRUNCATE, 1, 0)]
    steps += _case(_OPENAT[which], [*flags, _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE)])
    steps.append(_step(_RETURN, _REFUSE))
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction (struct sock_filter): what to do, with what, and how far to jump."""
    return struct.pack("HBBI", code, if_true, if_false, value)


def _case(number: int, steps: Sequence[bytes]) -> list[bytes]:
    """Return steps for one call, which must end in a verdict; other calls pass them by."""
    return [_step(_EQUAL, number, 0, len(steps)), *steps]


def _among(argument: int, values: Sequence[int]) -> list[bytes]:
    steps = [_step(_LOAD, _argument(argument))]
    for value in values:
        steps += [_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW)]
    return [*steps, _step(_RETURN, _REFUSE)]


def _both_halves_null(argument: int) -> list[bytes]:
    return [
        _step(_LOAD, _argument(argument)), _step(_EQUAL, 0, 0, 3),
        _step(_LOAD, _argument(argument) + 4), _step(_EQUAL, 0, 0, 1),
        _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE),
    ]  # fmt: skip


def _argument(index: int) -> int:
    """Return where the lower half of a call's argument stands (struct seccomp_data, little-endian)."""
    return 16 + 8 * index
