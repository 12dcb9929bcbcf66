"""A teacher that says again what another one said: a run is done over from its ledger, with no endpoint and no key."""

import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import copyfile
from typing import ClassVar, Literal, NamedTuple

import msgspec

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.ledger import call_key, read_calls
from teachers.prices import FREE, Prices

__all__ = ["ReplayTeacher"]

_SHOWN = 80
"""Characters of a question in an error message."""


class _Recording(NamedTuple):
    path: Path
    teacher: str
    samples: dict[int | None, tuple[int, ...]]
    """Seed of a sampling -> the sample indexes that calls with this seed have."""
    held: object
    """What keeps a copy of the file alive, where one had to be made."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayTeacher:
    """Answers from a recorded ledger under the recorded teacher's own name, so that call and lesson ids are the same.

    Only what is recorded is replayed: a call that failed in the recorded run is not in its ledger, and fails again.
    """

    ledger: str
    """Path of a calls.sqlite, or of a run's folder, which holds one. It is only read; a run may be writing it."""
    missing: Literal["lose", "stop"] = "lose"
    """What a request that is not in the recording does: `lose` loses this one call, as the recorded run lost its own;
    `stop` stops the run, because it has left the recorded one's path."""
    teacher: str = ""
    """Which teacher's calls are replayed, by its name in the ledger; needed where the ledger holds several."""

    prices: ClassVar[Prices] = FREE
    """What was paid was paid for the recorded run."""
    examined: ClassVar[bool] = False
    """The recorded run has examined its teacher: it sits no exam before round 1."""

    @property
    def name(self) -> str:
        """The recorded teacher's name.

        Raises:
            InputError: there is no ledger, it is damaged or empty, or it holds several teachers and none is chosen.
        """
        return self._recording.teacher

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Return the recorded reply to this request; it costs nothing, and its usage is the recorded one.

        Raises:
            TeacherError: the request is not in the recording; fatal where `missing` is "stop".
        """
        recording = self._recording
        # A call's id is a content hash of all that is known here but the sample's index, which its seed gives away:
        # no index of the recording is kept in memory, and no reply.
        for sample in recording.samples.get(sampling.seed, ()):
            key = call_key(recording.teacher, messages, sampling, sample)
            for call in read_calls(recording.path, [key]):
                return msgspec.structs.replace(call.reply, usd=0.0)
        asked = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
        words = f"{recording.path}: no reply to {asked[:_SHOWN]!r} with this sampling is recorded"
        if self.missing == "stop":
            hint = "replay with the recorded run's recipe and version, or set teacher.missing to lose"
            raise TeacherError(f"{words}: {hint}", fatal=True)
        raise TeacherError(words)

    async def aclose(self) -> None:
        """Nothing to give back."""

    @cached_property
    def _recording(self) -> _Recording:
        path, held = _reachable(_file(self.ledger))
        counts: Counter[str] = Counter()
        samples: dict[str, dict[int | None, set[int]]] = defaultdict(lambda: defaultdict(set))
        for call in read_calls(path):
            counts[call.teacher] += 1
            samples[call.teacher][call.sampling.seed].add(call.sample)
        listed = ", ".join(f"{name!r} ({count:,} calls)" for name, count in counts.most_common())
        if not counts:
            raise InputError(f"{path}: the ledger holds no calls to replay")
        if self.teacher and self.teacher not in counts:
            raise InputError(f"{path}: no call of the teacher {self.teacher!r} is recorded; recorded are {listed}")
        if not self.teacher and len(counts) > 1:
            raise InputError(f"{path}: several teachers are recorded; set teacher.teacher to one of {listed}")
        name = self.teacher or next(iter(counts))
        return _Recording(path, name, {seed: tuple(sorted(found)) for seed, found in samples[name].items()}, held)


def _file(given: str) -> Path:
    path = Path(given).expanduser()
    try:
        path = path / "calls.sqlite" if path.is_dir() else path
        if path.is_file():
            return path
    except OSError as error:
        raise InputError(f"{path}: the ledger cannot be read ({error.strerror}): check its rights") from error
    raise InputError(f"{path}: there is no ledger: give a calls.sqlite or the folder of a run")


def _reachable(path: Path) -> "tuple[Path, object]":  # (path to read from, what keeps it there)
    """Return a path that SQLite can read: of a ledger in a folder where nothing can be written, a copy of its own.

    A file in WAL mode cannot be opened there, because its readers too keep a small file of locks beside it.
    """
    try:
        list(read_calls(path, []))
    except InputError as error:
        if not isinstance(error.__cause__, sqlite3.OperationalError):
            raise
    else:
        return path, None
    folder = tempfile.TemporaryDirectory(prefix="tutelage-replay-")
    copied = Path(folder.name, path.name)
    try:
        copyfile(path, copied)
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            copyfile(log, Path(folder.name, log.name))
    except OSError as error:
        raise InputError(
            f"{path}: the ledger cannot be read ({error.strerror}): check its rights and free space"
        ) from error
    list(read_calls(copied, []))
    return copied, folder
