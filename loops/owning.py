"""Who has a run in hand: a note beside the lock that names its owner, for whoever is refused or comes after.

The lock is the operating system's and goes with its process, however that ends; the note only tells. Where a file
system does not carry locks from one machine to another, the note and the owner's heartbeat decide: an owner elsewhere
is taken at its word while that is fresh.
"""

import contextlib
import os
import socket
from pathlib import Path

from lessons.errors import InputError
from lessons.jsonl import leftovers
from lessons.records import Record
from loops.store import now, read_record, write_record
from loops.watching.heartbeat import GONE, here, read_heartbeat, seconds_since
from teachers.servers import ProcessId, alive, process_id

NAME = ".owner.json"


class Owner(Record, frozen=True, kw_only=True):
    """`.owner.json`: the process that has the run. It goes when the process gives the run back."""

    process: ProcessId
    place: str
    """Where the process id means this process (`loops.watching.heartbeat.here`)."""
    host: str
    since: str
    """When it took the run, ISO 8601 in UTC."""

    @property
    def told(self) -> str:
        """Process, host and since when, for people."""
        return f"process {self.process.pid} on {self.host}, since {self.since}"


def refusal(run: Path) -> str:
    """Return why a run whose lock is held cannot be had, in one line."""
    owner = _read(run)
    if owner is None or (owner.place == here() and not alive(owner.process)):  # the new one has not said who it is yet
        return f"{run}: another process is running this run; wait for it, or stop it"
    return f"{run}: another process is running this run ({owner.told}); wait for it, or stop it"


def claim(run: Path) -> str:
    """Note this process as the owner of a run whose lock it has; what killed processes left half-written goes.

    Returns a line about the owner before, where it ended without giving the run back; else "".

    Raises:
        InputError: an owner on another machine, whose lock is not seen here, still gives signs of life.
        OSError: the note cannot be written.
    """
    before = _read(run)
    if before is not None and before.place != here():
        silent = _silence(run, before)
        if silent < GONE:
            raise InputError(
                f"{run}: another process is running this run ({before.told}); it is on another machine or in another "
                f"container and gave a sign of life {silent:.0f} s ago: wait for it, or stop it; if it is gone, try "
                f"again in {GONE - silent:.0f} s"
            )
    process = process_id(os.getpid())
    assert process is not None
    write_record(run / NAME, Owner(process=process, place=here(), host=socket.gethostname(), since=now()))
    for path in leftovers(run):
        with contextlib.suppress(OSError):
            path.unlink()
    if before is None or (before.place == here() and alive(before.process)):
        return ""  # whoever lives and has let go of the lock has given the run back
    return f"{before.told}, had this run and is gone; this process takes it over"


def give_back(run: Path) -> None:
    """Take this process's note away, before the lock is given back."""
    owner = _read(run)
    if owner is not None and owner.process == process_id(os.getpid()):
        with contextlib.suppress(OSError):
            (run / NAME).unlink()


def _silence(run: Path, owner: Owner) -> float:
    """Return the seconds since an owner elsewhere gave a sign of life; infinity where it has said that it ended."""
    beat = read_heartbeat(run)
    if beat is None or (beat.process, beat.place) != (owner.process, owner.place):
        return seconds_since(owner.since)
    return float("inf") if beat.ended else min(seconds_since(beat.beat), seconds_since(owner.since))


def _read(run: Path) -> Owner | None:
    with contextlib.suppress(InputError, OSError):
        return read_record(run / NAME, Owner)
    return None
