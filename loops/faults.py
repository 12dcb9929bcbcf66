"""What of a run folder cannot be read: noted, so that everything else can still be looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.records import Record
from loops.store import read_record

T = TypeVar("T")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Faults:
    """Reads files of one run. `forgiving` notes what is damaged and goes on without it; else that is an error."""

    run: Path
    forgiving: bool = False
    found: dict[str, str] = field(default_factory=dict[str, str])
    """File in the run folder -> what is wrong with it, in the order in which it was met."""

    def record(self, path: Path, kind: type[R]) -> R | None:
        """Read one record; None where the file is not there, or is damaged and that is forgiven.

        Raises:
            InputError: the file is damaged.
        """
        return self.spare(path, lambda: read_record(path, kind), None)

    def stream(self, path: Path, kind: type[R]) -> Iterator[R]:
        """Yield the records of a file; none where it is not there.

        Raises:
            InputError: a line is damaged; where that is forgiven, what stands before it is all there is.
        """
        if not path.is_file():
            return
        try:
            yield from read_jsonl(path, kind, torn=lambda told: self._note(path, told))
        except InputError as error:
            self._forgive(path, error)

    def spare(self, path: Path, read: Callable[[], T], instead: T) -> T:
        """Return what `read` makes of a file, or `instead` where it is damaged and that is forgiven.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return read()
        except InputError as error:
            self._forgive(path, error)
            return instead

    def refuse(self, path: Path, told: str) -> None:
        """Note that a file is damaged.

        Raises:
            InputError: it is not forgiven.
        """
        self._forgive(path, InputError(f"{path}: {told}"))

    def _forgive(self, path: Path, error: InputError) -> None:
        if not self.forgiving:
            raise error
        try:
            told = "is empty" if not path.stat().st_size else str(error)
        except OSError:
            told = str(error)
        self._note(path, told)

    def _note(self, path: Path, told: str) -> None:
        name = (path.relative_to(self.run) if path.is_relative_to(self.run) else path).as_posix()
        self.found.setdefault(name, told.removeprefix(f"{path}: "))
