"""The format of a run folder: `format.json`, written before anything else and read before anything else.

1. Folders without the file: versions before the file was introduced.
2. A marker has the seconds that its stage spent in the student, waiting for the teacher and loading; `clock.json` has
   those before the first stage.

A change to what a run folder holds raises `FORMAT` by one where an older tool would fail on it or misread it. What
older folders lack has a default in its record. Runs of each format are kept in `tests/golden`.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from lessons.errors import InputError
from lessons.formats import refuse_newer
from lessons.jsonl import UNREADABLE, write_whole

FORMAT = 2
"""What this tool writes, and the newest that it reads."""
NAME = "format.json"


class _Format(msgspec.Struct, frozen=True):
    """`format.json`. Keys that it does not know are passed over: older tools must be able to read it for ever."""

    format: int


def format_of(folder: Path) -> int:
    """Return the format of a run folder, from 1.

    Raises:
        InputError: the file that says it is damaged.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Format).format
    except FileNotFoundError:
        return 1
    except (OSError, *UNREADABLE) as error:
        raise InputError(f"{path}: cannot be read ({error}): restore it from a copy of the folder") from error


def check(folder: Path) -> None:
    """Refuse a run folder that a newer tool wrote.

    Raises:
        InputError: it is newer, or its format cannot be told.
    """
    refuse_newer(folder, format_of(folder), FORMAT)


def claim(folder: Path) -> None:
    """Say in a run folder that this tool writes into it, before it does. The folder must be this process's own.

    Raises:
        InputError: a newer tool wrote it, its format cannot be told, or it cannot be written.
    """
    check(folder)
    if not (folder / NAME).exists() or format_of(folder) < FORMAT:
        try:
            write_whole(folder / NAME, msgspec.json.encode(_Format(FORMAT)) + b"\n")
        except OSError as error:
            raise InputError(f"{folder}: the run folder cannot be written ({error.strerror})") from error


def own_version() -> str:
    """Return the installed version of tutelage, or "unknown" where it runs uninstalled."""
    try:
        return version("tutelage")
    except PackageNotFoundError:
        return "unknown"
