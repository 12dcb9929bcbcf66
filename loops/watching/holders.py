"""Whether a process has a run in its hands. Looks only: it never takes the run's lock, not even for a moment."""

import os
from pathlib import Path

LOCKS = Path("/proc/locks")
"""Where Linux lists the locks that are held, one a line."""


def held(run: Path, locks: Path = LOCKS) -> bool | None:
    """Return whether a living process of this machine has the run's lock; None where the system does not tell.

    A run on another machine, on a file system that both share, is not seen.
    """
    try:
        lock = (run / ".lock").stat()
    except FileNotFoundError:
        return False  # whoever runs it makes this file first
    except OSError:
        return None
    try:
        lines = locks.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return any(_has_open(pid, lock) for pid in _holders(lines, lock.st_ino))


def _holders(lines: list[str], inode: int) -> list[int]:
    """Return the processes with a lock on a file of this number: `1: FLOCK ADVISORY WRITE 1234 fe:00:2507316 0 EOF`.

    Waiting processes have "->" after the colon and hold nothing.
    """
    found: list[int] = []
    for line in lines:
        parts = line.split()
        if len(parts) >= 6 and parts[1] == "FLOCK" and parts[5].rpartition(":")[2] == str(inode):
            found.append(int(parts[4]))
    return found


def _has_open(pid: int, lock: os.stat_result) -> bool:
    """Tell this file from one of the same number on another disk: some file systems name their disk differently here.

    A process that may not be looked into is taken at its lock's word, and so is one that has just ended.
    """
    try:
        files = [entry.stat() for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()]
    except OSError:
        return True
    return any((file.st_ino, file.st_dev) == (lock.st_ino, lock.st_dev) for file in files)
