"""A teacher behind any endpoint that speaks OpenAI's chat API: OpenAI's own, vLLM, and most others."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from lessons.errors import InputError, TeacherError
from lessons.ids import content_id
from lessons.jsonl import plain_text
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.retry import RetryPolicy
from teachers.secrets import Secrets, check_headers, check_variable
from teachers.wire import read_completion, read_error

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAITeacher"]

_OWN = frozenset({"model", "messages", "stream", "n"})
"""Members of a request that `extra_body` may not set: replies are filed and read by them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenAITeacher:
    """Asks an endpoint over HTTP. May be used from one event loop after another, from one at a time."""

    model: str
    """The model's name, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Where the endpoint is, up to and without /chat/completions."""
    key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself; "" where the endpoint wants none."""
    timeout: float = 600.0
    """Seconds for one try, from connecting to the last byte."""
    attempts: int = 6
    """Tries in all for one call, at least 1; see `teachers.retry` for which failures are tried again, and when."""
    send_seed: bool = True
    """Whether the seed is sent; some endpoints refuse it."""
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - tokens, not a token
    """What the endpoint calls the largest number of tokens; OpenAI's reasoning models want max_completion_tokens."""
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members added to each request, such as {"reasoning_effort": "low"}; null drops a member that would be sent."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTTP headers added to each request; a value "$NAME" is read from the environment variable NAME."""
    label: str = ""
    """What the ledger files replies under; "" is model and address. Give one where the address changes from run to run
    (a server on a free port) and the model behind it does not."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or would write a secret into a file.

        Raises:
            InputError: a knob's value cannot be used.
        """
        check_variable("key", self.key)
        check_headers(self.headers)
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError("teacher.base_url must begin with http:// or https:// and name a host")
        if address.username or address.password or address.query:
            raise InputError("teacher.base_url must not hold a user, a password or a query: use key or headers")
        if self.attempts < 1 or self.timeout <= 0:
            raise InputError("teacher.attempts must be at least 1, and teacher.timeout more than 0 seconds")
        if taken := sorted(_OWN & self.extra_body.keys()):
            raise InputError(f"teacher.extra_body must not set {', '.join(taken)}")

    @property
    def name(self) -> str:
        """Model and address (and a digest of `extra_body`, which changes what is answered), or the label."""
        return self._name

    @cached_property
    def _name(self) -> str:
        if self.label:
            return self.label
        address = urlsplit(self.base_url)
        place = address.netloc + address.path.rstrip("/").removesuffix("/v1")
        extra = f" #{content_id('extra_body', members=dict(self.extra_body))}" if self.extra_body else ""
        return f"openai:{self.model}@{place}{extra}"

    @property
    def policy(self) -> RetryPolicy:
        """When a failed try is repeated."""
        return RetryPolicy(attempts=self.attempts)

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat.

        Raises:
            TeacherError: no reply after all tries; fatal for a wrong key, an unknown model, an empty account. No
                message holds the key.
        """
        body = msgspec.json.encode(self.body(messages, sampling))
        return await self.policy.run(lambda: self._try(body))

    def body(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the request as it is sent: max_tokens always, top_p and stop only where they say something."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": turn["role"], "content": plain_text(turn["content"])} for turn in messages],
            self.token_parameter: sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.send_seed and sampling.seed is not None:
            body["seed"] = sampling.seed
        body.update(self.extra_body)
        return {name: value for name, value in body.items() if value is not None}

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice; a later call opens new ones."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _try(self, body: bytes) -> Reply:
        """One request. The error is raised outside of the handlers, so that no cause with a secret hangs on it."""
        from aiohttp import ClientError
        from httpx2 import Response
        from openai import APIStatusError, OpenAIError

        hide = self._secrets.hide
        client = await self._client()
        try:
            async with asyncio.timeout(self.timeout):
                # Bytes in, bytes out: the client's own models of bodies cost more time than all the rest.
                response = await client.post("/chat/completions", cast_to=Response, content=body)
            return read_completion(response.content, hide)
        except APIStatusError as error:
            failure = read_error(error.status_code, error.body, error.response.headers, hide)
        except (OpenAIError, ClientError, OSError) as error:
            failure = TeacherError(f"{self.model} at {self.base_url}: {_fault(error, self.timeout)}", retryable=True)
        except TeacherError as error:
            failure = error
        raise failure

    @cached_property
    def _held(self) -> "dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[AsyncOpenAI]]]":
        """The client of the running event loop, and what closes it."""
        return {}

    @cached_property
    def _secrets(self) -> Secrets:
        return Secrets.read(self.key, self.headers)

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

        secrets = self._secrets
        client = AsyncOpenAI(
            api_key=secrets.key or "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=self.timeout,
            default_headers=dict(secrets.headers),
            http_client=DefaultAioHttpClient(timeout=self.timeout),
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
