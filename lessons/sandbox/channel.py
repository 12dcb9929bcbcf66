"""Messages over a pair of pipes: a length, then JSON. A side that is gone, or talks nonsense, is found out."""

import os
import struct
from typing import Any, NamedTuple

from lessons.sandbox.values import BadValueError, dumps, loads

LARGEST = 8 * 2**20
"""Bytes of one message."""


class GoneError(Exception):
    """The other side has ended, or sends what is no message."""


class Channel(NamedTuple):
    """One side of a conversation."""

    incoming: int
    """File descriptor that is read."""
    outgoing: int
    """File descriptor that is written."""

    def send(self, data: Any) -> None:
        """Send one message.

        Raises:
            BadValueError: it is too large.
            GoneError: nobody reads.
        """
        raw = dumps(data)
        if len(raw) > LARGEST:
            raise BadValueError(f"more than {LARGEST // 2**20} MB at once")
        rest = memoryview(struct.pack(">I", len(raw)) + raw)
        try:
            while rest:
                rest = rest[os.write(self.outgoing, rest) :]
        except OSError as error:
            raise GoneError("it has ended") from error

    def receive(self) -> Any:
        """Return the next message; waits for it.

        Raises:
            GoneError: there is none to come, or it is none.
        """
        (length,) = struct.unpack(">I", self._read(4))
        if length > LARGEST:
            raise GoneError(f"it sends more than {LARGEST // 2**20} MB at once")
        try:
            return loads(self._read(length))
        except BadValueError as error:
            raise GoneError(f"it sends {error}") from error

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = os.read(self.incoming, min(length - len(parts), 2**20))
            except OSError as error:
                raise GoneError("it has ended") from error
            if not part:
                raise GoneError("it has ended")
            parts += part
        return bytes(parts)
