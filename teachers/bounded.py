"""An answer's body that ends where no endpoint's answer does: nobody fills the memory by answering, packed or not."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from httpx2 import Response

LARGEST = 128 * 1024 * 1024
"""Bytes of an answer, unpacked: the scores of the longest prompts take some ten million. Our own bound."""
PACKED = "gzip"
"""The one packing that is asked for."""
_BLOCK = 1 << 20


class AnswerTooLargeError(OSError):
    """An endpoint's answer does not end. Its words are never shown, its name is."""


class AnswerPackedWronglyError(OSError):
    """An endpoint's answer cannot be unpacked."""


async def bound(response: "Response") -> None:
    """Have the body of a response end with an error past the bound; called before any of it is read.

    Raises:
        AnswerPackedWronglyError: it is packed in a way that was not asked for.
    """
    from httpx2 import AsyncByteStream

    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity", PACKED):
        raise AnswerPackedWronglyError("another packing than was asked for")
    if packing:
        del response.headers["content-encoding"]  # it is unpacked here, a block at a time

    class Bounded(AsyncByteStream):
        """The stream of a body, unpacked."""

        def __init__(self, inner: AsyncByteStream) -> None:
            self.inner = inner

        async def __aiter__(self) -> AsyncGenerator[bytes]:
            read, unpacker = 0, Unpacker()
            async for block in cast(AsyncIterable[bytes], self.inner):
                for piece in unpacker.of(block) if packing == PACKED else (block,):
                    read += len(piece)
                    if read > LARGEST:
                        raise AnswerTooLargeError(f"more than {LARGEST:,} bytes")
                    yield piece

        async def aclose(self) -> None:
            """Let go of the connection."""
            await self.inner.aclose()

    stream: Any = response.stream
    response.stream = Bounded(stream)


class Unpacker:
    """Unpacks gzip, of one member or several, a piece at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def of(self, block: bytes) -> Iterator[bytes]:
        """Yield what a block holds, in pieces of at most a megabyte.

        Raises:
            AnswerPackedWronglyError: it is no gzip.
        """
        while block:
            try:
                piece = self._member.decompress(block, _BLOCK)
            except zlib.error:
                raise AnswerPackedWronglyError("no gzip") from None
            yield piece
            block = self._member.unconsumed_tail
            if self._member.eof:
                block, self._member = self._member.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)


async def body_of(response: "ClientResponse") -> bytes:
    """Return the body of an aiohttp response, which aiohttp unpacks in pieces of a bounded size.

    Raises:
        AnswerTooLargeError: it is larger than any answer is.
    """
    blocks: list[bytes] = []
    read = 0
    async for block in response.content.iter_any():
        read += len(block)
        if read > LARGEST:
            raise AnswerTooLargeError(f"more than {LARGEST:,} bytes")
        blocks.append(block)
    return b"".join(blocks)
