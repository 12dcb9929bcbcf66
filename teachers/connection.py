"""One endpoint over HTTP: a request's bytes out, an answer's bytes in, through the endpoint's limiter."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from lessons.errors import TeacherError
from teachers.bounded import PACKED, bound
from teachers.limits import TOO_MUCH, Limiter, limiter_of
from teachers.secrets import Secrets
from teachers.wire import read_error

if TYPE_CHECKING:
    from openai import AsyncOpenAI


_NOTHING: Mapping[str, str] = {}


class Connection:
    """The client of an endpoint. May be used from one event loop after another, from one at a time."""

    def __init__(self, model: str, base_url: str, secrets: Secrets, timeout: float) -> None:
        """Keep where to connect; nothing is opened yet. `timeout` is in seconds, from sending to the last byte."""
        self.secrets = secrets
        self._where = f"{model} at {base_url}"
        self._base_url = base_url
        self._timeout = timeout
        self._held: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[AsyncOpenAI]]] = {}
        """The client of each event loop, and what closes it."""

    @cached_property
    def limiter(self) -> Limiter:
        """How many requests are out at once, for all of this process with the same endpoint and key."""
        return limiter_of(self._base_url.rstrip("/"), self.secrets.key)

    async def bytes(self, verb: Literal["GET", "POST"], path: str, body: bytes = b"") -> bytes:
        """Make one request, without retries, and return the body of its answer.

        Raises:
            TeacherError: no answer, or an error answer. It is raised outside of the handlers, so that no cause with a
                secret hangs on it.
        """
        from aiohttp import ClientError
        from httpx2 import Response
        from openai import APIStatusError, OpenAIError

        client, limiter = await self._client(), self.limiter
        era = await limiter.enter()
        try:
            async with asyncio.timeout(self._timeout):
                # Bytes in, bytes out: the client's own models of bodies cost more time than all the rest.
                if verb == "POST":
                    response = await client.post(path, cast_to=Response, content=body)
                else:
                    response = await client.get(path, cast_to=Response)
            # Looked through as bytes: taken as names, headers cost a twentieth of the whole call.
            told = any(b"ratelimit" in name.lower() for name, _ in response.headers.raw)
            limiter.answered(response.headers if told else _NOTHING)
            return response.content
        except APIStatusError as error:
            headers = error.response.headers
            failure = read_error(error.status_code, error.body, headers, self.secrets.hide)
            if error.status_code in TOO_MUCH and failure.retryable:
                limiter.too_much(era, failure.retry_after, headers)
        except (OpenAIError, ClientError, OSError) as error:
            failure = TeacherError(f"{self._where}: {_fault(error, self._timeout)}", retryable=True)
        finally:
            limiter.leave()
        raise failure

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice; a later call opens new ones."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _client(self) -> "AsyncOpenAI":
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for gone in [other for other in self._held if other.is_closed()]:
                del self._held[gone]
            holder = self._hold()
            held = self._held[loop] = (await anext(holder), holder)
        return held[0]

    async def _hold(self) -> "AsyncGenerator[AsyncOpenAI]":
        """Yield a client, and close it when `aclose` or the event loop's own end closes this generator.

        `asyncio.run` closes the async generators that its loop has started: connections end with the loop that they
        belong to, also where nobody called `aclose`.
        """
        from openai import AsyncOpenAI, DefaultAioHttpClient

        here = urlsplit(self._base_url).hostname in ("127.0.0.1", "localhost", "::1")
        client = AsyncOpenAI(
            api_key=self.secrets.key or "none",
            base_url=self._base_url,
            max_retries=0,
            timeout=self._timeout,
            default_headers={"Accept-Encoding": PACKED, **self.secrets.headers},
            # A proxy of the environment knows nothing of this machine's own servers.
            # A redirect is not followed: it would take headers with keys to whatever host it names.
            http_client=DefaultAioHttpClient(
                timeout=self._timeout, trust_env=not here, follow_redirects=False, event_hooks={"response": [bound]}
            ),
        )
        try:
            yield client
        finally:
            await client.close()


def _fault(error: Exception, timeout: float) -> str:
    """Say what went wrong on the way, by the name of what first raised it: its words may hold anything."""
    if type(error) is TimeoutError:
        return f"no answer within {timeout:g} seconds"
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return f"no answer, the connection failed ({type(root).__name__})"
