"""Which servers run on this machine, as records on disk; and the ones whose owner is dead, found and ended.

A record holds no secret. A server's processes are known by a mark in their environment, so that also those are found
which have left its process group; and a process is only ever ended when it carries the mark of a server whose owner,
known by its id and the time at which it was created, is gone.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from lessons.jsonl import UNREADABLE, sync_folder
from lessons.places import cache_folder

MARK = "TUTELAGE_SERVER"
"""Environment variable of all processes of a server: the server's id."""
_KEPT_LOGS = 20
_SAME_TIME = 0.05
"""Seconds: two readings of one process's time of creation differ by less."""


class ProcessId(msgspec.Struct, frozen=True):
    """One process, told apart from later ones that are given the same number."""

    pid: int
    created: float
    """Seconds from the machine's start to the process's, on Linux: setting the clock does not move it. Elsewhere since
    1970."""


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One server that this project started."""

    id: str
    command: tuple[str, ...]
    log: str
    """Path of its log file."""
    started: str
    """UTC, ISO 8601."""
    owner: ProcessId
    """The process that wanted it."""
    guardian: ProcessId | None = None
    """The process that ends it when the owner is gone; None while it is being started."""
    server: ProcessId | None = None
    """Its main process, which is the leader of its group."""


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """A server whose owner is dead and which still has processes."""

    record: ServerRecord
    processes: tuple[ProcessId, ...]
    memory: int
    """Bytes that its processes hold in main memory, pages that they share counted for each."""


def servers_folder() -> Path:
    """Return the folder of records and logs: in $TUTELAGE_CACHE or the user's cache folder."""
    return cache_folder() / "servers"


def new_record(command: tuple[str, ...]) -> ServerRecord:
    """Return the record of a server that is about to be started by this process."""
    id = f"{os.getpid()}-{secrets.token_hex(4)}"  # noqa: A001 - the record's own word
    return ServerRecord(
        id=id,
        command=command,
        log=str(servers_folder() / f"{id}.log"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        owner=process_id(os.getpid()) or ProcessId(os.getpid(), time.time()),
    )


def record_path(record: ServerRecord) -> Path:
    """Return where a server's record is kept; it goes when all processes of the server are gone."""
    return Path(record.log).with_suffix(".json")


def write_record(record: ServerRecord) -> None:
    """Write a record so that it is there whole or not at all, for its owner's eyes only.

    Raises:
        OSError: the folder cannot be written.
    """
    path = record_path(record)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 - a mode
        out.write(msgspec.json.format(msgspec.json.encode(record)))
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def records() -> list[ServerRecord]:
    """Return the records of all servers, oldest first; what cannot be read is passed over."""
    found: list[ServerRecord] = []
    for path in servers_folder().glob("*.json"):
        with contextlib.suppress(OSError, *UNREADABLE):
            record = msgspec.json.decode(path.read_bytes(), type=ServerRecord)
            if record.id == path.stem and record_path(record) == path:  # a copied record speaks of another server
                found.append(record)
    return sorted(found, key=lambda record: record.started)


def orphans() -> list[Orphan]:
    """Return the servers whose owner is dead and which still run. Takes away records of servers that are gone."""
    found: list[Orphan] = []
    for record in records():
        if alive(record.owner):
            continue
        held: list[ProcessId] = []
        memory = 0
        for process in _marked(record.id):
            with contextlib.suppress(psutil.Error):
                memory += process.memory_info().rss
                held.append(ProcessId(process.pid, _created(process.pid)))
        if held:
            found.append(Orphan(record=record, processes=tuple(held), memory=memory))
        else:
            record_path(record).unlink(missing_ok=True)
    return found


def reap(orphan: Orphan, grace: float = 5.0) -> int:
    """End an orphan's processes: ask them, wait up to `grace` seconds, kill the rest. Return how many were ended.

    Nothing is ended where the owner lives after all; nor is any process without the server's mark.
    """
    if alive(orphan.record.owner):
        return 0
    return end_processes(orphan.record, grace)


def processes_of(record: ServerRecord) -> int:
    """Return how many live processes carry a server's mark."""
    return sum(1 for _ in _marked(record.id))


def end_processes(record: ServerRecord, grace: float = 5.0) -> int:
    """End all processes with a server's mark, as `reap` does, whoever its owner is; return how many there were."""
    ended: set[tuple[int, float]] = set()
    deadline = time.monotonic() + grace
    until = deadline + 5.0
    while time.monotonic() < until:
        left = list(_marked(record.id))
        if not left:
            record_path(record).unlink(missing_ok=True)
            break
        for process in left:
            with contextlib.suppress(psutil.Error):
                seen = (process.pid, _created(process.pid))
                if time.monotonic() >= deadline:
                    process.kill()
                elif seen not in ended:
                    process.terminate()
                ended.add(seen)
        psutil.wait_procs(left, timeout=0.2)
    return len(ended)


def alive(process: ProcessId) -> bool:
    """Whether this very process still runs; one that waits to be buried does not."""
    try:
        if abs(_created(process.pid) - process.created) > _SAME_TIME:
            return False
        return psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def process_id(pid: int) -> ProcessId | None:
    """Return a running process's id with its time of creation; None where it is gone."""
    try:
        return ProcessId(pid, _created(pid))
    except psutil.Error:
        return None


def forget_old_logs() -> None:
    """Delete logs of servers that are gone, the latest ones excepted."""
    with contextlib.suppress(OSError):
        logs = sorted(servers_folder().glob("*.log"), key=lambda path: path.stat().st_mtime)
        for log in logs[:-_KEPT_LOGS]:
            if not log.with_suffix(".json").exists():
                log.unlink(missing_ok=True)


def _created(pid: int) -> float:
    if not 0 < pid < 2**31:  # a record may say anything
        raise psutil.NoSuchProcess(pid)
    try:
        # What stands in parentheses may hold anything; field 22, the time of start, is the 20th after it (proc(5)).
        fields = Path("/proc", str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return psutil.Process(pid).create_time()


def _marked(id: str) -> "Iterator[psutil.Process]":  # noqa: A002 - the record's own word
    """Yield the live processes with this server's mark, of those that this user may look into."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == id:
                yield process
