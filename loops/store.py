"""The run folder: stages that are done once. A stage's marker is written last, so what has a marker is whole."""

import hashlib
import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import yaml
from filelock import FileLock, Timeout

from lessons.errors import InputError
from lessons.jsonl import LONGEST_LINE, PRIVATE, PRIVATE_FOLDER, UNREADABLE, leftovers, write_whole
from lessons.plain_yaml import read_yaml_file
from lessons.records import Record
from lessons.timing import Part
from loops import formats
from loops.links import refuse_links
from loops.records import Clock, Marker, Prompts, RunInfo

R = TypeVar("R", bound=Record)


_OURS = {"rounds", "problems", ".lock", ".owner.json", formats.NAME}
"""What a start that was killed before it wrote the recipe may have left, beside files that it was writing."""


class RunFolder:
    """One run on disk. Only one process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock", mode=PRIVATE)
        self._note: Callable[[], object] | None = None
        """Takes away the note of who has the folder, once."""
        self.taken_over = ""
        """Whose run this was, where that process ended without giving it back; "" where it was nobody's."""

    def start(
        self, recipe: Mapping[str, Any], lasting: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    ) -> bool:
        """Make the folder, or take an existing one of the same recipe; return whether it is new.

        `lasting` takes from a recipe what must not change while the run goes on; the rest is written anew.

        Raises:
            InputError: it cannot be written, another process has it, it holds a run of another recipe, or a newer tool
                wrote it.
        """
        saved = self.path / "recipe.yaml"
        try:
            names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set[str]()
            others = names - _OURS - {path.name for path in leftovers(self.path)}
            if others and not saved.exists():
                other = min(others)
                raise InputError(f"{self.path}: is not empty and holds no run (there is {other!r}); name another")
            for folder in (self.path, self.path / "rounds", self.path / "problems"):
                folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        except OSError as error:
            raise InputError(f"{self.path}: the run folder cannot be made ({error.strerror})") from error
        if not os.access(self.path, os.W_OK):
            raise InputError(f"{self.path}: the run folder cannot be written")
        formats.check(self.path)
        self.acquire()
        if not saved.exists():
            formats.claim(self.path)
            write_whole(saved, dump_yaml(recipe))
            return True
        from loops.changing import differing_keys

        before = read_yaml(saved)
        differing = differing_keys(lasting(before), lasting(recipe))
        if differing:
            self.release()
            raise InputError(
                f"{self.path}: holds a run of another recipe (differs in {', '.join(differing)}); "
                "name another folder, or resume it as it is with `tutelage resume`"
            )
        formats.claim(self.path)
        if before != recipe:
            write_whole(saved, dump_yaml(recipe))
        return False

    def save_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Write the recipe anew: only keys that results do not depend on may differ. The folder must be acquired."""
        write_whole(self.path / "recipe.yaml", dump_yaml(recipe))

    @property
    def clock(self) -> Clock:
        """How long processes have worked at this run, as far as was noted."""
        return read_record(self.path / "clock.json", Clock) or Clock(seconds=0.0)

    def note_seconds(self, seconds: float, starting: float) -> None:
        """Note how many seconds processes have worked at this run in all, and how many of them before a first stage."""
        write_record(self.path / "clock.json", Clock(seconds=round(seconds, 1), starting=round(starting, 3)))

    def note_prompts(self, versions: Mapping[str, Iterable[str]]) -> None:
        """Add to the versions of the prompts that the run has asked with: `prompts.json`, name -> content ids."""
        noted = read_record(self.path / "prompts.json", Prompts) or Prompts()
        merged = {name: tuple(sorted({*noted.versions.get(name, ()), *found})) for name, found in versions.items()}
        if any(noted.versions.get(name) != found for name, found in merged.items()):
            write_record(self.path / "prompts.json", Prompts(versions={**noted.versions, **merged}))

    def acquire(self) -> None:
        """Take the folder for this process; it is given back when the process ends, however it ends.

        Raises:
            InputError: another living process has it, which is named.
        """
        from loops import owning

        refuse_links(self.path)
        try:
            self._lock.acquire(timeout=0)
            self.taken_over = owning.claim(self.path)
            self._note = weakref.finalize(self, owning.give_back, self.path)  # also where nobody releases it
        except Timeout as error:
            raise InputError(owning.refusal(self.path)) from error
        except OSError as error:
            self._lock.release()
            raise InputError(f"{self.path}: the run folder cannot be written ({error.strerror})") from error
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Give the folder back."""
        if self._note is not None:
            self._note()
        self._lock.release()

    def round(self, index: int) -> Path:
        """Return a round's folder, making it if need be."""
        folder = self.path / "rounds" / f"{index:02d}"
        (folder / ".done").mkdir(parents=True, exist_ok=True)
        return folder

    def marker(self, index: int, stage: str) -> Marker | None:
        """Return the marker of a finished stage, or None."""
        return read_record(self.path / "rounds" / f"{index:02d}" / ".done" / f"{stage}.json", Marker)

    def finish(
        self,
        index: int,
        stage: str,
        outputs: Iterable[str],
        counts: Mapping[str, int],
        seconds: float,
        times: Mapping[Part, float] = MappingProxyType({}),
    ) -> Marker:
        """Write a stage's marker; its outputs must be whole by now."""
        folder = self.round(index)
        marker = Marker(
            stage=stage,
            round=index,
            outputs={name: _sha256(folder / name) for name in outputs},
            counts=dict(counts),
            seconds=round(seconds, 3),
            times={part: round(took, 3) for part, took in times.items()},
            finished=now(),
        )
        write_record(folder / ".done" / f"{stage}.json", marker)
        return marker

    def clear(self, index: int, name: str) -> Path:
        """Return an empty subfolder of a round for a stage that starts (again)."""
        folder = self.without(index, name)
        folder.mkdir()
        return folder

    def without(self, index: int, name: str) -> Path:
        """Return where a subfolder of a round may be made by a stage that starts (again); what lay there is gone."""
        folder = self.round(index) / name
        if folder.exists():
            shutil.rmtree(folder)
        return folder

    @property
    def info(self) -> RunInfo | None:
        """What the run is; None before it has got that far."""
        return read_record(self.path / "run.json", RunInfo)


class Stopwatch:
    """Wall seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._start


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_record(path: Path, record: Record) -> None:
    """Write one record as an indented JSON file, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def read_record(path: Path, kind: type[R]) -> R | None:
    """Read one record; None where the file is not there.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_LINE)
        return msgspec.json.decode(raw, type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: {error}") from error


def dump_yaml(data: Mapping[str, Any]) -> bytes:
    """Return plain data as YAML, keys in their order."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120).encode()


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that this project wrote."""
    data = read_yaml_file(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: is not a mapping")
    return data


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
