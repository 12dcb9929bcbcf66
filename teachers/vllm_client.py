"""The client of a vLLM server: OpenAI's, with a key that is in no environment variable, and vLLM's own questions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lessons.errors import TeacherError
from lessons.records import Message
from teachers.base import TokenScore
from teachers.connection import Connection
from teachers.openai import OpenAITeacher
from teachers.secrets import Secrets
from teachers.vllm_probe import Probe
from teachers.vllm_scores import VLLMScores

_ASLEEP = 120.0
"""Seconds that a server is given to go to sleep or to wake: gigabytes are copied."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VLLMClient(OpenAITeacher):
    """Asks one start of a server, or a server that somebody else started."""

    secret: str = field(default="", repr=False)
    """The key itself, in the place of `key`."""

    async def score(self, messages: Sequence[Message], completion: str, *, top: int) -> list[TokenScore]:
        """Return the scores of the completion's tokens, as the answer to the chat: [completion token].

        Raises:
            TeacherError: no scores.
        """
        return await self._scores.score(messages, completion, top=top)

    @cached_property
    def _scores(self) -> VLLMScores:
        return VLLMScores(
            model=self.model,
            base_url=self.base_url,
            timeout=self.timeout,
            attempts=self.attempts,
            label=self.label,
            link=self._connection,
        )

    async def tell(self, path: str) -> None:
        """Make a POST to a path beside /v1.

        Raises:
            TeacherError: no answer, no such path, or the server refuses.
        """
        from aiohttp import ClientError

        root = self.base_url.rstrip("/").removesuffix("/v1")
        try:
            async with Probe(root, self._secrets.key) as probe:
                status, words = await probe.post(path, _ASLEEP)
        except (ClientError, OSError) as error:
            raise TeacherError(f"{root}: no answer to {path} ({type(error).__name__})") from None
        if status == 404:
            raise TeacherError(
                f"{root}: this vLLM server has no {path.partition('?')[0]}: it must be started with "
                "--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1",
                status=status,
            )
        if status >= 400:
            words = self._secrets.hide(words)
            raise TeacherError(f"{root}: the vLLM server answered {status} to {path}: {words}", status=status)

    @cached_property
    def _connection(self) -> Connection:
        return Connection(self.model, self.base_url, self._secrets, self.timeout)

    @cached_property
    def _secrets(self) -> Secrets:
        if not self.secret:
            return Secrets.read(self.key, self.headers)
        return Secrets(key=self.secret, headers={}, hidden=(self.secret,))
