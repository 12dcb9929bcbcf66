"""Short questions to a vLLM server on this machine: does it answer a chat, is its engine alive, go to sleep."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from teachers.vllm_command import SERVED
from teachers.wire import shown

if TYPE_CHECKING:
    import aiohttp

_SHORT = 5.0
"""Seconds for a question that a live server answers at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one try at a completion; none of the fields: the server is not there yet."""

    ready: bool = False
    foreign: bool = False
    """Another program listens on the port: it does not know our key or our model."""
    refusal: str = ""
    """Why the server will not answer any chat."""


class Probe:
    """A connection to one server; use it with `async with`."""

    def __init__(self, root: str, key: str, model: str = SERVED) -> None:
        self.root = root
        """Without /v1."""
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def __aenter__(self) -> Self:
        import aiohttp

        # No pool: a connection to a server that has just died tells nothing of the next one at its port.
        self._session = aiohttp.ClientSession(headers=self._headers, connector=aiohttp.TCPConnector(force_close=True))
        self._asked: asyncio.Task[Answer] | None = None
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)
        await self._session.close()

    def completion(self) -> "asyncio.Task[Answer]":
        """Ask for one token; the task is ended with the probe."""
        self._asked = asyncio.create_task(self._completion())
        return self._asked

    async def healthy(self) -> bool:
        """Whether the engine is alive. A server too busy to say so counts as alive."""
        import aiohttp

        try:
            async with self._session.get(f"{self.root}/health", timeout=aiohttp.ClientTimeout(_SHORT)) as response:
                return response.status < 500
        except TimeoutError:
            return True
        except (aiohttp.ClientError, OSError):
            return False

    async def post(self, path: str, timeout: float) -> tuple[int, str]:
        """Return (status, words) of a POST without a body.

        Raises:
            OSError, aiohttp.ClientError, TimeoutError: no answer.
        """
        import aiohttp

        async with self._session.post(self.root + path, timeout=aiohttp.ClientTimeout(timeout)) as response:
            return response.status, shown(await response.read())

    async def _completion(self) -> Answer:
        import aiohttp

        body: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            # No limit of its own: the first completion of a cold server may take minutes, and the start has a limit.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SHORT)
            url = f"{self.root}/v1/chat/completions"
            async with self._session.post(url, json=body, timeout=timeout) as response:
                words = await response.read()
        except (aiohttp.ClientError, OSError):
            return Answer()
        return read_answer(response, words)


def read_answer(response: "aiohttp.ClientResponse", words: bytes) -> Answer:
    """Say what an answer to the first chat means."""
    if response.status == 200:
        return Answer(ready=b'"choices"' in words, foreign=b'"choices"' not in words)
    if response.status in (401, 403, 404, 405, 501):
        return Answer(foreign=True)
    if 400 <= response.status < 500:
        advice = ""
        if b"chat template" in words:
            advice = (
                ": the model has no chat template (a base model?): take an instruct model, or set flags.chat_template "
                "to a file"
            )
        return Answer(refusal=shown(words) + advice)
    return Answer()
