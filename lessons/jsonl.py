"""Records to JSON lines and back. A last line torn by a crash is dropped, and said; any other bad line is an error."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from lessons.errors import InputError
from lessons.records import Record

R = TypeVar("R", bound=Record)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no such JSON: the last one where they are nested too deep."""
LONGEST_LINE = 256 * 1024 * 1024
"""Bytes of a line, or of a file of one record: whoever hands on more means harm. Our own bound."""

PRIVATE = 0o600
"""Mode of files that may hold the text of problems; folders of such have `PRIVATE_FOLDER`."""
PRIVATE_FOLDER = 0o700

_encoder = msgspec.json.Encoder()
_SURROGATE = re.compile("[\ud800-\udfff]")
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")
"""How `whole_file` names what it has not finished: with the number of its process."""


def plain_text(text: str) -> str:
    """Return the text with lone surrogates replaced by U+FFFD, so that it can be written as UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def encode_line(record: Record) -> bytes:
    """Return a record as one JSON line, newline included."""
    return _encoder.encode(record) + b"\n"


def write_jsonl(path: Path, records: Iterable[Record]) -> int:
    """Write records so that the file is there whole or not at all; return how many. Streams: memory does not grow."""
    count = 0
    with whole_file(path) as out:
        for record in records:
            out.write(encode_line(record))
            count += 1
    return count


class whole_file:  # noqa: N801 - used like open()
    """Open a file for writing bytes; it appears under its name, flushed to disk, only when the block ends well.

    Only its owner may read and write it, whatever the umask is, since problems and answers may be private; with
    `private` off, whoever the umask lets.
    """

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._private = private

    def __enter__(self) -> "whole_file":
        self._out = open_private(self.temporary) if self._private else self.temporary.open("wb")
        return self

    def write(self, block: bytes) -> None:
        """Write a block of bytes."""
        try:
            self._out.write(block)
        except OSError as error:
            error.filename = str(self.path)  # the system tells none of a write
            raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with self._out:
                if kind is None:
                    self._out.flush()
                    os.fsync(self._out.fileno())
            if kind is None:
                self.temporary.replace(self.path)
        except OSError as wrong:
            wrong.filename = wrong.filename or str(self.path)
            raise
        finally:
            self.temporary.unlink(missing_ok=True)  # still there where something failed, also a full disk
        if kind is None:
            sync_folder(self.path.parent)


def leftovers(folder: Path) -> list[Path]:
    """Return the files, in a folder and those in it, that `whole_file` was writing when its process was killed."""
    found = [(path, _TEMPORARY.fullmatch(path.name)) for path in folder.rglob(".*.tmp")]
    return [path for path, name in found if name is not None and not _runs(int(name[1]))]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process id at all
        return True
    return True


def open_private(path: Path) -> BinaryIO:
    """Make a new file that only its owner may read and write, in the place of whatever lay there, and open it."""
    path.unlink(missing_ok=True)  # a link of somebody else's is not followed
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE), "wb")


def begin_private(path: Path) -> None:
    """Make an empty file that only its owner may read and write, where none is yet: for what others then fill."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut (POSIX asks for a flush of the folder itself)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a small file so that it is there whole or not at all; `private` as in `whole_file`."""
    with whole_file(path, private=private) as out:
        out.write(data)


def read_jsonl(path: Path, kind: type[R], *, torn: Callable[[str], None] | None = None) -> Iterator[R]:
    """Yield the records of a JSON lines file.

    A last line without its newline that cannot be decoded was torn by a crash: it is dropped, and `torn` is called
    with a sentence that says so. Blank lines are passed over.

    Raises:
        InputError: the file is not there, or a line is not a record of this kind; names file, line and field.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        lines = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    with lines:
        for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), b""), start=1):
            if len(line) == LONGEST_LINE:
                raise InputError(f"{path}: line {number}: is longer than {LONGEST_LINE:,} bytes")
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except UNREADABLE as error:
                if not line.endswith(b"\n"):
                    if torn is not None:
                        torn(f"{path}: line {number} was torn by a crash and is dropped")
                    return
                raise InputError(f"{path}: line {number}: {error}") from error
