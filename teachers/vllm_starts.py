"""Calls to a server that is started again where it breaks down: each is asked on as many starts as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lessons.errors import TeacherError
from teachers.limits import Limiter
from teachers.vllm_client import VLLMClient
from teachers.vllm_server import Endpoint, VLLMServer

T = TypeVar("T")


class Starts:
    """The clients of a server, one for each start."""

    def __init__(self, server: VLLMServer, make: Callable[[Endpoint], VLLMClient]) -> None:
        """`make` makes a client that tries once."""
        self.server = server
        self._make = make
        self._clients: dict[int, VLLMClient] = {}

    async def ask(self, ask: Callable[[VLLMClient], Awaitable[T]], broke_off: Callable[[T], bool]) -> T:
        """Make one try: that the server breaks down is no fault of the call's, and costs it none.

        `broke_off` says whether a reply did not end by itself: a server that is being ended answers 200 with what it
        had so far, and "abort". Such a reply counts where the server lives on.

        Raises:
            TeacherError: the try failed, or the server cannot be started again.
        """
        while True:
            endpoint = await self.server.up()
            try:
                reply = await ask(await self._client(endpoint))
            except TeacherError as error:
                if not error.retryable or not await self.server.fell(endpoint.start):
                    raise
                continue
            if not broke_off(reply) or not await self.server.fell(endpoint.start):
                return reply

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """Of the start that was last spoken to."""
        return tuple(limiter for client in self._clients.values() for limiter in client.limiters)

    async def now(self) -> VLLMClient:
        """Return the client of a server that answers, starting it where it does not run."""
        return await self._client(await self.server.up())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for client in list(self._clients.values()):
            await client.aclose()

    async def _client(self, endpoint: Endpoint) -> VLLMClient:
        client = self._clients.get(endpoint.start)
        if client is None:
            gone = list(self._clients.values())
            client = self._make(endpoint)
            self._clients = {endpoint.start: client}
            await asyncio.gather(*(one.aclose() for one in gone))
        return client
