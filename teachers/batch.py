"""A teacher behind OpenAI's Batch API: half the price, for replies that may take up to a day."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from lessons.errors import InputError, TeacherError
from lessons.ids import digest
from lessons.knobs import operational
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.batch_courier import Courier, Pace
from teachers.batch_desk import LARGEST, Desk
from teachers.batch_jobs import BatchJobs
from teachers.batch_state import BatchState, default_path
from teachers.key_owners import check_owner, variables_of
from teachers.openai import OpenAITeacher
from teachers.prices import Prices
from teachers.retry import RetryPolicy
from teachers.secrets import Secrets
from teachers.wire import read_completion

__all__ = ["BatchTeacher"]

_MOST = 50_000
"""Requests in a batch at most, as OpenAI documents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchTeacher:
    """Gathers requests, submits them as one batch, and waits for it, also after the process was killed and started
    again. May be used from one event loop after another, from one at a time; processes may share its record."""

    model: str
    """The model's name, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Where the endpoint is, up to and without /files and /batches."""
    key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself; "" where the endpoint wants none."""
    most: int = operational(10_000)
    """Requests in a batch at most, 1 to 50,000; also how many calls a run has under way."""
    gather: float = operational(2.0)
    """Seconds without a new request after which the waiting ones are submitted."""
    poll: float = operational(30.0)
    """Seconds between questions how a batch stands."""
    timeout: float = operational(600.0)
    """Seconds for one HTTP request, an upload or a download included."""
    attempts: int = operational(6)
    """Tries in all for one HTTP request, at least 1; and batches at most that one request is put into, where batches
    expire or come back without it."""
    state: str = operational("")
    """Path of the SQLite file that knows which request is in which batch, also after a crash; "" is batches.sqlite in
    $TUTELAGE_CACHE, or else in the user's cache folder."""
    prices: Prices | None = operational(None)
    """USD per million tokens, without the discount; null: costs stay unknown."""
    discount: float = operational(0.5)
    """What a batched token costs, as a share of its price: OpenAI asks for half."""
    send_seed: bool = True
    """Whether the seed is sent; some endpoints refuse it."""
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - tokens, not a token
    """What the endpoint calls the largest number of tokens; OpenAI's reasoning models want max_completion_tokens."""
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members added to each request, such as {"reasoning_effort": "low"}; null drops a member that would be sent."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTTP headers added to each request; a value "$NAME" is read from the environment variable NAME."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or would write a secret into a file.

        Raises:
            InputError: a knob's value cannot be used.
        """
        _ = self._chat  # it checks what both have
        if not 1 <= self.most <= _MOST:
            raise InputError(f"teacher.most must be from 1 to {_MOST:,} requests, got {self.most}")
        if not (0 <= self.gather < float("inf") and 0 < self.poll < float("inf")):
            raise InputError("teacher.gather must be at least 0 seconds, and teacher.poll more than 0")
        if not 0 <= self.discount <= 1:
            raise InputError(f"teacher.discount must be from 0 to 1, a share of the price, got {self.discount}")

    @property
    def name(self) -> str:
        """Model and address, and a digest of `extra_body`, which changes what is answered."""
        return f"batch:{self._chat.name.removeprefix('openai:')}"

    @property
    def in_flight(self) -> int:
        """Calls that should be with it at once: a batch's worth."""
        return self.most

    @property
    def policy(self) -> RetryPolicy:
        """When a failed HTTP request is repeated."""
        return RetryPolicy(attempts=self.attempts, sleep=self.sleep)

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]:
        """Waits some seconds: to gather, between polls, between tries."""
        return asyncio.sleep

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat, together with all others that are asked meanwhile.

        Raises:
            TeacherError: no reply; fatal for a wrong key and for a batch that the endpoint refuses. No message holds
                the key.
        """
        body = self._chat.body(messages, sampling)
        # The seed is part of it also where it is not sent: two samples of one prompt must be two requests.
        key = digest([self._address, body, sampling.seed])
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        encoded = msgspec.json.encode(line) + b"\n"
        if len(encoded) > LARGEST:
            raise TeacherError(f"a request of {len(encoded):,} bytes is too long for a batch file")
        desk = self._desk()
        reply = read_completion(await desk.get(key, encoded), self._secrets.hide)
        if reply.finish == "other":  # it broke off: the ledger does not keep it either, and a later run asks anew
            desk.state.forget(key)
        full = self.prices.usd(reply.usage) if self.prices else None
        return msgspec.structs.replace(reply, usd=None if full is None else full * self.discount)

    async def aclose(self) -> None:
        """Stop waiting. Batches go on at the endpoint, and whoever asks the same again gets their replies."""
        desk = self._desks.pop(asyncio.get_running_loop(), None)
        if desk is not None:
            await desk.close()

    def _desk(self) -> Desk:
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            for gone in [other for other in self._desks if other.is_closed()]:
                self._desks.pop(gone).state.close()
            pace = Pace(most=self.most, gather=self.gather, poll=self.poll, attempts=self.attempts, sleep=self.sleep)
            jobs = BatchJobs(base_url=self._address, secrets=self._secrets, timeout=self.timeout, policy=self.policy)
            path = Path(self.state).expanduser() if self.state else default_path()
            desk = self._desks[loop] = Desk(Courier(jobs, BatchState(path), pace))
        return desk

    @property
    def _address(self) -> str:
        return self.base_url.rstrip("/")

    @cached_property
    def _desks(self) -> dict[asyncio.AbstractEventLoop, Desk]:
        return {}

    @cached_property
    def _secrets(self) -> Secrets:
        check_owner(variables_of(self.key, self.headers), self.base_url)
        return Secrets.read(self.key, self.headers)

    @cached_property
    def _chat(self) -> OpenAITeacher:
        """Writes the requests' bodies, and is never asked."""
        return OpenAITeacher(
            model=self.model,
            base_url=self.base_url,
            key=self.key,
            timeout=self.timeout,
            attempts=self.attempts,
            send_seed=self.send_seed,
            token_parameter=self.token_parameter,
            extra_body=self.extra_body,
            headers=self.headers,
        )
